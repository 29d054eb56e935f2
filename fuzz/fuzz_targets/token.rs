//! An `Authorization` header, refused whatever it is; and signed claims, which name a user or are refused.
#![no_main]

use std::sync::LazyLock;

use jsonwebtoken::{EncodingKey, Header, encode};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, value::RawValue};
use sugang_api::tokens::{Key, Keys, TokenType};

/// The seeds are signed with another.
const SECRET: &str = "the secret of the fuzz target, 1";
static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let key = Key {
        id: None,
        secret: SECRET.to_owned(),
    };
    Keys::new(&key, &[])
});

fuzz_target!(|text: &str| {
    assert!(KEYS.authenticate(Some(text)).is_err());
    assert!(KEYS.verify(text, TokenType::Access).is_none());
    let Ok(claims) = serde_json::from_str::<&RawValue>(text) else {
        return;
    };
    let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).expect("HS256 signs");
    for token_type in [TokenType::Access, TokenType::Refresh] {
        if let Some(verified) = KEYS.verify(&token, token_type) {
            // A claim that nobody asks for may be a number that no float holds.
            let Ok(claims) = serde_json::from_str::<Value>(text) else {
                return;
            };
            let id = verified.caller.id();
            assert!(claims["user_id"] == id || claims["user_id"].as_str().is_some_and(|text| text.parse() == Ok(id)));
        }
    }
});
