//! Refusals: which to use when.
//!
//! - An error that one sentence explains is an [`ErrorSpec`]: a constant with its code (which determines the status), its
//!   text in both languages and the key under which clients read it. Those of all operations are in [`catalog`], those
//!   that name an exam or a course in [`crate::kind`].
//! - Wrong fields are [`FieldProblems`]: [`ApiError::Fields`], and [`ApiError::SignupFields`] for a sign-up.
//! - What the client cannot change is [`ApiError::Unavailable`] (a store is down: retry), [`ApiError::Internal`] (a
//!   defect) or [`ApiError::Misconfigured`] (the operator has to act). The cause is logged and never sent: [`Internal`]
//!   implements neither `Display` nor `Debug`.

pub(crate) mod catalog;
mod fields;
mod rows;

use sugang_protocol::{ErrorResponse, ErrorSpec, Language, request_id::RequestIds};
use sugang_sdk::types::{ErrorCode, ErrorText, Money, RowError};

use crate::{http::Response, log};

use catalog::{
    INTERNAL, INVALID_ROWS, METHOD_NOT_ALLOWED, PAYMENT_REQUIRED, RATE_LIMITED, REFUND_DECLINED, REFUND_TOO_LARGE,
    SIGNUP_FAILED, UNAVAILABLE,
};
pub(crate) use fields::{FieldProblem, FieldProblems};
pub(crate) use rows::{RowProblem, RowProblems};

/// Why a request is refused or fails.
pub(crate) enum ApiError {
    /// An error that one sentence explains.
    Refused(&'static ErrorSpec),
    /// Wrong fields or parameters; their names are the keys of the response.
    Fields(FieldProblems),
    /// Wrong fields of a sign-up, which stand under `errors`.
    SignupFields(FieldProblems),
    /// The path does not take the method.
    MethodNotAllowed {
        /// The methods that it takes, as `Allow` lists them.
        allow: String,
    },
    /// A store is unavailable or too slow.
    Unavailable(Internal),
    /// A refund would give more back than what is left of the payment.
    RefundTooLarge { left: Money },
    /// The gateway has refused a refund, for the reason that has this code.
    RefundDeclined { reason: String },
    /// A price has to be paid by a pre-order, at this path.
    PaymentRequired { preorder: String },
    /// Some of many rows are wrong.
    Rows(Vec<RowError>),
    /// Rate limit exceeded; retry after this many seconds.
    RateLimited { retry_after_s: u64 },
    /// A defect of this service.
    Internal(Internal),
    /// The configuration breaks a rule. Its cause is sent, unlike every other: nothing works until it is corrected.
    Misconfigured(Misconfigured),
}

/// A cause that may be logged but not sent, and therefore implements neither `Display` nor `Debug`.
pub(crate) struct Internal(String);

/// The rule that the configuration breaks. Names the variable, never its value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misconfigured(pub(crate) String);

impl Internal {
    /// Returns the SQLSTATE, if the cause is an error of PostgreSQL.
    pub(crate) fn sqlstate(&self) -> Option<&str> {
        self.0.strip_prefix("SQLSTATE ")?.get(..5)
    }
}

impl ApiError {
    /// A defect. `cause` is for the log, and must hold no token, password or e-mail address.
    pub(crate) fn internal(cause: impl Into<String>) -> Self {
        Self::Internal(Internal(cause.into()))
    }

    /// A store that is unavailable. `cause` is for the log, and must hold no token, password or e-mail address.
    pub(crate) fn unavailable(cause: impl Into<String>) -> Self {
        Self::Unavailable(Internal(cause.into()))
    }

    /// Builds the response, and logs the cause if it is one that the operator needs.
    pub(crate) fn into_response(self, language: Language, ids: &RequestIds) -> Response {
        self.log(ids);
        self.response(language, ids.shown())
    }

    /// Logs the cause if it is one that the operator needs.
    pub(crate) fn log(&self, ids: &RequestIds) {
        if let Some((code, cause)) = self.cause() {
            log::failure(ids, code, cause);
        }
    }

    fn cause(&self) -> Option<(&ErrorCode, &str)> {
        match self {
            Self::Unavailable(Internal(cause)) => Some((&UNAVAILABLE.code, cause)),
            Self::Internal(Internal(cause)) => Some((&INTERNAL.code, cause)),
            Self::Misconfigured(Misconfigured(cause)) => Some((&ErrorCode::Misconfigured, cause)),
            _ => None,
        }
    }

    /// Builds the response.
    pub(crate) fn response(self, language: Language, request_id: &str) -> Response {
        let refused = |spec: &ErrorSpec| Response::from(spec.response(language, request_id));
        let explained = |code, text| Response::from(ErrorResponse::new(&code, text, request_id));
        match self {
            Self::Refused(spec) => refused(spec),
            Self::MethodNotAllowed { allow } => refused(&METHOD_NOT_ALLOWED).header("allow", allow),
            Self::RateLimited { retry_after_s } => {
                refused(&RATE_LIMITED).header("retry-after", retry_after_s.to_string())
            }
            Self::RefundTooLarge { left } => {
                let error = REFUND_TOO_LARGE.in_language(language).into();
                explained(ErrorCode::RefundTooLarge, ErrorText::Left { error, left })
            }
            Self::RefundDeclined { reason } => {
                let error = REFUND_DECLINED.in_language(language).into();
                explained(ErrorCode::RefundDeclined, ErrorText::Reason { error, reason })
            }
            Self::PaymentRequired { preorder } => {
                let error = PAYMENT_REQUIRED.in_language(language).into();
                explained(ErrorCode::PaymentRequired, ErrorText::Preorder { error, preorder })
            }
            Self::Rows(rows) => {
                let detail = INVALID_ROWS.in_language(language).into();
                explained(ErrorCode::InvalidRows, ErrorText::Rows { detail, rows })
            }
            Self::Unavailable(_) => refused(&UNAVAILABLE),
            Self::Internal(_) => refused(&INTERNAL),
            Self::Fields(problems) => explained(ErrorCode::Invalid, ErrorText::Fields(problems.texts(language))),
            Self::SignupFields(problems) => {
                let text = ErrorText::Form {
                    message: SIGNUP_FAILED.in_language(language).into(),
                    errors: problems.texts(language),
                };
                explained(ErrorCode::Invalid, text)
            }
            Self::Misconfigured(Misconfigured(cause)) => explained(ErrorCode::Misconfigured, ErrorText::detail(cause)),
        }
    }
}

impl From<&'static ErrorSpec> for ApiError {
    fn from(spec: &'static ErrorSpec) -> Self {
        Self::Refused(spec)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        catalog::{BUSY, NOT_AUTHENTICATED, NOT_FOUND},
        *,
    };

    fn written(error: ApiError, language: Language) -> String {
        let response = error.into_response(language, &RequestIds::new(Some("r-1".to_owned()), None));
        let headers: Vec<_> = response
            .headers
            .iter()
            .filter(|(name, _)| !name.starts_with("content-"))
            .map(|(name, value)| format!(" {name}={value}"))
            .collect();
        format!(
            "{}{} {}",
            response.status,
            headers.concat(),
            String::from_utf8(response.body).unwrap()
        )
    }

    #[test]
    fn the_text_stands_under_its_key_before_code_and_request_id() {
        assert_eq!(
            written((&BUSY).into(), Language::Korean),
            r#"409 retry-after=1 {"error":"잠시 후 다시 시도해주세요","code":"busy","request_id":"r-1"}"#
        );
        assert_eq!(
            written((&NOT_FOUND).into(), Language::English),
            r#"404 {"detail":"Not found.","code":"not_found","request_id":"r-1"}"#
        );
        assert_eq!(
            written((&NOT_AUTHENTICATED).into(), Language::Korean),
            concat!(
                "401 www-authenticate=Bearer ",
                r#"{"detail":"Authentication credentials were not provided.","code":"not_authenticated","request_id":"r-1"}"#
            )
        );
        let allow = "GET, HEAD, OPTIONS".into();
        assert_eq!(
            written(ApiError::MethodNotAllowed { allow }, Language::English),
            concat!(
                "405 allow=GET, HEAD, OPTIONS ",
                r#"{"detail":"Method not allowed.","code":"method_not_allowed","request_id":"r-1"}"#
            )
        );
        assert_eq!(
            written(ApiError::RateLimited { retry_after_s: 7 }, Language::English),
            concat!(
                "429 retry-after=7 ",
                r#"{"detail":"Too many attempts. Please try again later.","code":"rate_limited","request_id":"r-1"}"#
            )
        );
    }

    #[test]
    fn field_names_are_the_keys_except_for_a_signup() {
        let problems = || {
            let mut problems = FieldProblems::of("password", FieldProblem::MissingLetter);
            problems.push("email", FieldProblem::Required);
            problems.push("password", FieldProblem::MissingDigit);
            problems
        };
        assert_eq!(
            written(ApiError::Fields(problems()), Language::Korean),
            concat!(
                r#"400 {"email":["이 필드는 필수 항목입니다."],"#,
                r#""password":["비밀번호는 최소 하나의 문자를 포함해야 합니다.","비밀번호는 최소 하나의 숫자를 포함해야 합니다."],"#,
                r#""code":"invalid","request_id":"r-1"}"#
            )
        );
        assert_eq!(
            written(ApiError::SignupFields(problems()), Language::English),
            concat!(
                r#"400 {"message":"The sign-up failed.","errors":{"email":["This field is required."],"#,
                r#""password":["The password must have a letter.","The password must have a digit."]},"#,
                r#""code":"invalid","request_id":"r-1"}"#
            )
        );
    }

    #[test]
    fn an_internal_cause_is_not_sent() {
        let cause = "relation \"users\" does not exist";
        for error in [ApiError::internal(cause), ApiError::unavailable(cause)] {
            assert!(!written(error, Language::Korean).contains("users"));
        }
    }
}
