//! Which tokens are valid.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::signature::Signer;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{hs256::HmacSha256, *};
use crate::config::types::JwtKey;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn keys() -> Keys {
    with_keys(&key(None, SECRET), &[])
}

fn with_keys(signing: &JwtKey, verifying: &[JwtKey]) -> Keys {
    Keys::new(&JwtKeys {
        signing: signing.clone(),
        verifying: verifying.to_vec(),
    })
}

fn key(id: Option<&str>, secret: &[u8]) -> JwtKey {
    JwtKey {
        id: id.map(str::to_owned),
        secret: String::from_utf8(secret.to_vec()).unwrap(),
    }
}

fn user() -> User {
    User {
        id: UserId(7),
        email: "minsu@example.com".into(),
        username: "민수".into(),
    }
}

fn now() -> u64 {
    jsonwebtoken::get_current_timestamp()
}

fn claims(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = json!({
        "token_type": "access", "exp": now() + 60, "iat": now(), "jti": "5f0c", "user_id": "7",
    });
    change(&mut claims);
    claims
}

/// A token with any header, signed with the right secret.
fn signed(header: Value, claims: &Value) -> String {
    let part = |text: String| BASE64_URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", part(header.to_string()), part(claims.to_string()));
    let signature = HmacSha256::new(Algorithm::HS256, SECRET)
        .ok()
        .unwrap()
        .sign(message.as_bytes());
    format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn hs256() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

#[test]
fn an_invalid_token_is_not_cached() {
    let keys = keys();
    let bearer = |token: &str| format!("Bearer {token}");
    let good = signed(hs256(), &claims(|claims| claims["epoch"] = json!(5)));
    let expired = signed(hs256(), &claims(|claims| claims["exp"] = json!(now() - 1)));
    let refresh = signed(hs256(), &claims(|claims| claims["token_type"] = json!("refresh")));
    for _ in 0..3 {
        assert_eq!(
            keys.authenticate(Some(&bearer(&good))).ok(),
            Some(Caller::new(UserId(7), 5))
        );
        for bad in [
            &expired,
            &refresh,
            &format!("{good}x"),
            &good[..good.len() - 1].to_owned(),
        ] {
            assert!(keys.authenticate(Some(&bearer(bad))).is_err(), "{bad}");
        }
    }
    assert_eq!(keys.cache.len(), 1);
}

fn is_valid(claims: &Value) -> bool {
    keys()
        .verify(&signed(hs256(), claims), TokenType::Access)
        .is_some_and(|verified| verified.caller.id() == 7)
}

#[test]
fn a_token_has_the_claims_of_simplejwt_and_only_one_type() {
    let user = user();
    for (token_type, other, word) in [
        (TokenType::Access, TokenType::Refresh, "access"),
        (TokenType::Refresh, TokenType::Access, "refresh"),
    ] {
        let token = keys()
            .issue(token_type, &user, Validity::from_now(60), None, 0)
            .ok()
            .unwrap()
            .into_exposed();
        let verified = keys().verify(&token, token_type).unwrap();
        assert_eq!(verified.caller.id(), 7);
        assert_eq!(verified.family, verified.jti);
        assert_eq!(keys().verify(&token, other), None);

        let payload = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(claims["token_type"], word);
        assert_eq!(claims["user_id"], "7");
        assert_eq!(
            (&claims["email"], &claims["username"]),
            (&json!(user.email), &json!(user.username))
        );
        assert_eq!(claims["exp"].as_u64().unwrap(), claims["iat"].as_u64().unwrap() + 60);
        assert!(claims["jti"].as_str().is_some_and(|jti| jti.len() == 32));
    }
}

#[test]
fn a_rotated_token_stays_in_its_family() {
    let token = keys()
        .issue(TokenType::Refresh, &user(), Validity::from_now(60), Some("first"), 5)
        .ok()
        .unwrap();
    let verified = keys().verify(token.expose(), TokenType::Refresh).unwrap();
    assert_eq!(verified.family, "first");
    assert_eq!(verified.caller.epoch(), 5);
    assert_ne!(verified.jti, "first");
}

/// A token that names no epoch belongs to the second in which it was issued.
#[test]
fn a_token_has_an_epoch() {
    for (epoch, issued_at, expected) in [
        (json!(5), json!(1_700_000_000), 5),
        (json!(null), json!(1_700_000_000), 1_700_000_000_000_000),
        (json!(null), json!(1_700_000_000.5), 1_700_000_000_500_000),
        (json!(null), json!(null), 0),
        (json!(null), json!("1700000000"), 0),
        (json!(null), json!([[]]), 0),
        (json!(null), json!(1e300), i64::MAX),
        (json!(null), json!(-1e300), i64::MIN),
    ] {
        let claims = claims(|claims| {
            claims["epoch"] = epoch.clone();
            claims["iat"] = issued_at.clone();
        });
        let verified = keys().verify(&signed(hs256(), &claims), TokenType::Access);
        assert_eq!(
            verified.map(|verified| verified.caller.epoch()),
            Some(expected),
            "{claims}"
        );
    }
    let without = claims(|claims| drop(claims.as_object_mut().unwrap().remove("iat")));
    let verified = keys().verify(&signed(hs256(), &without), TokenType::Access);
    assert_eq!(verified.map(|verified| verified.caller.epoch()), Some(0));
    for epoch in [json!("5"), json!(5.5), json!(u64::MAX), json!(true)] {
        assert!(!is_valid(&claims(|claims| claims["epoch"] = epoch.clone())), "{epoch}");
    }
}

#[test]
fn an_id_that_the_database_cannot_keep_is_refused() {
    for claim in ["jti", "family"] {
        assert!(is_valid(&claims(|claims| claims[claim] = json!("a".repeat(255)))));
        for id in [json!("a".repeat(256)), json!("a\0")] {
            assert!(!is_valid(&claims(|claims| claims[claim] = id.clone())), "{claim}: {id}");
        }
    }
}

#[test]
fn a_token_of_the_django_service_is_valid() {
    // Made by PyJWT, as djangorestframework-simplejwt calls it, with SECRET; it expires in 2100.
    let token = concat!(
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
        "eyJ0b2tlbl90eXBlIjoiYWNjZXNzIiwiZXhwIjo0MTAyNDQ0ODAwLCJpYXQiOjE3MDAwMDAwMDAsImp0aSI6IjBhMW",
        "IyYzNkNGU1ZjYwNzE4MjkzYTRiNWM2ZDdlOGY5IiwidXNlcl9pZCI6IjcifQ.",
        "o5IGG_qjhkSYPZ7zBfTzphB8empy-DyWXZgp1nO3Rd4"
    );
    assert!(keys().verify(token, TokenType::Access).is_some());
}

#[test]
fn a_user_id_is_a_string_or_a_number() {
    for id in [json!("7"), json!(7)] {
        assert!(is_valid(&claims(|claims| claims["user_id"] = id.clone())), "{id}");
    }
    for id in [
        json!(null),
        json!(true),
        json!(7.0),
        json!(""),
        json!("seven"),
        json!([7]),
        json!(u64::MAX),
    ] {
        assert!(!is_valid(&claims(|claims| claims["user_id"] = id.clone())), "{id}");
    }
}

#[test]
fn an_expired_early_or_incomplete_token_is_refused() {
    assert!(is_valid(&claims(|_| ())));
    assert!(!is_valid(&claims(|claims| claims["exp"] = json!(now()))));
    assert!(!is_valid(&claims(|claims| claims["exp"] = json!(0))));
    assert!(!is_valid(&claims(|claims| claims["exp"] = json!("4102444800x"))));
    assert!(!is_valid(&claims(|claims| claims["nbf"] = json!(now() + 60))));
    for claim in ["token_type", "exp", "jti", "user_id"] {
        let incomplete = claims(|claims| {
            claims.as_object_mut().unwrap().remove(claim);
        });
        assert!(!is_valid(&incomplete), "{claim}");
    }
}

#[test]
fn a_forged_token_is_refused() {
    let claims = claims(|_| ());
    let token = signed(hs256(), &claims);
    let (header, unsigned) = (json!({"alg": "none"}), claims.to_string());
    let unsigned = [header.to_string(), unsigned]
        .map(|part| BASE64_URL_SAFE_NO_PAD.encode(part))
        .join(".")
        + ".";
    let other_key = with_keys(&key(None, b"another"), &[])
        .issue(TokenType::Access, &user(), Validity::from_now(60), None, 0)
        .ok()
        .unwrap()
        .into_exposed();
    let longer_hash = signed(json!({"alg": "HS512", "typ": "JWT"}), &claims);
    let (message, signature) = token.rsplit_once('.').unwrap();
    let tampered = format!("{message}A.{signature}");
    for forged in [
        &unsigned,
        &other_key,
        &longer_hash,
        &tampered,
        message,
        "",
        "..",
        "a.b.c",
        "\u{0}",
    ] {
        assert_eq!(keys().verify(forged, TokenType::Access), None, "{forged}");
    }
}

#[test]
fn a_token_is_verified_with_the_key_that_it_names() {
    let [old, new] = [
        key(None, SECRET),
        key(Some("2026-11"), b"another secret of 32 bytes: 56789"),
    ];
    let issue = |keys: &Keys| {
        keys.issue(TokenType::Access, &user(), Validity::from_now(60), None, 0)
            .ok()
            .unwrap()
    };
    let is_valid = |keys: &Keys, token: &Secret| keys.verify(token.expose(), TokenType::Access).is_some();
    let before = with_keys(&old, &[]);
    let prepared = with_keys(&old, std::slice::from_ref(&new));
    let rotated = with_keys(&new, std::slice::from_ref(&old));
    let after = with_keys(&new, &[]);
    let (earlier, later) = (issue(&before), issue(&rotated));
    assert_eq!(decode_header(later.expose()).unwrap().kid.as_deref(), Some("2026-11"));
    for (keys, takes_earlier, takes_later) in [
        (&before, true, false),
        (&prepared, true, true),
        (&rotated, true, true),
        (&after, false, true),
    ] {
        assert_eq!(
            (is_valid(keys, &earlier), is_valid(keys, &later)),
            (takes_earlier, takes_later)
        );
    }

    // Signed with one key under the name of another.
    for (id, secret) in [
        (Some("2026-11"), SECRET),
        (None, new.secret.as_bytes()),
        (Some("2026-12"), SECRET),
    ] {
        let forged = issue(&with_keys(&key(id, secret), &[]));
        assert!(!is_valid(&rotated, &forged), "{id:?}");
    }
    for id in [
        json!(""),
        json!("../../dev/null"),
        json!("' or 1=1"),
        json!("a".repeat(4096)),
        json!(1),
        json!(null),
    ] {
        let header = json!({"alg": "HS256", "typ": "JWT", "kid": id});
        let signed = signed(header, &claims(|_| ()));
        // `null` is no name.
        assert_eq!(
            rotated.verify(&signed, TokenType::Access).is_some(),
            id.is_null(),
            "{id}"
        );
    }
}

#[test]
fn the_header_is_bearer_with_one_token() {
    let token = signed(hs256(), &claims(|_| ()));
    let code = |header: Option<&str>| match keys().authenticate(header) {
        Ok(_) => "ok".to_owned(),
        Err(ApiError::Refused(spec)) => spec.code.to_string(),
        Err(_) => panic!("another error"),
    };
    assert_eq!(code(Some(&format!("Bearer {token}"))), "ok");
    assert_eq!(code(Some(&format!("bearer  {token} "))), "ok");
    assert_eq!(code(None), "not_authenticated");
    assert_eq!(code(Some("")), "not_authenticated");
    assert_eq!(code(Some(&token)), "not_authenticated");
    assert_eq!(code(Some("Basic bWluc3U6eA==")), "not_authenticated");
    assert_eq!(code(Some("Bearer")), "token_not_valid");
    assert_eq!(code(Some(&format!("Bearer {token} x"))), "token_not_valid");
}

proptest! {
    #[test]
    fn an_unsigned_token_is_refused(
        token in prop_oneof![any::<String>(), "[\\w-]{0,50}(\\.[\\w-]{0,50}){0,3}"],
        claims in any::<String>(),
    ) {
        prop_assert_eq!(keys().verify(&token, TokenType::Access), None);
        prop_assert!(keys().authenticate(Some(&token)).is_err());
        let bearer = format!("Bearer {token}");
        prop_assert!(keys().authenticate(Some(&bearer)).is_err());
        let header = BASE64_URL_SAFE_NO_PAD.encode(hs256().to_string());
        let payload = BASE64_URL_SAFE_NO_PAD.encode(claims);
        let unsigned = format!("{header}.{payload}.{token}");
        prop_assert_eq!(keys().verify(&unsigned, TokenType::Access), None);
    }

    #[test]
    fn a_token_with_one_byte_changed_is_refused(at in any::<prop::sample::Index>(), bits in 1_u8..) {
        let token = signed(hs256(), &claims(|_| ()));
        prop_assert!(keys().verify(&token, TokenType::Access).is_some());
        let mut changed = token.into_bytes();
        let at = at.index(changed.len());
        changed[at] ^= bits;
        // A header that is not UTF-8 is not read: see `RequestHead::header`.
        if let Ok(changed) = String::from_utf8(changed) {
            prop_assert_eq!(keys().verify(&changed, TokenType::Access), None);
        }
    }

    #[test]
    fn a_signed_token_names_its_user_or_is_refused(
        name in prop::sample::select(vec!["token_type", "exp", "iat", "nbf", "jti", "user_id", "family", "epoch", "alg"]),
        value in prop_oneof![
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            any::<Vec<Option<bool>>>().prop_map(Value::from),
        ],
    ) {
        let changed = claims(|claims| claims[name] = value.clone());
        if let Some(verified) = keys().verify(&signed(hs256(), &changed), TokenType::Access) {
            let id = verified.caller.id();
            prop_assert!([json!(id), json!(id.to_string())].contains(&changed["user_id"]), "{}", changed);
            prop_assert!(changed["exp"].as_f64().is_some_and(|exp| exp > now() as f64), "{}", changed);
        }
        prop_assert_eq!(keys().verify(&signed(changed, &claims(|_| ())), TokenType::Access), None);
    }
}
