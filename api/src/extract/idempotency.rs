//! The idempotency key of a request.

use sha2::{Digest, Sha256};

use super::body::Body;
use crate::{
    error::{ApiError, FieldProblem, FieldProblems},
    http::RequestHead,
    text::hexadecimal,
};

const HEADER: &str = "Idempotency-Key";
const MAX_CHARS: usize = 255;

/// The idempotency key of a request, if the client sent one, with the fingerprint of the request.
#[derive(Default)]
pub(crate) struct Idempotency {
    pub(crate) key: Option<String>,
    /// SHA-256 of method, path and body, so that a key is not taken for that of a different request.
    pub(crate) fingerprint: Option<String>,
}

impl Idempotency {
    /// Reads the key. `path` is the path in the one spelling that stands for all.
    ///
    /// # Errors
    /// 400 if the key is not 1 to 255 visible ASCII characters.
    pub(crate) fn read(head: &RequestHead, path: &str, body: &Body) -> Result<Self, ApiError> {
        let sent = head.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(HEADER));
        let Some((_, key)) = sent else {
            return Ok(Self {
                key: None,
                fingerprint: None,
            });
        };
        let key = std::str::from_utf8(key)
            .ok()
            .filter(|key| (1..=MAX_CHARS).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()));
        let Some(key) = key else {
            let problems = FieldProblems::of(HEADER, FieldProblem::InvalidIdempotencyKey);
            return Err(ApiError::Fields(problems));
        };
        let fingerprint = Sha256::new()
            .chain_update(head.method.as_str())
            .chain_update("\n")
            .chain_update(path)
            .chain_update("\n")
            .chain_update(body.bytes())
            .finalize();
        Ok(Self {
            key: Some(key.to_owned()),
            fingerprint: Some(hexadecimal(&fingerprint)),
        })
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn read(headers: &[(&str, &str)], path: &str, body: &str) -> Option<Idempotency> {
        let head = RequestHead::with_headers(Method::POST, headers);
        Idempotency::read(
            &head,
            path,
            &Body::declared(body.as_bytes().to_vec(), "application/json").ok()?,
        )
        .ok()
    }

    #[test]
    fn a_key_is_visible_ascii() {
        for key in ["a", "0-._~!", &"k".repeat(MAX_CHARS)] {
            let read = read(&[("idempotency-key", key)], "/", "").unwrap();
            assert_eq!(read.key.as_deref(), Some(key));
        }
        for key in ["", "a b", "가", &"k".repeat(MAX_CHARS + 1)] {
            assert!(read(&[("idempotency-key", key)], "/", "").is_none(), "{key:?}");
        }
        assert!(read(&[], "/", "").is_some_and(|none| none.key.is_none() && none.fingerprint.is_none()));
    }

    #[test]
    fn a_fingerprint_is_that_of_one_request() {
        let fingerprint = |path, body| {
            read(&[("Idempotency-Key", "k")], path, body)
                .unwrap()
                .fingerprint
                .unwrap()
        };
        // `printf 'POST\n/tests/5/apply/\n{}' | sha256sum`
        assert_eq!(
            fingerprint("/tests/5/apply/", "{}"),
            "6cb159fb93f16dada53902d9f4a0404716c149471b8009996e5a88008c182be1"
        );
        assert_ne!(
            fingerprint("/tests/5/apply/", "{}"),
            fingerprint("/tests/6/apply/", "{}")
        );
        assert_ne!(
            fingerprint("/tests/5/apply/", "{}"),
            fingerprint("/tests/5/apply/", "{ }")
        );
    }
}
