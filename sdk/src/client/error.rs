//! Errors of calls.

use std::time::Duration;

use crate::types::{ErrorBody, ErrorCode, FieldErrors};

/// Why a call failed, after the attempts that the retry policy allows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The settings are wrong. Nothing was sent; never retried.
    #[error("the settings of the client are wrong: {0}")]
    Config(String),
    /// The body cannot be written as JSON. Nothing was sent; never retried.
    #[error("the request cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// The connection failed, so the service did not see the request. Always retried.
    #[error("no connection to the service")]
    Connect(#[source] reqwest::Error),
    /// The response is missing or incomplete, so the request may have taken effect.
    ///
    /// Retried if the request is idempotent: reads, logins, and requests with an idempotency key.
    #[error("no response from the service")]
    Lost(#[source] reqwest::Error),
    /// The service refused the request, or failed. Retried as [`RetryPolicy`](crate::RetryPolicy) says.
    #[error(transparent)]
    Api(Box<ApiError>),
    /// This version cannot read the response. The request took effect; never retried.
    #[error("the response cannot be read at `{path}` (request {request_id})")]
    Decode {
        /// The path of the field that cannot be read (`results[3].price`).
        path: String,
        /// The service's id of the request; empty if the response has none.
        request_id: String,
        /// The reason.
        source: serde_json::Error,
    },
    /// The response is longer than the client accepts. The request may have taken effect; never retried.
    #[error("the response is longer than {limit} bytes")]
    TooLong {
        /// The most bytes that the client accepts.
        limit: usize,
    },
}

impl Error {
    pub(super) fn from_transport(error: reqwest::Error) -> Self {
        if error.is_builder() {
            Self::Config(error.to_string())
        } else if error.is_connect() {
            Self::Connect(error)
        } else {
            Self::Lost(error)
        }
    }

    /// Returns the service's error response, if there is one.
    pub fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Api(error) => Some(error),
            _ => None,
        }
    }

    /// Returns the service's code of the error, if there is one.
    pub fn code(&self) -> Option<&ErrorCode> {
        self.api().map(|error| &error.body.code)
    }

    /// Returns the service's id of the request, for questions to its operator.
    pub fn request_id(&self) -> Option<&str> {
        let id = match self {
            Self::Api(error) => &error.body.request_id,
            Self::Decode { request_id, .. } => request_id,
            _ => return None,
        };
        Some(id.as_str()).filter(|id| !id.is_empty())
    }

    /// Returns the messages of wrong fields by the name of the field, if the error is about fields.
    pub fn fields(&self) -> Option<&FieldErrors> {
        self.api().and_then(|error| error.body.text.fields())
    }
}

/// A response of the service with an error status.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// The body of the response.
    pub body: ErrorBody,
    /// The time after which the service asks to retry.
    pub retry_after: Option<Duration>,
}

impl std::error::Error for ApiError {}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ErrorBody { text, code, request_id } = &self.body;
        write!(f, "{}", self.status)?;
        if !code.as_str().is_empty() {
            write!(f, " {code}")?;
        }
        write!(f, ": {text}")?;
        if !request_id.is_empty() {
            write!(f, " (request {request_id})")?;
        }
        Ok(())
    }
}
