//! The settings of gateways: either all of a contract are set, or none.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sugang_protocol::is_authority;

use super::{
    gateways::{Contracts, Credentials, Gateway, KakaoPayContract, PublicKeys},
    values::Values,
};
use crate::error::Misconfigured;

/// The length that Standard Webhooks requires of a secret.
const MIN_WEBHOOK_SECRET_BYTES: usize = 24;

impl Values {
    /// Reads how the gateways are reached.
    pub(super) fn contracts(&self) -> Result<Contracts, Misconfigured> {
        let mut contracts = Contracts {
            toss: self.credentials("toss_url", "toss_secret")?,
            portone: self.credentials("portone_url", "portone_secret")?,
            kakaopay: self.kakaopay()?,
            stripe: self.credentials("stripe_url", "stripe_secret")?,
        };
        self.only_with("portone_webhook_secret", "portone_url")?;
        self.only_with("stripe_webhook_secret", "stripe_url")?;
        if let Some(portone) = &mut contracts.portone {
            portone.webhook_secrets = self.standard_webhooks_secrets("portone_webhook_secret")?;
        }
        if let Some(stripe) = &mut contracts.stripe {
            let secrets = self.webhook_secrets("stripe_webhook_secret");
            stripe.webhook_secrets = secrets.map(|secret| secret.as_bytes().to_vec()).collect();
        }
        let gateways = self.payment_gateways()?;
        for (gateway, is_set) in [
            (Gateway::Toss, contracts.toss.is_some()),
            (Gateway::PortOne, contracts.portone.is_some()),
            (Gateway::KakaoPay, contracts.kakaopay.is_some()),
            (Gateway::Stripe, contracts.stripe.is_some()),
        ] {
            if gateways.has(gateway) && !is_set {
                let name = gateway.as_str();
                return Err(Misconfigured(format!(
                    "payment_gateways has {name}, so {name}_url and {name}_secret must be set"
                )));
            }
        }
        Ok(contracts)
    }

    fn kakaopay(&self) -> Result<Option<KakaoPayContract>, Misconfigured> {
        let [cid, return_url] = ["kakaopay_cid", "kakaopay_return_url"];
        let Some(credentials) = self.credentials("kakaopay_url", "kakaopay_secret")? else {
            self.only_with(cid, "kakaopay_url")?;
            self.only_with(return_url, "kakaopay_url")?;
            return Ok(None);
        };
        let is_url = |url: &&str| ["https://", "http://"].iter().any(|scheme| url.starts_with(scheme));
        Ok(Some(KakaoPayContract {
            credentials,
            cid: self.required(cid)?.to_owned(),
            return_url: self
                .required(return_url)
                .ok()
                .filter(is_url)
                .ok_or_else(|| {
                    Misconfigured(format!(
                        "{return_url} must be an address that begins with https:// or http://"
                    ))
                })?
                .to_owned(),
        }))
    }

    /// Reads the two settings that each gateway has, of which either both are set or none.
    fn credentials(&self, url_name: &str, secret_name: &str) -> Result<Option<Credentials>, Misconfigured> {
        let (url, secret) = (self.text(url_name).trim_end_matches('/'), self.text(secret_name));
        let authority = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let fault = match (url, secret) {
            ("", "") => return Ok(None),
            ("", _) => format!("{url_name} must be set, as {secret_name} is"),
            _ if !authority.is_some_and(is_authority) => {
                format!("{url_name} must be https:// or http:// with a host and without a path")
            }
            (_, "") => format!("{secret_name} must be set, as {url_name} is"),
            _ if !is_printable(secret) => format!("{secret_name} must be printable characters of ASCII"),
            _ => {
                return Ok(Some(Credentials {
                    url: url.to_owned(),
                    secret: secret.to_owned(),
                    webhook_secrets: Vec::new(),
                }));
            }
        };
        Err(Misconfigured(fault))
    }

    /// The secrets with which a gateway signs its events: several while they are rotated.
    fn webhook_secrets(&self, name: &str) -> impl Iterator<Item = &str> {
        let secrets = self.text(name).split(',').map(str::trim);
        secrets.filter(|secret| !secret.is_empty())
    }

    /// Reads the secrets of [Standard Webhooks](https://www.standardwebhooks.com): two while they are rotated.
    fn standard_webhooks_secrets(&self, name: &str) -> Result<Vec<Vec<u8>>, Misconfigured> {
        let secrets: Option<Vec<_>> = self
            .webhook_secrets(name)
            .map(|secret| {
                let secret = secret.strip_prefix("whsec_").unwrap_or(secret);
                let bytes = BASE64_STANDARD.decode(secret).ok()?;
                (bytes.len() >= MIN_WEBHOOK_SECRET_BYTES).then_some(bytes)
            })
            .collect();
        secrets.filter(|secrets| secrets.len() <= 2).ok_or_else(|| {
            Misconfigured(format!(
                "{name} must be empty, or one or two secrets in Base64 (whsec_…) of at least {MIN_WEBHOOK_SECRET_BYTES} \
                 bytes, with a comma between them"
            ))
        })
    }

    /// Reads what the gateways' scripts need in the browser. A key without its contract is a mistake.
    pub(super) fn public_keys(&self) -> Result<PublicKeys, Misconfigured> {
        for (key, other) in [
            ("portone_store_id", "portone_channel_key"),
            ("portone_channel_key", "portone_store_id"),
            ("portone_store_id", "portone_url"),
            ("toss_client_key", "toss_url"),
            ("stripe_publishable_key", "stripe_url"),
        ] {
            self.only_with(key, other)?;
        }
        Ok(PublicKeys {
            toss_client_key: self.text("toss_client_key").to_owned(),
            portone_store_id: self.text("portone_store_id").to_owned(),
            portone_channel_key: self.text("portone_channel_key").to_owned(),
            stripe_publishable_key: self.text("stripe_publishable_key").to_owned(),
        })
    }

    /// Checks that a setting is set only if another one is.
    fn only_with(&self, name: &str, other: &str) -> Result<(), Misconfigured> {
        match !self.text(name).is_empty() && self.text(other).is_empty() {
            true => Err(Misconfigured(format!("{other} must be set, as {name} is"))),
            false => Ok(()),
        }
    }
}

/// Whether a secret fits into a header.
fn is_printable(secret: &str) -> bool {
    secret.bytes().all(|byte| byte.is_ascii_graphic())
}
