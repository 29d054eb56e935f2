//! The rules of single variables. Messages name the variable and the rule, never the value.

use http::HeaderName;
use sugang_protocol::{
    AllowedHosts, Cors,
    store_url::{PostgresUrl, RedisUrl},
};

use super::{
    gateways::{Gateway, PaymentGateways},
    return_urls::AppReturnUrls,
    types::{JwtKey, JwtKeys, MaxHashCost},
};
use crate::error::Misconfigured;

/// The length that RFC 7518 (3.2) requires of an HS256 secret: as many bytes as the hash has.
const MIN_JWT_SECRET_BYTES: usize = 32;

const MIN_SWEEP_SECRET_BYTES: usize = 16;

/// The values of all variables, by name; empty for a variable that is not set.
pub(super) struct Values(pub(super) Vec<(&'static str, String)>);

impl Values {
    pub(super) fn text(&self, name: &str) -> &str {
        self.exact(name).trim()
    }

    /// The value with the blanks around it, which belong to a password.
    fn exact(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .map_or("", |(_, value)| value)
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, Misconfigured> {
        match self.text(name) {
            "" => Err(Misconfigured(format!("{name} must be set"))),
            value => Ok(value),
        }
    }

    pub(super) fn database_url(&self) -> Result<String, Misconfigured> {
        let url = PostgresUrl::parse(self.required("database_url")?, self.exact("database_password"));
        url.map(|url| url.to_url())
            .map_err(|error| Misconfigured(format!("database_url {error}")))
    }

    pub(super) fn redis_url(&self) -> Result<String, Misconfigured> {
        let url = RedisUrl::parse(self.required("redis_url")?, self.exact("redis_password"));
        url.map(|url| url.to_url())
            .map_err(|error| Misconfigured(format!("redis_url {error}")))
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Misconfigured> {
        let flag = self.text(name).parse();
        flag.map_err(|_| Misconfigured(format!("{name} must be true or false")))
    }

    pub(super) fn switch(&self, name: &str) -> Result<bool, Misconfigured> {
        match self.text(name) {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(Misconfigured(format!("{name} must be on or off"))),
        }
    }

    pub(super) fn payment_gateways(&self) -> Result<PaymentGateways, Misconfigured> {
        PaymentGateways::parse(self.text("payment_gateways"))
            .map_err(|rule| Misconfigured(format!("payment_gateways {rule}")))
    }

    /// Reads the account of the gateway `manual`.
    pub(super) fn manual_account(&self) -> Result<String, Misconfigured> {
        let account = self.text("manual_account");
        match self.payment_gateways()?.has(Gateway::Manual) && account.is_empty() {
            true => Err(Misconfigured(
                "manual_account must be set if payment_gateways has manual".into(),
            )),
            false => Ok(account.to_owned()),
        }
    }

    pub(super) fn sweep_secret(&self) -> Result<String, Misconfigured> {
        let secret = self.text("sweep_secret");
        match (1..MIN_SWEEP_SECRET_BYTES).contains(&secret.len()) {
            true => Err(Misconfigured(format!(
                "sweep_secret must be empty, or have at least {MIN_SWEEP_SECRET_BYTES} bytes"
            ))),
            false => Ok(secret.to_owned()),
        }
    }

    pub(super) fn number<N: TryFrom<u64>>(&self, name: &str, min: u64, max: u64) -> Result<N, Misconfigured> {
        let number = self
            .text(name)
            .parse()
            .ok()
            .filter(|number| (min..=max).contains(number));
        number
            .and_then(|number| N::try_from(number).ok())
            .ok_or_else(|| Misconfigured(format!("{name} must be a whole number from {min} to {max}")))
    }

    pub(super) fn argon2(&self, max: &MaxHashCost) -> Result<argon2::Params, Misconfigured> {
        let iterations = self.number("argon2_iterations", 1, max.iterations.into())?;
        let memory_kib = self.number("argon2_memory_kib", 8, max.memory_kib.into())?;
        let parallelism = self.number("argon2_parallelism", 1, max.parallelism.into())?;
        argon2::Params::new(memory_kib, iterations, parallelism, None)
            .map_err(|_| Misconfigured("argon2_memory_kib must be at least 8 times argon2_parallelism".into()))
    }

    /// Reads the key that signs, and those that only verify: `id=secret`, with commas between them.
    pub(super) fn jwt_keys(&self) -> Result<JwtKeys, Misconfigured> {
        let signing = JwtKey {
            id: key_id("jwt_key_id", self.text("jwt_key_id"))?,
            secret: secret("jwt_secret", self.required("jwt_secret")?)?,
        };
        let name = "jwt_verify_keys";
        let mut verifying = Vec::new();
        for pair in self.text(name).split(',').filter(|pair| !pair.trim().is_empty()) {
            let (id, text) = pair.split_once('=').ok_or_else(|| {
                Misconfigured(format!("{name} must be id=secret, with commas between several of them"))
            })?;
            verifying.push(JwtKey {
                id: key_id(name, id.trim())?,
                secret: secret(name, text.trim())?,
            });
        }
        let mut ids: Vec<_> = verifying.iter().chain([&signing]).map(|key| &key.id).collect();
        ids.sort_unstable();
        match ids.windows(2).any(|pair| pair[0] == pair[1]) {
            true => Err(Misconfigured(format!(
                "{name} and jwt_key_id must name every key differently"
            ))),
            false => Ok(JwtKeys { signing, verifying }),
        }
    }

    pub(super) fn client_address_header(&self) -> Result<Option<String>, Misconfigured> {
        let name = self.text("client_address_header");
        match HeaderName::try_from(name) {
            _ if name.is_empty() => Ok(None),
            Ok(name) => Ok(Some(name.as_str().to_owned())),
            Err(_) => Err(Misconfigured(
                "client_address_header must be empty, or the name of a header".into(),
            )),
        }
    }

    /// Reads the prefix. Braces in it would mark a part of the key as the one that places it in a cluster.
    pub(super) fn redis_key_prefix(&self) -> Result<String, Misconfigured> {
        let prefix = self.required("redis_key_prefix")?;
        let is_valid = prefix.len() <= 64
            && prefix
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
        is_valid.then(|| prefix.to_owned()).ok_or_else(|| {
            Misconfigured("redis_key_prefix must be at most 64 letters, digits, or characters of -_.:".into())
        })
    }

    pub(super) fn public_url(&self) -> Result<Option<String>, Misconfigured> {
        let url = self.text("public_url").trim_end_matches('/');
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        match rest {
            _ if url.is_empty() => Ok(None),
            Some(rest) if !rest.is_empty() && !rest.contains(['?', '#', ' ']) => Ok(Some(url.to_owned())),
            _ => Err(Misconfigured(
                "public_url must be empty, or begin with http:// or https://".into(),
            )),
        }
    }

    pub(super) fn allowed_hosts(&self) -> Result<AllowedHosts, Misconfigured> {
        AllowedHosts::parse(self.text("allowed_hosts")).ok_or_else(|| {
            Misconfigured(
                "allowed_hosts must be empty, * or a list of hosts (api.example.com, .example.com, [::1]:8000) with commas"
                    .into(),
            )
        })
    }

    pub(super) fn app_return_urls(&self) -> Result<AppReturnUrls, Misconfigured> {
        AppReturnUrls::parse(self.text("app_return_urls")).ok_or_else(|| {
            Misconfigured(
                "app_return_urls must be empty, or a list of addresses (https://app.example.com/pay) without a query, \
                 with commas; none begins with javascript:, data:, vbscript:, blob: or file:"
                    .into(),
            )
        })
    }

    pub(super) fn cors(&self) -> Result<Cors, Misconfigured> {
        Cors::parse(self.text("cors_allowed_origins")).ok_or_else(|| {
            Misconfigured(
                "cors_allowed_origins must be empty, * or a list of origins (https://example.com) with commas".into(),
            )
        })
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

/// Checks a secret. An attacker with a guessed secret can sign a token for every user.
fn secret(name: &str, secret: &str) -> Result<String, Misconfigured> {
    let mut bytes = secret.bytes();
    let first = bytes.next();
    match secret.len() >= MIN_JWT_SECRET_BYTES && bytes.any(|byte| Some(byte) != first) {
        true => Ok(secret.to_owned()),
        false => Err(Misconfigured(format!(
            "{name} must have at least {MIN_JWT_SECRET_BYTES} bytes in a secret, and not the same one all along"
        ))),
    }
}
