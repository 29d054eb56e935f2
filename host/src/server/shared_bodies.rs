//! Bodies that are the same for every client: files, which the component names by their `ETag`. An answer that must not be
//! stored is not shared, though it may have an `ETag`: that of an item tells its version, and not how many are registered.
//!
//! All responses with a file share one copy of it. So clients that read a file slowly hold no memory, however many they are,
//! and the component makes a file once: it leaves out the body of one that is here.

use std::{collections::HashMap, sync::Mutex};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{CACHE_CONTROL, ETAG},
};
use hyper::body::Body as _;
use sugang_protocol::path;
use wasmtime_wasi_http::{Error, WasiBody};

use super::{
    memory::Memory,
    response_body::{self, ResponseBody},
};
use crate::sync::lock;

/// Bytes of all files together. Those of this component are a third of it.
const MAX_BYTES: usize = 16 << 20;

/// The file of a response: its canonical path and its `ETag`, which differs by encoding.
pub(super) struct Key(String, HeaderValue);

/// The files that were sent before.
#[derive(Default)]
pub(super) struct SharedBodies {
    files: Mutex<Files>,
    /// Locked while a file is received for the first time, so that few copies of it are in memory.
    receiving: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Files {
    bytes: usize,
    bodies: HashMap<String, Vec<(HeaderValue, Bytes)>>,
}

impl Key {
    /// Returns the key of a response to `path` if its body is a file.
    pub(super) fn of(method: &Method, path: &str, status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        let tag = headers.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""))?;
        headers.get(CACHE_CONTROL).filter(|value| *value != "no-store")?;
        let path = path::canonical(path).filter(|_| method.is_safe() && status == StatusCode::OK)?;
        Some(Self(path.into_owned(), tag.clone()))
    }
}

impl SharedBodies {
    /// Returns a file that was sent before, or receives it from the component: with `memory`, if there is no room for it
    /// here. Returns `None` if there is no memory for it either.
    ///
    /// # Errors
    /// The component crashed before the end.
    pub(super) async fn get_or_receive(
        &self,
        file: Key,
        body: WasiBody,
        memory: &Memory,
    ) -> Result<Option<ResponseBody>, Error> {
        if let Some(bytes) = self.get(&file) {
            return Ok(Some(bytes.into()));
        }
        let _alone = self.receiving.lock().await;
        if let Some(bytes) = self.get(&file) {
            return Ok(Some(bytes.into()));
        }
        let has_room = body.size_hint().upper().is_some_and(|length| self.has_room(length));
        let received = response_body::receive(body, (!has_room).then_some(memory)).await?;
        Ok(received.map(|body| match self.keep(file, &body.bytes) {
            true => body.bytes.into(),
            false => body,
        }))
    }

    /// Returns the `ETag`s of the files that were sent with this canonical path, as the component reads them.
    pub(super) fn tags(&self, path: &str) -> Option<HeaderValue> {
        let files = lock(&self.files);
        let tags: Vec<_> = files.bodies.get(path)?.iter().map(|(tag, _)| tag.as_bytes()).collect();
        HeaderValue::from_bytes(&tags.join(&b',')).ok()
    }

    fn get(&self, Key(path, tag): &Key) -> Option<Bytes> {
        let files = lock(&self.files);
        let bodies = files.bodies.get(path)?;
        bodies
            .iter()
            .find(|(known, _)| known == tag)
            .map(|(_, body)| body.clone())
    }

    fn has_room(&self, length: u64) -> bool {
        lock(&self.files).bytes as u64 + length <= MAX_BYTES as u64
    }

    /// Keeps a body for later responses. Returns whether there was room for it.
    fn keep(&self, Key(path, tag): Key, body: &Bytes) -> bool {
        let mut files = lock(&self.files);
        if files.bytes + body.len() > MAX_BYTES {
            return false;
        }
        files.bytes += body.len();
        files.bodies.entry(path).or_default().push((tag, body.clone()));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(tag: &'static str, cache_control: &'static str) -> HeaderMap {
        let headers = [(ETAG, tag), (CACHE_CONTROL, cache_control)];
        headers
            .map(|(name, value)| (name, HeaderValue::from_static(value)))
            .into_iter()
            .collect()
    }

    fn key(method: &Method, path: &str, status: StatusCode, tag: &'static str) -> Option<Key> {
        Key::of(method, path, status, &headers(tag, "no-cache"))
    }

    #[test]
    fn a_file_is_kept_once_and_found_by_path_and_tag() {
        let shared = SharedBodies::default();
        let file = |path, tag| key(&Method::GET, path, StatusCode::OK, tag).unwrap();
        let body = Bytes::from(vec![0; MAX_BYTES / 2 + 1]);
        assert!(shared.keep(file("/a", "\"1\""), &body) && shared.get(&file("/a", "\"1\"")).is_some());
        assert!(shared.get(&file("/a", "\"2\"")).is_none() && shared.get(&file("/b", "\"1\"")).is_none());
        assert!(!shared.keep(file("/b", "\"1\""), &body), "there is a bound");
        assert_eq!(shared.tags("/a").unwrap(), "\"1\"");
        let small = Bytes::from_static(b"2");
        assert!(
            shared.keep(file("/%61/", "\"2\""), &small),
            "one path, however it is spelled"
        );
        assert_eq!(shared.tags("/a").unwrap(), "\"1\",\"2\"");
        assert!(shared.tags("/b").is_none());
    }

    #[test]
    fn only_files_are_shared() {
        for (method, status, tag) in [
            (Method::POST, StatusCode::OK, "\"1\""),
            (Method::GET, StatusCode::NOT_MODIFIED, "\"1\""),
            (Method::GET, StatusCode::OK, "W/\"1\""),
        ] {
            assert!(key(&method, "/a", status, tag).is_none(), "{method} {status} {tag}");
        }
        for headers in [HeaderMap::new(), headers("\"1\"", "no-store")] {
            assert!(
                Key::of(&Method::GET, "/a", StatusCode::OK, &headers).is_none(),
                "{headers:?}"
            );
        }
    }
}
