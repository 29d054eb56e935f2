//! The form that carries a refresh token.

use sugang_sdk::types::Refresh;

use super::reader::FormReader;
use crate::{error::ApiError, extract::body::Object};

/// Reads the body of a token refresh or a logout.
///
/// # Errors
/// 400 if the token is missing or not a text.
pub(crate) fn refresh(object: &Object<'_>) -> Result<Refresh, ApiError> {
    let mut form = FormReader::new(object);
    match form.text("refresh") {
        Some(refresh) => Ok(Refresh {
            refresh: refresh.into(),
        }),
        None => Err(ApiError::Fields(form.problems)),
    }
}
