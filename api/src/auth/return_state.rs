//! The state in the address to which a browser comes back from a payment window, without a token.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::JwtKeys;

/// Keeps these signatures apart from those of tokens, whose text never has a space.
const PURPOSE: &[u8] = b"return to ";

/// What references begin with. The rest of them is a number in hexadecimal.
const OWN: &str = "sugang_";

/// The bytes before the address of the app: three numbers.
const HEAD_BYTES: usize = 8 + 8 + 16;

/// Half of a SHA-256, which no client guesses either: the state is a part of an address that gateways bound.
const SIGNATURE_BYTES: usize = 16;

/// Which attempt the browser comes back from, and where the app goes on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReturnState {
    pub(crate) order: i64,
    /// By which the gateway knows the attempt.
    pub(crate) reference: String,
    /// The address of the app.
    pub(crate) app_url: String,
    /// Seconds since 1970.
    pub(crate) expires_at: i64,
}

impl ReturnState {
    /// Signs the state with the key that signs tokens. The text is safe in a path. `None` for a reference of another form than
    /// ours.
    pub(crate) fn sign(&self, keys: &JwtKeys) -> Option<String> {
        let payload = BASE64_URL_SAFE_NO_PAD.encode(self.to_bytes()?);
        let signature = mac(&keys.signing.secret, &payload)?.finalize().into_bytes();
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature.get(..SIGNATURE_BYTES)?);
        Some(format!("{payload}.{signature}"))
    }

    /// Reads a state that one of the keys has signed and that has not expired by `now`, in seconds since 1970.
    pub(crate) fn verify(keys: &JwtKeys, text: &str, now: i64) -> Option<Self> {
        let (payload, signature) = text.split_once('.')?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
        let is_ours = signature.len() == SIGNATURE_BYTES
            && std::iter::once(&keys.signing)
                .chain(&keys.verifying)
                .any(|key| mac(&key.secret, payload).is_some_and(|mac| mac.verify_truncated_left(&signature).is_ok()));
        if !is_ours {
            return None;
        }
        let state = Self::from_bytes(&BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?)?;
        (now <= state.expires_at).then_some(state)
    }

    /// The most bytes of an address of an app in a text of this many characters.
    pub(crate) fn longest_app_url(chars: usize) -> usize {
        // Four characters of Base64 have three bytes.
        let signature = ".".len() + (4 * SIGNATURE_BYTES).div_ceil(3);
        (chars.saturating_sub(signature) * 3 / 4).saturating_sub(HEAD_BYTES)
    }

    fn to_bytes(&self) -> Option<Vec<u8>> {
        let attempt = u128::from_str_radix(self.reference.strip_prefix(OWN)?, 16).ok()?;
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.app_url.len());
        bytes.extend(self.expires_at.to_be_bytes());
        bytes.extend(self.order.to_be_bytes());
        bytes.extend(attempt.to_be_bytes());
        bytes.extend(self.app_url.bytes());
        Some(bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (expires_at, bytes) = bytes.split_first_chunk()?;
        let (order, bytes) = bytes.split_first_chunk()?;
        let (attempt, app_url) = bytes.split_first_chunk()?;
        Some(Self {
            order: i64::from_be_bytes(*order),
            reference: format!("{OWN}{:032x}", u128::from_be_bytes(*attempt)),
            app_url: std::str::from_utf8(app_url).ok()?.to_owned(),
            expires_at: i64::from_be_bytes(*expires_at),
        })
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
            reference: "sugang_0123456789abcdef0123456789abcdef".to_owned(),
            app_url: "https://app.example/pay/done?tab=1".to_owned(),
            expires_at: 1_800_000_000,
        }
    }

    #[test]
    fn a_state_is_read_back_until_it_expires() {
        let text = state().sign(&keys("first", &[])).unwrap();
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
        let text = state().sign(&keys).unwrap();
        let other = ReturnState { order: 8, ..state() }.sign(&keys).unwrap();
        let (payload, signature) = text.split_once('.').unwrap();
        let (others_payload, _) = other.split_once('.').unwrap();
        for changed in [
            String::new(),
            ".".to_owned(),
            payload.to_owned(),
            format!("{payload}."),
            format!("{others_payload}.{signature}"),
            format!("{payload}.{}", &signature[1..]),
            // The beginning of a signature is none.
            format!("{payload}.{}", &signature[..20]),
            format!("{text}."),
        ] {
            assert_eq!(ReturnState::verify(&keys, &changed, 0), None, "{changed}");
        }
    }

    #[test]
    fn the_longest_address_of_an_app_fills_the_text() {
        let keys = keys("first", &[]);
        let chars = |app_url: usize| {
            let app_url = "x".repeat(app_url);
            ReturnState { app_url, ..state() }.sign(&keys).unwrap().len()
        };
        for most in 150..160 {
            let longest = ReturnState::longest_app_url(most);
            assert!(chars(longest) <= most && most < chars(longest + 1), "{most}");
        }
        assert_eq!(ReturnState::longest_app_url(10), 0);
    }

    #[test]
    fn only_a_reference_of_ours_is_signed() {
        for reference in ["sugang_", "sugang_x", "0123456789abcdef0123456789abcdef"] {
            let reference = reference.to_owned();
            assert_eq!(ReturnState { reference, ..state() }.sign(&keys("first", &[])), None);
        }
    }
}
