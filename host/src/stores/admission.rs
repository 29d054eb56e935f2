//! Bounds how many statements one server executes concurrently.
//!
//! A processor is busy with a few statements; further ones only delay each other, in an order that nothing controls, and
//! the unlucky ones are late. So further statements queue here, first come, first served. A statement that runs for long
//! is probably waiting, for a lock or for the disk: it keeps its connection but stops counting, so that it delays no
//! other statement.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, time::timeout};

use crate::sync::lock;

/// After this time a statement stops counting. The statements of this service need less.
const LONG: Duration = Duration::from_millis(20);

/// Admits a limited number of statements, in the order of their arrival.
pub(super) struct AdmissionQueue {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The permits that are held, by number, with the time since when.
    admitted: Vec<(u64, Instant)>,
    waiting: VecDeque<oneshot::Sender<Permit>>,
    last_number: u64,
}

/// The admission of one statement, until it is dropped.
pub(super) struct Permit {
    queue: Option<Arc<AdmissionQueue>>,
    number: u64,
}

impl AdmissionQueue {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            state: Mutex::default(),
        })
    }

    /// Waits for admission.
    pub(super) async fn admit(self: &Arc<Self>) -> Permit {
        let mut permit = {
            let mut state = self.state();
            if state.waiting.is_empty() && state.counting() < self.limit {
                return self.issue(&mut state);
            }
            let (sender, permit) = oneshot::channel();
            state.waiting.push_back(sender);
            permit
        };
        loop {
            match timeout(LONG, &mut permit).await {
                Ok(Ok(permit)) => return permit,
                // An admitted statement may have become a long one.
                Err(_) => self.admit_waiting(),
                // A sender is never dropped without a permit; if one were, waiting for it would never end.
                Ok(Err(_)) => return self.issue(&mut self.state()),
            }
        }
    }

    fn issue(self: &Arc<Self>, state: &mut State) -> Permit {
        state.last_number += 1;
        state.admitted.push((state.last_number, Instant::now()));
        Permit {
            queue: Some(self.clone()),
            number: state.last_number,
        }
    }

    /// Admits waiting statements as far as the limit allows.
    fn admit_waiting(self: &Arc<Self>) {
        loop {
            let (waiting, permit) = {
                let mut state = self.state();
                if state.counting() >= self.limit {
                    return;
                }
                let Some(waiting) = state.waiting.pop_front() else {
                    return;
                };
                let permit = self.issue(&mut state);
                (waiting, permit)
            };
            if let Err(mut unwanted) = waiting.send(permit) {
                // Taken back here instead of by its drop, which would recurse once for each abandoned place.
                unwanted.queue = None;
                self.state().release(unwanted.number);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    /// The admitted statements that have not run for long.
    fn counting(&self) -> usize {
        let now = Instant::now();
        let counts = |(_, since): &&(u64, Instant)| now.duration_since(*since) < LONG;
        self.admitted.iter().filter(counts).count()
    }

    fn release(&mut self, number: u64) {
        if let Some(index) = self.admitted.iter().position(|(known, _)| *known == number) {
            self.admitted.swap_remove(index);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.state().release(self.number);
            queue.admit_waiting();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::{FutureExt as _, poll};

    use super::*;

    #[tokio::test]
    async fn first_come_first_served() {
        let queue = AdmissionQueue::new(2);
        let (first, _second) = (queue.admit().await, queue.admit().await);
        let (mut third, mut fourth) = (pin!(queue.admit()), pin!(queue.admit()));
        assert!(poll!(&mut third).is_pending() && poll!(&mut fourth).is_pending());
        drop(first);
        assert!(queue.admit().now_or_never().is_none(), "a later statement overtook");
        assert!(poll!(&mut fourth).is_pending());
        let third = third.await;
        drop(third);
        fourth.await;
    }

    #[tokio::test]
    async fn abandoned_places_are_skipped() {
        let queue = AdmissionQueue::new(1);
        let first = queue.admit().await;
        for _ in 0..1000 {
            assert!(queue.admit().now_or_never().is_none());
        }
        let mut last = Box::pin(queue.admit());
        assert!(poll!(&mut last).is_pending());
        drop(first);
        let last = last.now_or_never().expect("all places before it are abandoned");
        // A permit that was issued and then abandoned before it was received.
        let mut next = Box::pin(queue.admit());
        assert!(poll!(&mut next).is_pending());
        drop(last);
        drop(next);
        assert!(queue.admit().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_long_statement_delays_no_other() {
        let queue = AdmissionQueue::new(1);
        let _long = queue.admit().await;
        // Neither one that waits already nor one that comes later.
        let waiting = queue.admit().await;
        assert_eq!(queue.state().admitted.len(), 2);
        tokio::time::sleep(LONG).await;
        assert!(queue.admit().now_or_never().is_some());
        drop(waiting);
    }
}
