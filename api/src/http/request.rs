//! A request, without its body.

use std::sync::LazyLock;

use http::Method;
use sugang_protocol::{
    HELD_FILES, Language,
    request_id::{self, RequestIds},
};

/// Whether the embedded host serves this component, and not Spin, where clients can send headers of this name.
static ON_EMBEDDED_HOST: LazyLock<bool> = LazyLock::new(|| std::env::var_os(request_id::HOST_VARIABLE).is_some());

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

    /// Returns the authority that the request names: the host, with or without a port.
    pub(crate) fn authority(&self) -> Option<&str> {
        let (_, authority) = self.origin.as_deref()?.split_once("://")?;
        Some(authority)
    }

    /// Returns the `ETag`s of the files whose bodies the embedded host has already.
    pub(crate) fn held_files(&self) -> Option<&str> {
        self.header(HELD_FILES).filter(|_| *ON_EMBEDDED_HOST)
    }

    /// Returns the ids of the request: the client's if it is safe to log, and the embedded host's, or a new one.
    pub(crate) fn request_ids(&self) -> RequestIds {
        let own = self.header(request_id::OWN_HEADER).filter(|_| *ON_EMBEDDED_HOST);
        RequestIds::new(own.map(str::to_owned), self.header(request_id::HEADER))
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
        let ids = |headers: &[_]| RequestHead::with_headers(Method::GET, headers).request_ids();
        assert_eq!(ids(&[("X-Request-Id", "a.B_9-z")]).shown(), "a.B_9-z");
        assert_ne!(ids(&[]).own, ids(&[]).own);
    }

    #[test]
    fn without_the_embedded_host_no_header_sets_the_own_id() {
        let head = RequestHead::with_headers(Method::GET, &[("spin-request-id", "forged")]);
        assert_ne!(head.request_ids().own, "forged");
    }

    #[test]
    fn the_authority_is_that_of_the_origin() {
        let mut head = RequestHead::with_headers(Method::GET, &[]);
        assert_eq!(head.authority(), None);
        head.origin = Some("https://[::1]:8000".to_owned());
        assert_eq!(head.authority(), Some("[::1]:8000"));
    }
}
