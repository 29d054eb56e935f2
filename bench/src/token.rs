//! Access tokens, signed without a login.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

/// Seconds for which a token is valid.
const LIFETIME: u64 = 3_600;

/// Signs an access token as the service does.
///
/// # Errors
/// When the clock is set to a time before 1970.
pub(crate) fn access_token(user: i64, secret: &str) -> anyhow::Result<String> {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_secs();
    let claims = json!({
        "token_type": "access", "exp": now + LIFETIME, "iat": now, "jti": format!("{user:032x}"),
        "user_id": user.to_string(), "email": "", "username": "",
    });
    let message = format!(
        "{}.{}",
        BASE64.encode(r#"{"alg":"HS256","typ":"JWT"}"#),
        BASE64.encode(claims.to_string())
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    mac.update(message.as_bytes());
    Ok(format!("{message}.{}", BASE64.encode(mac.finalize().into_bytes())))
}
