//! Accounts and tokens.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::UserId;

/// A password or a token: never shown by `Debug`, so that it cannot reach a log by accident.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(description = "A password or a token.", min_length = 1)
)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Returns the text.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Converts the secret into its text.
    pub fn into_exposed(self) -> String {
        self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

/// Body of `POST /signup/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Signup {
    /// E-mail address; unique without regard to case.
    #[cfg_attr(feature = "openapi", schema(examples("minsu@example.com")))]
    pub email: String,
    /// Unique; at most 150 characters: letters of any script, digits and `@.+-_`.
    #[cfg_attr(feature = "openapi", schema(examples("김민수")))]
    pub username: String,
    /// At least 8 characters, with a letter and a digit among them. Where the service is configured so, neither a common
    /// password nor one that resembles the address or the username.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub password: Secret,
}

/// Body of `POST /login/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Login {
    /// E-mail address of the account.
    #[cfg_attr(feature = "openapi", schema(examples("minsu@example.com"), min_length = 1))]
    pub email: String,
    /// Its password.
    pub password: Secret,
}

/// Body of `POST /token/refresh/` and `POST /logout/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Refresh {
    /// The refresh token that a login answered.
    pub refresh: Secret,
}

/// An account, as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct User {
    /// Id of the account.
    pub id: UserId,
    /// E-mail address.
    #[cfg_attr(feature = "openapi", schema(examples("minsu@example.com")))]
    pub email: String,
    /// Display name.
    #[cfg_attr(feature = "openapi", schema(examples("김민수")))]
    pub username: String,
}

/// Answer 201 of `POST /signup/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignedUp {
    /// What happened, for people.
    #[cfg_attr(feature = "openapi", schema(examples("회원가입이 완료되었습니다.")))]
    pub message: String,
    /// The new account.
    pub user: User,
}

/// Answer 200 of `POST /login/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Tokens {
    /// Token for `Authorization: Bearer`, a day long unless configured otherwise.
    pub access: Secret,
    /// Token for `POST /token/refresh/`, seven days long unless configured otherwise.
    pub refresh: Secret,
    /// Whose tokens these are.
    pub user: User,
}

/// Answer 200 of `POST /token/refresh/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccessToken {
    /// The new access token.
    pub access: Secret,
    /// The refresh token to use from now on, where the service rotates them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Secret>,
}
