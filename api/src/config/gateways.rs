//! Which gateway moves the money of which payment method.

use serde_json::Value;
use sugang_sdk::types::PaymentMethod;

/// What moves money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gateway {
    /// An operator confirms what has arrived on an account.
    Manual,
    /// Toss Payments.
    Toss,
    /// PortOne, version 2.
    PortOne,
    /// KakaoPay.
    KakaoPay,
    /// Stripe.
    Stripe,
}

impl Gateway {
    const ALL: [Self; 5] = [Self::Manual, Self::Toss, Self::PortOne, Self::KakaoPay, Self::Stripe];

    /// The word in the configuration, in the database and on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Toss => "toss",
            Self::PortOne => "portone",
            Self::KakaoPay => "kakaopay",
            Self::Stripe => "stripe",
        }
    }

    /// Whether the gateway itself opens the payment window, on a request of ours.
    pub(crate) fn opens_windows(self) -> bool {
        matches!(self, Self::KakaoPay | Self::Stripe)
    }

    /// The most characters of an address that the gateway sends the browser back to, where it is known to have a limit.
    pub(crate) fn longest_return_url(self) -> Option<usize> {
        (self == Self::KakaoPay).then_some(255)
    }
}

/// How a gateway is reached, by the contract with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// Scheme and authority, without a slash at the end.
    pub(crate) url: String,
    pub(crate) secret: String,
    /// What the gateway signs its events with; empty if it does not sign them, or sends none.
    pub(crate) webhook_secrets: Vec<Vec<u8>>,
}

/// The contract with KakaoPay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KakaoPayContract {
    pub(crate) credentials: Credentials,
    /// By which KakaoPay knows the shop.
    pub(crate) cid: String,
    /// The page of the shop to which KakaoPay sends the user back.
    pub(crate) return_url: String,
}

/// The contracts with gateways. `manual` needs none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Contracts {
    pub(crate) toss: Option<Credentials>,
    pub(crate) portone: Option<Credentials>,
    pub(crate) kakaopay: Option<KakaoPayContract>,
    pub(crate) stripe: Option<Credentials>,
}

/// The public keys of contracts, with which the gateways' scripts open their windows in the browser; empty for none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PublicKeys {
    pub(super) toss_client_key: String,
    pub(super) portone_store_id: String,
    pub(super) portone_channel_key: String,
    pub(super) stripe_publishable_key: String,
}

impl PublicKeys {
    /// The keys that the window of a gateway needs, by the names of [`sugang_sdk::types::PaymentWindow`].
    pub(crate) fn of(&self, gateway: Gateway) -> Value {
        let keys: &[(&str, &String)] = match gateway {
            Gateway::Toss => &[("client_key", &self.toss_client_key)],
            Gateway::PortOne => &[
                ("store_id", &self.portone_store_id),
                ("channel_key", &self.portone_channel_key),
            ],
            Gateway::Stripe => &[("publishable_key", &self.stripe_publishable_key)],
            Gateway::Manual | Gateway::KakaoPay => &[],
        };
        let set = keys.iter().filter(|(_, key)| !key.is_empty());
        set.map(|(name, key)| ((*name).to_owned(), Value::from(key.as_str())))
            .collect()
    }
}

/// The gateways of the payment methods that have one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PaymentGateways(Vec<(PaymentMethod, Gateway)>);

impl PaymentGateways {
    /// Reads `method=gateway` pairs with commas between them.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut gateways = Self::default();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (method, gateway) = pair
                .split_once('=')
                .ok_or("must be method=gateway, with commas between several of them")?;
            let method = method.trim().parse().ok();
            let method = method.filter(|method| ![PaymentMethod::Free, PaymentMethod::Outside].contains(method));
            let method = method.ok_or("must name payment methods: kakaopay, card, bank_transfer")?;
            let gateway = Gateway::ALL.into_iter().find(|known| known.as_str() == gateway.trim());
            let gateway = gateway.ok_or_else(|| format!("must name gateways: {}", known()))?;
            if gateways.of(method).is_some() {
                return Err("must name each payment method once".into());
            }
            gateways.0.push((method, gateway));
        }
        Ok(gateways)
    }

    /// The gateway of a payment method, if it has one.
    pub(crate) fn of(&self, method: PaymentMethod) -> Option<Gateway> {
        let pair = self.0.iter().find(|(known, _)| *known == method);
        pair.map(|(_, gateway)| *gateway)
    }

    /// Whether a payment method has this gateway.
    pub(crate) fn has(&self, gateway: Gateway) -> bool {
        self.0.iter().any(|(_, known)| *known == gateway)
    }
}

fn known() -> String {
    Gateway::ALL.map(Gateway::as_str).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_has_one_gateway() {
        assert_eq!(PaymentGateways::parse(" "), Ok(PaymentGateways::default()));
        let gateways = PaymentGateways::parse("card=manual, bank_transfer = manual,").unwrap();
        assert_eq!(gateways.of(PaymentMethod::Card), Some(Gateway::Manual));
        assert_eq!(gateways.of(PaymentMethod::BankTransfer), Some(Gateway::Manual));
        assert_eq!(gateways.of(PaymentMethod::KakaoPay), None);
        assert!(gateways.has(Gateway::Manual));
        for (text, rule) in [
            ("card", "must be method=gateway"),
            ("cash=manual", "must name payment methods"),
            ("free=manual", "must name payment methods"),
            (
                "card=piggybank",
                "must name gateways: manual, toss, portone, kakaopay, stripe",
            ),
            ("card=manual,card=manual", "must name each payment method once"),
        ] {
            let error = PaymentGateways::parse(text).unwrap_err();
            assert!(error.starts_with(rule), "{text}: {error}");
        }
    }
}
