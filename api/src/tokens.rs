//! Tokens: who asks. HS256 JSON web tokens with the claims of djangorestframework-simplejwt, so that a token that the
//! Django service signed with the same secret passes here, and one that was signed here passes there.

use std::{cell::RefCell, collections::HashMap, fmt};

use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    decode, decode_header, encode,
    errors::{Error, ErrorKind},
    signature::{self, Signer, Verifier},
};
use serde::{Deserialize, Deserializer, Serialize, de};
use sha2::Sha256;
use sugang_sdk::types::{Secret, User, UserId};
use uuid::Uuid;

use crate::errors::{Failure, Internal, NOT_AUTHENTICATED, TOKEN_NOT_VALID};

/// What a token is for. One type never passes as the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenType {
    /// Sent with every request.
    Access,
    /// Exchanged for a new access token.
    Refresh,
}

/// Whoever holds an access token. Whether the user still exists and is active is for the request's statement to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller(UserId);

impl Caller {
    /// The id of the user.
    pub fn id(self) -> i64 {
        self.0.0
    }
}

/// A token that was found valid.
#[derive(Debug, PartialEq, Eq)]
pub struct Verified {
    /// Whose it is.
    pub caller: Caller,
    /// Its own id.
    pub jti: String,
    /// The id of the first refresh token of the login from which it descends.
    pub family: String,
    /// The second in which it is no longer valid, since 1970.
    expires: u64,
}

/// A secret under its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// What tokens name it by, their `kid`; none for the one of tokens that name none, as the Django service's.
    pub id: Option<String>,
    /// The secret itself.
    pub secret: String,
}

/// The key that signs, and those that verify: it, and others that signed before or are to sign next.
pub struct Keys {
    signing: EncodingKey,
    header: Header,
    verifying: Vec<(Option<String>, DecodingKey)>,
    validation: Validation,
    passed: Passed,
}

/// Access tokens that have passed, until they expire. A client sends the same one with every request, and to verify it
/// takes longer than all else that the component does for a short answer.
#[derive(Default)]
struct Passed(RefCell<HashMap<String, (Caller, u64)>>);

/// Tokens that an instance remembers.
const PASSED: usize = 256;

impl Passed {
    fn get(&self, token: &str, now: u64) -> Option<Caller> {
        let passed = self.0.borrow();
        let (caller, expires) = passed.get(token)?;
        (now < *expires).then_some(*caller)
    }

    fn put(&self, token: &str, caller: Caller, expires: u64) {
        let mut passed = self.0.borrow_mut();
        // Those that still come will be back at once.
        if passed.len() >= PASSED {
            passed.clear();
        }
        passed.insert(token.to_owned(), (caller, expires));
    }
}

#[derive(Serialize)]
struct IssuedClaims<'a> {
    token_type: TokenType,
    exp: u64,
    iat: u64,
    jti: String,
    user_id: String,
    email: &'a str,
    username: &'a str,
    /// Not simplejwt's; whom it does not interest passes over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    family: Option<&'a str>,
}

#[derive(Deserialize)]
struct ReceivedClaims {
    token_type: TokenType,
    /// A number in a token; a fraction of a second is not worth remembering.
    exp: f64,
    jti: String,
    /// None in the first of a family, and in all that the Django service made.
    family: Option<String>,
    #[serde(deserialize_with = "number_or_text")]
    user_id: i64,
}

impl Keys {
    /// Takes the key that signs, and the others that verify, too.
    pub fn new(signing: &Key, others: &[Key]) -> Self {
        // It is installed already where this is not the first set of keys.
        let _ = HS256.install_default();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        // The second named in `exp` is the first in which the token is no longer valid, as for PyJWT.
        validation.reject_tokens_expiring_in_less_than = 1;
        validation.validate_nbf = true;
        validation.validate_aud = false;
        let verifying = std::iter::once(signing).chain(others);
        Self {
            signing: EncodingKey::from_secret(signing.secret.as_bytes()),
            header: Header {
                kid: signing.id.clone(),
                ..Header::new(Algorithm::HS256)
            },
            verifying: verifying
                .map(|key| (key.id.clone(), DecodingKey::from_secret(key.secret.as_bytes())))
                .collect(),
            validation,
            passed: Passed::default(),
        }
    }

    /// Signs a token for `user` that is valid for `lifetime` seconds from now. `family`: of the refresh token in whose
    /// place it comes.
    ///
    /// # Errors
    /// The library failed, which it does not for this algorithm.
    pub fn issue(
        &self,
        token_type: TokenType,
        user: &User,
        lifetime: u64,
        family: Option<&str>,
    ) -> Result<Secret, Failure> {
        let iat = jsonwebtoken::get_current_timestamp();
        let claims = IssuedClaims {
            token_type,
            exp: iat.saturating_add(lifetime),
            iat,
            jti: Uuid::new_v4().simple().to_string(),
            user_id: user.id.to_string(),
            email: &user.email,
            username: &user.username,
            family,
        };
        encode(&self.header, &claims, &self.signing)
            .map(Secret::from)
            .map_err(|_| Failure::Internal(Internal::new("a token could not be signed")))
    }

    /// What a token says; none when it is not a valid one of this type.
    pub fn verify(&self, token: &str, token_type: TokenType) -> Option<Verified> {
        // The header is the client's word. It chooses among our keys, and nothing else.
        let id = decode_header(token).ok()?.kid;
        let (_, key) = self.verifying.iter().find(|(known, _)| *known == id)?;
        let claims = decode::<ReceivedClaims>(token, key, &self.validation).ok()?.claims;
        (claims.token_type == token_type).then(|| Verified {
            caller: Caller(UserId(claims.user_id)),
            family: claims.family.unwrap_or_else(|| claims.jti.clone()),
            jti: claims.jti,
            expires: claims.exp as u64,
        })
    }

    /// Who asks, by the `Authorization` header.
    ///
    /// # Errors
    /// 401 without a bearer token, or with one that is not valid.
    pub fn authenticate(&self, authorization: Option<&str>) -> Result<Caller, Failure> {
        let mut words = authorization.unwrap_or_default().split_ascii_whitespace();
        if !words.next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer")) {
            return Err((&NOT_AUTHENTICATED).into());
        }
        let token = words.next().filter(|_| words.next().is_none());
        let token = token.ok_or(&TOKEN_NOT_VALID)?;
        if let Some(caller) = self.passed.get(token, jsonwebtoken::get_current_timestamp()) {
            return Ok(caller);
        }
        let verified = self.verify(token, TokenType::Access).ok_or(&TOKEN_NOT_VALID)?;
        self.passed.put(token, verified.caller, verified.expires);
        Ok(verified.caller)
    }
}

/// The one algorithm there is, from the pure-Rust crates of RustCrypto. The library's own provider of them would bring
/// RSA and elliptic curves along, a third of the component's size for what must never be accepted.
static HS256: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(HmacSha256::new(*algorithm, key.as_bytes())?)),
    verifier_factory: |algorithm, key| Ok(Box::new(HmacSha256::new(*algorithm, key.try_get_as_bytes()?)?)),
    key_utils: KeyUtils::new_unimplemented(),
};

struct HmacSha256(Hmac<Sha256>);

impl HmacSha256 {
    fn new(algorithm: Algorithm, key: &[u8]) -> Result<Self, Error> {
        match algorithm {
            Algorithm::HS256 => Hmac::new_from_slice(key)
                .map(Self)
                .map_err(|_| ErrorKind::InvalidKeyFormat.into()),
            _ => Err(ErrorKind::InvalidAlgorithm.into()),
        }
    }
}

impl Signer<Vec<u8>> for HmacSha256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.clone().chain_update(message).finalize().into_bytes().to_vec())
    }
}

impl Verifier<Vec<u8>> for HmacSha256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        self.0
            .clone()
            .chain_update(message)
            .verify_slice(signature)
            .map_err(signature::Error::from_source)
    }
}

impl JwtSigner for HmacSha256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for HmacSha256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

/// The Django service writes the user's id as a string; its older versions wrote a number.
fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    struct Visitor;
    impl de::Visitor<'_> for Visitor {
        type Value = i64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the id of a user")
        }

        fn visit_u64<E: de::Error>(self, id: u64) -> Result<i64, E> {
            i64::try_from(id).map_err(E::custom)
        }

        fn visit_str<E: de::Error>(self, id: &str) -> Result<i64, E> {
            id.parse().map_err(E::custom)
        }
    }
    deserializer.deserialize_any(Visitor)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn keys() -> Keys {
        Keys::new(&key(None, SECRET), &[])
    }

    fn key(id: Option<&str>, secret: &[u8]) -> Key {
        Key {
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
    fn what_has_passed_is_remembered_until_it_expires() {
        let passed = Passed::default();
        let caller = Caller(UserId(7));
        passed.put("a.b.c", caller, 100);
        assert_eq!(passed.get("a.b.c", 99), Some(caller));
        assert_eq!(passed.get("a.b.c", 100), None);
        for other in ["a.b.", "a.b.d", "a.b.c ", "A.B.C", ""] {
            assert_eq!(passed.get(other, 0), None, "{other}");
        }
        for number in 0..PASSED * 3 {
            passed.put(&number.to_string(), caller, 100);
        }
        assert!(passed.0.borrow().len() <= PASSED);
    }

    #[test]
    fn only_what_is_valid_passes_twice() {
        let keys = keys();
        let bearer = |token: &str| format!("Bearer {token}");
        let good = signed(hs256(), &claims(|_| {}));
        let expired = signed(hs256(), &claims(|claims| claims["exp"] = json!(now() - 1)));
        let refresh = signed(hs256(), &claims(|claims| claims["token_type"] = json!("refresh")));
        for _ in 0..3 {
            assert_eq!(keys.authenticate(Some(&bearer(&good))).ok(), Some(Caller(UserId(7))));
            for bad in [
                &expired,
                &refresh,
                &format!("{good}x"),
                &good[..good.len() - 1].to_owned(),
            ] {
                assert!(keys.authenticate(Some(&bearer(bad))).is_err(), "{bad}");
            }
        }
        assert_eq!(keys.passed.0.borrow().len(), 1);
    }

    fn passes(claims: &Value) -> bool {
        keys()
            .verify(&signed(hs256(), claims), TokenType::Access)
            .is_some_and(|verified| verified.caller.id() == 7)
    }

    #[test]
    fn a_token_has_simplejwt_s_claims_and_passes_as_its_own_type_only() {
        let user = user();
        for (token_type, other, word) in [
            (TokenType::Access, TokenType::Refresh, "access"),
            (TokenType::Refresh, TokenType::Access, "refresh"),
        ] {
            let token = keys().issue(token_type, &user, 60, None).ok().unwrap().into_exposed();
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
            .issue(TokenType::Refresh, &user(), 60, Some("first"))
            .ok()
            .unwrap();
        let verified = keys().verify(token.expose(), TokenType::Refresh).unwrap();
        assert_eq!(verified.family, "first");
        assert_ne!(verified.jti, "first");
    }

    #[test]
    fn the_django_service_s_token_passes() {
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
            assert!(passes(&claims(|claims| claims["user_id"] = id.clone())), "{id}");
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
            assert!(!passes(&claims(|claims| claims["user_id"] = id.clone())), "{id}");
        }
    }

    #[test]
    fn what_is_expired_early_or_incomplete_does_not_pass() {
        assert!(passes(&claims(|_| ())));
        assert!(!passes(&claims(|claims| claims["exp"] = json!(now()))));
        assert!(!passes(&claims(|claims| claims["exp"] = json!(0))));
        assert!(!passes(&claims(|claims| claims["exp"] = json!("4102444800x"))));
        assert!(!passes(&claims(|claims| claims["nbf"] = json!(now() + 60))));
        for claim in ["token_type", "exp", "jti", "user_id"] {
            let incomplete = claims(|claims| {
                claims.as_object_mut().unwrap().remove(claim);
            });
            assert!(!passes(&incomplete), "{claim}");
        }
    }

    #[test]
    fn a_forged_token_does_not_pass() {
        let claims = claims(|_| ());
        let token = signed(hs256(), &claims);
        let (header, unsigned) = (json!({"alg": "none"}), claims.to_string());
        let unsigned = [header.to_string(), unsigned]
            .map(|part| BASE64_URL_SAFE_NO_PAD.encode(part))
            .join(".")
            + ".";
        let other_key = Keys::new(&key(None, b"another"), &[])
            .issue(TokenType::Access, &user(), 60, None)
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
    fn a_token_is_verified_by_the_key_that_it_names() {
        let [old, new] = [
            key(None, SECRET),
            key(Some("2026-11"), b"another secret of 32 bytes: 56789"),
        ];
        let issue = |keys: &Keys| keys.issue(TokenType::Access, &user(), 60, None).ok().unwrap();
        let passes = |keys: &Keys, token: &Secret| keys.verify(token.expose(), TokenType::Access).is_some();
        let before = Keys::new(&old, &[]);
        let prepared = Keys::new(&old, std::slice::from_ref(&new));
        let rotated = Keys::new(&new, std::slice::from_ref(&old));
        let after = Keys::new(&new, &[]);
        let (earlier, later) = (issue(&before), issue(&rotated));
        assert_eq!(decode_header(later.expose()).unwrap().kid.as_deref(), Some("2026-11"));
        for (keys, takes_earlier, takes_later) in [
            (&before, true, false),
            (&prepared, true, true),
            (&rotated, true, true),
            (&after, false, true),
        ] {
            assert_eq!(
                (passes(keys, &earlier), passes(keys, &later)),
                (takes_earlier, takes_later)
            );
        }

        // Signed with one key under the name of another.
        for (id, secret) in [
            (Some("2026-11"), SECRET),
            (None, new.secret.as_bytes()),
            (Some("2026-12"), SECRET),
        ] {
            let forged = issue(&Keys::new(&key(id, secret), &[]));
            assert!(!passes(&rotated, &forged), "{id:?}");
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
    fn the_header_is_bearer_and_one_token() {
        let token = signed(hs256(), &claims(|_| ()));
        let code = |header: Option<&str>| match keys().authenticate(header) {
            Ok(_) => "ok".to_owned(),
            Err(Failure::Problem(problem)) => problem.code.to_string(),
            Err(_) => panic!("another failure"),
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
        fn what_was_not_signed_is_refused(
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
            // A header that is not UTF-8 is none: see `Head::header`.
            if let Ok(changed) = String::from_utf8(changed) {
                prop_assert_eq!(keys().verify(&changed, TokenType::Access), None);
            }
        }

        #[test]
        fn a_signed_token_says_who_asks_or_nothing(
            name in prop::sample::select(vec!["token_type", "exp", "iat", "nbf", "jti", "user_id", "family", "alg"]),
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
}
