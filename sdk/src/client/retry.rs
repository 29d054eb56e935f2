//! Whether a failed attempt is followed by another: a decision without side effects.

use std::time::Duration;

use super::Error;
use crate::types::ErrorCode;

/// When and how often a request is sent again.
///
/// | what came of an attempt | sent again |
/// |---|---|
/// | no connection | always |
/// | 429, or 409 `busy` or `request_in_progress` (the service did nothing) | always |
/// | no answer in time, a broken connection, 502, 503, 504 (it may have done something) | if a second time does no harm |
/// | 503 `misconfigured`, every other answer | never |
///
/// A second time does no harm to reading, logging in, and to what carries an idempotency key. The wait doubles from
/// attempt to attempt and is drawn at random between its half and its whole; where the service asks for a longer one by
/// `Retry-After` (in seconds), that is kept, and if it asks for more than `longest_wait` the caller is told at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a request is sent at most; 4 unless set, 1 to never retry.
    pub attempts: u32,
    /// Wait after the first attempt; 100 ms unless set.
    pub first_wait: Duration,
    /// The longest wait between two attempts; 5 s unless set.
    pub longest_wait: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 4,
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_secs(5),
        }
    }
}

/// What came of an attempt that failed and that time may heal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The service did not see the request, or says that it did nothing.
    NotDone { retry_after: Option<Duration> },
    /// The request may have taken effect.
    Unknown { retry_after: Option<Duration> },
}

impl Outcome {
    /// None for what another attempt would only meet again.
    pub(super) fn of(error: &Error) -> Option<Self> {
        match error {
            Error::Connect(_) => Some(Self::NotDone { retry_after: None }),
            Error::Lost(_) => Some(Self::Unknown { retry_after: None }),
            Error::Api(error) => Self::of_answer(error.status, &error.body.code, error.retry_after),
            Error::Config(_) | Error::Encode(_) | Error::Decode { .. } | Error::TooLong { .. } => None,
        }
    }

    fn of_answer(status: u16, code: &ErrorCode, retry_after: Option<Duration>) -> Option<Self> {
        match (status, code) {
            (429, _) | (409, ErrorCode::Busy | ErrorCode::RequestInProgress) | (503, ErrorCode::Overloaded) => {
                Some(Self::NotDone { retry_after })
            }
            (503, ErrorCode::Misconfigured) => None,
            (502..=504, _) => Some(Self::Unknown { retry_after }),
            _ => None,
        }
    }
}

/// How long to wait before the next attempt, none if there is to be none. `attempts` counts those made; `repeatable`
/// says that a second time does no harm; `random` lies from 0 to 1.
pub(super) fn decide(
    policy: &RetryPolicy,
    attempts: u32,
    repeatable: bool,
    outcome: Outcome,
    random: f64,
) -> Option<Duration> {
    let retry_after = match outcome {
        Outcome::NotDone { retry_after } => retry_after,
        Outcome::Unknown { retry_after } if repeatable => retry_after,
        Outcome::Unknown { .. } => return None,
    };
    if attempts >= policy.attempts || retry_after.is_some_and(|asked| asked > policy.longest_wait) {
        return None;
    }
    let doubled = policy
        .first_wait
        .saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1)));
    let drawn = doubled.min(policy.longest_wait).mul_f64(0.5 + random / 2.0);
    Some(drawn.max(retry_after.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn answers_are_sorted_by_what_they_say_about_the_effect() {
        let not_done = |retry_after| Some(Outcome::NotDone { retry_after });
        let unknown = |retry_after| Some(Outcome::Unknown { retry_after });
        let other = || ErrorCode::Other(String::new());
        for (status, code, retry_after, expected) in [
            (409, ErrorCode::Busy, None, not_done(None)),
            (409, ErrorCode::RequestInProgress, Some(SECOND), not_done(Some(SECOND))),
            (409, ErrorCode::SoldOut, None, None),
            (429, ErrorCode::RateLimited, Some(SECOND), not_done(Some(SECOND))),
            (429, other(), None, not_done(None)),
            (502, other(), None, unknown(None)),
            (503, ErrorCode::Unavailable, Some(SECOND), unknown(Some(SECOND))),
            (503, ErrorCode::Overloaded, Some(SECOND), not_done(Some(SECOND))),
            (503, ErrorCode::Misconfigured, Some(SECOND), None),
            (504, other(), None, unknown(None)),
            (500, ErrorCode::Internal, None, None),
            (400, ErrorCode::Invalid, None, None),
            (401, ErrorCode::TokenNotValid, None, None),
            (404, ErrorCode::NotFound, Some(SECOND), None),
            (422, ErrorCode::IdempotencyKeyReused, None, None),
        ] {
            assert_eq!(
                Outcome::of_answer(status, &code, retry_after),
                expected,
                "{status} {code}"
            );
        }
    }

    #[test]
    fn decisions() {
        let not_done = |seconds: Option<u64>| Outcome::NotDone {
            retry_after: seconds.map(Duration::from_secs),
        };
        let unknown = |seconds: Option<u64>| Outcome::Unknown {
            retry_after: seconds.map(Duration::from_secs),
        };
        let policy = RetryPolicy::default();
        for (attempts, repeatable, outcome, random, expected_ms) in [
            // Doubling, between half and whole.
            (1, true, not_done(None), 0.0, Some(50)),
            (1, true, not_done(None), 1.0, Some(100)),
            (2, true, not_done(None), 1.0, Some(200)),
            (3, true, unknown(None), 1.0, Some(400)),
            // The last attempt was the last.
            (4, true, not_done(None), 1.0, None),
            (u32::MAX, true, not_done(None), 1.0, None),
            // What may have taken effect is not sent again unless that does no harm; what did not is.
            (1, false, unknown(None), 1.0, None),
            (1, false, unknown(Some(1)), 1.0, None),
            (1, true, unknown(None), 1.0, Some(100)),
            (1, false, not_done(None), 1.0, Some(100)),
            // Retry-After is the least wait, and too long a one is left to the caller.
            (1, false, not_done(Some(0)), 1.0, Some(100)),
            (1, false, not_done(Some(1)), 1.0, Some(1_000)),
            (1, true, unknown(Some(5)), 0.0, Some(5_000)),
            (1, true, unknown(Some(6)), 0.0, None),
        ] {
            let told = format!("{attempts} {repeatable} {outcome:?} {random}");
            let wait = decide(&policy, attempts, repeatable, outcome, random);
            assert_eq!(wait.map(|wait| wait.as_millis()), expected_ms, "{told}");
        }
        let many = RetryPolicy {
            attempts: u32::MAX,
            ..policy
        };
        assert_eq!(
            decide(&many, 1_000_000, true, not_done(None), 1.0),
            Some(many.longest_wait)
        );
        let none = RetryPolicy { attempts: 1, ..many };
        assert_eq!(decide(&none, 1, true, not_done(None), 1.0), None);
    }
}
