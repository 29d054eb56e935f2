//! A request, without its body.

use http::Method;
use sugang_protocol::{Language, request_id};

/// Method, target and headers of a request.
pub(crate) struct RequestHead {
    pub(crate) method: Method,
    /// The path as the client sent it.
    pub(crate) path: String,
    /// The part of the target after the question mark.
    pub(crate) query: String,
    /// Scheme and authority, if the host knows them.
    pub(crate) origin: Option<String>,
    /// The headers in the order of the request.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

impl RequestHead {
    /// Returns the value of the first header with this name, if it is UTF-8.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self
            .headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// Returns the language that the client prefers.
    pub(crate) fn language(&self) -> Language {
        Language::preferred(self.header("accept-language").unwrap_or_default())
    }

    /// Returns the client's id of the request if it is safe to log, else a new one.
    pub(crate) fn request_id(&self) -> String {
        request_id::resolve(self.header(request_id::HEADER)).into_owned()
    }
}

#[cfg(test)]
impl RequestHead {
    /// A request for tests, in which only the method and the headers matter.
    pub(crate) fn with_headers(method: Method, headers: &[(&str, &str)]) -> Self {
        Self {
            method,
            path: "/tests/".into(),
            query: String::new(),
            origin: None,
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).into(), value.as_bytes().to_vec()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_found_whatever_its_case() {
        let id = |headers: &[_]| RequestHead::with_headers(Method::GET, headers).request_id();
        assert_eq!(id(&[("X-Request-Id", "a.B_9-z")]), "a.B_9-z");
        assert_ne!(id(&[]), id(&[]));
    }
}
