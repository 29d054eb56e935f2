//! Error responses as plain data, for any HTTP library.

use sugang_sdk::types::{ErrorBody, ErrorCode, ErrorText};

use super::status::{retry_after_s, status_of};

/// An error response, before it has the headers that all responses share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorResponse {
    /// What went wrong, as the body says too.
    pub code: ErrorCode,
    /// HTTP status.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(&'static str, String)>,
    /// A JSON object.
    pub body: Vec<u8>,
}

impl ErrorResponse {
    /// Builds the response to the request with the id `request_id`, with the headers that `code` requires.
    pub fn new(code: &ErrorCode, text: ErrorText, request_id: &str) -> Self {
        let body = ErrorBody {
            text,
            code: code.clone(),
            request_id: request_id.to_owned(),
        };
        let response = Self {
            code: code.clone(),
            status: status_of(code),
            headers: Vec::with_capacity(8),
            // Texts under texts always serialize.
            body: serde_json::to_vec(&body).unwrap_or_default(),
        }
        .header("content-type", "application/json");
        match (retry_after_s(code), response.status) {
            (Some(seconds), _) => response.header("retry-after", seconds),
            (None, 401) => response.header("www-authenticate", "Bearer"),
            (None, _) => response,
        }
    }

    /// Adds a header. `name` is in lower case.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorSpec, Language, Text, host};

    fn written(response: ErrorResponse) -> String {
        let headers = response.headers.iter().map(|(name, value)| format!(" {name}={value}"));
        let body = String::from_utf8(response.body).unwrap();
        format!("{}{} {body}", response.status, headers.collect::<String>())
    }

    #[test]
    fn the_text_stands_under_its_key_before_code_and_request_id() {
        static ERROR: ErrorSpec = ErrorSpec::error(ErrorCode::SoldOut, Text::new("마감", "Sold out"));
        assert_eq!(
            written(ERROR.response(Language::Korean, "r-1")),
            r#"409 content-type=application/json {"error":"마감","code":"sold_out","request_id":"r-1"}"#
        );
        static DETAIL: ErrorSpec = ErrorSpec::detail(ErrorCode::NotFound, Text::new("없음", "Not found."));
        assert_eq!(
            written(DETAIL.response(Language::English, "r-1")),
            r#"404 content-type=application/json {"detail":"Not found.","code":"not_found","request_id":"r-1"}"#
        );
    }

    #[test]
    fn a_code_brings_its_headers() {
        assert_eq!(
            written(host::OVERLOADED.response(Language::English, "r-1")),
            concat!(
                "503 content-type=application/json retry-after=1 ",
                r#"{"detail":"Too many requests. Try again in a moment.","code":"overloaded","request_id":"r-1"}"#
            )
        );
        assert_eq!(
            written(ErrorResponse::new(
                &ErrorCode::TokenNotValid,
                ErrorText::detail("x"),
                "r"
            )),
            concat!(
                "401 content-type=application/json www-authenticate=Bearer ",
                r#"{"detail":"x","code":"token_not_valid","request_id":"r"}"#
            )
        );
    }
}
