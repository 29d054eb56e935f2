//! Shares the processors fairly between instances.
//!
//! Almost every request computes for a fraction of a millisecond and waits for the rest of its time; one that hashes a
//! password computes for tens of milliseconds. So an instance may compute for one [`TIME_SLICE`] without restriction, and
//! then yields to all others that are ready. To go on computing it needs one of a few slots. So a hundred logins at once
//! slow a list down no more than one does; they queue for a slot, first come, first served.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::yield_now,
};
use wasmtime::{Engine, Store, UpdateDeadline};

use crate::sync::lock;

/// The time that an instance computes before it yields. In practice up to two of them: slices begin with the clock, not
/// with the computation.
const TIME_SLICE: Duration = Duration::from_millis(2);

/// Time slices after which an instance gives its slot back and queues again.
const SLICES_PER_SLOT: u32 = 100;

/// Counts time slices for as long as the engine lives. It needs a thread of its own: the threads that serve may all be
/// computing.
pub(super) fn tick(engine: &Engine) -> io::Result<()> {
    let engine = engine.weak();
    let tick = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TIME_SLICE);
        }
    };
    std::thread::Builder::new().name("time-slices".to_owned()).spawn(tick)?;
    Ok(())
}

/// The share of the processors that one instance has. A clone is the same share.
#[derive(Clone)]
pub(super) struct CpuShare {
    /// For instances that compute for long.
    slots: Arc<Semaphore>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Time slices since the instance last waited for something outside.
    slices: u32,
    /// Whether it is yielding, or waiting for a slot.
    yielding: bool,
    slot: Option<OwnedSemaphorePermit>,
}

impl CpuShare {
    pub(super) fn new(slots: Arc<Semaphore>) -> Self {
        Self {
            slots,
            state: Arc::default(),
        }
    }

    /// Restricts the instance of `store` to this share.
    pub(super) fn apply_to<T>(&self, store: &mut Store<T>) {
        store.set_epoch_deadline(1);
        let share = self.clone();
        store.epoch_deadline_callback(move |_| Ok(share.clone().end_slice()));
    }

    fn end_slice(self) -> UpdateDeadline {
        {
            let mut state = self.state();
            state.slices += 1;
            // The first slice may have begun while the instance waited, so it says nothing of how long it has computed.
            if state.slices == 1 {
                return UpdateDeadline::Continue(1);
            }
            state.yielding = true;
            if state.slices.is_multiple_of(SLICES_PER_SLOT) {
                state.slot = None;
            }
        }
        UpdateDeadline::YieldCustom(1, Box::pin(self.yield_then_take_slot()))
    }

    async fn yield_then_take_slot(self) {
        yield_now().await;
        let slot = self.state().slot.take();
        let slot = match slot {
            Some(slot) => Some(slot),
            // The semaphore is never closed, so this always gets a slot.
            None => self.slots.clone().acquire_owned().await.ok(),
        };
        let mut state = self.state();
        state.slot = slot;
        state.yielding = false;
    }

    /// Notes that the instance waits for something outside, unless it only yields. Its slot becomes free.
    pub(super) fn release(&self) {
        let mut state = self.state();
        if !state.yielding {
            state.slices = 0;
            state.slot = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, pin_mut, poll};

    use super::*;

    /// Ends a time slice, and returns the future that the instance waits for, if any.
    fn end_slice(share: &CpuShare) -> Option<impl Future<Output = ()>> {
        match share.clone().end_slice() {
            UpdateDeadline::Continue(1) => None,
            UpdateDeadline::YieldCustom(1, wait) => Some(wait),
            _ => panic!("an instance is neither stopped nor left without a deadline"),
        }
    }

    #[tokio::test]
    async fn one_instance_computes_on_and_the_others_queue() {
        let slots = Arc::new(Semaphore::new(1));
        let (one, two) = (CpuShare::new(slots.clone()), CpuShare::new(slots.clone()));
        assert!(
            end_slice(&one).is_none() && end_slice(&two).is_none(),
            "the first slice restricts nothing"
        );
        end_slice(&one).expect("it has computed for long").await;
        let queued = end_slice(&two).expect("it has computed for long");
        pin_mut!(queued);
        for _ in 0..3 {
            two.release();
            assert!(poll!(&mut queued).is_pending(), "the slot is taken");
        }
        end_slice(&one).expect("its slice is over").await;
        assert!(poll!(&mut queued).is_pending(), "the first instance keeps its slot");
        one.release();
        queued.await;
        assert_eq!(slots.available_permits(), 0);
        two.release();
        assert_eq!(slots.available_permits(), 1);
    }

    #[tokio::test]
    async fn an_instance_that_never_waits_queues_again() {
        let slots = Arc::new(Semaphore::new(1));
        let (endless, other) = (CpuShare::new(slots.clone()), CpuShare::new(slots));
        assert!(end_slice(&endless).is_none() && end_slice(&other).is_none());
        end_slice(&endless).expect("it computes").await;
        let queued = end_slice(&other).expect("it computes");
        pin_mut!(queued);
        assert!(poll!(&mut queued).is_pending() && poll!(&mut queued).is_pending());
        for _ in 2..SLICES_PER_SLOT - 1 {
            end_slice(&endless).expect("it computes").await;
            assert!(poll!(&mut queued).is_pending());
        }
        let endless = end_slice(&endless).expect("it computes");
        queued.await;
        assert!(endless.now_or_never().is_none(), "the other instance has the slot");
    }
}
