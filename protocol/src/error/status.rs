//! What the server does with each error code.

use sugang_sdk::types::ErrorCode;

/// Returns the HTTP status that the server sends with `code`; 500 for a code that it never sends.
pub const fn status_of(code: &ErrorCode) -> u16 {
    match code {
        ErrorCode::BadRequest
        | ErrorCode::HostNotAllowed
        | ErrorCode::Invalid
        | ErrorCode::MalformedJson
        | ErrorCode::MalformedForm
        | ErrorCode::AlreadyRegistered
        | ErrorCode::NotOpen
        | ErrorCode::AmountMismatch
        | ErrorCode::AmountOutOfBounds
        | ErrorCode::AlreadyCompleted
        | ErrorCode::RegistrationCancelled
        | ErrorCode::AlreadyCancelled
        | ErrorCode::ItemCompleted
        | ErrorCode::RefundRefused
        | ErrorCode::InvalidReturn
        | ErrorCode::InvalidRows => 400,
        ErrorCode::NotAuthenticated
        | ErrorCode::InvalidCredentials
        | ErrorCode::TokenNotValid
        | ErrorCode::UserNotFound
        | ErrorCode::InvalidSignature
        | ErrorCode::UserInactive => 401,
        ErrorCode::PaymentDeclined => 402,
        ErrorCode::NotOwner | ErrorCode::NotSuperuser | ErrorCode::OwnAccount => 403,
        ErrorCode::NotFound | ErrorCode::InvalidPage | ErrorCode::NotRegistered => 404,
        ErrorCode::MethodNotAllowed => 405,
        ErrorCode::RequestTimeout => 408,
        ErrorCode::Busy
        | ErrorCode::RequestInProgress
        | ErrorCode::SoldOut
        | ErrorCode::ItemInUse
        | ErrorCode::TargetIsSuperuser
        | ErrorCode::RefundTooLarge
        | ErrorCode::RefundInProgress
        | ErrorCode::RefundDeclined
        | ErrorCode::PaymentRequired
        | ErrorCode::PaymentMethodUnavailable
        | ErrorCode::PaymentKeyUsed
        | ErrorCode::OrderInProgress
        | ErrorCode::OrderEnded
        | ErrorCode::AlreadyPaid
        | ErrorCode::GatewayDecides
        | ErrorCode::ReferenceUsed
        | ErrorCode::NoRefundDue
        | ErrorCode::TooManyWebhooks => 409,
        ErrorCode::PreconditionFailed => 412,
        ErrorCode::PayloadTooLarge => 413,
        ErrorCode::UriTooLong => 414,
        ErrorCode::UnsupportedMediaType => 415,
        ErrorCode::ExpectationFailed => 417,
        ErrorCode::IdempotencyKeyReused => 422,
        ErrorCode::PreconditionRequired => 428,
        ErrorCode::RateLimited => 429,
        ErrorCode::HeadersTooLarge => 431,
        ErrorCode::Internal | ErrorCode::InstanceCrashed | ErrorCode::Other(_) => 500,
        ErrorCode::NotImplemented => 501,
        ErrorCode::Unavailable
        | ErrorCode::ReadOnly
        | ErrorCode::Locked
        | ErrorCode::Overloaded
        | ErrorCode::PrefetchRefused
        | ErrorCode::Misconfigured => 503,
        ErrorCode::Timeout => 504,
        ErrorCode::HttpVersionNotSupported => 505,
    }
}

/// Returns after how many seconds a retry makes sense, for conditions that pass by themselves.
///
/// A rate limit names its own number of seconds.
pub(super) const fn retry_after_s(code: &ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::Busy
        | ErrorCode::RequestInProgress
        | ErrorCode::Unavailable
        | ErrorCode::ReadOnly
        | ErrorCode::Locked
        | ErrorCode::Overloaded
        | ErrorCode::PrefetchRefused
        | ErrorCode::Timeout => Some("1"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_an_error_status() {
        for code in ErrorCode::ALL {
            assert!((400..600).contains(&status_of(code)), "{code}");
        }
    }

    #[test]
    fn a_client_is_told_when_to_retry_only_where_that_helps() {
        for code in ErrorCode::ALL.iter().filter(|code| retry_after_s(code).is_some()) {
            assert!([409, 503, 504].contains(&status_of(code)), "{code}");
        }
    }
}
