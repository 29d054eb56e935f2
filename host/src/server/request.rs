//! Heads of requests: what the host remembers of them, and what the component gets.

use std::net::SocketAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::{ACCEPT_LANGUAGE, EXPECT, HOST, ORIGIN},
    uri::{Authority, PathAndQuery, Scheme},
};
use sugang_protocol::{
    ErrorSpec, Language, host, is_authority, is_loopback,
    request_id::{self, RequestIds},
};

/// The client's address, `address:port`, under the name that Spin gives it.
const CLIENT_ADDRESS: HeaderName = HeaderName::from_static("spin-client-addr");
const REQUEST_ID: HeaderName = HeaderName::from_static(request_id::HEADER);
const OWN_REQUEST_ID: HeaderName = HeaderName::from_static(request_id::OWN_HEADER);

/// The properties of a request that a response or a log line of the host needs, after the component has taken the request.
pub(super) struct RequestMeta {
    pub(super) ids: RequestIds,
    pub(super) method: Method,
    pub(super) path: String,
    accept_language: Option<HeaderValue>,
    origin: Option<HeaderValue>,
}

impl RequestMeta {
    /// Reads a request, and gives it an id.
    pub(super) fn read<B>(request: &Request<B>) -> Self {
        let sent = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
        Self {
            ids: RequestIds::new(None, sent),
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

/// Returns a path as a log may show it: `None` if it has anything but short words and numbers, as all paths of the API do.
/// A client can write a token or an e-mail address into a path.
pub(super) fn path_for_log(path: &str) -> Option<&str> {
    let is_word = |segment: &str| {
        segment.len() <= 19
            && (segment.bytes().all(|byte| byte.is_ascii_digit())
                || segment.bytes().all(|byte| byte.is_ascii_lowercase()))
    };
    (path.len() <= 64 && path.split('/').all(is_word)).then_some(path)
}

/// Between which addresses a request came, and what it may name.
#[derive(Clone, Copy)]
pub(super) struct Endpoints {
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
    /// Whether links may lead to the machine itself alone: it listens on a loopback address, and nothing else is known.
    pub(super) only_loopback: bool,
}

/// Makes a request what the component expects: with an absolute URI, and no `spin-*` headers but the host's own.
///
/// If only loopback hosts are known, any other one is replaced by the address of the server, so that no link in a response
/// leads to where the client chose. The request is answered: what else names another host (a test, a probe) needs no link.
///
/// # Errors
/// 400 for a target or a `Host` that breaks RFC 9110 (7.2), RFC 9112 (3.2) or RFC 9113 (8.3.1); 417 for an unknown
/// expectation; 501 for a `CONNECT`.
pub(super) fn normalize<B>(
    request: &mut Request<B>,
    endpoints: Endpoints,
    own_id: &str,
) -> Result<(), &'static ErrorSpec> {
    check_expectation(request.headers())?;
    if request.method() == Method::CONNECT {
        return Err(&host::NOT_IMPLEMENTED);
    }
    let named = authority(request)?.filter(|named| !endpoints.only_loopback || is_loopback(named.as_str()));
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    match parts.scheme.as_ref().map(Scheme::as_str) {
        // The server itself has no other scheme.
        Some("http" | "https") if named.is_none() => parts.scheme = Some(Scheme::HTTP),
        None => parts.scheme = Some(Scheme::HTTP),
        Some("http" | "https") => {}
        Some(_) => return Err(&host::BAD_REQUEST),
    }
    let own = || parse(endpoints.server.to_string().as_bytes());
    parts.authority = Some(named.map_or_else(own, Ok)?);
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
    for (name, value) in [
        (CLIENT_ADDRESS, endpoints.client.to_string()),
        (OWN_REQUEST_ID, own_id.to_owned()),
    ] {
        let value = HeaderValue::try_from(value).map_err(|_| &host::BAD_REQUEST)?;
        headers.insert(name, value);
    }
    Ok(())
}

fn check_expectation(headers: &HeaderMap) -> Result<(), &'static ErrorSpec> {
    let is_known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    match headers.get_all(EXPECT).iter().all(is_known) {
        true => Ok(()),
        false => Err(&host::EXPECTATION_FAILED),
    }
}

fn parse(authority: &[u8]) -> Result<Authority, &'static ErrorSpec> {
    let valid = std::str::from_utf8(authority)
        .ok()
        .filter(|authority| is_authority(authority));
    valid
        .and_then(|authority| authority.parse().ok())
        .ok_or(&host::BAD_REQUEST)
}

/// The authority that the client asked for. That of an absolute target counts before `Host`, which must be valid anyway.
fn authority<B>(request: &Request<B>) -> Result<Option<Authority>, &'static ErrorSpec> {
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
        (_, target, named) => Ok(target.or(named)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized_for(only_loopback: bool, request: http::request::Builder) -> Result<Request<()>, &'static ErrorSpec> {
        let mut request = request.body(()).unwrap();
        let endpoints = Endpoints {
            client: ([192, 0, 2, 1], 40000).into(),
            server: ([127, 0, 0, 1], 8000).into(),
            only_loopback,
        };
        normalize(&mut request, endpoints, "r-1")?;
        Ok(request)
    }

    fn normalized(request: http::request::Builder) -> Result<Request<()>, &'static ErrorSpec> {
        normalized_for(false, request)
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
    fn if_only_loopback_is_known_no_other_host_reaches_the_component() {
        for (host, expected) in [
            ("localhost:81", "http://localhost:81/a"),
            ("[::1]", "http://[::1]/a"),
            ("evil.example", "http://127.0.0.1:8000/a"),
            ("127.0.0.1.evil.example", "http://127.0.0.1:8000/a"),
            ("192.0.2.1:80", "http://127.0.0.1:8000/a"),
        ] {
            let absolute = format!("http://{host}/a");
            for request in [
                Request::get("/a").header(HOST, host),
                Request::get(&absolute).header(HOST, "localhost"),
                Request::get(&absolute).version(Version::HTTP_2),
            ] {
                assert_eq!(normalized_for(true, request).unwrap().uri().to_string(), expected);
            }
        }
        let bad = Request::get("/").header(HOST, "a b");
        assert_eq!(normalized_for(true, bad).unwrap_err(), &host::BAD_REQUEST);
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
    fn a_log_shows_paths_of_words_and_numbers_alone() {
        for path in [
            "/",
            "/tests/1/apply/",
            "/api/auth/login",
            "/courses/9223372036854775807/",
        ] {
            assert_eq!(path_for_log(path), Some(path));
        }
        for path in [
            "/a@b.example",
            "/a%40b",
            "/\u{1b}[2J",
            "/eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
            "/Passw0rd",
            "/%0a",
            "/가",
        ] {
            assert_eq!(path_for_log(path), None, "{path}");
        }
        assert_eq!(path_for_log(&"/a".repeat(33)), None);
    }

    #[test]
    fn a_client_cannot_forge_the_hosts_headers() {
        let request = Request::get("/")
            .version(Version::HTTP_10)
            .header(CLIENT_ADDRESS, "1.2.3.4:5")
            .header("Spin-Client-Addr", "1.2.3.4:6")
            .header("spin-path-info", "/admin")
            .header("spin-request-id", "forged")
            .header("x-spin", "kept");
        let request = normalized(request).unwrap();
        let fields: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        let expected = [
            ("x-spin", "kept"),
            ("spin-client-addr", "192.0.2.1:40000"),
            ("spin-request-id", "r-1"),
        ];
        assert_eq!(fields, expected);
    }
}
