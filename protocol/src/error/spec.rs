//! Errors that one sentence explains.

use sugang_sdk::types::{ErrorCode, ErrorText};

use super::{response::ErrorResponse, status::status_of};
use crate::language::{Language, Text};

/// An error that is the same for every request: its code, its text and the key under which clients read the text.
#[derive(Debug, PartialEq, Eq)]
pub struct ErrorSpec {
    /// The code, for programs. It determines the status.
    pub code: ErrorCode,
    /// The text, for people.
    pub text: Text,
    key: TextKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextKey {
    Error,
    Detail,
}

impl ErrorSpec {
    /// Describes an error whose text stands under `error`: those of registering, completing and cancelling.
    pub const fn error(code: ErrorCode, text: Text) -> Self {
        Self {
            code,
            text,
            key: TextKey::Error,
        }
    }

    /// Describes an error whose text stands under `detail`: every other one.
    pub const fn detail(code: ErrorCode, text: Text) -> Self {
        Self {
            code,
            text,
            key: TextKey::Detail,
        }
    }

    /// Returns the HTTP status.
    pub const fn status(&self) -> u16 {
        status_of(&self.code)
    }

    /// Builds the response to the request with the id `request_id`.
    pub fn response(&self, language: Language, request_id: &str) -> ErrorResponse {
        let text = self.text.in_language(language);
        let text = match self.key {
            TextKey::Error => ErrorText::error(text),
            TextKey::Detail => ErrorText::detail(text),
        };
        ErrorResponse::new(&self.code, text, request_id)
    }
}
