//! An answer, before it is handed to the host.

use serde::Serialize;
use sugang_protocol::ErrorResponse;

/// Status, headers and body of an answer.
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Names are in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The bytes to send.
    pub body: Vec<u8>,
}

impl Response {
    /// An answer without a body.
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::with_capacity(8),
            body: Vec::new(),
        }
    }

    /// `body` as JSON. The wire types cannot fail to serialize; if one did, the client would see a bare 500.
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(text) => Self::text(status, "application/json", text),
            Err(_) => Self::empty(500),
        }
    }

    /// A body of the given media type.
    pub fn text(status: u16, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..Self::empty(status)
        }
        .header("content-type", media_type)
    }

    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
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
        }
    }
}
