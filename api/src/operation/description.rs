//! What the OpenAPI document says about an operation besides its route. Only the tests compile it.

use std::borrow::Cow;

use sugang_sdk::types::{Page, RefundPending, User};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{Ref, RefOr, Schema, path::Parameter, schema::ArrayBuilder},
};

use crate::{
    error::{
        ApiError, FieldProblem, FieldProblems, Misconfigured,
        catalog::{
            BUSY, IDEMPOTENCY_KEY_REUSED, MALFORMED_FORM, MALFORMED_JSON, NOT_AUTHENTICATED, NOT_FOUND,
            PAYLOAD_TOO_LARGE, REFUND_IN_PROGRESS, REQUEST_IN_PROGRESS, TOKEN_NOT_VALID, UNSUPPORTED_MEDIA_TYPE,
            USER_INACTIVE, USER_NOT_FOUND,
        },
    },
    kind::ItemKind,
};

pub(crate) const JSON: &str = "application/json";
/// The media types of forms.
pub(crate) const BODIES: [&str; 3] = [JSON, "application/x-www-form-urlencoded", "multipart/form-data"];
/// The media types of files.
pub(crate) const FILES: [&str; 2] = ["text/csv", "application/x-ndjson"];
/// The media types of a list, which may be a file.
pub(crate) const LISTS: [&str; 4] = [BODIES[0], BODIES[1], BODIES[2], FILES[0]];
/// The name of the schema of a file.
pub(crate) const FILE: &str = "File";

/// The name of the schema of an event of a gateway.
pub(crate) const GATEWAY_EVENT: &str = "GatewayEvent";

/// The description of an operation.
pub(crate) struct Description {
    pub(crate) tag: Cow<'static, str>,
    pub(crate) summary: String,
    pub(crate) more: Cow<'static, str>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) body: Option<Body>,
    pub(crate) success: Success,
    /// The errors themselves, from which the examples are made.
    pub(crate) errors: Vec<ApiError>,
    /// Whether the operation hashes a password. The manifest lists the paths of these operations.
    pub(crate) cpu_bound: bool,
}

pub(crate) struct Body {
    pub(crate) schema: Cow<'static, str>,
    pub(crate) required: bool,
    pub(crate) media_types: &'static [&'static str],
}

#[derive(Clone)]
pub(crate) struct Success {
    pub(crate) status: u16,
    pub(crate) media_type: &'static str,
    /// The schema of a JSON response.
    pub(crate) schema: Option<Schema>,
    pub(crate) replayable: bool,
    /// Another status, with the same body or another.
    pub(crate) also: Option<Box<Success>>,
}

impl Description {
    /// Marks an operation that hashes a password.
    pub(crate) fn cpu_bound(self) -> Self {
        Self {
            cpu_bound: true,
            ..self
        }
    }
}

/// Describes an operation of the service itself.
pub(crate) fn service(summary: &str, more: &'static str, success: Success, errors: Vec<ApiError>) -> Description {
    let (summary, more, parameters) = (summary.into(), more.into(), vec![]);
    Description {
        tag: "service".into(),
        summary,
        more,
        parameters,
        body: None,
        success,
        errors,
        cpu_bound: false,
    }
}

/// Returns the error of a null character in a parameter.
pub(crate) fn null_character(parameter: &'static str) -> ApiError {
    ApiError::Fields(FieldProblems::of(parameter, FieldProblem::NullCharacter))
}

pub(crate) fn required(field: &'static str) -> ApiError {
    ApiError::Fields(FieldProblems::of(field, FieldProblem::Required))
}

/// Adds the errors of authentication and of the stores.
pub(crate) fn caller(own: impl IntoIterator<Item = ApiError>) -> Vec<ApiError> {
    let tokens = [&NOT_AUTHENTICATED, &TOKEN_NOT_VALID, &USER_NOT_FOUND, &USER_INACTIVE];
    own.into_iter()
        .chain(tokens.map(ApiError::from))
        .chain(stores())
        .collect()
}

/// Adds the error of a caller who is not an operator, and those of the stores.
pub(crate) fn operator(own: impl IntoIterator<Item = ApiError>) -> Vec<ApiError> {
    own.into_iter().chain([(&NOT_FOUND).into()]).chain(stores()).collect()
}

/// Returns the errors of reading a body.
pub(crate) fn body() -> impl Iterator<Item = ApiError> {
    [
        &MALFORMED_JSON,
        &MALFORMED_FORM,
        &PAYLOAD_TOO_LARGE,
        &UNSUPPORTED_MEDIA_TYPE,
    ]
    .into_iter()
    .map(ApiError::from)
}

/// Returns the errors of a lock and of an idempotency key.
pub(crate) fn keyed() -> impl Iterator<Item = ApiError> {
    [&BUSY, &REQUEST_IN_PROGRESS, &IDEMPOTENCY_KEY_REUSED]
        .into_iter()
        .map(ApiError::from)
}

/// Returns the errors of giving money back over a gateway.
pub(crate) fn refund_errors() -> [ApiError; 3] {
    [
        required("refund_account"),
        (&REFUND_IN_PROGRESS).into(),
        ApiError::RefundDeclined {
            reason: "NOT_CANCELABLE_PAYMENT".into(),
        },
    ]
}

/// Returns the answer while a gateway's answer is not known.
pub(crate) fn refund_pending() -> Success {
    Success::named(202, RefundPending::name()).replayable()
}

pub(crate) fn rate_limited() -> ApiError {
    ApiError::RateLimited { retry_after_s: 30 }
}

/// Returns the errors of the stores and of the configuration.
pub(crate) fn stores() -> Vec<ApiError> {
    let cause = "not sent";
    vec![
        ApiError::internal(cause),
        ApiError::unavailable(cause),
        ApiError::Misconfigured(Misconfigured("jwt_secret has less than 32 bytes".into())),
    ]
}

impl Success {
    pub(crate) fn of(status: u16, schema: Schema) -> Self {
        Self {
            status,
            media_type: JSON,
            schema: Some(schema),
            replayable: false,
            also: None,
        }
    }

    pub(crate) fn named(status: u16, schema: Cow<'static, str>) -> Self {
        // Stands for a bare reference, which is not a `Schema`; see `openapi::paths`.
        Self::of(
            status,
            Schema::AllOf(
                utoipa::openapi::AllOfBuilder::new()
                    .item(Ref::from_schema_name(schema))
                    .build(),
            ),
        )
    }

    pub(crate) fn nothing() -> Self {
        Self {
            status: 204,
            ..Self::page()
        }
    }

    /// The client goes on at another address.
    pub(crate) fn elsewhere() -> Self {
        Self {
            status: 303,
            ..Self::page()
        }
    }

    pub(crate) fn page() -> Self {
        Self {
            status: 200,
            media_type: "text/html",
            schema: None,
            replayable: false,
            also: None,
        }
    }

    /// Adds another status with the same body.
    pub(crate) fn or(self, status: u16) -> Self {
        let other = Self { status, ..self.clone() };
        self.or_else(other)
    }

    /// Adds another status with a body of its own.
    pub(crate) fn or_else(self, other: Self) -> Self {
        Self {
            also: Some(Box::new(other)),
            ..self
        }
    }

    pub(crate) fn replayable(self) -> Self {
        Self {
            replayable: true,
            ..self
        }
    }
}

/// Returns the name of a kind's schema: its English name, capitalized.
pub(crate) fn item(kind: &ItemKind) -> Cow<'static, str> {
    (kind.names.0[..1].to_ascii_uppercase() + &kind.names.0[1..]).into()
}

/// Returns the name of a kind's schema for operators.
pub(crate) fn managed_item(kind: &ItemKind) -> Cow<'static, str> {
    format!("Managed{}", item(kind)).into()
}

/// Returns the name of the schema of what an import, or a repetition, has created.
pub(crate) fn created(kind: &ItemKind) -> Cow<'static, str> {
    format!("{}sCreated", item(kind)).into()
}

/// Returns the schema of one page of results.
pub(crate) fn page_of(result: Cow<'static, str>) -> Schema {
    let RefOr::T(Schema::Object(mut page)) = Page::<Vec<User>>::schema() else {
        panic!("a page is an object")
    };
    let results = ArrayBuilder::new().items(Ref::from_schema_name(result)).build();
    page.properties.insert("results".into(), results.into());
    page.into()
}
