//! The claims of tokens, which are those of djangorestframework-simplejwt.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};
use sugang_sdk::types::UserId;

/// The type of a token. A token of one type is never accepted as the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TokenType {
    /// Sent with every request.
    Access,
    /// Exchanged for a new access token.
    Refresh,
}

/// The user of a valid token. The request's statement checks that the user still exists and is active, and that no later
/// epoch of the user's tokens has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    id: UserId,
    epoch: i64,
}

impl Caller {
    pub(super) fn new(id: UserId, epoch: i64) -> Self {
        Self { id, epoch }
    }

    pub(crate) fn id(self) -> i64 {
        self.id.0
    }

    /// Returns the epoch of the token, in microseconds since 1970. All tokens of a user with an earlier epoch end at once.
    pub(crate) fn epoch(self) -> i64 {
        self.epoch
    }
}

#[derive(Serialize)]
pub(super) struct IssuedClaims<'a> {
    pub(super) token_type: TokenType,
    pub(super) exp: u64,
    pub(super) iat: u64,
    pub(super) jti: String,
    pub(super) user_id: String,
    pub(super) email: &'a str,
    pub(super) username: &'a str,
    // simplejwt does not know these two. It copies them into the tokens that it makes of a refresh token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) family: Option<&'a str>,
    /// The user's epoch at the login. Compared instead of `iat`, whose clock may be another's and has only seconds.
    pub(super) epoch: i64,
}

#[derive(Deserialize)]
pub(super) struct ReceivedClaims {
    pub(super) token_type: TokenType,
    /// Seconds since 1970. JSON Web Tokens allow a fraction.
    pub(super) exp: f64,
    pub(super) jti: String,
    /// Missing in the first token of a family, and in every token of the Django service.
    pub(super) family: Option<String>,
    #[serde(deserialize_with = "number_or_text")]
    pub(super) user_id: i64,
    /// Missing in a token that descends from a login at the Django service.
    epoch: Option<i64>,
    /// Seconds since 1970. Verification does not need it: a value that is no number counts as none.
    #[serde(default, deserialize_with = "number_or_none")]
    iat: Option<f64>,
}

impl ReceivedClaims {
    /// Returns the epoch that the token belongs to. Without one, it is the second in which the token was issued; a token
    /// that says neither has the first.
    pub(super) fn epoch(&self) -> i64 {
        let issued_at = self.iat.map(|seconds| (seconds * 1e6) as i64);
        self.epoch.or(issued_at).unwrap_or_default()
    }
}

fn number_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    serde_json::Value::deserialize(deserializer).map(|value| value.as_f64())
}

/// Reads the id of the user: the Django service writes a string, and in older versions wrote a number.
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
