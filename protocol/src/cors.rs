//! Cross-origin requests: what a browser's script may send and read, on every response alike.

/// The response headers that a browser's script may read besides the safelisted ones.
const EXPOSED_HEADERS: &str = "Idempotency-Replayed, Retry-After, X-Request-Id";

/// The request headers that a browser's script may send. The Django service admitted all but two of them
/// (`Idempotency-Key` and `X-Request-Id` are new), so its pages send them.
const ACCEPTED_HEADERS: &str = concat!(
    "Accept, Authorization, Content-Type, Idempotency-Key, User-Agent, ",
    "X-CSRFToken, X-Requested-With, X-Request-Id"
);

/// The seconds for which a browser may cache the response to a preflight.
const PREFLIGHT_MAX_AGE_S: &str = "600";

/// The origins whose pages may call the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cors {
    /// No other origin may call.
    Closed,
    /// Every origin may call.
    Any,
    /// These origins may call.
    Only(Vec<String>),
}

impl Cors {
    /// Parses the setting: empty, `*`, or origins (`https://example.com`) with commas between them.
    pub fn parse(setting: &str) -> Option<Self> {
        match setting.trim() {
            "" => return Some(Self::Closed),
            "*" => return Some(Self::Any),
            _ => {}
        }
        let is_origin = |origin: &str| origin.contains("://") && !origin.ends_with('/') && !origin.contains(' ');
        let origins = setting.split(',').map(|origin| origin.trim().to_owned());
        let origins: Vec<String> = origins.collect();
        origins
            .iter()
            .all(|origin| is_origin(origin))
            .then_some(Self::Only(origins))
    }

    /// Returns the value of `Access-Control-Allow-Origin` for a page of `origin`, if it may call.
    pub fn allowed<'a>(&self, origin: &'a str) -> Option<&'a str> {
        match self {
            Self::Closed => None,
            Self::Any => Some("*"),
            Self::Only(origins) => origins.iter().any(|allowed| allowed == origin).then_some(origin),
        }
    }

    /// Returns the headers of every response, errors included, to a request with this `Origin`.
    pub(crate) fn headers<'a>(&self, origin: Option<&'a str>) -> impl Iterator<Item = (&'static str, &'a str)> {
        let allowed = origin.and_then(|origin| self.allowed(origin));
        let allow = allowed.map(|allowed| ("access-control-allow-origin", allowed));
        let expose = allowed.map(|_| ("access-control-expose-headers", EXPOSED_HEADERS));
        // A cache must not give one origin the response to another one.
        let vary = matches!(self, Self::Only(_)).then_some(("vary", "origin"));
        allow.into_iter().chain(expose).chain(vary)
    }
}

/// Returns the further headers of the response to a preflight for a path that takes the methods `allow`.
pub fn preflight_headers(allow: &str) -> [(&'static str, &str); 3] {
    [
        ("access-control-allow-methods", allow),
        ("access-control-allow-headers", ACCEPTED_HEADERS),
        ("access-control-max-age", PREFLIGHT_MAX_AGE_S),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_configured_origins_are_allowed() {
        let only = Cors::parse(" https://a.example, http://localhost:3000").unwrap();
        assert_eq!(only.allowed("https://a.example"), Some("https://a.example"));
        assert_eq!(only.allowed("http://localhost:3000"), Some("http://localhost:3000"));
        assert_eq!(only.allowed("https://b.example"), None);
        assert_eq!(Cors::parse("").unwrap().allowed("https://a.example"), None);
        assert_eq!(Cors::parse("*").unwrap().allowed("https://a.example"), Some("*"));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for setting in [
            "a.example",
            "https://a.example,",
            "https://a.example/",
            "*, https://a.example",
            ",",
        ] {
            assert_eq!(Cors::parse(setting), None, "{setting}");
        }
    }

    #[test]
    fn an_allowed_origin_may_read_our_headers() {
        let only = Cors::parse("https://a.example").unwrap();
        let headers = |cors: &Cors, origin| cors.headers(origin).collect::<Vec<_>>();
        let expose = ("access-control-expose-headers", EXPOSED_HEADERS);
        assert_eq!(
            headers(&only, Some("https://a.example")),
            [
                ("access-control-allow-origin", "https://a.example"),
                expose,
                ("vary", "origin")
            ]
        );
        assert_eq!(headers(&only, Some("https://b.example")), [("vary", "origin")]);
        assert_eq!(headers(&only, None), [("vary", "origin")]);
        assert_eq!(
            headers(&Cors::Any, Some("x")),
            [("access-control-allow-origin", "*"), expose]
        );
        assert_eq!(headers(&Cors::Closed, Some("x")), []);
    }
}
