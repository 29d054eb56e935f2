//! Decides whether a failed attempt is retried. The decision has no side effects.

use std::time::Duration;

use super::Error;
use crate::types::ErrorCode;

/// When and how often a request is retried.
///
/// | outcome of an attempt | retried |
/// |---|---|
/// | no connection | always |
/// | 408 `request_timeout`, 429, 503 `overloaded`, 409 `busy` or `request_in_progress` (the service did nothing) | always |
/// | timeout, lost connection, 502, 503, 504 (the request may have taken effect) | if the request is idempotent |
/// | 503 `misconfigured`, every other response | never |
///
/// Idempotent are reads, logins, and requests with an idempotency key. The wait doubles with each attempt, and is drawn
/// at random between its half and its whole. A longer wait that the service asks for by `Retry-After` (in seconds) is
/// kept; if it is longer than `longest_wait`, the call fails at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The most attempts for one request; 4 by default, 1 to never retry.
    pub attempts: u32,
    /// The wait after the first attempt; 100 ms by default.
    pub first_wait: Duration,
    /// The longest wait between two attempts; 5 s by default.
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

/// The outcome of a failed attempt that may succeed later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The request had no effect.
    NotDone { retry_after: Option<Duration> },
    /// The request may have taken effect.
    Unknown { retry_after: Option<Duration> },
}

impl Outcome {
    /// Classifies an error; `None` if another attempt would fail in the same way.
    pub(super) fn of(error: &Error) -> Option<Self> {
        match error {
            Error::Connect(_) => Some(Self::NotDone { retry_after: None }),
            Error::Lost(_) => Some(Self::Unknown { retry_after: None }),
            Error::Api(error) => Self::of_response(error.status, &error.body.code, error.retry_after),
            Error::Config(_) | Error::Encode(_) | Error::Decode { .. } | Error::TooLong { .. } => None,
        }
    }

    fn of_response(status: u16, code: &ErrorCode, retry_after: Option<Duration>) -> Option<Self> {
        match (status, code) {
            (429, _)
            | (408, ErrorCode::RequestTimeout)
            | (409, ErrorCode::Busy | ErrorCode::RequestInProgress)
            | (503, ErrorCode::Overloaded | ErrorCode::ReadOnly | ErrorCode::Locked) => {
                Some(Self::NotDone { retry_after })
            }
            (503, ErrorCode::Misconfigured) => None,
            (502..=504, _) => Some(Self::Unknown { retry_after }),
            _ => None,
        }
    }
}

/// Returns the wait before the next attempt, or `None` if the call fails.
///
/// `attempts` counts the attempts so far; `random` is from 0 to 1.
pub(super) fn decide(
    policy: &RetryPolicy,
    attempts: u32,
    idempotent: bool,
    outcome: Outcome,
    random: f64,
) -> Option<Duration> {
    let retry_after = match outcome {
        Outcome::NotDone { retry_after } => retry_after,
        Outcome::Unknown { retry_after } if idempotent => retry_after,
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
    fn responses_are_classified_by_their_effect() {
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
            (503, ErrorCode::ReadOnly, Some(SECOND), not_done(Some(SECOND))),
            (503, ErrorCode::Misconfigured, Some(SECOND), None),
            (504, other(), None, unknown(None)),
            (500, ErrorCode::Internal, None, None),
            (400, ErrorCode::Invalid, None, None),
            (401, ErrorCode::TokenNotValid, None, None),
            (404, ErrorCode::NotFound, Some(SECOND), None),
            (422, ErrorCode::IdempotencyKeyReused, None, None),
        ] {
            assert_eq!(
                Outcome::of_response(status, &code, retry_after),
                expected,
                "{status} {code}"
            );
        }
    }

    #[test]
    fn waits_double_and_keep_retry_after() {
        let not_done = |seconds: Option<u64>| Outcome::NotDone {
            retry_after: seconds.map(Duration::from_secs),
        };
        let unknown = |seconds: Option<u64>| Outcome::Unknown {
            retry_after: seconds.map(Duration::from_secs),
        };
        let policy = RetryPolicy::default();
        for (attempts, idempotent, outcome, random, expected_ms) in [
            // The wait doubles, and lies between its half and its whole.
            (1, true, not_done(None), 0.0, Some(50)),
            (1, true, not_done(None), 1.0, Some(100)),
            (2, true, not_done(None), 1.0, Some(200)),
            (3, true, unknown(None), 1.0, Some(400)),
            // All attempts are used up.
            (4, true, not_done(None), 1.0, None),
            (u32::MAX, true, not_done(None), 1.0, None),
            // After a possible effect only idempotent requests are retried.
            (1, false, unknown(None), 1.0, None),
            (1, false, unknown(Some(1)), 1.0, None),
            (1, true, unknown(None), 1.0, Some(100)),
            (1, false, not_done(None), 1.0, Some(100)),
            // Retry-After is the shortest wait; if it is too long, the call fails.
            (1, false, not_done(Some(0)), 1.0, Some(100)),
            (1, false, not_done(Some(1)), 1.0, Some(1_000)),
            (1, true, unknown(Some(5)), 0.0, Some(5_000)),
            (1, true, unknown(Some(6)), 0.0, None),
        ] {
            let told = format!("{attempts} {idempotent} {outcome:?} {random}");
            let wait = decide(&policy, attempts, idempotent, outcome, random);
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
