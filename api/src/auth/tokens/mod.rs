//! Tokens: HS256 JSON Web Tokens with the claims of djangorestframework-simplejwt.
//!
//! A token that the Django service signed with the same secret is valid here, and one that was signed here is valid there.

mod cache;
mod claims;
mod hs256;
#[cfg(test)]
mod tests;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use sugang_sdk::types::{Secret, User, UserId};
use uuid::Uuid;

use crate::{
    config::JwtKeys,
    error::{
        ApiError,
        catalog::{NOT_AUTHENTICATED, TOKEN_NOT_VALID},
    },
};

use cache::TokenCache;
pub(crate) use claims::{Caller, TokenType};
use claims::{IssuedClaims, ReceivedClaims};
use hs256::HS256;

/// The claims of a valid token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct VerifiedToken {
    pub(crate) caller: Caller,
    /// The token's own id.
    pub(crate) jti: String,
    /// The id of the first refresh token of the login from which this token descends.
    pub(crate) family: String,
    /// The first second in which the token is no longer valid, since 1970; at most [`MAX_EXPIRES`].
    pub(crate) expires: u64,
}

/// The end of the year 9999: no later time is stored.
const MAX_EXPIRES: u64 = 253_402_300_799;

/// The id of a token, and the seconds since 1970 between which it is valid.
pub(crate) struct Validity {
    pub(crate) jti: String,
    pub(crate) issued_at: u64,
    pub(crate) expires_at: u64,
}

impl Validity {
    /// Makes a random id, and the `lifetime` seconds that begin now.
    pub(crate) fn from_now(lifetime: u64) -> Self {
        let issued_at = jsonwebtoken::get_current_timestamp();
        Self {
            jti: Uuid::new_v4().simple().to_string(),
            issued_at,
            expires_at: issued_at.saturating_add(lifetime),
        }
    }
}

/// Returns whether the database can keep the id of a token, to know that the token was used or has ended.
fn is_storable(id: &str) -> bool {
    id.len() <= 255 && !id.contains('\0')
}

/// The keys in the library's form, with the cache of verified tokens.
pub(crate) struct Keys {
    signing: EncodingKey,
    header: Header,
    verifying: Vec<(Option<String>, DecodingKey)>,
    validation: Validation,
    cache: TokenCache,
}

impl Keys {
    /// Prepares the configured keys.
    pub(crate) fn new(keys: &JwtKeys) -> Self {
        let JwtKeys { signing, verifying } = keys;
        // Fails for the second set of keys in a process, which finds it installed.
        let _ = HS256.install_default();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        // The second named in `exp` is the first in which the token is no longer valid, as for PyJWT.
        validation.reject_tokens_expiring_in_less_than = 1;
        validation.validate_nbf = true;
        validation.validate_aud = false;
        let verifying = std::iter::once(signing).chain(verifying);
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
            cache: TokenCache::default(),
        }
    }

    /// Signs a token for `user`, with the epoch of the login from which it descends.
    ///
    /// A refresh token that replaces another one keeps its `family`.
    ///
    /// # Errors
    /// The library fails, which it does not for this algorithm.
    pub(crate) fn issue(
        &self,
        token_type: TokenType,
        user: &User,
        validity: Validity,
        family: Option<&str>,
        epoch: i64,
    ) -> Result<Secret, ApiError> {
        let claims = IssuedClaims {
            token_type,
            exp: validity.expires_at,
            iat: validity.issued_at,
            jti: validity.jti,
            user_id: user.id.to_string(),
            email: &user.email,
            username: &user.username,
            family,
            epoch,
        };
        encode(&self.header, &claims, &self.signing)
            .map(Secret::from)
            .map_err(|_| ApiError::internal("a token could not be signed"))
    }

    /// Verifies a token of the given type, and reads its claims.
    pub(crate) fn verify(&self, token: &str, token_type: TokenType) -> Option<VerifiedToken> {
        // The header is not verified yet: it only selects one of our keys.
        let id = decode_header(token).ok()?.kid;
        let (_, key) = self.verifying.iter().find(|(known, _)| *known == id)?;
        let claims = decode::<ReceivedClaims>(token, key, &self.validation).ok()?.claims;
        let is_valid = claims.token_type == token_type
            && is_storable(&claims.jti)
            && claims.family.as_deref().is_none_or(is_storable);
        is_valid.then(|| VerifiedToken {
            caller: Caller::new(UserId(claims.user_id), claims.epoch()),
            family: claims.family.unwrap_or_else(|| claims.jti.clone()),
            jti: claims.jti,
            expires: (claims.exp as u64).min(MAX_EXPIRES),
        })
    }

    /// Authenticates the caller by the value of the `Authorization` header.
    ///
    /// # Errors
    /// 401 without a bearer token, or if it is not valid.
    pub(crate) fn authenticate(&self, authorization: Option<&str>) -> Result<Caller, ApiError> {
        let mut words = authorization.unwrap_or_default().split_ascii_whitespace();
        if !words.next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer")) {
            return Err((&NOT_AUTHENTICATED).into());
        }
        let token = words.next().filter(|_| words.next().is_none());
        let token = token.ok_or(&TOKEN_NOT_VALID)?;
        if let Some(caller) = self.cache.get(token, jsonwebtoken::get_current_timestamp()) {
            return Ok(caller);
        }
        let verified = self.verify(token, TokenType::Access).ok_or(&TOKEN_NOT_VALID)?;
        self.cache.put(token, verified.caller, verified.expires);
        Ok(verified.caller)
    }
}
