//! Time limits for calls to the stores.

use std::{
    future::Future,
    pin::pin,
    time::{Duration, Instant},
};

use futures::future::{Either, select};

/// A timer that fires later than this was held up together with its instance.
const TOLERANCE: Duration = Duration::from_millis(10);
/// The wait after the limit, in which replies that have arrived already reach their requests.
const MIN_TURN: Duration = Duration::from_millis(10);
const MAX_TURN: Duration = Duration::from_millis(50);
/// The most such waits: an instance that never gets its turn must not wait for ever.
const MAX_TURNS: u32 = 8;

/// Returns the output of `work`, or `None` if it takes longer than `limit`; `work` is then dropped unfinished.
///
/// An instance computes on one thread. While one of its requests hashes a password, replies and timers of the others wait,
/// and are then delivered in any order. So a timer alone is no proof that a store was slow: only one that fired in time is.
pub(crate) async fn within<F: Future>(limit: Duration, work: F) -> Option<F::Output> {
    within_by(limit, work, spin_sdk::time::sleep).await
}

async fn within_by<F: Future, S: Future>(limit: Duration, work: F, sleep: impl Fn(Duration) -> S) -> Option<F::Output> {
    let mut work = pin!(work);
    if let Either::Left((output, _)) = select(work.as_mut(), pin!(sleep(limit))).await {
        return Some(output);
    }
    let turn = (limit / 4).clamp(MIN_TURN, MAX_TURN);
    for _ in 0..MAX_TURNS {
        let begun = Instant::now();
        if let Either::Left((output, _)) = select(work.as_mut(), pin!(sleep(turn))).await {
            return Some(output);
        }
        if begun.elapsed() < turn + TOLERANCE {
            break;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        future::{pending, poll_fn, ready},
        task::Poll,
        thread,
    };

    use futures::executor::block_on;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(20);

    /// A timer that takes its thread: `delays` after its time for the first ones, and then on time.
    fn timer(delays: &Cell<u32>) -> impl Fn(Duration) -> std::future::Ready<()> {
        |time| {
            let late = delays.get() > 0;
            delays.set(delays.get().saturating_sub(1));
            thread::sleep(time + if late { TOLERANCE * 3 } else { Duration::ZERO });
            ready(())
        }
    }

    /// Work that is ready when it is polled this many times.
    async fn after(polls: u32) -> u32 {
        let mut left = polls;
        poll_fn(|_| {
            left -= 1;
            if left == 0 { Poll::Ready(polls) } else { Poll::Pending }
        })
        .await
    }

    #[test]
    fn a_store_that_does_not_answer_is_given_up() {
        let delays = Cell::new(0);
        assert_eq!(block_on(within_by(LIMIT, pending::<()>(), timer(&delays))), None);
        let delays = Cell::new(u32::MAX);
        assert_eq!(block_on(within_by(LIMIT, pending::<()>(), timer(&delays))), None);
    }

    #[test]
    fn a_reply_that_waits_behind_a_late_timer_is_read() {
        // Both were there when the instance got its turn, and the timer was delivered first.
        assert_eq!(block_on(within_by(LIMIT, after(2), timer(&Cell::new(1)))), Some(2));
        assert_eq!(block_on(within_by(LIMIT, after(4), timer(&Cell::new(4)))), Some(4));
        // The negative control: with timers that are on time, the same reply is too late.
        assert_eq!(block_on(within_by(LIMIT, after(4), timer(&Cell::new(0)))), None);
    }
}
