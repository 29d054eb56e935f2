//! The headers that all responses share, the component's and the host's own.

use crate::{cors::Cors, request_id};

/// The header by which the embedded host tells the component the `ETag`s of the files that it has already, in lower case,
/// with commas between them. The body of such a file need not be made again, and may be left out. Clients cannot send it
/// there: the host removes it, like every other header that begins with `spin-`.
pub const HELD_FILES: &str = "spin-held-files";

/// Returns the headers that a response lacks: its request id, how it may be cached, and what CORS requires.
///
/// `has` tells whether the response has a header already; names are in lower case. `cors` is `None` while the
/// configuration is unknown.
pub fn shared_headers<'a>(
    has: impl Fn(&str) -> bool,
    request_id: &'a str,
    cors: Option<&Cors>,
    origin: Option<&'a str>,
) -> Vec<(&'static str, &'a str)> {
    let mut headers = Vec::with_capacity(8);
    headers.push((request_id::HEADER, request_id));
    headers.push(("x-content-type-options", "nosniff"));
    // Tokens, personal data and errors are not cached; a file of the documentation has brought its own header.
    for (name, value) in [("cache-control", "no-store"), ("vary", "accept-language")] {
        if !has(name) {
            headers.push((name, value));
        }
    }
    headers.extend(cors.into_iter().flat_map(|cors| cors.headers(origin)));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_response_has_its_id_and_is_not_cached() {
        let headers = shared_headers(|_| false, "r-1", Some(&Cors::Any), None);
        assert_eq!(
            headers,
            [
                ("x-request-id", "r-1"),
                ("x-content-type-options", "nosniff"),
                ("cache-control", "no-store"),
                ("vary", "accept-language"),
            ]
        );
    }

    #[test]
    fn a_response_keeps_its_own_headers() {
        let headers = shared_headers(|name| name == "cache-control", "r-1", None, None);
        assert!(headers.iter().all(|(name, _)| *name != "cache-control"), "{headers:?}");
    }
}
