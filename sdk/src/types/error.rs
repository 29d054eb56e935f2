//! Errors: a text for people, under the keys of the Django service, and a code for programs.

use std::{borrow::Cow, collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Money;

/// The messages of wrong fields, by the name of the field.
pub type FieldErrors = BTreeMap<Cow<'static, str>, Vec<Cow<'static, str>>>;

macro_rules! codes {
    ($(#[doc = $meaning:literal] $variant:ident = $word:literal,)*) => {
        /// The stable, machine-readable name of an error. The service sends each code with one HTTP status.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $(#[doc = $meaning] $variant,)*
            /// A code that this version does not know; empty if the response had none.
            Other(String),
        }

        impl ErrorCode {
            /// Every code that this version knows.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the word on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Other(word) => word,
                }
            }

            /// Returns the meaning in English.
            pub fn meaning(&self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning.trim_ascii_start(),)*
                    Self::Other(_) => "",
                }
            }
        }

        impl FromStr for ErrorCode {
            type Err = std::convert::Infallible;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                Ok(match word {
                    $($word => Self::$variant,)*
                    _ => Self::Other(word.to_owned()),
                })
            }
        }
    };
}

codes! {
    /// The request breaks a rule of HTTP: its lines, its target, its `Host`, or the length of its body.
    BadRequest = "bad_request",
    /// The service does not answer for the host that the request names.
    HostNotAllowed = "host_not_allowed",
    /// A field of the body or a parameter is missing or wrong; the messages stand under its name.
    Invalid = "invalid",
    /// The body is not JSON, or not a JSON object.
    MalformedJson = "malformed_json",
    /// The body is not the form that it is declared as.
    MalformedForm = "malformed_form",
    /// The caller holds a registration for this already.
    AlreadyRegistered = "already_registered",
    /// It is not in its registration period now.
    NotOpen = "not_open",
    /// The amount is not the price.
    AmountMismatch = "amount_mismatch",
    /// The amount is less or more than the payment method takes.
    AmountOutOfBounds = "amount_out_of_bounds",
    /// The registration was completed before.
    AlreadyCompleted = "already_completed",
    /// The registration was cancelled before.
    RegistrationCancelled = "registration_cancelled",
    /// The payment was cancelled or refunded before.
    AlreadyCancelled = "already_cancelled",
    /// What the payment was for is completed, so that it can no longer be cancelled.
    ItemCompleted = "item_completed",
    /// An operator has cancelled the registration and kept the money; only an operator gives it back.
    RefundRefused = "refund_refused",
    /// The payment is being given back, in whole or in part, and the outcome is not known yet.
    RefundInProgress = "refund_in_progress",
    /// The gateway has refused to give the payment back, and nothing has changed; the key `reason` has its code.
    RefundDeclined = "refund_declined",
    /// The price has to be paid by a pre-order; the key `preorder` has its path.
    PaymentRequired = "payment_required",
    /// No gateway takes this payment method now.
    PaymentMethodUnavailable = "payment_method_unavailable",
    /// The order is being paid, and its outcome is not known yet.
    OrderInProgress = "order_in_progress",
    /// The order has expired or was cancelled.
    OrderEnded = "order_ended",
    /// The gateway has declined the payment, and no money has moved; `declined_code` of the order says why.
    PaymentDeclined = "payment_declined",
    /// The payment window's key belongs to another attempt to pay.
    PaymentKeyUsed = "payment_key_used",
    /// It is paid already.
    AlreadyPaid = "already_paid",
    /// The order is paid by a gateway, which alone says what has arrived.
    GatewayDecides = "gateway_decides",
    /// The bank's reference stands for the deposit of another order.
    ReferenceUsed = "reference_used",
    /// No money of the order waits to be given back by hand.
    NoRefundDue = "no_refund_due",
    /// No further webhook can be created.
    TooManyWebhooks = "too_many_webhooks",
    /// Some of many rows are wrong, and nothing was done.
    InvalidRows = "invalid_rows",
    /// No token came with the request.
    NotAuthenticated = "not_authenticated",
    /// No active account has this e-mail and password.
    InvalidCredentials = "invalid_credentials",
    /// The signature of an event, or the secret that proves it, is missing or wrong.
    InvalidSignature = "invalid_signature",
    /// The address to which a browser came back was changed, has expired, or is that of another payment.
    InvalidReturn = "invalid_return",
    /// The browser loads a page ahead that it must not load ahead.
    PrefetchRefused = "prefetch_refused",
    /// The token is expired, forged, malformed or of the wrong type.
    TokenNotValid = "token_not_valid",
    /// The token's user is gone.
    UserNotFound = "user_not_found",
    /// The token's user is inactive.
    UserInactive = "user_inactive",
    /// The payment is another user's.
    NotOwner = "not_owner",
    /// Only a superuser makes operators or changes them, and only a superuser changes webhooks.
    NotSuperuser = "not_superuser",
    /// An operator would deactivate their own account.
    OwnAccount = "own_account",
    /// There is nothing at this address.
    NotFound = "not_found",
    /// There is no such page of the list.
    InvalidPage = "invalid_page",
    /// The caller holds no registration for this.
    NotRegistered = "not_registered",
    /// The path does not take this method; `Allow` says which it takes.
    MethodNotAllowed = "method_not_allowed",
    /// Another request is at work on the same thing; try again shortly.
    Busy = "busy",
    /// The first request with this idempotency key is still at work; try again after `Retry-After`.
    RequestInProgress = "request_in_progress",
    /// All places are taken.
    SoldOut = "sold_out",
    /// Registrations or payments refer to the exam or course, so it cannot be deleted.
    ItemInUse = "item_in_use",
    /// The user is a superuser, whose right is taken on the machine alone.
    TargetIsSuperuser = "target_is_superuser",
    /// Less is left of the payment than the refund would give back.
    RefundTooLarge = "refund_too_large",
    /// The request did not arrive in time, and nothing was done.
    RequestTimeout = "request_timeout",
    /// The exam or course has changed since the version of `If-Match`; read it again.
    PreconditionFailed = "precondition_failed",
    /// The body is longer than the service takes.
    PayloadTooLarge = "payload_too_large",
    /// The target of the request is too long.
    UriTooLong = "uri_too_long",
    /// The body is declared neither as JSON nor as a form.
    UnsupportedMediaType = "unsupported_media_type",
    /// The request expects something other than `100-continue`.
    ExpectationFailed = "expectation_failed",
    /// The idempotency key was used before with another request.
    IdempotencyKeyReused = "idempotency_key_reused",
    /// The request needs `If-Match` with the version that it changes.
    PreconditionRequired = "precondition_required",
    /// Too many requests; try again after `Retry-After`.
    RateLimited = "rate_limited",
    /// The headers of the request are too long, or too many.
    HeadersTooLarge = "headers_too_large",
    /// The service failed; the request id finds the reason in its log.
    Internal = "internal",
    /// The instance that served the request crashed; the request may have taken effect.
    InstanceCrashed = "internal_error",
    /// The service does not support such a request at all.
    NotImplemented = "not_implemented",
    /// A store is unavailable; try again after `Retry-After`.
    Unavailable = "unavailable",
    /// The database takes no changes now, and nothing was done; try again after `Retry-After`. Reads are answered.
    ReadOnly = "read_only",
    /// Another program keeps locked what this request needs, and nothing was done; try again after `Retry-After`.
    Locked = "locked",
    /// This request waited too long for its turn, and nothing was done; try again after `Retry-After`.
    Overloaded = "overloaded",
    /// The service is not configured as it must be; the operator has to act.
    Misconfigured = "misconfigured",
    /// The service did not answer in time, and the request may have taken effect; try again after `Retry-After`.
    Timeout = "timeout",
    /// The request is of another version of HTTP than the service speaks.
    HttpVersionNotSupported = "http_version_not_supported",
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        word.parse().map_err(|never: std::convert::Infallible| match never {})
    }
}

/// Body of every error: the text under its traditional key, then the code and the request's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "AnyErrorBody")]
pub struct ErrorBody {
    /// What went wrong, for people.
    #[serde(flatten)]
    pub text: ErrorText,
    /// What went wrong, for programs.
    pub code: ErrorCode,
    /// Id of the request, also in the header `X-Request-Id` and in the service's log; empty where the answer had none.
    pub request_id: String,
}

/// The text of an error, under the key or keys that clients read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ErrorText {
    /// The form of errors of apply, enrol, complete and cancel.
    Error {
        /// The text.
        error: Cow<'static, str>,
    },
    /// The form of the error of a refund that is too large.
    Left {
        /// The text.
        error: Cow<'static, str>,
        /// How much of the payment can still be given back.
        left: Money,
    },
    /// The form of the error of a request that has to be a pre-order.
    Preorder {
        /// The text.
        error: Cow<'static, str>,
        /// The path of the pre-order.
        preorder: String,
    },
    /// The form of the error of a refund that a gateway has refused.
    Reason {
        /// The text.
        error: Cow<'static, str>,
        /// The gateway's code.
        reason: String,
    },
    /// The form of the error of a request with many rows.
    Rows {
        /// The text.
        detail: Cow<'static, str>,
        /// What is wrong with which row.
        rows: Vec<RowError>,
    },
    /// The form of errors about tokens, pages, methods and bodies.
    Detail {
        /// The text.
        detail: Cow<'static, str>,
    },
    /// The form of errors of a sign-up.
    Form {
        /// The text.
        message: Cow<'static, str>,
        /// The messages of the wrong fields.
        errors: FieldErrors,
    },
    /// The form of errors about other fields, whose names are the keys.
    Fields(FieldErrors),
}

/// What is wrong with one row of a request that has many.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RowError {
    /// The place in a list, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// The line of a file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The column of a CSV file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// The name of the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub field: Option<Cow<'static, str>>,
    /// What is wrong.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub error: Cow<'static, str>,
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, number) in [("index", self.index), ("line", self.line), ("column", self.column)] {
            if let Some(number) = number {
                write!(f, "{name} {number}, ")?;
            }
        }
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.error)
    }
}

impl ErrorText {
    /// Puts a text under `error`.
    pub fn error(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Error { error: text.into() }
    }

    /// Puts a text under `detail`.
    pub fn detail(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Detail { detail: text.into() }
    }

    /// Returns the messages of wrong fields, if the error is about fields.
    pub fn fields(&self) -> Option<&FieldErrors> {
        match self {
            Self::Form { errors, .. } | Self::Fields(errors) => Some(errors),
            Self::Error { .. }
            | Self::Left { .. }
            | Self::Preorder { .. }
            | Self::Reason { .. }
            | Self::Rows { .. }
            | Self::Detail { .. } => None,
        }
    }
}

impl fmt::Display for ErrorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = match self {
            Self::Error { error: text }
            | Self::Left { error: text, .. }
            | Self::Preorder { error: text, .. }
            | Self::Reason { error: text, .. }
            | Self::Rows { detail: text, .. }
            | Self::Detail { detail: text }
            | Self::Form { message: text, .. } => text,
            Self::Fields(_) => "",
        };
        f.write_str(head)?;
        for (n, (field, messages)) in self.fields().into_iter().flatten().enumerate() {
            let separator = if n == 0 && head.is_empty() { "" } else { "; " };
            write!(f, "{separator}{field}: {}", messages.join(" "))?;
        }
        if let Self::Rows { rows, .. } = self {
            rows.iter().try_for_each(|row| write!(f, "; {row}"))?;
        }
        Ok(())
    }
}

/// Any JSON object: an error is readable even if its body is not the service's.
#[derive(Deserialize)]
struct AnyErrorBody(serde_json::Map<String, serde_json::Value>);

impl From<AnyErrorBody> for ErrorBody {
    fn from(AnyErrorBody(mut body): AnyErrorBody) -> Self {
        let mut take = |key| match body.remove(key) {
            Some(serde_json::Value::String(text)) => Some(text),
            _ => None,
        };
        let (code, request_id) = (take("code").unwrap_or_default(), take("request_id").unwrap_or_default());
        let (error, detail, message) = (take("error"), take("detail"), take("message"));
        let text = match (error, detail, message) {
            (Some(error), ..) => {
                let left = take("left").and_then(|left| left.parse().ok());
                let error = error.into();
                match (left, take("preorder"), take("reason")) {
                    (Some(left), ..) => ErrorText::Left { error, left },
                    (None, Some(preorder), _) => ErrorText::Preorder { error, preorder },
                    (None, None, Some(reason)) => ErrorText::Reason { error, reason },
                    (None, None, None) => ErrorText::error(error),
                }
            }
            (None, Some(detail), _) => match body.remove("rows").map(serde_json::from_value) {
                Some(Ok(rows)) => ErrorText::Rows {
                    detail: detail.into(),
                    rows,
                },
                _ => ErrorText::detail(detail),
            },
            (None, None, Some(message)) => {
                let errors = match body.remove("errors") {
                    Some(serde_json::Value::Object(errors)) => field_errors(errors),
                    _ => FieldErrors::new(),
                };
                ErrorText::Form {
                    message: message.into(),
                    errors,
                }
            }
            (None, None, None) => ErrorText::Fields(field_errors(body)),
        };
        Self {
            text,
            code: code
                .parse()
                .unwrap_or_else(|never: std::convert::Infallible| match never {}),
            request_id,
        }
    }
}

fn field_errors(fields: serde_json::Map<String, serde_json::Value>) -> FieldErrors {
    let text = |value| match value {
        serde_json::Value::String(text) => Cow::from(text),
        other => Cow::from(other.to_string()),
    };
    let texts = |value| match value {
        serde_json::Value::Array(values) => values.into_iter().map(text).collect(),
        other => vec![text(other)],
    };
    fields
        .into_iter()
        .map(|(field, value)| (Cow::from(field), texts(value)))
        .collect()
}
