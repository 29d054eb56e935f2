//! The form of a login.

use sugang_sdk::types::Login;

use super::reader::FormReader;
use crate::{error::ApiError, extract::body::Object};

/// Reads a login. The e-mail address may have any form: only one that an account has can succeed.
///
/// # Errors
/// 400 with everything that is wrong.
pub(crate) fn login(object: &Object<'_>) -> Result<Login, ApiError> {
    let mut form = FormReader::new(object);
    match (form.text("email"), form.password()) {
        (Some(email), Some(password)) => Ok(Login {
            email,
            password: password.into(),
        }),
        _ => Err(ApiError::Fields(form.problems)),
    }
}
