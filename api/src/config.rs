//! The configuration: every variable of `spin.toml`, read once for each instance, and the rules that it must keep.

use std::time::Duration;

use http::HeaderName;

use crate::{
    attempts::Limits,
    passwords,
    tokens::{Key, Keys},
};

/// Bytes that the secret must have: as many as the output of the HMAC that it is the key of (RFC 7518, 3.2).
const JWT_SECRET_BYTES: usize = 32;

/// More attempts than anybody makes in a day.
const MOST_ATTEMPTS: u64 = 1_000_000_000;

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
    /// How often one may try to log in.
    pub login_attempts: Limits,
    /// How often one may try to sign up.
    pub signup_attempts: Limits,
    /// Milliseconds in which so many attempts may be made.
    pub attempts_window_ms: u64,
    /// The header in which a trusted proxy tells where a request comes from, if there is one.
    pub client_address_header: Option<String>,
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
const VARIABLES: [&str; 25] = [
    "database_url",
    "redis_url",
    "jwt_secret",
    "jwt_key_id",
    "jwt_verify_keys",
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
    "login_attempts_per_account",
    "login_attempts_per_address",
    "signup_attempts_per_account",
    "signup_attempts_per_address",
    "attempts_window_seconds",
    "client_address_header",
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
            keys: keys(values)?,
            access_token_lifetime: values.number("access_token_lifetime_seconds", 1, 3_153_600_000)?,
            refresh_token_lifetime: values.number("refresh_token_lifetime_seconds", 1, 3_153_600_000)?,
            rotate_refresh_tokens: values.flag("rotate_refresh_tokens")?,
            public_url: public_url(values.text("public_url"))?,
            max_body_bytes: values.number("max_body_bytes", 256, 16 * 1024 * 1024)?,
            cors: cors(values.text("cors_allowed_origins"))?,
            argon2: argon2::Params::new(memory_kib, iterations, parallelism, None)
                .map_err(|_| Misconfigured("argon2_memory_kib must be at least 8 times argon2_parallelism".into()))?,
            login_attempts: Limits {
                per_account: values.number("login_attempts_per_account", 0, MOST_ATTEMPTS)?,
                per_address: values.number("login_attempts_per_address", 0, MOST_ATTEMPTS)?,
            },
            signup_attempts: Limits {
                per_account: values.number("signup_attempts_per_account", 0, MOST_ATTEMPTS)?,
                per_address: values.number("signup_attempts_per_address", 0, MOST_ATTEMPTS)?,
            },
            attempts_window_ms: values.number::<u64>("attempts_window_seconds", 1, 86_400)? * 1000,
            client_address_header: header_name(values.text("client_address_header"))?,
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

/// The key that signs, and those that only verify: `id=secret`, with commas between them.
fn keys(values: &Values) -> Result<Keys, Misconfigured> {
    let signing = Key {
        id: key_id("jwt_key_id", values.text("jwt_key_id"))?,
        secret: secret("jwt_secret", values.required("jwt_secret")?)?,
    };
    let name = "jwt_verify_keys";
    let mut others = Vec::new();
    for pair in values.text(name).split(',').filter(|pair| !pair.trim().is_empty()) {
        let (id, text) = pair
            .split_once('=')
            .ok_or_else(|| Misconfigured(format!("{name} must be id=secret, with commas between several of them")))?;
        others.push(Key {
            id: key_id(name, id.trim())?,
            secret: secret(name, text.trim())?,
        });
    }
    let mut ids: Vec<_> = others.iter().chain([&signing]).map(|key| &key.id).collect();
    ids.sort_unstable();
    match ids.windows(2).any(|pair| pair[0] == pair[1]) {
        true => Err(Misconfigured(format!(
            "{name} and jwt_key_id must name every key differently"
        ))),
        false => Ok(Keys::new(&signing, &others)),
    }
}

fn key_id(name: &str, id: &str) -> Result<Option<String>, Misconfigured> {
    let is_id = id.len() <= 64
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    match is_id {
        true => Ok(Some(id.to_owned()).filter(|id| !id.is_empty())),
        false => Err(Misconfigured(format!(
            "{name} must name a key by at most 64 letters, digits, dots, hyphens and underscores"
        ))),
    }
}

/// The secret, if it is one. Whoever guesses it is every user.
fn secret(name: &str, secret: &str) -> Result<String, Misconfigured> {
    let mut bytes = secret.bytes();
    let first = bytes.next();
    match secret.len() >= JWT_SECRET_BYTES && bytes.any(|byte| Some(byte) != first) {
        true => Ok(secret.to_owned()),
        false => Err(Misconfigured(format!(
            "{name} must have at least {JWT_SECRET_BYTES} bytes in a secret, and not the same one all along"
        ))),
    }
}

fn header_name(name: &str) -> Result<Option<String>, Misconfigured> {
    match HeaderName::try_from(name) {
        _ if name.is_empty() => Ok(None),
        Ok(name) => Ok(Some(name.as_str().to_owned())),
        Err(_) => Err(Misconfigured(
            "client_address_header must be empty, or the name of a header".into(),
        )),
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
            ("jwt_key_id", "november 2026"),
            ("jwt_verify_keys", "0123456789abcdef0123456789abcdeX"),
            ("jwt_verify_keys", "a=0123456789abcdef0123456789abcde"),
            ("jwt_verify_keys", "a/b=0123456789abcdef0123456789abcdeX"),
            ("jwt_verify_keys", "=0123456789abcdef0123456789abcdeX"),
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
            ("login_attempts_per_account", "-1"),
            ("login_attempts_per_address", "many"),
            ("signup_attempts_per_account", "1000000001"),
            ("signup_attempts_per_address", ""),
            ("attempts_window_seconds", "0"),
            ("client_address_header", "x forwarded for"),
            ("log_requests", "yes"),
            ("rotate_refresh_tokens", "1"),
        ] {
            let why = why(name, value);
            assert!(why.starts_with(name), "{name}={value}: {why:?}");
            assert!(
                !name.starts_with("jwt") || value.is_empty() || !why.contains(value),
                "{why}"
            );
        }
        assert_eq!(why("public_url", "https://api.example.com/"), "");
        assert_eq!(why("jwt_verify_keys", " a=0123456789abcdef0123456789abcdeX, "), "");
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
