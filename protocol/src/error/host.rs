//! The errors that a host answers when it cannot leave the response to the component.

use sugang_sdk::types::ErrorCode;

use super::ErrorSpec;
use crate::language::Text;

/// The target or the `Host` of the request forms no URI.
pub static BAD_REQUEST: ErrorSpec = ErrorSpec::detail(
    ErrorCode::BadRequest,
    Text::new("잘못된 요청입니다", "The request is malformed."),
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
