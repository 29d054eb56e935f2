//! The configuration: the variables of `spin.toml`, read once per instance, and the rules that their values keep.

mod contracts;
mod gateways;
mod return_urls;
pub(crate) mod types;
mod values;

use std::time::Duration;

use sugang_protocol::{AllowedHosts, Cors};

use crate::error::Misconfigured;

pub(crate) use gateways::{Contracts, Credentials, Gateway, KakaoPayContract, PaymentGateways, PublicKeys};
pub(crate) use return_urls::AppReturnUrls;
pub(crate) use types::{JwtKeys, MaxHashCost, RateLimits};
use values::Values;

/// The configuration of the service.
pub(crate) struct Config {
    /// The URL of PostgreSQL with its password, in the host's form.
    pub(crate) database_url: String,
    /// The most connections that an instance keeps between requests.
    pub(crate) database_connections: usize,
    /// The time limit of a statement, including the wait for a connection.
    pub(crate) database_timeout: Duration,
    /// The time that a statement waits for each thing that another transaction has locked.
    pub(crate) lock_timeout: Duration,
    /// The URL of Redis with its password, in the host's form.
    pub(crate) redis_url: String,
    /// The beginning of every key in Redis.
    pub(crate) redis_key_prefix: String,
    /// The time limit of a Redis command.
    pub(crate) redis_timeout: Duration,
    /// The time after which a lock expires if its holder does not release it.
    pub(crate) lock_ttl: Duration,
    pub(crate) jwt_keys: JwtKeys,
    /// Seconds.
    pub(crate) access_token_lifetime: u64,
    /// Seconds.
    pub(crate) refresh_token_lifetime: u64,
    /// Whether a refresh token can be used only once, and is then replaced.
    pub(crate) rotate_refresh_tokens: bool,
    /// Seconds for which a used refresh token still gets the successor that it got before.
    pub(crate) refresh_reuse_grace: u64,
    /// Scheme and authority of the links in lists, without a trailing slash; by default those of the request.
    pub(crate) public_url: Option<String>,
    /// The hosts that a request may name.
    pub(crate) allowed_hosts: AllowedHosts,
    pub(crate) max_body_bytes: usize,
    /// The limit of a file of an operator.
    pub(crate) max_import_bytes: usize,
    pub(crate) cors: Cors,
    /// The cost of hashing a password.
    pub(crate) argon2: argon2::Params,
    pub(crate) login_limits: RateLimits,
    pub(crate) signup_limits: RateLimits,
    /// Whether a sign-up may have neither a common password nor one that resembles the account's names.
    pub(crate) refuse_weak_passwords: bool,
    /// The window of the rate limits.
    pub(crate) rate_limit_window: Duration,
    /// The header in which a trusted proxy sends the address of the client.
    pub(crate) client_address_header: Option<String>,
    /// Whether every request is logged.
    pub(crate) log_requests: bool,
    /// Which gateway moves the money of which payment method.
    pub(crate) payment_gateways: PaymentGateways,
    /// Where a user pays in what an operator confirms; not empty if a method is paid so.
    pub(crate) manual_account: String,
    /// For how long a pre-order holds a seat.
    pub(crate) hold_seconds: i64,
    /// For how long a seat is held for a deposit.
    pub(crate) deposit_seconds: i64,
    /// Whether a price can be paid in one step, without a pre-order.
    pub(crate) one_step_payment: bool,
    /// The secret of the sweep; empty for no sweep.
    pub(crate) sweep_secret: String,
    /// How the gateways are reached.
    pub(crate) contracts: Contracts,
    /// What the payment windows of the gateways are opened with.
    pub(crate) public_keys: PublicKeys,
    /// The time for a gateway's answer, with a look-up if the answer is unclear.
    pub(crate) gateway_timeout: Duration,
    /// The time for the answer of a webhook's receiver.
    pub(crate) webhook_timeout: Duration,
    /// For how many days events, and what became of them, are kept.
    pub(crate) webhook_keep_days: i64,
    /// Whether the URL of a webhook may be without encryption.
    pub(crate) webhook_http: bool,
    /// For how many days the events of the gateways are kept.
    pub(crate) gateway_event_days: i64,
    /// Limits the events that nothing proves.
    pub(crate) unproven_event_limits: RateLimits,
    /// Where a browser may be sent on from a payment window.
    pub(crate) app_return_urls: AppReturnUrls,
    /// For how many days a gateway is asked what it has given back of a payment by itself; 0 for never.
    pub(crate) gateway_reconcile_days: i64,
}

/// An upper bound for the configured attempts per window; a typing error exceeds it.
const MAX_ATTEMPTS: u64 = 1_000_000_000;

const VARIABLES: [&str; 63] = [
    "database_url",
    "database_password",
    "redis_url",
    "redis_key_prefix",
    "redis_password",
    "jwt_secret",
    "jwt_key_id",
    "jwt_verify_keys",
    "access_token_lifetime_seconds",
    "refresh_token_lifetime_seconds",
    "rotate_refresh_tokens",
    "refresh_reuse_grace_seconds",
    "public_url",
    "allowed_hosts",
    "max_body_bytes",
    "max_import_bytes",
    "lock_ttl_ms",
    "redis_timeout_ms",
    "database_timeout_ms",
    "lock_timeout_ms",
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
    "refuse_weak_passwords",
    "client_address_header",
    "log_requests",
    "payment_gateways",
    "manual_account",
    "hold_seconds",
    "deposit_seconds",
    "one_step_payment",
    "sweep_secret",
    "toss_url",
    "toss_secret",
    "toss_client_key",
    "portone_url",
    "portone_secret",
    "portone_store_id",
    "portone_channel_key",
    "kakaopay_url",
    "kakaopay_secret",
    "kakaopay_cid",
    "kakaopay_return_url",
    "stripe_url",
    "stripe_secret",
    "stripe_publishable_key",
    "portone_webhook_secret",
    "stripe_webhook_secret",
    "gateway_timeout_ms",
    "webhook_timeout_ms",
    "webhook_keep_days",
    "webhook_http",
    "gateway_event_days",
    "unproven_events_per_address",
    "app_return_urls",
    "gateway_reconcile_days",
];

impl Config {
    /// Reads the variables from the host. `max_cost` bounds what hashing a password may be configured to cost.
    ///
    /// # Errors
    /// A variable is missing or breaks its rule.
    pub(crate) async fn read(max_cost: &MaxHashCost) -> Result<Self, Misconfigured> {
        let mut values = Vec::with_capacity(VARIABLES.len());
        for name in VARIABLES {
            values.push((name, spin_sdk::variables::get(name).await.unwrap_or_default()));
        }
        Self::parse(&Values(values), max_cost)
    }

    fn parse(values: &Values, max_cost: &MaxHashCost) -> Result<Self, Misconfigured> {
        let argon2 = values.argon2(max_cost)?;
        Ok(Self {
            database_url: values.database_url()?,
            database_connections: values.number("database_connections", 0, 64)?,
            database_timeout: Duration::from_millis(values.number("database_timeout_ms", 10, 600_000)?),
            lock_timeout: Duration::from_millis(values.number("lock_timeout_ms", 10, 600_000)?),
            redis_url: values.redis_url()?,
            redis_key_prefix: values.redis_key_prefix()?,
            redis_timeout: Duration::from_millis(values.number("redis_timeout_ms", 1, 60_000)?),
            lock_ttl: Duration::from_millis(values.number("lock_ttl_ms", 100, 600_000)?),
            jwt_keys: values.jwt_keys()?,
            access_token_lifetime: values.number("access_token_lifetime_seconds", 1, 3_153_600_000)?,
            refresh_token_lifetime: values.number("refresh_token_lifetime_seconds", 1, 3_153_600_000)?,
            rotate_refresh_tokens: values.flag("rotate_refresh_tokens")?,
            refresh_reuse_grace: values.number("refresh_reuse_grace_seconds", 0, 3600)?,
            public_url: values.public_url()?,
            allowed_hosts: values.allowed_hosts()?,
            max_body_bytes: values.number("max_body_bytes", 256, 16 * 1024 * 1024)?,
            max_import_bytes: values.number("max_import_bytes", 256, 16 * 1024 * 1024)?,
            cors: values.cors()?,
            argon2,
            login_limits: RateLimits {
                per_account: values.number("login_attempts_per_account", 0, MAX_ATTEMPTS)?,
                per_address: values.number("login_attempts_per_address", 0, MAX_ATTEMPTS)?,
            },
            signup_limits: RateLimits {
                per_account: values.number("signup_attempts_per_account", 0, MAX_ATTEMPTS)?,
                per_address: values.number("signup_attempts_per_address", 0, MAX_ATTEMPTS)?,
            },
            refuse_weak_passwords: values.flag("refuse_weak_passwords")?,
            rate_limit_window: Duration::from_secs(values.number("attempts_window_seconds", 1, 86_400)?),
            client_address_header: values.client_address_header()?,
            log_requests: values.flag("log_requests")?,
            payment_gateways: values.payment_gateways()?,
            manual_account: values.manual_account()?,
            hold_seconds: values.number("hold_seconds", 10, 86_400)?,
            deposit_seconds: values.number("deposit_seconds", 60, 2_592_000)?,
            one_step_payment: values.switch("one_step_payment")?,
            sweep_secret: values.sweep_secret()?,
            contracts: values.contracts()?,
            public_keys: values.public_keys()?,
            // The host answers 504 after 30 seconds, unless it is told otherwise.
            gateway_timeout: Duration::from_millis(values.number("gateway_timeout_ms", 100, 60_000)?),
            webhook_timeout: Duration::from_millis(values.number("webhook_timeout_ms", 100, 60_000)?),
            webhook_keep_days: values.number("webhook_keep_days", 4, 3650)?,
            webhook_http: values.switch("webhook_http")?,
            gateway_event_days: values.number("gateway_event_days", 1, 3650)?,
            unproven_event_limits: RateLimits {
                per_account: 0,
                per_address: values.number("unproven_events_per_address", 0, MAX_ATTEMPTS)?,
            },
            app_return_urls: values.app_return_urls()?,
            gateway_reconcile_days: values.number("gateway_reconcile_days", 0, 3_650)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_COST: MaxHashCost = MaxHashCost {
        memory_kib: 131_072,
        iterations: 32,
        parallelism: 16,
    };

    /// The defaults of `spin.toml`, with values for the variables that have none.
    fn manifest() -> Values {
        let manifest = include_str!("../../../spin.toml");
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
        Config::parse(&values, &MAX_COST)
            .err()
            .map_or_else(String::new, |Misconfigured(why)| why)
    }

    #[test]
    fn the_manifest_has_every_variable_and_its_defaults_are_valid() {
        let config = Config::parse(&manifest(), &MAX_COST).unwrap_or_else(|Misconfigured(why)| panic!("{why}"));
        assert_eq!(config.access_token_lifetime, 86_400);
        assert_eq!(config.public_url, None);
        assert!(matches!(config.cors, Cors::Closed));
        assert!(
            !config.refuse_weak_passwords,
            "the clients of the contract rely on its rule"
        );
        assert!(config.log_requests);
    }

    #[test]
    fn a_gateway_has_all_of_its_settings_or_none() {
        let with = |set_values: &[(&str, &str)]| {
            let mut values = manifest();
            for (name, value) in set_values {
                set(&mut values, name, value);
            }
            Config::parse(&values, &MAX_COST)
        };
        let toss = [("toss_url", "https://api.example/"), ("toss_secret", "test_sk_1")];
        let toss = with(&toss).ok().unwrap().contracts.toss.unwrap();
        assert_eq!(
            (toss.url.as_str(), toss.secret.as_str()),
            ("https://api.example", "test_sk_1")
        );
        assert_eq!(with(&[]).ok().unwrap().contracts, Contracts::default());
        let kakaopay = [
            ("kakaopay_url", "https://api.example"),
            ("kakaopay_secret", "dev_1"),
            ("kakaopay_cid", "TC0ONETIME"),
            ("kakaopay_return_url", "https://app.example/paid"),
        ];
        let whole = with(&kakaopay).ok().unwrap().contracts.kakaopay.unwrap();
        assert_eq!(
            (whole.cid.as_str(), whole.credentials.secret.as_str()),
            ("TC0ONETIME", "dev_1")
        );
        for (name, _) in kakaopay {
            let mut values = kakaopay;
            values.iter_mut().find(|(known, _)| *known == name).unwrap().1 = "";
            let Misconfigured(why) = with(&values).err().unwrap();
            assert!(why.starts_with(&format!("{name} must be")), "{why}");
        }
        for (values, expected) in [
            (&[("toss_url", "https://api.example")][..], "toss_secret must be set"),
            (&[("toss_secret", "test_sk_1")], "toss_url must be set"),
            (
                &[("toss_url", "https://api.example"), ("toss_secret", "test sk")],
                "toss_secret must be printable",
            ),
            (
                &[("toss_client_key", "test_ck_1")],
                "toss_url must be set, as toss_client_key is",
            ),
            (
                &[("stripe_publishable_key", "pk_1")],
                "stripe_url must be set, as stripe_publishable_key is",
            ),
            (
                &[("portone_store_id", "store-1")],
                "portone_channel_key must be set, as portone_store_id is",
            ),
            (
                &[("kakaopay_cid", "TC0ONETIME")],
                "kakaopay_url must be set, as kakaopay_cid is",
            ),
            (
                &[
                    kakaopay[0],
                    kakaopay[1],
                    kakaopay[2],
                    ("kakaopay_return_url", "app.example"),
                ],
                "kakaopay_return_url must be an address",
            ),
        ] {
            let Misconfigured(why) = with(values).err().unwrap();
            assert!(why.starts_with(expected), "{why}");
        }
    }

    #[test]
    fn a_bad_variable_is_named_and_its_value_never_shown() {
        for (name, value) in [
            ("database_url", ""),
            ("redis_url", "  "),
            ("database_url", "mysql://u@db/sugang"),
            ("database_url", "postgres://u@db/sugang?sslmod=require"),
            ("redis_url", "redis://cache/first"),
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
            ("redis_key_prefix", ""),
            ("redis_key_prefix", "{sugang}"),
            ("redis_key_prefix", "my sugang"),
            ("refresh_reuse_grace_seconds", "3601"),
            ("lock_ttl_ms", "5s"),
            ("redis_timeout_ms", "1e3"),
            ("database_timeout_ms", "99999999999999999999"),
            ("lock_timeout_ms", "0"),
            ("database_connections", "65"),
            ("cors_allowed_origins", "a.example"),
            ("cors_allowed_origins", "https://a.example,"),
            ("cors_allowed_origins", "https://a.example/"),
            ("public_url", "api.example.com"),
            ("public_url", "https://"),
            ("allowed_hosts", "https://api.example.com"),
            ("allowed_hosts", "*.example.com"),
            ("allowed_hosts", "a.example,"),
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
            ("refuse_weak_passwords", "on"),
            ("rotate_refresh_tokens", "1"),
            ("toss_url", "api.tosspayments.com"),
            ("toss_url", "https://api.example/v1"),
            ("portone_url", "ftp://api.example"),
            ("stripe_url", "https://api.example/v1"),
            ("payment_gateways", "card=toss"),
            ("payment_gateways", "kakaopay=kakaopay"),
            ("gateway_timeout_ms", "0"),
            ("gateway_event_days", "0"),
            ("unproven_events_per_address", "all"),
            ("app_return_urls", "app.example/pay"),
            ("app_return_urls", "https://app.example/pay, javascript://x"),
        ] {
            let why = why(name, value);
            assert!(why.starts_with(name), "{name}={value}: {why:?}");
            assert!(
                !name.starts_with("jwt") || value.is_empty() || !why.contains(value),
                "{why}"
            );
        }
        assert_eq!(why("public_url", "https://api.example.com/"), "");
        assert_eq!(why("allowed_hosts", "api.example.com, .example.org, [::1]:8000"), "");
        assert_eq!(why("jwt_verify_keys", " a=0123456789abcdef0123456789abcdeX, "), "");
        assert_eq!(
            why("cors_allowed_origins", "https://a.example, http://localhost:3000"),
            ""
        );
    }
}
