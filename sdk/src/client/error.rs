//! What can go wrong with a call.

use std::time::Duration;

use crate::types::{ErrorBody, ErrorCode, FieldErrors};

/// Why a call failed, after all attempts that the retry policy allowed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client is set up wrongly; nothing was sent. Never retried.
    #[error("the client is set up wrongly: {0}")]
    Config(String),
    /// The body could not be written as JSON; nothing was sent. Never retried.
    #[error("the request cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// No connection came about: the service did not see the request. Retried, whatever the request is.
    #[error("no connection to the service")]
    Connect(#[source] reqwest::Error),
    /// The answer did not come, or not whole: the request may have taken effect. Retried if a second time does no
    /// harm: reading, logging in, and what carries an idempotency key.
    #[error("no answer from the service")]
    Lost(#[source] reqwest::Error),
    /// The service answered that it will not. Some are retried, as [`RetryPolicy`](crate::RetryPolicy) says.
    #[error(transparent)]
    Api(Box<ApiError>),
    /// The answer is not what this version expects: the request took effect. Never retried.
    #[error("the answer cannot be read at `{path}` (request {request_id})")]
    Decode {
        /// The field that could not be read, from the top (`results[3].price`).
        path: String,
        /// The service's id of the request; empty where the answer had none.
        request_id: String,
        /// What was wrong with it.
        source: serde_json::Error,
    },
    /// The answer is longer than the client takes: the request may have taken effect. Never retried.
    #[error("the answer is longer than {limit} bytes")]
    TooLong {
        /// The most bytes that the client takes.
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

    /// The service's answer, if it gave one.
    pub fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Api(error) => Some(error),
            _ => None,
        }
    }

    /// The service's code for what went wrong, if it gave one.
    pub fn code(&self) -> Option<&ErrorCode> {
        self.api().map(|error| &error.body.code)
    }

    /// The service's id of the request, to be named when asking its operator.
    pub fn request_id(&self) -> Option<&str> {
        let id = match self {
            Self::Api(error) => &error.body.request_id,
            Self::Decode { request_id, .. } => request_id,
            _ => return None,
        };
        Some(id.as_str()).filter(|id| !id.is_empty())
    }

    /// What is wrong with which field of the request, if that is what the service answered.
    pub fn fields(&self) -> Option<&FieldErrors> {
        self.api().and_then(|error| error.body.text.fields())
    }
}

/// An answer of the service with an error status.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// What the service says about it.
    pub body: ErrorBody,
    /// How long the service asks to wait before the next try.
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
