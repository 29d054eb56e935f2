//! The configuration: every variable of `spin.toml`, read once for each instance, and the rules that it must keep.

use std::time::Duration;

use crate::{passwords, tokens::Keys};

/// Bytes that the secret must have: as many as the output of the HMAC that it is the key of (RFC 7518, 3.2).
const JWT_SECRET_BYTES: usize = 32;

/// What is wrong with the configuration. Names the variable and the rule, never the value.
#[derive(Debug, PartialEq, Eq)]
pub struct Misconfigured(pub String);

/// What the operator has set.
pub struct Config {
    /// Where PostgreSQL is, as the host takes it.
    pub database_url: String,
    /// How many connections an instance keeps between requests at most.
    pub database_connections: usize,
    /// How long a statement may take, with the wait for a connection.
    pub database_timeout: Duration,
    /// Where Redis is.
    pub redis_url: String,
    /// How long Redis may take for an answer.
    pub redis_timeout: Duration,
    /// After how many milliseconds a lock expires whose holder is gone.
    pub lock_ttl_ms: u64,
    /// What signs and verifies tokens.
    pub keys: Keys,
    /// Seconds.
    pub access_token_lifetime: u64,
    /// Seconds.
    pub refresh_token_lifetime: u64,
    /// Whether a refresh token can be used only once, for another one.
    pub rotate_refresh_tokens: bool,
    /// Scheme and authority of the links in lists, without a slash at the end; none: as the request came.
    pub public_url: Option<String>,
    /// The longest body that is read.
    pub max_body_bytes: usize,
    /// Which origins a browser may call from.
    pub cors: Cors,
    /// What hashing a password costs.
    pub argon2: argon2::Params,
    /// Whether every request leaves a line in the log.
    pub log_requests: bool,
}

/// The origins whose pages may call.
pub enum Cors {
    /// None.
    Closed,
    /// All.
    Any,
    /// These.
    Only(Vec<String>),
}

impl Cors {
    /// What `Access-Control-Allow-Origin` answers a page of `origin`, if it may call.
    pub fn allowed<'a>(&self, origin: &'a str) -> Option<&'a str> {
        match self {
            Self::Closed => None,
            Self::Any => Some("*"),
            Self::Only(origins) => origins.iter().any(|allowed| allowed == origin).then_some(origin),
        }
    }
}

/// The names of all variables.
const VARIABLES: [&str; 17] = [
    "database_url",
    "redis_url",
    "jwt_secret",
    "access_token_lifetime_seconds",
    "refresh_token_lifetime_seconds",
    "rotate_refresh_tokens",
    "public_url",
    "max_body_bytes",
    "lock_ttl_ms",
    "redis_timeout_ms",
    "database_timeout_ms",
    "database_connections",
    "cors_allowed_origins",
    "argon2_memory_kib",
    "argon2_iterations",
    "argon2_parallelism",
    "log_requests",
];

impl Config {
    /// Reads the variables from the host.
    ///
    /// # Errors
    /// One is missing or breaks its rule.
    pub async fn read() -> Result<Self, Misconfigured> {
        let mut values = Vec::with_capacity(VARIABLES.len());
        for name in VARIABLES {
            values.push((name, spin_sdk::variables::get(name).await.unwrap_or_default()));
        }
        Self::parse(&Values(values))
    }

    fn parse(values: &Values) -> Result<Self, Misconfigured> {
        let iterations = values.number("argon2_iterations", 1, passwords::MAX_ITERATIONS)?;
        let memory_kib = values.number("argon2_memory_kib", 8, passwords::MAX_MEMORY_KIB)?;
        let parallelism = values.number("argon2_parallelism", 1, passwords::MAX_PARALLELISM)?;
        Ok(Self {
            database_url: values.required("database_url")?.to_owned(),
            database_connections: values.number("database_connections", 0, 64)?,
            database_timeout: Duration::from_millis(values.number("database_timeout_ms", 10, 600_000)?),
            redis_url: values.required("redis_url")?.to_owned(),
            redis_timeout: Duration::from_millis(values.number("redis_timeout_ms", 1, 60_000)?),
            lock_ttl_ms: values.number("lock_ttl_ms", 100, 600_000)?,
            keys: Keys::new(secret(values.required("jwt_secret")?)?.as_bytes()),
            access_token_lifetime: values.number("access_token_lifetime_seconds", 1, 3_153_600_000)?,
            refresh_token_lifetime: values.number("refresh_token_lifetime_seconds", 1, 3_153_600_000)?,
            rotate_refresh_tokens: values.flag("rotate_refresh_tokens")?,
            public_url: public_url(values.text("public_url"))?,
            max_body_bytes: values.number("max_body_bytes", 256, 16 * 1024 * 1024)?,
            cors: cors(values.text("cors_allowed_origins"))?,
            argon2: argon2::Params::new(memory_kib, iterations, parallelism, None)
                .map_err(|_| Misconfigured("argon2_memory_kib must be at least 8 times argon2_parallelism".into()))?,
            log_requests: values.flag("log_requests")?,
        })
    }
}

struct Values(Vec<(&'static str, String)>);

impl Values {
    fn text(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .map_or("", |(_, value)| value.trim())
    }

    fn required(&self, name: &str) -> Result<&str, Misconfigured> {
        match self.text(name) {
            "" => Err(Misconfigured(format!("{name} must be set"))),
            value => Ok(value),
        }
    }

    fn flag(&self, name: &str) -> Result<bool, Misconfigured> {
        let flag = self.text(name).parse();
        flag.map_err(|_| Misconfigured(format!("{name} must be true or false")))
    }

    fn number<N: TryFrom<u64>>(&self, name: &str, least: u64, most: u64) -> Result<N, Misconfigured> {
        let number = self
            .text(name)
            .parse()
            .ok()
            .filter(|number| (least..=most).contains(number));
        number
            .and_then(|number| N::try_from(number).ok())
            .ok_or_else(|| Misconfigured(format!("{name} must be a whole number from {least} to {most}")))
    }
}

/// The secret, if it is one. Whoever guesses it is every user.
fn secret(secret: &str) -> Result<&str, Misconfigured> {
    let mut bytes = secret.bytes();
    let first = bytes.next();
    match secret.len() >= JWT_SECRET_BYTES && bytes.any(|byte| Some(byte) != first) {
        true => Ok(secret),
        false => Err(Misconfigured(format!(
            "jwt_secret must have at least {JWT_SECRET_BYTES} bytes, and not the same one all along"
        ))),
    }
}

fn public_url(url: &str) -> Result<Option<String>, Misconfigured> {
    let url = url.trim_end_matches('/');
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    match rest {
        _ if url.is_empty() => Ok(None),
        Some(rest) if !rest.is_empty() && !rest.contains(['?', '#', ' ']) => Ok(Some(url.to_owned())),
        _ => Err(Misconfigured(
            "public_url must be empty, or begin with http:// or https://".into(),
        )),
    }
}

fn cors(origins: &str) -> Result<Cors, Misconfigured> {
    match origins {
        "" => return Ok(Cors::Closed),
        "*" => return Ok(Cors::Any),
        _ => {}
    }
    let origins: Vec<String> = origins.split(',').map(|origin| origin.trim().to_owned()).collect();
    let is_origin = |origin: &String| origin.contains("://") && !origin.ends_with('/') && !origin.contains(' ');
    match origins.iter().all(is_origin) {
        true => Ok(Cors::Only(origins)),
        false => Err(Misconfigured(
            "cors_allowed_origins must be empty, * or a list of origins (https://example.com) with commas".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The defaults of `spin.toml`, with what it leaves to the operator.
    fn manifest() -> Values {
        let manifest = include_str!("../../spin.toml");
        let values = VARIABLES.map(|name| {
            let line = manifest.lines().find(|line| line.starts_with(&format!("{name} = {{")));
            let line = line.unwrap_or_else(|| panic!("{name} is not in spin.toml"));
            assert!(
                manifest.contains(&format!("{name} = \"{{{{ {name} }}}}\"")),
                "{name} does not reach the component"
            );
            let default = line
                .split_once("default = \"")
                .map_or("", |(_, rest)| rest.split('"').next().unwrap());
            (name, default.to_owned())
        });
        let mut values = Values(values.into());
        set(&mut values, "database_url", "postgres://localhost/sugang");
        set(&mut values, "redis_url", "redis://localhost");
        set(&mut values, "jwt_secret", "0123456789abcdef0123456789abcdef");
        values
    }

    fn set(values: &mut Values, name: &str, value: &str) {
        values.0.iter_mut().find(|(known, _)| *known == name).unwrap().1 = value.into();
    }

    fn why(name: &str, value: &str) -> String {
        let mut values = manifest();
        set(&mut values, name, value);
        Config::parse(&values)
            .err()
            .map_or_else(String::new, |Misconfigured(why)| why)
    }

    #[test]
    fn the_manifest_has_every_variable_and_its_defaults_are_valid() {
        let config = Config::parse(&manifest()).unwrap_or_else(|Misconfigured(why)| panic!("{why}"));
        assert_eq!(config.access_token_lifetime, 86_400);
        assert_eq!(config.public_url, None);
        assert!(matches!(config.cors, Cors::Closed));
        assert!(config.log_requests);
    }

    #[test]
    fn what_breaks_its_rule_is_named_and_never_shown() {
        for (name, value) in [
            ("database_url", ""),
            ("redis_url", "  "),
            ("jwt_secret", ""),
            ("jwt_secret", "0123456789abcdef0123456789abcde"),
            ("jwt_secret", "################################################"),
            ("access_token_lifetime_seconds", "0"),
            ("refresh_token_lifetime_seconds", "-1"),
            ("max_body_bytes", "64k"),
            ("lock_ttl_ms", "5s"),
            ("redis_timeout_ms", "1e3"),
            ("database_timeout_ms", "99999999999999999999"),
            ("database_connections", "65"),
            ("cors_allowed_origins", "a.example"),
            ("cors_allowed_origins", "https://a.example,"),
            ("cors_allowed_origins", "https://a.example/"),
            ("public_url", "api.example.com"),
            ("public_url", "https://"),
            ("argon2_memory_kib", "4294967296"),
            ("argon2_iterations", "two"),
            ("argon2_parallelism", "0"),
            ("log_requests", "yes"),
            ("rotate_refresh_tokens", "1"),
        ] {
            let why = why(name, value);
            assert!(why.starts_with(name), "{name}={value}: {why:?}");
            assert!(
                name != "jwt_secret" || value.is_empty() || !why.contains(value),
                "{why}"
            );
        }
        assert_eq!(why("public_url", "https://api.example.com/"), "");
        assert_eq!(
            why("cors_allowed_origins", "https://a.example, http://localhost:3000"),
            ""
        );
    }

    #[test]
    fn cors_answers_only_whom_it_knows() {
        let only = Cors::Only(vec!["https://a.example".into()]);
        assert_eq!(only.allowed("https://a.example"), Some("https://a.example"));
        assert_eq!(only.allowed("https://b.example"), None);
        assert_eq!(Cors::Closed.allowed("https://a.example"), None);
        assert_eq!(Cors::Any.allowed("https://a.example"), Some("*"));
    }
}
