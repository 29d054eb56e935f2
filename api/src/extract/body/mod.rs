//! The body of a request: read only up to the limit, and only if it is JSON, a form, or a file where one is expected.

mod form;
mod media_type;

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::value::RawValue;
use spin_sdk::{
    wasip3::{http::types, wit_future},
    wit_bindgen::StreamResult,
};

use crate::error::{
    ApiError,
    catalog::{MALFORMED_FORM, MALFORMED_JSON, PAYLOAD_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE},
};
use media_type::MediaType;
pub(crate) use media_type::{FileFormat, file_format};

/// The bytes of the first read; nearly every body is smaller.
const CHUNK_BYTES: usize = 4 * 1024;
/// The bytes of a read of a long body.
const MAX_CHUNK_BYTES: usize = 64 * 1024;

/// A JSON object whose values stay text until a form reads them; of equal keys the last counts.
pub(crate) type Object<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// The body of a request, as JSON.
pub(crate) struct Body(Vec<u8>);

impl Body {
    /// Reads a body of at most `limit` bytes. A body that is not empty must be declared as JSON or as a form.
    ///
    /// # Errors
    /// 413 as soon as the limit is exceeded, 415 for another media type, 400 for a malformed form or if the client breaks
    /// off.
    pub(crate) async fn read(
        request: types::Request,
        limit: usize,
        content_length: Option<&str>,
        content_type: Option<&str>,
    ) -> Result<Self, ApiError> {
        let media_type = MediaType::read(content_type.unwrap_or_default());
        // Refused by its headers if possible, before anything is read.
        let declared = declared_length(content_length);
        if declared.is_some_and(|length| length > 0) && media_type.is_none() {
            return Err((&UNSUPPORTED_MEDIA_TYPE).into());
        }
        Self::of(receive(request, limit, declared).await?, media_type)
    }

    /// Reads a body of at most `limit` bytes, as it is.
    ///
    /// # Errors
    /// 413 as soon as the limit is exceeded, 400 if the client breaks off.
    pub(crate) async fn read_file(
        request: types::Request,
        limit: usize,
        content_length: Option<&str>,
    ) -> Result<Self, ApiError> {
        receive(request, limit, declared_length(content_length)).await.map(Self)
    }

    /// Turns a form into JSON.
    fn of(bytes: Vec<u8>, media_type: Option<MediaType>) -> Result<Self, ApiError> {
        if bytes.is_empty() {
            return Ok(Self(bytes));
        }
        let fields = match media_type {
            None => return Err((&UNSUPPORTED_MEDIA_TYPE).into()),
            Some(MediaType::Json) if bytes.trim_ascii() == b"null" => return Ok(Self(Vec::new())),
            Some(MediaType::Json) => return Ok(Self(bytes)),
            Some(MediaType::UrlEncoded) => form::url_encoded(&bytes),
            Some(MediaType::Multipart { boundary }) => form::multipart(bytes, &boundary),
        };
        let fields = fields.ok_or(&MALFORMED_FORM)?;
        let json = serde_json::to_vec(&fields).map_err(|_| ApiError::internal("a form could not be read as JSON"))?;
        Ok(Self(json))
    }

    /// Returns the JSON as the client sent it; of a form, the fields, without what two clients write differently.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads the JSON object. An empty body, and `null`, is an empty object.
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

/// Returns the length that a client declares.
pub(crate) fn declared_length(content_length: Option<&str>) -> Option<u64> {
    content_length?.trim().parse().ok()
}

/// Receives a body of at most `limit` bytes.
async fn receive(request: types::Request, limit: usize, declared: Option<u64>) -> Result<Vec<u8>, ApiError> {
    if declared.is_some_and(|length| length > limit as u64) {
        return Err((&PAYLOAD_TOO_LARGE).into());
    }
    let (_result, result) = wit_future::new(|| Ok(()));
    let (mut stream, trailers) = types::Request::consume_body(request, result);
    let mut bytes = Vec::new();
    loop {
        let chunk_bytes = bytes.len().clamp(CHUNK_BYTES, MAX_CHUNK_BYTES);
        let (status, chunk) = stream.read(Vec::with_capacity(chunk_bytes)).await;
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
    Ok(bytes)
}

#[cfg(any(test, fuzzing))]
impl Body {
    /// Reads a body of this `Content-Type`.
    ///
    /// # Errors
    /// Those of [`Self::read`].
    pub(crate) fn declared(bytes: Vec<u8>, content_type: &str) -> Result<Self, ApiError> {
        Self::of(bytes, MediaType::read(content_type))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(bytes: &[u8]) -> Body {
        Body::declared(bytes.to_vec(), "application/json").ok().unwrap()
    }

    #[test]
    fn a_body_is_empty_or_one_object() {
        let is_object = |bytes: &[u8]| json(bytes).object().is_ok();
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(60_000), "]".repeat(60_000));
        let objects: [&[u8]; 7] = [
            b"",
            b"{}",
            b"null",
            b" null\r\n",
            b" {\"a\":1,\"a\":2} ",
            "{\"\u{ac00}\":{}}".as_bytes(),
            deep.as_bytes(),
        ];
        for body in objects {
            assert!(is_object(body), "{:.40}", String::from_utf8_lossy(body));
        }
        let others: [&[u8]; 14] = [
            b" ",
            b"[]",
            b"nul",
            b"null null",
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
        assert_eq!(json(b"{\"a\":1,\"a\":2}").object().ok().unwrap()["a"].get(), "2");
    }

    proptest! {
        #[test]
        fn any_bytes_of_any_content_type_are_handled(
            bytes in any::<Vec<u8>>(),
            content_type in prop_oneof![
                any::<String>(),
                "application/json|application/x-www-form-urlencoded|multipart/form-data; boundary=x",
            ],
        ) {
            let Ok(body) = Body::declared(bytes, &content_type) else { return Ok(()) };
            if let Ok(object) = body.object() {
                prop_assert!(body.bytes().is_empty() || serde_json::to_vec(&object).is_ok());
            } else {
                prop_assert_eq!(content_type, "application/json");
            }
        }

        #[test]
        fn an_object_keeps_its_names_and_texts(fields in any::<std::collections::BTreeMap<String, String>>()) {
            let body = json(&serde_json::to_vec(&fields).unwrap());
            let object = body.object().ok().unwrap();
            prop_assert_eq!(object.len(), fields.len());
            for (name, value) in &fields {
                prop_assert_eq!(&serde_json::from_str::<String>(object[name.as_str()].get()).unwrap(), value);
            }
        }
    }
}
