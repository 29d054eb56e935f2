//! Signatures of webhooks, as [Standard Webhooks](https://www.standardwebhooks.com) has them: for a receiver to verify,
//! and for the service to make.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::types::Event;

/// The header with the id of the event. It is the same for each try, so a receiver knows by it what it has got before.
pub const ID: &str = "webhook-id";
/// The header with the time of the try, in seconds since 1970.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// The header with the signatures, separated by blanks: one of each secret that is valid.
pub const SIGNATURE: &str = "webhook-signature";

/// The most by which the time of a try may differ from that of the receiver.
pub const TOLERANCE: Duration = Duration::from_mins(5);

const PREFIX: &str = "whsec_";
const VERSION: &str = "v1,";

/// Why an event is not to be believed, or cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A header is missing, or there is more than one of a name.
    #[error("the headers of a webhook are missing")]
    Headers,
    /// The time differs by more than [`TOLERANCE`]: it may be an old event that is sent again.
    #[error("the time of the webhook is too far from now")]
    Time,
    /// No signature is that of one of the secrets.
    #[error("no signature of the webhook is valid")]
    Signature,
    /// No secret is `whsec_` with base64 behind it.
    #[error("a secret of the webhook is malformed")]
    Secret,
    /// The signature is valid, and the body is not an event that this version can read.
    #[error("the body of the webhook cannot be read")]
    Body,
}

/// Verifies what a receiver got, and returns the event with its id. Give the body as it came, byte for byte, and several
/// secrets while one replaces another.
///
/// # Errors
/// [`VerifyError`]: answer with 400, and nothing else is to be done.
pub fn verify<'a>(
    secrets: &[&str],
    headers: impl IntoIterator<Item = (&'a str, &'a str)>,
    body: &[u8],
    now: SystemTime,
) -> Result<(String, Event), VerifyError> {
    let [mut id, mut timestamp, mut signatures] = [None; 3];
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        let place = match &*name {
            ID => &mut id,
            TIMESTAMP => &mut timestamp,
            SIGNATURE => &mut signatures,
            _ => continue,
        };
        if place.replace(value).is_some() {
            return Err(VerifyError::Headers);
        }
    }
    let (Some(id), Some(timestamp), Some(signatures)) = (id, timestamp, signatures) else {
        return Err(VerifyError::Headers);
    };
    let seconds: u64 = timestamp.parse().map_err(|_| VerifyError::Headers)?;
    let now = now.duration_since(UNIX_EPOCH).map_err(|_| VerifyError::Time)?;
    if now.as_secs().abs_diff(seconds) > TOLERANCE.as_secs() {
        return Err(VerifyError::Time);
    }
    let signatures: Vec<_> = signatures
        .split(' ')
        .filter_map(|signature| STANDARD.decode(signature.strip_prefix(VERSION)?).ok())
        .collect();
    let mut is_valid = false;
    for secret in secrets {
        let mac = mac(secret, id, seconds, body).ok_or(VerifyError::Secret)?;
        // Each comparison takes the same time, however much of the signature is right.
        is_valid |= signatures
            .iter()
            .any(|signature| mac.clone().verify_slice(signature).is_ok());
    }
    if !is_valid {
        return Err(VerifyError::Signature);
    }
    let event = serde_json::from_slice(body).map_err(|_| VerifyError::Body)?;
    Ok((id.to_owned(), event))
}

/// Signs a body for the header [`SIGNATURE`]; `None` if a secret is malformed.
pub fn sign<S: AsRef<str>>(secrets: &[S], id: &str, seconds: u64, body: &[u8]) -> Option<String> {
    let signatures: Option<Vec<_>> = secrets
        .iter()
        .map(|secret| {
            let mac = mac(secret.as_ref(), id, seconds, body)?;
            Some(format!("{VERSION}{}", STANDARD.encode(mac.finalize().into_bytes())))
        })
        .collect();
    Some(signatures?.join(" "))
}

fn mac(secret: &str, id: &str, seconds: u64, body: &[u8]) -> Option<Hmac<Sha256>> {
    let key = STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()?;
    let mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    Some(mac.chain_update(format!("{id}.{seconds}.")).chain_update(body))
}
