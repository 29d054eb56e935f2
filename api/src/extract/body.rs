//! The body of a request: read only up to the limit, and only if it is JSON.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::value::RawValue;
use spin_sdk::{
    wasip3::{http::types, wit_future},
    wit_bindgen::StreamResult,
};

use crate::error::{
    ApiError,
    catalog::{MALFORMED_JSON, PAYLOAD_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE},
};

/// The bytes of one read; nearly every body is smaller.
const CHUNK_BYTES: usize = 4 * 1024;

/// A JSON object whose values stay text until a form reads them; of equal keys the last counts.
pub(crate) type Object<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// The body of a request.
pub(crate) struct Body(Vec<u8>);

impl Body {
    /// Reads a body of at most `limit` bytes. A body that is not empty must be declared as JSON.
    ///
    /// # Errors
    /// 413 as soon as the limit is exceeded, 415 for another media type, 400 if the client breaks off.
    pub(crate) async fn read(
        request: types::Request,
        limit: usize,
        content_length: Option<&str>,
        content_type: Option<&str>,
    ) -> Result<Self, ApiError> {
        // Refused by its headers if possible, before anything is read.
        let declared = content_length.and_then(|length| length.trim().parse::<u64>().ok());
        if declared.is_some_and(|length| length > 0) && !is_json(content_type) {
            return Err((&UNSUPPORTED_MEDIA_TYPE).into());
        }
        if declared.is_some_and(|length| length > limit as u64) {
            return Err((&PAYLOAD_TOO_LARGE).into());
        }
        let (_result, result) = wit_future::new(|| Ok(()));
        let (mut stream, trailers) = types::Request::consume_body(request, result);
        let mut bytes = Vec::new();
        loop {
            let (status, chunk) = stream.read(Vec::with_capacity(CHUNK_BYTES)).await;
            bytes.extend_from_slice(&chunk);
            if bytes.len() > limit {
                return Err((&PAYLOAD_TOO_LARGE).into());
            }
            match status {
                StreamResult::Complete(_) => {}
                StreamResult::Dropped | StreamResult::Cancelled => break,
            }
        }
        if trailers.await.is_err() {
            return Err((&MALFORMED_JSON).into());
        }
        if !bytes.is_empty() && !is_json(content_type) {
            return Err((&UNSUPPORTED_MEDIA_TYPE).into());
        }
        Ok(Self(bytes))
    }

    /// Returns the bytes as the client sent them.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads the JSON object; an empty body is an empty object.
    ///
    /// # Errors
    /// 400 if the body is anything else.
    pub(crate) fn object(&self) -> Result<Object<'_>, ApiError> {
        if self.0.is_empty() {
            return Ok(Object::new());
        }
        serde_json::from_slice(&self.0).map_err(|_| (&MALFORMED_JSON).into())
    }
}

#[cfg(any(test, fuzzing))]
impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// Returns whether the media type is JSON. JSON is always UTF-8, so a declaration of another charset is refused.
fn is_json(content_type: Option<&str>) -> bool {
    let mut parts = content_type.unwrap_or_default().split(';').map(str::trim);
    let is_json = parts
        .next()
        .is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json"));
    is_json
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
                let charset = value.trim().trim_matches('"');
                charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
            }
            _ => true,
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_application_json_is_json() {
        for (content_type, expected) in [
            (Some("application/json"), true),
            (Some("Application/JSON; charset=UTF-8"), true),
            (Some("application/json;charset=\"utf-8\""), true),
            (Some("application/json; v=1;"), true),
            (Some("application/json; charset=euc-kr"), false),
            (Some("application/jsonx"), false),
            (Some("text/plain"), false),
            (Some("multipart/form-data; boundary=x"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(is_json(content_type), expected, "{content_type:?}");
        }
    }

    #[test]
    fn a_body_is_empty_or_one_object() {
        let is_object = |bytes: &[u8]| Body(bytes.to_vec()).object().is_ok();
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(60_000), "]".repeat(60_000));
        let objects: [&[u8]; 5] = [
            b"",
            b"{}",
            b" {\"a\":1,\"a\":2} ",
            "{\"\u{ac00}\":{}}".as_bytes(),
            deep.as_bytes(),
        ];
        for body in objects {
            assert!(is_object(body), "{:.40}", String::from_utf8_lossy(body));
        }
        let others: [&[u8]; 13] = [
            b" ",
            b"[]",
            b"null",
            b"1",
            b"\"{}\"",
            b"{",
            b"{}{}",
            b"{'a':1}",
            b"{\"a\":NaN}",
            b"{\"a\":1,}",
            b"\xff",
            b"{\"a\":\"\xff\"}",
            b"\xef\xbb\xbf{}",
        ];
        for body in others {
            assert!(!is_object(body), "{}", String::from_utf8_lossy(body));
        }
        assert_eq!(
            Body(b"{\"a\":1,\"a\":2}".to_vec()).object().ok().unwrap()["a"].get(),
            "2"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_and_any_content_type_are_handled(bytes in any::<Vec<u8>>(), content_type in any::<String>()) {
            let body = Body(bytes);
            if let Ok(object) = body.object() {
                prop_assert!(body.bytes().is_empty() || serde_json::to_vec(&object).is_ok());
            }
            is_json(Some(&content_type));
        }

        #[test]
        fn an_object_keeps_its_names_and_texts(fields in any::<std::collections::BTreeMap<String, String>>()) {
            let body = Body(serde_json::to_vec(&fields).unwrap());
            let object = body.object().ok().unwrap();
            prop_assert_eq!(object.len(), fields.len());
            for (name, value) in &fields {
                prop_assert_eq!(&serde_json::from_str::<String>(object[name.as_str()].get()).unwrap(), value);
            }
        }
    }
}
