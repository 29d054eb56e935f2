//! The properties that the fuzz targets in `fuzz/` check. They are here because the parsers are private to this crate.
//!
//! Every property panics if it does not hold. The unit tests run all of them on the seeds.

use std::fmt::Debug;

use argon2::Params;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use sugang_protocol::Language;

use crate::{
    auth::{
        passwords::{self, Verdict},
        tokens::{Keys, TokenType},
    },
    config::types::{JwtKey, JwtKeys},
    error::ApiError,
    extract::{
        Body, Query,
        body::Object,
        forms::{
            cancel, cancel_registration, complete_registrations, edit_item, login, new_item, new_registration, refresh,
            refund, register, repeat, signup,
        },
    },
};

/// A body, read as each form: what is read, sent again, is read the same; everything else is a client's error.
pub fn body(bytes: &[u8]) {
    const JSON: &str = "application/json";

    fn read<T: Serialize + PartialEq + Debug>(object: &Object<'_>, form: fn(&Object<'_>) -> Result<T, ApiError>) {
        match form(object) {
            Ok(first) => {
                let again = serde_json::to_vec(&first).expect("a form is JSON");
                let again = Body::declared(again, JSON).ok().expect("it is declared as JSON");
                let second = again.object().and_then(|object| form(&object)).ok();
                assert_eq!(second, Some(first));
            }
            Err(error) => assert_eq!(error.response(Language::English, "fuzz").status, 400),
        }
    }

    for content_type in [
        JSON,
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ] {
        let Ok(body) = Body::declared(bytes.to_vec(), content_type) else {
            continue;
        };
        let Ok(object) = body.object() else { continue };
        read(&object, |object| signup(object, false));
        read(&object, |object| signup(object, true));
        read(&object, login);
        read(&object, refresh);
        read(&object, register);
        read(&object, cancel);
        read(&object, new_item);
        read(&object, edit_item);
        read(&object, refund);
        read(&object, new_registration);
        read(&object, cancel_registration);
        read(&object, complete_registrations);
        read(&object, repeat);
    }
}

/// A stored hash of Django or Argon2: any text is handled, and none matches a password that it was not made of.
pub fn password(stored: &str) {
    // A cost just within the bounds takes a second, which is not a finding.
    let least_costly = if stored.starts_with("bcrypt") { 8 } else { 1_000 };
    let costly = stored
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse::<u64>().ok())
        .any(|number| (least_costly..=2_000_000).contains(&number));
    if !costly {
        let cheap = Params::new(8, 1, 1, None).expect("the lowest cost");
        let verdict = passwords::verify("not the password", stored, &cheap);
        assert_eq!(verdict, Verdict::Wrong);
    }
}

/// A query string: any parameter is handled, and the link to a page asks for that page.
pub fn query(text: &str) {
    let query = Query::parse(text);
    assert!(query.page().map_or(true, |page| page >= 0));
    let _ = query.days(["from", "to"]);
    let Ok(search) = query.text("search") else { return };
    for page in [1, 2, i64::MAX] {
        let link = query.link("/tests/", page);
        assert!(link.bytes().all(|byte| byte.is_ascii_graphic()), "{link}");
        let linked = Query::parse(link.split_once('?').map_or("", |(_, query)| query));
        assert_eq!(linked.page().ok(), Some(page));
        assert_eq!(linked.text("search").ok(), Some(search.clone()));
        assert_eq!(linked.link("/tests/", page), link);
    }
}

/// An `Authorization` header, always refused; and signed claims, which name their user or are refused.
pub fn token(text: &str) {
    // The seeds are signed with another secret.
    const SECRET: &str = "the secret of the fuzz target, 1";
    thread_local! {
        static KEYS: Keys = Keys::new(&JwtKeys {
            signing: JwtKey {
                id: None,
                secret: SECRET.to_owned(),
            },
            verifying: Vec::new(),
        });
    }

    KEYS.with(|keys| {
        assert!(keys.authenticate(Some(text)).is_err());
        assert!(keys.verify(text, TokenType::Access).is_none());
        let Ok(claims) = serde_json::from_str::<&RawValue>(text) else {
            return;
        };
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let token = encode(&Header::default(), &claims, &key).expect("HS256 signs");
        for token_type in [TokenType::Access, TokenType::Refresh] {
            let Some(verified) = keys.verify(&token, token_type) else {
                continue;
            };
            // A claim that is not read may be a number that no float holds.
            let Ok(claims) = serde_json::from_str::<Value>(text) else {
                return;
            };
            let (id, claim) = (verified.caller.id(), &claims["user_id"]);
            assert!(*claim == id || claim.as_str().is_some_and(|text| text.parse() == Ok(id)));
        }
    });
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn seeds(target: &str) -> Vec<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
        let seeds: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|seed| fs::read_to_string(seed.unwrap().path()).unwrap())
            .collect();
        assert!(!seeds.is_empty(), "{target} has seeds");
        seeds
    }

    #[test]
    fn the_properties_hold_for_the_seeds() {
        seeds("body").iter().for_each(|seed| body(seed.as_bytes()));
        seeds("password").iter().for_each(|seed| password(seed));
        seeds("query").iter().for_each(|seed| query(seed));
        seeds("token").iter().for_each(|seed| token(seed));
    }
}
