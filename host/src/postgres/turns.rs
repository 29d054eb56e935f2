//! How many statements PostgreSQL works on at once.
//!
//! A processor that has a few statements in hand is busy; more of them make each other wait, in an order that nobody
//! chose, and the unlucky ones wait long. So statements that come on top of that queue here, first come, first served.
//! One that takes long is more likely waiting (for a lock, for the disk) than working: it keeps its connection, but no
//! longer a turn, so that it holds up nobody else.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, time::timeout};

/// Longer than a statement of this service works.
const LONG: Duration = Duration::from_millis(20);

/// The turns at one server.
pub(super) struct Turns {
    at_once: usize,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    /// Who has a turn, and since when.
    running: Vec<(u64, Instant)>,
    waiting: VecDeque<oneshot::Sender<Turn>>,
    last: u64,
}

/// A turn, until it is dropped.
pub(super) struct Turn {
    turns: Option<Arc<Turns>>,
    number: u64,
}

impl Turns {
    pub(super) fn new(at_once: usize) -> Arc<Self> {
        Arc::new(Self {
            at_once,
            queue: Mutex::default(),
        })
    }

    /// Waits for a turn.
    pub(super) async fn take(self: &Arc<Self>) -> Turn {
        let mut turn = {
            let mut queue = self.queue();
            if queue.waiting.is_empty() && queue.working() < self.at_once {
                return self.give(&mut queue);
            }
            let (sender, turn) = oneshot::channel();
            queue.waiting.push_back(sender);
            turn
        };
        loop {
            match timeout(LONG, &mut turn).await {
                Ok(Ok(turn)) => return turn,
                // Somebody else's may be a long one by now.
                Err(_) => self.pass_on(),
                // A sender is never dropped without a turn; if one were, nobody should wait for it for ever.
                Ok(Err(_)) => return self.give(&mut self.queue()),
            }
        }
    }

    fn give(self: &Arc<Self>, queue: &mut Queue) -> Turn {
        queue.last += 1;
        queue.running.push((queue.last, Instant::now()));
        Turn {
            turns: Some(self.clone()),
            number: queue.last,
        }
    }

    /// Gives the free turns to those who wait.
    fn pass_on(self: &Arc<Self>) {
        loop {
            let (waiting, turn) = {
                let mut queue = self.queue();
                if queue.working() >= self.at_once {
                    return;
                }
                let Some(waiting) = queue.waiting.pop_front() else {
                    return;
                };
                let turn = self.give(&mut queue);
                (waiting, turn)
            };
            if let Err(mut unwanted) = waiting.send(turn) {
                // Taken back here, so that a queue of those who have left is no recursion.
                unwanted.turns = None;
                self.queue().end(unwanted.number);
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Those who have a turn and have not had it for long.
    fn working(&self) -> usize {
        let now = Instant::now();
        let works = |(_, since): &&(u64, Instant)| now.duration_since(*since) < LONG;
        self.running.iter().filter(works).count()
    }

    fn end(&mut self, number: u64) {
        if let Some(place) = self.running.iter().position(|(known, _)| *known == number) {
            self.running.swap_remove(place);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.turns.take() {
            turns.queue().end(self.number);
            turns.pass_on();
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
        let turns = Turns::new(2);
        let (one, _two) = (turns.take().await, turns.take().await);
        let (mut three, mut four) = (pin!(turns.take()), pin!(turns.take()));
        assert!(poll!(&mut three).is_pending() && poll!(&mut four).is_pending());
        drop(one);
        assert!(turns.take().now_or_never().is_none(), "nobody overtakes");
        assert!(poll!(&mut four).is_pending());
        let three = three.await;
        drop(three);
        four.await;
    }

    #[tokio::test]
    async fn who_left_the_queue_gets_nothing() {
        let turns = Turns::new(1);
        let one = turns.take().await;
        for _ in 0..1000 {
            assert!(turns.take().now_or_never().is_none());
        }
        let mut last = Box::pin(turns.take());
        assert!(poll!(&mut last).is_pending());
        drop(one);
        let last = last.now_or_never().expect("all before have left");
        // One that was given, and left before it was taken.
        let mut next = Box::pin(turns.take());
        assert!(poll!(&mut next).is_pending());
        drop(last);
        drop(next);
        assert!(turns.take().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_long_one_holds_up_nobody() {
        let turns = Turns::new(1);
        let _long = turns.take().await;
        // Neither who waits already nor who comes later.
        let waiting = turns.take().await;
        assert_eq!(turns.queue().running.len(), 2);
        tokio::time::sleep(LONG).await;
        assert!(turns.take().now_or_never().is_some());
        drop(waiting);
    }
}
