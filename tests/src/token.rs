//! Tokens as the Django service's library makes them, made without the library that the API uses; and bad ones.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Sha256, Sha384, Sha512};

use crate::User;

/// What the service under test signs with.
pub const SECRET: &str = "the-end-to-end-tests-sign-with-this-secret-0123456789";

/// The claims of a good token that was issued now and holds for a day.
pub fn claims(user: &User, token_type: &str) -> Value {
    let now = chrono::Utc::now().timestamp();
    json!({
        "token_type": token_type,
        "exp": now + 86_400,
        "iat": now,
        "jti": format!("{:032x}", user.id),
        "user_id": user.id.to_string(),
        "email": user.email,
        "username": user.username,
    })
}

/// Signs claims as the service does.
pub fn sign(claims: &Value) -> String {
    sign_with(&json!({"alg": "HS256", "typ": "JWT"}), claims, SECRET.as_bytes())
}

/// Signs claims with any secret under any header. Its `alg` is kept to for HS256, HS384 and HS512; any other is not
/// signed at all.
pub fn sign_with(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let message = format!(
        "{}.{}",
        BASE64.encode(header.to_string()),
        BASE64.encode(claims.to_string())
    );
    let signature = match header["alg"].as_str() {
        Some("HS256") => mac::<Hmac<Sha256>>(secret, &message),
        Some("HS384") => mac::<Hmac<Sha384>>(secret, &message),
        Some("HS512") => mac::<Hmac<Sha512>>(secret, &message),
        _ => Vec::new(),
    };
    format!("{message}.{}", BASE64.encode(signature))
}

fn mac<M: Mac + KeyInit>(secret: &[u8], message: &str) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(secret).expect("any length will do");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The claims of a token that the service made.
///
/// # Panics
/// When it is no HS256 token, or not signed with [`SECRET`], or lacks a claim, or has one more. (Every token says in one
/// more which epoch of its user's it is of, and a refresh token that took another's place whose family.)
pub fn verify(token: &str) -> Value {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, body, signature] = parts[..] else {
        panic!("no token: {token}")
    };
    let decode = |part| BASE64.decode(part).expect("a token's parts are unpadded base64url");
    let header: Value = serde_json::from_slice(&decode(header)).expect("a token's header is JSON");
    assert_eq!((&header["alg"], &header["typ"]), (&json!("HS256"), &json!("JWT")));
    let signed = &token[..token.len() - signature.len() - 1];
    assert_eq!(
        decode(signature),
        mac::<Hmac<Sha256>>(SECRET.as_bytes(), signed),
        "the signature"
    );
    let claims: Value = serde_json::from_slice(&decode(body)).expect("a token's claims are JSON");
    let mut names: Vec<_> = claims
        .as_object()
        .expect("claims are an object")
        .keys()
        .map(String::as_str)
        .collect();
    names.retain(|name| (*name, &claims["token_type"]) != ("family", &json!("refresh")));
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "email",
            "epoch",
            "exp",
            "iat",
            "jti",
            "token_type",
            "user_id",
            "username"
        ]
    );
    let jti = claims["jti"].as_str().expect("jti is a string");
    assert!(
        jti.len() == 32 && jti.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
        "jti: {jti}"
    );
    let issued = claims["iat"].as_i64().expect("iat is a number");
    assert!(
        (chrono::Utc::now().timestamp() - issued).abs() <= 60,
        "iat is now: {issued}"
    );
    let id = claims["user_id"].as_str().expect("user_id is a string");
    assert!(id.parse::<i64>().is_ok_and(|id| id > 0), "user_id: {id}");
    claims
}
