//! A response, before it is handed to the host.

use futures::stream::LocalBoxStream;
use serde::Serialize;
use sugang_protocol::ErrorResponse;
use sugang_sdk::types::ErrorCode;

/// Status, headers and body of a response.
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case, and values.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// What follows the body, part by part. It breaks off with `None`.
    pub(crate) rest: Option<Rest>,
    /// For the log: why it is a refusal.
    pub(crate) code: Option<ErrorCode>,
}

/// The parts of a body that is sent while it is made.
pub(crate) type Rest = LocalBoxStream<'static, Option<Vec<u8>>>;

impl Response {
    /// Builds a response without a body.
    pub(crate) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::with_capacity(8),
            body: Vec::new(),
            rest: None,
            code: None,
        }
    }

    /// Builds a response with `body` as JSON.
    ///
    /// The wire types always serialize; a defect there becomes a 500 without a body.
    pub(crate) fn json(status: u16, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(text) => Self::text(status, "application/json", text),
            Err(_) => Self::empty(500),
        }
    }

    /// Builds a response with a body of the given media type.
    pub(crate) fn text(status: u16, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..Self::empty(status)
        }
        .header("content-type", media_type)
    }

    /// Adds what follows the body. The length of the whole is then not known.
    pub(crate) fn followed_by(self, rest: Rest) -> Self {
        Self {
            rest: Some(rest),
            ..self
        }
    }

    /// Adds a header. `name` is in lower case.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl From<ErrorResponse> for Response {
    fn from(error: ErrorResponse) -> Self {
        Self {
            status: error.status,
            headers: error.headers,
            body: error.body,
            rest: None,
            code: Some(error.code),
        }
    }
}
