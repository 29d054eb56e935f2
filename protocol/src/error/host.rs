//! The errors that a host answers when it cannot leave the response to the component.

use sugang_sdk::types::ErrorCode;

use super::ErrorSpec;
use crate::language::Text;

/// The request breaks a rule of HTTP: its lines, its target, its `Host`, or the length of its body.
pub static BAD_REQUEST: ErrorSpec = ErrorSpec::detail(
    ErrorCode::BadRequest,
    Text::new("잘못된 요청입니다", "The request is malformed."),
);

/// The host that the request names is none of the allowed ones.
pub static HOST_NOT_ALLOWED: ErrorSpec = ErrorSpec::detail(
    ErrorCode::HostNotAllowed,
    Text::new("허용되지 않은 호스트입니다.", "The host of the request is not allowed."),
);

/// The client took too long to send its request.
pub static REQUEST_TIMEOUT: ErrorSpec = ErrorSpec::detail(
    ErrorCode::RequestTimeout,
    Text::new(
        "요청을 받는 시간이 초과되었습니다",
        "The request did not arrive in time.",
    ),
);

/// The target of the request is too long.
pub static URI_TOO_LONG: ErrorSpec = ErrorSpec::detail(
    ErrorCode::UriTooLong,
    Text::new("요청 주소가 너무 깁니다", "The address of the request is too long."),
);

/// The headers of the request are too long, or too many.
pub static HEADERS_TOO_LARGE: ErrorSpec = ErrorSpec::detail(
    ErrorCode::HeadersTooLarge,
    Text::new("요청 헤더가 너무 큽니다", "The headers of the request are too large."),
);

/// The request expects something other than `100-continue`.
pub static EXPECTATION_FAILED: ErrorSpec = ErrorSpec::detail(
    ErrorCode::ExpectationFailed,
    Text::new(
        "지원하지 않는 Expect 헤더입니다",
        "The expectation of the request is unknown.",
    ),
);

/// The request is a `CONNECT`, or its body has an unknown transfer coding.
pub static NOT_IMPLEMENTED: ErrorSpec = ErrorSpec::detail(
    ErrorCode::NotImplemented,
    Text::new("지원하지 않는 요청입니다", "The server does not support this request."),
);

/// The request is of another major version of HTTP.
pub static VERSION_NOT_SUPPORTED: ErrorSpec = ErrorSpec::detail(
    ErrorCode::HttpVersionNotSupported,
    Text::new(
        "지원하지 않는 HTTP 버전입니다",
        "This version of HTTP is not supported.",
    ),
);

/// The instance that served the request crashed.
pub static INSTANCE_CRASHED: ErrorSpec = ErrorSpec::detail(
    ErrorCode::InstanceCrashed,
    Text::new("서버 오류가 발생했습니다", "The server failed."),
);

/// The host serves as many requests as it admits.
pub static OVERLOADED: ErrorSpec = ErrorSpec::detail(
    ErrorCode::Overloaded,
    Text::new(
        "요청이 많습니다. 잠시 후 다시 시도해주세요",
        "Too many requests. Try again in a moment.",
    ),
);

/// The component did not respond within the host's limit.
pub static TIMEOUT: ErrorSpec = ErrorSpec::detail(
    ErrorCode::Timeout,
    Text::new("응답 시간이 초과되었습니다", "The server did not answer in time."),
);
