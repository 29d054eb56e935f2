//! How guests that compute share the processors with everybody else.
//!
//! Almost every request computes for a fraction of a millisecond and waits for the rest. One that hashes a password
//! computes for tens of them. So a guest computes for a [`TURN`] as it likes, and then lets everybody else who is ready go
//! first; and only a few guests at a time go on computing like that, so that a hundred logins at once slow a list down no
//! more than one does. The others of them queue, first come, first served.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::yield_now,
};
use wasmtime::{Engine, Store, UpdateDeadline};

/// The longest that a guest computes before others have their turn: within two of these, since nobody looks in between.
const TURN: Duration = Duration::from_millis(2);

/// Turns after which one who computes on and on queues anew.
const TURNS: u32 = 100;

/// Counts the turns for as long as the engine lives, in a thread of its own: the threads that serve may all be computing.
pub(crate) fn tick(engine: &Engine) -> io::Result<()> {
    let engine = engine.weak();
    let tick = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TURN);
        }
    };
    std::thread::Builder::new().name("turns".to_owned()).spawn(tick)?;
    Ok(())
}

/// The pace of one instance. A clone is the same.
#[derive(Clone)]
pub(crate) struct Pace {
    /// Places for guests that compute for long.
    places: Arc<Semaphore>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Turns since the guest waited for something outside.
    turns: u32,
    /// It lets others go first, or waits for a place.
    yields: bool,
    place: Option<OwnedSemaphorePermit>,
}

impl Pace {
    pub(crate) fn new(places: Arc<Semaphore>) -> Self {
        Self {
            places,
            state: Arc::default(),
        }
    }

    /// Has the guest of `store` keep to this pace.
    pub(crate) fn keep<T>(&self, store: &mut Store<T>) {
        store.set_epoch_deadline(1);
        let pace = self.clone();
        store.epoch_deadline_callback(move |_| Ok(pace.clone().turn_is_over()));
    }

    fn turn_is_over(self) -> UpdateDeadline {
        {
            let mut state = self.state();
            state.turns += 1;
            // What came due while the guest waited says nothing of how long it has computed.
            if state.turns == 1 {
                return UpdateDeadline::Continue(1);
            }
            state.yields = true;
            if state.turns.is_multiple_of(TURNS) {
                state.place = None;
            }
        }
        UpdateDeadline::YieldCustom(1, Box::pin(self.take_turn()))
    }

    async fn take_turn(self) {
        yield_now().await;
        let place = self.state().place.take();
        let place = match place {
            Some(place) => Some(place),
            // Never closed: there is a place in the end.
            None => self.places.clone().acquire_owned().await.ok(),
        };
        let mut state = self.state();
        state.place = place;
        state.yields = false;
    }

    /// Notes that the guest does not compute: it waits for something outside, unless it only lets others go first.
    pub(crate) fn waits(&self) {
        let mut state = self.state();
        if !state.yields {
            state.turns = 0;
            state.place = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, pin_mut, poll};

    use super::*;

    /// The end of a turn; the future that the guest waits for where it has to wait.
    fn over(pace: &Pace) -> Option<impl Future<Output = ()>> {
        match pace.clone().turn_is_over() {
            UpdateDeadline::Continue(1) => None,
            UpdateDeadline::YieldCustom(1, wait) => Some(wait),
            _ => panic!("a guest is neither stopped nor left alone"),
        }
    }

    #[tokio::test]
    async fn one_computes_on_and_the_others_queue() {
        let places = Arc::new(Semaphore::new(1));
        let (one, two) = (Pace::new(places.clone()), Pace::new(places.clone()));
        assert!(
            over(&one).is_none() && over(&two).is_none(),
            "nobody is held up at first"
        );
        over(&one).expect("it has computed for long").await;
        let queued = over(&two).expect("so has this one");
        pin_mut!(queued);
        for _ in 0..3 {
            two.waits();
            assert!(poll!(&mut queued).is_pending(), "the place is taken");
        }
        over(&one).expect("its turn is over").await;
        assert!(poll!(&mut queued).is_pending(), "whoever has a place keeps it");
        one.waits();
        queued.await;
        assert_eq!(places.available_permits(), 0);
        two.waits();
        assert_eq!(places.available_permits(), 1);
    }

    #[tokio::test]
    async fn whoever_computes_without_end_queues_anew() {
        let places = Arc::new(Semaphore::new(1));
        let (endless, other) = (Pace::new(places.clone()), Pace::new(places));
        assert!(over(&endless).is_none() && over(&other).is_none());
        over(&endless).expect("it computes").await;
        let queued = over(&other).expect("so does this one");
        pin_mut!(queued);
        assert!(poll!(&mut queued).is_pending() && poll!(&mut queued).is_pending());
        for _ in 2..TURNS - 1 {
            over(&endless).expect("it computes").await;
            assert!(poll!(&mut queued).is_pending());
        }
        let endless = over(&endless).expect("it computes");
        queued.await;
        assert!(endless.now_or_never().is_none(), "it is the other's turn");
    }
}
