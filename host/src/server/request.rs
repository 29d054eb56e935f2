//! Heads of requests: what the host remembers of them, and what the component gets.

use std::{borrow::Cow, net::SocketAddr};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::{ACCEPT_LANGUAGE, EXPECT, HOST, ORIGIN},
    uri::{Authority, PathAndQuery, Scheme},
};
use sugang_protocol::{ErrorSpec, Language, host, is_authority, request_id};

/// The client's address, `address:port`, under the name that Spin gives it.
const CLIENT_ADDRESS: HeaderName = HeaderName::from_static("spin-client-addr");
const REQUEST_ID: HeaderName = HeaderName::from_static(request_id::HEADER);

/// The properties of a request that a response or a log line of the host needs, after the component has taken the request.
pub(super) struct RequestMeta {
    pub(super) request_id: String,
    pub(super) method: Method,
    pub(super) path: String,
    accept_language: Option<HeaderValue>,
    origin: Option<HeaderValue>,
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
            origin: request.headers().get(ORIGIN).cloned(),
        }
    }

    /// The client's language. Few requests need it, so it is not parsed before.
    pub(super) fn language(&self) -> Language {
        let accepted = self.accept_language.as_ref().map(HeaderValue::as_bytes);
        let accepted = accepted.and_then(|bytes| std::str::from_utf8(bytes).ok());
        Language::preferred(accepted.unwrap_or_default())
    }

    /// The origin of the page whose script sends the request.
    pub(super) fn origin(&self) -> Option<&str> {
        self.origin.as_ref()?.to_str().ok()
    }

    /// Whether the request is for the server as a whole, as in `OPTIONS *`.
    pub(super) fn is_for_the_server(&self) -> bool {
        self.method == Method::OPTIONS && self.path == "*"
    }
}

/// Makes a request what the component expects: with an absolute URI, and no `spin-*` headers but the host's own.
///
/// # Errors
/// 400 for a target or a `Host` that breaks RFC 9110 (7.2), RFC 9112 (3.2) or RFC 9113 (8.3.1); 417 for an unknown
/// expectation; 501 for a `CONNECT`.
pub(super) fn normalize<B>(
    request: &mut Request<B>,
    client: SocketAddr,
    server: SocketAddr,
) -> Result<(), &'static ErrorSpec> {
    check_expectation(request.headers())?;
    if request.method() == Method::CONNECT {
        return Err(&host::NOT_IMPLEMENTED);
    }
    let authority = authority(request, server)?;
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    match parts.scheme.as_ref().map(Scheme::as_str) {
        None => parts.scheme = Some(Scheme::HTTP),
        Some("http" | "https") => {}
        Some(_) => return Err(&host::BAD_REQUEST),
    }
    parts.authority = Some(authority);
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

fn check_expectation(headers: &HeaderMap) -> Result<(), &'static ErrorSpec> {
    let is_known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    match headers.get_all(EXPECT).iter().all(is_known) {
        true => Ok(()),
        false => Err(&host::EXPECTATION_FAILED),
    }
}

/// The authority that the client asked for. That of an absolute target counts before `Host`, which must be valid anyway.
fn authority<B>(request: &Request<B>, server: SocketAddr) -> Result<Authority, &'static ErrorSpec> {
    let parse = |bytes: &[u8]| {
        let valid = std::str::from_utf8(bytes)
            .ok()
            .filter(|authority| is_authority(authority));
        valid
            .and_then(|authority| authority.parse().ok())
            .ok_or(&host::BAD_REQUEST)
    };
    let target = request.uri().authority();
    let target = target
        .map(|authority| parse(authority.as_str().as_bytes()))
        .transpose()?;
    let mut sent = request.headers().get_all(HOST).iter();
    let named = sent.next().map(|host| parse(host.as_bytes())).transpose()?;
    if sent.next().is_some() {
        return Err(&host::BAD_REQUEST);
    }
    match (request.version(), target, named) {
        // Two names for one thing: a proxy may have looked at the other one.
        (Version::HTTP_2, Some(target), Some(named)) if target != named => Err(&host::BAD_REQUEST),
        (Version::HTTP_11, _, None) | (Version::HTTP_2, None, None) => Err(&host::BAD_REQUEST),
        (_, Some(authority), _) | (_, None, Some(authority)) => Ok(authority),
        (_, None, None) => parse(server.to_string().as_bytes()),
    }
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
            (Request::get("/").version(Version::HTTP_10), "http://127.0.0.1:8000/"),
            (
                Request::get("http://target.example/x").header(HOST, "other.example"),
                "http://target.example/x",
            ),
            (
                Request::get("https://a.example/x").version(Version::HTTP_2),
                "https://a.example/x",
            ),
            (
                Request::get("/x").version(Version::HTTP_2).header(HOST, "a.example"),
                "http://a.example/x",
            ),
        ];
        for (request, expected) in cases {
            assert_eq!(normalized(request).unwrap().uri().to_string(), expected);
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let get = |target: &'static str| Request::get(target).header(HOST, "a.example");
        let cases = [
            (Request::get("/"), &host::BAD_REQUEST),
            (Request::get("http://a.example/"), &host::BAD_REQUEST),
            (Request::get("/").version(Version::HTTP_2), &host::BAD_REQUEST),
            (get("http://b.example/").version(Version::HTTP_2), &host::BAD_REQUEST),
            (get("/").header(HOST, "a.example"), &host::BAD_REQUEST),
            (get("/").header(HOST, "b.example"), &host::BAD_REQUEST),
            (get("http://u:p@a.example/"), &host::BAD_REQUEST),
            (get("ftp://a.example/"), &host::BAD_REQUEST),
            (get("/").header(EXPECT, "200-ok"), &host::EXPECTATION_FAILED),
            (get("a.example:443").method(Method::CONNECT), &host::NOT_IMPLEMENTED),
        ];
        for (request, expected) in cases {
            assert_eq!(normalized(request).unwrap_err(), expected);
        }
        for host in ["a b", "http://x/", "a/b", "", "a,b", "u@a", "a:b", "[a]"] {
            for target in ["/", "http://a.example/"] {
                let request = Request::get(target).header(HOST, host);
                assert_eq!(normalized(request).unwrap_err(), &host::BAD_REQUEST, "{host}");
            }
        }
        assert!(normalized(get("/").header(EXPECT, "100-Continue")).is_ok());
    }

    #[test]
    fn a_client_cannot_forge_the_hosts_headers() {
        let request = Request::get("/")
            .version(Version::HTTP_10)
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
