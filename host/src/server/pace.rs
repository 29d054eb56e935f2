//! The pace at which bytes must pass, so that a client that is slow on purpose does not hold memory for as long as it likes.

use std::time::{Duration, Instant};

/// The shortest time within which a transfer must pass its next bytes, and its rate on average.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// The time without a byte, and the time that a transfer may take in any case.
    pub(super) patience: Duration,
    /// Bytes per second beyond that; 0 for no rate.
    pub(super) bytes_per_second: u32,
}

/// A transfer under way.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    rate: Rate,
    since: Instant,
    last: Instant,
    bytes: usize,
}

impl Pace {
    pub(super) fn begin(rate: Rate) -> Self {
        let now = Instant::now();
        Self {
            rate,
            since: now,
            last: now,
            bytes: 0,
        }
    }

    /// Notes that bytes have passed.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.last = Instant::now();
    }

    /// The bytes that have passed.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The time by which more bytes must have passed.
    pub(super) fn deadline(&self) -> Instant {
        let stalled = self.last + self.rate.patience;
        match self.rate.bytes_per_second {
            0 => stalled,
            rate => {
                let earned = Duration::from_secs_f64(self.bytes as f64 / f64::from(rate));
                stalled.min(self.since + self.rate.patience + earned)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_moves_with_the_bytes_but_not_beyond_their_rate() {
        let patience = Duration::from_secs(10);
        let mut pace = Pace::begin(Rate {
            patience,
            bytes_per_second: 1000,
        });
        let begun = pace.since;
        assert_eq!(pace.deadline(), begun + patience);
        pace.advance(500);
        assert!(pace.deadline() <= begun + Duration::from_millis(10_500));
        pace.advance(100_000);
        assert_eq!(
            pace.deadline(),
            pace.last + patience,
            "a fast client may still not stop"
        );

        pace.rate.bytes_per_second = 0;
        assert_eq!(pace.deadline(), pace.last + patience);
    }
}
