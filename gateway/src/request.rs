//! A request, as a stand-in sees it.

use std::{collections::BTreeMap, io};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{HeaderMap, Request, body::Incoming};
use serde_json::Value;

/// A request that was read whole.
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Asked {
    pub(crate) async fn read(request: Request<Incoming>) -> io::Result<Self> {
        let (head, body) = request.into_parts();
        let query = head.uri.query().unwrap_or_default();
        Ok(Self {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: pairs(query.as_bytes()),
            headers: head.headers,
            body: body.collect().await.map_err(io::Error::other)?.to_bytes(),
        })
    }

    #[cfg(test)]
    pub(crate) fn new(method: &str, path: &str, headers: &[(&'static str, &str)], body: &Value) -> Self {
        let headers = headers.iter().map(|(name, value)| {
            let name = hyper::header::HeaderName::from_static(name);
            (name, value.parse().expect("a header's value"))
        });
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: BTreeMap::new(),
            headers: headers.collect(),
            body: body.to_string().into(),
        }
    }

    /// Method and path.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON; null if it is something else.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Reads a query or a form.
pub(crate) fn pairs(text: &[u8]) -> BTreeMap<String, String> {
    form_urlencoded::parse(text).into_owned().collect()
}
