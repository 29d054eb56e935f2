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

/// The user of a valid access token. Whether the user still exists and is active is checked by the request's statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller(UserId);

impl Caller {
    pub(super) fn new(id: UserId) -> Self {
        Self(id)
    }

    pub(crate) fn id(self) -> i64 {
        self.0.0
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
    /// The one claim that simplejwt does not have, and ignores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) family: Option<&'a str>,
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
