//! Values of the configuration that consist of several parts.

/// The keys of tokens.
pub(crate) struct JwtKeys {
    /// Signs tokens, and verifies them.
    pub(crate) signing: JwtKey,
    /// Only verify: keys that signed before the last rotation, or will after the next.
    pub(crate) verifying: Vec<JwtKey>,
}

/// A secret of HS256, and the name by which tokens refer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JwtKey {
    /// The `kid` of its tokens. The key without an id is that of tokens without a `kid`, like the Django service's.
    pub(crate) id: Option<String>,
    pub(crate) secret: String,
}

/// The attempts that a window admits; 0 for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateLimits {
    /// For one e-mail address, whether it has an account or not.
    pub(crate) per_account: u32,
    /// For one network address.
    pub(crate) per_address: u32,
}

/// An upper bound for the cost of an Argon2 hash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MaxHashCost {
    pub(crate) memory_kib: u32,
    pub(crate) iterations: u32,
    pub(crate) parallelism: u32,
}

/// The origins whose pages may call the API.
pub(crate) enum Cors {
    Closed,
    Any,
    Only(Vec<String>),
}

impl Cors {
    /// Returns the value of `Access-Control-Allow-Origin` for a page of `origin`, if it may call.
    pub(crate) fn allowed<'a>(&self, origin: &'a str) -> Option<&'a str> {
        match self {
            Self::Closed => None,
            Self::Any => Some("*"),
            Self::Only(origins) => origins.iter().any(|allowed| allowed == origin).then_some(origin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cors_admits_only_the_configured_origins() {
        let only = Cors::Only(vec!["https://a.example".into()]);
        assert_eq!(only.allowed("https://a.example"), Some("https://a.example"));
        assert_eq!(only.allowed("https://b.example"), None);
        assert_eq!(Cors::Closed.allowed("https://a.example"), None);
        assert_eq!(Cors::Any.allowed("https://a.example"), Some("*"));
    }
}
