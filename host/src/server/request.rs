//! Heads of requests: what the host remembers of them, and what the component gets.

use std::{borrow::Cow, net::SocketAddr};

use http::{
    HeaderName, HeaderValue, Method, Request, Uri,
    header::{ACCEPT_LANGUAGE, HOST},
    uri::{Authority, PathAndQuery, Scheme},
};
use sugang_protocol::{ErrorSpec, Language, host, request_id};

/// The client's address, `address:port`, under the name that Spin gives it.
const CLIENT_ADDRESS: HeaderName = HeaderName::from_static("spin-client-addr");
const REQUEST_ID: HeaderName = HeaderName::from_static(request_id::HEADER);

/// The properties of a request that a response or a log line of the host needs, after the component has taken the request.
pub(super) struct RequestMeta {
    pub(super) request_id: String,
    pub(super) method: Method,
    pub(super) path: String,
    accept_language: Option<HeaderValue>,
}

impl RequestMeta {
    /// Reads a request, and gives it a request id unless the client's is safe to log.
    pub(super) fn read<B>(request: &mut Request<B>) -> Self {
        let sent = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
        let (request_id, is_new) = match request_id::resolve(sent) {
            Cow::Borrowed(id) => (id.to_owned(), false),
            Cow::Owned(id) => (id, true),
        };
        if is_new && let Ok(value) = HeaderValue::try_from(&request_id) {
            request.headers_mut().insert(REQUEST_ID, value);
        }
        Self {
            request_id,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            accept_language: request.headers().get(ACCEPT_LANGUAGE).cloned(),
        }
    }

    /// The client's language. Few requests need it, so it is not parsed before.
    pub(super) fn language(&self) -> Language {
        let accepted = self.accept_language.as_ref().map(HeaderValue::as_bytes);
        let accepted = accepted.and_then(|bytes| std::str::from_utf8(bytes).ok());
        Language::preferred(accepted.unwrap_or_default())
    }
}

/// Makes a request what the component expects: with an absolute URI, and no `spin-*` headers but the host's own.
///
/// # Errors
/// [`host::BAD_REQUEST`] for a target or a `Host` that forms no URI.
pub(super) fn normalize<B>(
    request: &mut Request<B>,
    client: SocketAddr,
    server: SocketAddr,
) -> Result<(), &'static ErrorSpec> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    if parts.authority.is_none() {
        parts.authority = Some(match request.headers().get(HOST) {
            Some(host) => Authority::try_from(host.as_bytes()).map_err(|_| &host::BAD_REQUEST)?,
            None => Authority::try_from(server.to_string()).map_err(|_| &host::BAD_REQUEST)?,
        });
    }
    parts.scheme.get_or_insert(Scheme::HTTP);
    parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| &host::BAD_REQUEST)?;

    let headers = request.headers_mut();
    let forged: Vec<_> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("spin-"))
        .cloned()
        .collect();
    for name in forged {
        headers.remove(name);
    }
    let client = HeaderValue::try_from(client.to_string()).map_err(|_| &host::BAD_REQUEST)?;
    headers.insert(CLIENT_ADDRESS, client);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized(request: http::request::Builder) -> Result<Request<()>, &'static ErrorSpec> {
        let mut request = request.body(()).unwrap();
        normalize(
            &mut request,
            ([192, 0, 2, 1], 40000).into(),
            ([127, 0, 0, 1], 8000).into(),
        )?;
        Ok(request)
    }

    #[test]
    fn the_component_gets_an_absolute_uri() {
        let cases = [
            (
                Request::get("/a?b=c").header(HOST, "example.com"),
                "http://example.com/a?b=c",
            ),
            (
                Request::get("/a").header(HOST, "example.com:81"),
                "http://example.com:81/a",
            ),
            (Request::get("/"), "http://127.0.0.1:8000/"),
            (
                Request::get("http://target.example/x").header(HOST, "other.example"),
                "http://target.example/x",
            ),
        ];
        for (request, expected) in cases {
            assert_eq!(normalized(request).unwrap().uri().to_string(), expected);
        }
        for host in ["a b", "http://x/", "a/b", ""] {
            let request = Request::get("/").header(HOST, host);
            assert_eq!(normalized(request).unwrap_err(), &host::BAD_REQUEST, "{host}");
        }
    }

    #[test]
    fn a_client_cannot_forge_the_hosts_headers() {
        let request = Request::get("/")
            .header(CLIENT_ADDRESS, "1.2.3.4:5")
            .header("Spin-Client-Addr", "1.2.3.4:6")
            .header("spin-path-info", "/admin")
            .header("x-spin", "kept");
        let request = normalized(request).unwrap();
        let fields: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(fields, [("x-spin", "kept"), ("spin-client-addr", "192.0.2.1:40000")]);
    }

    #[test]
    fn a_safe_request_id_is_kept() {
        let mut request = Request::get("/").header(REQUEST_ID, "abc-1").body(()).unwrap();
        assert_eq!(RequestMeta::read(&mut request).request_id, "abc-1");
    }

    #[test]
    fn an_unsafe_request_id_is_replaced_for_the_component_as_well() {
        for id in ["", "a b", "{}", &"x".repeat(129)] {
            let mut request = Request::get("/").header(REQUEST_ID, id).body(()).unwrap();
            let meta = RequestMeta::read(&mut request);
            assert_ne!(meta.request_id, id);
            assert_eq!(request.headers()[REQUEST_ID], meta.request_id);
        }
    }
}
