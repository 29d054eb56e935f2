//! The state in the address to which a browser comes back from a payment window, without a token.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::config::JwtKeys;

/// Keeps these signatures apart from those of tokens, whose text never has a space.
const PURPOSE: &[u8] = b"return address ";

/// Which attempt the browser comes back from, and where the app goes on.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReturnState {
    #[serde(rename = "o")]
    pub(crate) order: i64,
    /// By which the gateway knows the attempt.
    #[serde(rename = "r")]
    pub(crate) reference: String,
    /// The address of the app.
    #[serde(rename = "u")]
    pub(crate) app_url: String,
    /// Seconds since 1970.
    #[serde(rename = "e")]
    pub(crate) expires_at: i64,
}

impl ReturnState {
    /// Signs the state with the key that signs tokens. The text is safe in a path.
    pub(crate) fn sign(&self, keys: &JwtKeys) -> String {
        let payload = BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default());
        let signature = mac(&keys.signing.secret, &payload).map(|mac| mac.finalize().into_bytes());
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature.unwrap_or_default());
        format!("{payload}.{signature}")
    }

    /// Reads a state that one of the keys has signed and that has not expired by `now`, in seconds since 1970.
    pub(crate) fn verify(keys: &JwtKeys, text: &str, now: i64) -> Option<Self> {
        let (payload, signature) = text.split_once('.')?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        let is_ours = std::iter::once(&keys.signing)
            .chain(&keys.verifying)
            .any(|key| mac(&key.secret, payload).is_some_and(|mac| mac.verify_slice(&signature).is_ok()));
        if !is_ours {
            return None;
        }
        let state: Self = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        (now <= state.expires_at).then_some(state)
    }
}

fn mac(secret: &str, payload: &str) -> Option<Hmac<Sha256>> {
    // HMAC takes keys of every length.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(PURPOSE);
    mac.update(payload.as_bytes());
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::types::JwtKey;

    fn keys(signing: &str, verifying: &[&str]) -> JwtKeys {
        let key = |secret: &str| JwtKey {
            id: None,
            secret: secret.to_owned(),
        };
        JwtKeys {
            signing: key(signing),
            verifying: verifying.iter().map(|secret| key(secret)).collect(),
        }
    }

    fn state() -> ReturnState {
        ReturnState {
            order: 7,
            reference: "sugang_0123456789abcdef".to_owned(),
            app_url: "https://app.example/pay/done?tab=1".to_owned(),
            expires_at: 1_800_000_000,
        }
    }

    #[test]
    fn a_state_is_read_back_until_it_expires() {
        let text = state().sign(&keys("first", &[]));
        assert!(
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)),
            "{text}"
        );
        let read = |keys: JwtKeys, now| ReturnState::verify(&keys, &text, now);
        assert_eq!(read(keys("first", &[]), 1_800_000_000), Some(state()));
        assert_eq!(
            read(keys("second", &["first"]), 0),
            Some(state()),
            "the key was rotated"
        );
        assert_eq!(read(keys("first", &[]), 1_800_000_001), None);
        assert_eq!(read(keys("second", &[]), 0), None);
    }

    #[test]
    fn a_state_that_was_changed_is_refused() {
        let keys = keys("first", &[]);
        let text = state().sign(&keys);
        let other = ReturnState { order: 8, ..state() }.sign(&keys);
        let (payload, signature) = text.split_once('.').unwrap();
        let (others_payload, _) = other.split_once('.').unwrap();
        for changed in [
            String::new(),
            ".".to_owned(),
            payload.to_owned(),
            format!("{payload}."),
            format!("{others_payload}.{signature}"),
            format!("{payload}.{}", &signature[1..]),
            format!("{text}."),
        ] {
            assert_eq!(ReturnState::verify(&keys, &changed, 0), None, "{changed}");
        }
    }
}
