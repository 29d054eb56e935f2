//! Signatures of events, computed over the bytes as they came.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::event::Delivery;

/// The most seconds between the signature and its arrival, in both directions.
const TOLERANCE: u64 = 300;

/// Whether one of the secrets has signed a delivery as [Standard Webhooks](https://www.standardwebhooks.com) says.
pub(super) fn standard_webhooks(secrets: &[Vec<u8>], delivery: &Delivery<'_>) -> bool {
    let header = |name| delivery.head.header(name).unwrap_or_default();
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let signatures: Vec<_> = header("webhook-signature")
        .split(' ')
        .filter_map(|signature| BASE64_STANDARD.decode(signature.strip_prefix("v1,")?).ok())
        .collect();
    !id.is_empty()
        && is_recent(timestamp, delivery.now)
        && is_signed(
            secrets,
            &[id.as_bytes(), b".", timestamp.as_bytes(), b".", delivery.body],
            &signatures,
        )
}

/// Whether one of the secrets has signed a delivery of Stripe.
pub(super) fn stripe(secrets: &[Vec<u8>], delivery: &Delivery<'_>) -> bool {
    let header = delivery.head.header("stripe-signature").unwrap_or_default();
    let parts: Vec<_> = header
        .split(',')
        .filter_map(|part| part.trim().split_once('='))
        .collect();
    let timestamp = parts.iter().find(|(name, _)| *name == "t");
    let timestamp = timestamp.map_or("", |(_, timestamp)| *timestamp);
    let signatures: Vec<_> = parts
        .iter()
        .filter(|(name, _)| *name == "v1")
        .filter_map(|(_, signature)| bytes_of(signature))
        .collect();
    is_recent(timestamp, delivery.now) && is_signed(secrets, &[timestamp.as_bytes(), b".", delivery.body], &signatures)
}

/// Reads hexadecimal digits.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<_>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    digits?
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(high * 16 + low).ok(),
            _ => None,
        })
        .collect()
}

fn is_recent(timestamp: &str, now: i64) -> bool {
    timestamp.parse::<i64>().is_ok_and(|at| at.abs_diff(now) <= TOLERANCE)
}

/// Whether one of the signatures is that of one of the secrets. Each is compared in constant time.
fn is_signed(secrets: &[Vec<u8>], parts: &[&[u8]], signatures: &[Vec<u8>]) -> bool {
    secrets.iter().any(|secret| {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
            return false;
        };
        for part in parts {
            mac.update(part);
        }
        signatures
            .iter()
            .any(|signature| mac.clone().verify_slice(signature).is_ok())
    })
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::http::RequestHead;

    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    fn standard(secrets: &[&str], changed: Option<(&str, &str)>, body: &[u8], now: i64) -> bool {
        let secrets: Vec<_> = secrets
            .iter()
            .map(|secret| BASE64_STANDARD.decode(secret).unwrap())
            .collect();
        let headers: Vec<_> = [
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            (
                "webhook-signature",
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1a,x v1,bm9ldHUK",
            ),
        ]
        .into_iter()
        .map(|(name, value)| match changed {
            Some((changed, value)) if changed == name => (name, value),
            _ => (name, value),
        })
        .collect();
        let head = RequestHead::with_headers(Method::POST, &headers);
        standard_webhooks(&secrets, &Delivery { head: &head, body, now })
    }

    /// The vector of the specification's reference implementations.
    #[test]
    fn a_signature_of_standard_webhooks_is_verified() {
        const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        const OTHER: &str = "bm90IHRoZSBzZWNyZXQgb2YgdGhlIHZlY3Rvcg==";
        const NOW: i64 = 1_614_265_330;
        assert!(standard(&[SECRET], None, BODY, NOW));
        assert!(standard(&[OTHER, SECRET], None, BODY, NOW + 300));
        assert!(standard(&[SECRET], None, BODY, NOW - 300));
        assert!(!standard(&[SECRET], None, BODY, NOW + 301), "too old");
        assert!(!standard(&[SECRET], None, BODY, NOW - 301), "from the future");
        assert!(!standard(&[OTHER], None, BODY, NOW), "another secret");
        assert!(!standard(&[], None, BODY, NOW), "no secret");
        assert!(
            !standard(&[SECRET], None, br#"{"test": 2432232315}"#, NOW),
            "another body"
        );
        for changed in [
            ("webhook-id", "msg_another"),
            ("webhook-id", ""),
            ("webhook-timestamp", "1614265331"),
            ("webhook-timestamp", "soon"),
            ("webhook-signature", ""),
            ("webhook-signature", "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            ("webhook-signature", "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OA="),
        ] {
            assert!(!standard(&[SECRET], Some(changed), BODY, NOW), "{changed:?}");
        }
    }

    /// The vector comes from `stripe.WebhookSignature` of Stripe's package for Python, version 16.1.0.
    #[test]
    fn a_signature_of_stripe_is_verified() {
        const BODY: &[u8] =
            br#"{"id":"evt_1NG8Du2eZvKYlo2CUI79vXWy","type":"payment_intent.succeeded","data":{"object":{"id":"pi_1"}}}"#;
        const SIGNATURE: &str = "1a1e3961890e49a2b5b11e3d176556796e08d71f1576bcc4bfdb59ad05d4dde3";
        const AT: i64 = 1_700_000_000;
        let verified = |secret: &str, header: &str, body: &[u8], now: i64| {
            let head = RequestHead::with_headers(Method::POST, &[("Stripe-Signature", header)]);
            stripe(&[secret.as_bytes().to_vec()], &Delivery { head: &head, body, now })
        };
        const SECRET: &str = "whsec_0123456789abcdef0123456789abcdef";
        let header = format!("t=1700000000,v1={SIGNATURE},v0=00");
        let rotated = format!("t=1700000000, v1=00, v1={SIGNATURE}");
        assert!(verified(SECRET, &header, BODY, AT));
        assert!(verified(SECRET, &rotated, BODY, AT + 300));
        assert!(!verified(SECRET, &header, BODY, AT + 301), "too old");
        assert!(!verified("whsec_another", &header, BODY, AT));
        assert!(!verified(SECRET, &header, b"{}", AT));
        for header in [
            String::new(),
            format!("v1={SIGNATURE}"),
            format!("t=1700000001,v1={SIGNATURE}"),
            format!("t=1700000000,v0={SIGNATURE}"),
            format!("t=1700000000,v1={}", &SIGNATURE[1..]),
            "t=1700000000,v1=".to_owned(),
        ] {
            assert!(!verified(SECRET, &header, BODY, AT), "{header}");
        }
    }
}
