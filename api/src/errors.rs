//! Refusals: when to use which.
//!
//! - What can be said in one sentence is a [`ErrorSpec`]: a constant with its code (which determines the status), its
//!   text in both languages and the key under which clients read it. Those that are the same everywhere stand here, those
//!   that speak of an exam or a course in [`crate::kind`].
//! - Wrong fields are [`FieldProblems`], collected so that a client sees all of them at once: [`Failure::Fields`], and
//!   [`Failure::Form`] for a sign-up.
//! - What the client cannot help is [`Failure::Unavailable`] (a store is away: try again), [`Failure::Internal`] (a
//!   defect) or [`Failure::Misconfigured`] (the operator has to act). Why goes into the log and never into the answer:
//!   [`Internal`] can be neither printed nor formatted.

use sugang_protocol::{ErrorResponse, ErrorSpec, Language, Text};
use sugang_sdk::types::{ErrorCode, ErrorText, FieldErrors};

use crate::{config::Misconfigured, fields::FieldProblem, log, response::Response};

/// Why a request is not answered as asked.
pub enum Failure {
    /// What one sentence says.
    Problem(&'static ErrorSpec),
    /// Wrong fields or parameters; their names are the keys.
    Fields(FieldProblems),
    /// Wrong fields of a sign-up, which puts them under `errors`.
    Form(FieldProblems),
    /// The path does not take the method; it takes these.
    MethodNotAllowed(String),
    /// A store is away or too slow.
    Unavailable(Internal),
    /// Too many attempts: there is another one in so many seconds.
    RateLimited {
        /// Seconds.
        retry_after_s: u64,
    },
    /// A defect of this service.
    Internal(Internal),
    /// The configuration is not what it must be; the only cause that is shown, since nothing else works without it.
    Misconfigured(Misconfigured),
}

/// What the log may say and an answer may not: therefore neither `Display` nor `Debug`.
pub struct Internal(String);

impl Internal {
    /// Takes a text for the log. It must hold no token, password or e-mail address.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

macro_rules! problems {
    ($(#[doc = $doc:literal] $name:ident = $key:ident $code:ident $korean:literal $english:literal;)*) => {$(
        #[doc = $doc]
        pub static $name: ErrorSpec = ErrorSpec::$key(ErrorCode::$code, Text::new($korean, $english));
    )*};
}

problems! {
    /// Broken JSON, broken UTF-8, or no object.
    MALFORMED_JSON = detail MalformedJson "요청 본문이 올바른 JSON 객체가 아닙니다." "The body is not a JSON object.";
    /// The payment method takes neither so little nor so much.
    AMOUNT_OUT_OF_BOUNDS = error AmountOutOfBounds
        "결제 수단의 허용 금액 범위를 벗어났습니다" "The amount is outside what the payment method takes";
    /// No token.
    NOT_AUTHENTICATED = detail NotAuthenticated
        "Authentication credentials were not provided." "Authentication credentials were not provided.";
    /// A wrong password, an unknown e-mail address and an inactive user alike.
    INVALID_CREDENTIALS = detail InvalidCredentials
        "No active account found with the given credentials" "No active account found with the given credentials";
    /// A bad access token.
    TOKEN_NOT_VALID = detail TokenNotValid
        "Given token not valid for any token type" "Given token not valid for any token type";
    /// A bad refresh token.
    REFRESH_NOT_VALID = detail TokenNotValid "Token is invalid or expired" "Token is invalid or expired";
    /// The token's user is gone.
    USER_NOT_FOUND = detail UserNotFound "User not found" "User not found";
    /// The token's user may no longer act.
    USER_INACTIVE = detail UserInactive "User is inactive" "User is inactive";
    /// A payment of somebody else.
    NOT_OWNER = error NotOwner "본인의 결제만 취소할 수 있습니다" "You can cancel your own payments only";
    /// An unknown path, exam, course or payment.
    NOT_FOUND = detail NotFound "찾을 수 없습니다." "Not found.";
    /// No such page of a list.
    INVALID_PAGE = detail InvalidPage "Invalid page." "Invalid page.";
    /// Another request is at work on the same thing.
    BUSY = error Busy "잠시 후 다시 시도해주세요" "Please try again in a moment";
    /// The first request with this key is at work.
    REQUEST_IN_PROGRESS = error RequestInProgress "잠시 후 다시 시도해주세요" "Please try again in a moment";
    /// All seats are taken.
    SOLD_OUT = error SoldOut "정원이 마감되었습니다" "All seats are taken";
    /// The payment was cancelled or refunded before.
    ALREADY_CANCELLED = error AlreadyCancelled "이미 취소된 결제입니다" "This payment is cancelled already";
    /// The body is longer than the configured limit.
    PAYLOAD_TOO_LARGE = detail PayloadTooLarge "요청 본문이 너무 큽니다." "The body is too large.";
    /// The body is not declared as JSON.
    UNSUPPORTED_MEDIA_TYPE = detail UnsupportedMediaType
        "지원하지 않는 미디어 타입입니다. application/json으로 보내주세요."
        "Unsupported media type. Send application/json.";
    /// The key came with another request before.
    IDEMPOTENCY_KEY_REUSED = error IdempotencyKeyReused
        "이미 다른 요청에 사용된 Idempotency-Key입니다" "This Idempotency-Key was used with another request";
}

static METHOD_NOT_ALLOWED: ErrorSpec = ErrorSpec::detail(
    ErrorCode::MethodNotAllowed,
    Text::new("허용되지 않는 메소드입니다.", "Method not allowed."),
);
static UNAVAILABLE: ErrorSpec = ErrorSpec::detail(
    ErrorCode::Unavailable,
    Text::new(
        "잠시 후 다시 시도해주세요.",
        "The service is unavailable. Please try again in a moment.",
    ),
);
static RATE_LIMITED: ErrorSpec = ErrorSpec::detail(
    ErrorCode::RateLimited,
    Text::new(
        "시도 횟수가 너무 많습니다. 잠시 후 다시 시도해주세요.",
        "Too many attempts. Please try again later.",
    ),
);
static INTERNAL: ErrorSpec = ErrorSpec::detail(
    ErrorCode::Internal,
    Text::new("서버 오류가 발생했습니다.", "The service failed."),
);
const SIGNUP_FAILED: Text = Text::new("회원가입에 실패했습니다.", "The sign-up failed.");

/// What is wrong with which field, in the order in which it was found.
#[derive(Default)]
pub struct FieldProblems(Vec<(&'static str, FieldProblem)>);

impl FieldProblems {
    /// One problem with one field.
    pub fn of(field: &'static str, problem: FieldProblem) -> Self {
        Self(vec![(field, problem)])
    }

    /// Adds a problem.
    pub fn push(&mut self, field: &'static str, problem: FieldProblem) {
        self.0.push((field, problem));
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn texts(&self, language: Language) -> FieldErrors {
        let mut errors = FieldErrors::new();
        for (field, problem) in &self.0 {
            errors.entry((*field).into()).or_default().push(problem.text(language));
        }
        errors
    }
}

impl From<&'static ErrorSpec> for Failure {
    fn from(problem: &'static ErrorSpec) -> Self {
        Self::Problem(problem)
    }
}

impl Failure {
    /// The answer that it becomes; its cause, if the client must not see it, goes into the log.
    pub fn into_response(self, language: Language, request_id: &str) -> Response {
        let (problem, header) = match self {
            Self::Problem(problem) => (problem, None),
            Self::MethodNotAllowed(allow) => (&METHOD_NOT_ALLOWED, Some(("allow", allow))),
            Self::RateLimited { retry_after_s } => (&RATE_LIMITED, Some(("retry-after", retry_after_s.to_string()))),
            Self::Unavailable(Internal(cause)) => {
                log::failure(request_id, &UNAVAILABLE.code, &cause);
                (&UNAVAILABLE, None)
            }
            Self::Internal(Internal(cause)) => {
                log::failure(request_id, &INTERNAL.code, &cause);
                (&INTERNAL, None)
            }
            Self::Fields(problems) => {
                return answer(
                    ErrorText::Fields(problems.texts(language)),
                    &ErrorCode::Invalid,
                    request_id,
                );
            }
            Self::Form(problems) => {
                let text = ErrorText::Form {
                    message: SIGNUP_FAILED.in_language(language).into(),
                    errors: problems.texts(language),
                };
                return answer(text, &ErrorCode::Invalid, request_id);
            }
            Self::Misconfigured(Misconfigured(detail)) => {
                log::failure(request_id, &ErrorCode::Misconfigured, &detail);
                return answer(ErrorText::detail(detail), &ErrorCode::Misconfigured, request_id);
            }
        };
        let response = Response::from(problem.response(language, request_id));
        match header {
            Some((name, value)) => response.header(name, value),
            None => response,
        }
    }
}

fn answer(text: ErrorText, code: &ErrorCode, request_id: &str) -> Response {
    ErrorResponse::new(code, text, request_id).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(failure: Failure, language: Language) -> String {
        let response = failure.into_response(language, "r-1");
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
    fn the_text_stands_under_its_key_and_is_followed_by_code_and_request_id() {
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
        assert_eq!(
            written(
                Failure::MethodNotAllowed("GET, HEAD, OPTIONS".into()),
                Language::English
            ),
            concat!(
                "405 allow=GET, HEAD, OPTIONS ",
                r#"{"detail":"Method not allowed.","code":"method_not_allowed","request_id":"r-1"}"#
            )
        );
        assert_eq!(
            written(Failure::RateLimited { retry_after_s: 7 }, Language::English),
            concat!(
                "429 retry-after=7 ",
                r#"{"detail":"Too many attempts. Please try again later.","code":"rate_limited","request_id":"r-1"}"#
            )
        );
    }

    #[test]
    fn fields_are_the_keys_but_for_a_signup() {
        let problems = || {
            let mut problems = FieldProblems::of("password", FieldProblem::NoLetter);
            problems.push("email", FieldProblem::Required);
            problems.push("password", FieldProblem::NoDigit);
            problems
        };
        assert_eq!(
            written(Failure::Fields(problems()), Language::Korean),
            concat!(
                r#"400 {"email":["이 필드는 필수 항목입니다."],"#,
                r#""password":["비밀번호는 최소 하나의 문자를 포함해야 합니다.","비밀번호는 최소 하나의 숫자를 포함해야 합니다."],"#,
                r#""code":"invalid","request_id":"r-1"}"#
            )
        );
        assert_eq!(
            written(Failure::Form(problems()), Language::English),
            concat!(
                r#"400 {"message":"The sign-up failed.","errors":{"email":["This field is required."],"#,
                r#""password":["The password must have a letter.","The password must have a digit."]},"#,
                r#""code":"invalid","request_id":"r-1"}"#
            )
        );
    }

    #[test]
    fn what_went_wrong_inside_stays_inside() {
        let secret = "relation \"users\" does not exist";
        for failure in [
            Failure::Internal(Internal::new(secret)),
            Failure::Unavailable(Internal::new(secret)),
        ] {
            assert!(!written(failure, Language::Korean).contains("users"));
        }
    }
}
