//! The form of a sign-up.

use sugang_sdk::types::Signup;

use super::{email::is_email, reader::FormReader};
use crate::{
    error::{ApiError, FieldProblem},
    extract::body::Object,
    text::{Address, NameError, check_name, is_common, is_unassigned, nfc, resembles},
};

/// The length of the column `users.email`.
pub(crate) const MAX_EMAIL_CHARS: usize = 255;
/// The length of the column `users.username`.
pub(crate) const MAX_USERNAME_CHARS: usize = 150;
pub(crate) const MIN_PASSWORD_CHARS: usize = 8;

/// Reads a sign-up.
///
/// With `refuse_weak_passwords`, a password may neither be a common one nor resemble the account's names.
///
/// # Errors
/// 400 with everything that is wrong.
pub(crate) fn signup(object: &Object<'_>, refuse_weak_passwords: bool) -> Result<Signup, ApiError> {
    let mut form = FormReader::new(object);
    let email = form.text("email").map(|email| Address::new(&email));
    let username = form.text("username");
    let password = form.password();
    form.check("email", email.as_ref(), |email| {
        [
            (email.as_ascii().chars().count() > MAX_EMAIL_CHARS).then_some(FieldProblem::TooLong(MAX_EMAIL_CHARS)),
            (!is_email(email)).then_some(FieldProblem::InvalidEmail),
        ]
    });
    form.check("username", username.as_deref(), |username| {
        [
            (username.chars().count() > MAX_USERNAME_CHARS).then_some(FieldProblem::TooLong(MAX_USERNAME_CHARS)),
            check_name(username).err().map(|error| match error {
                NameError::Character => FieldProblem::InvalidUsername,
                NameError::Mixed => FieldProblem::MixedUsername,
            }),
        ]
    });
    form.check("password", password.as_deref(), |password| {
        // A syllable is one character, whichever keyboard composed it.
        let composed = nfc(password);
        [
            (composed.chars().count() < MIN_PASSWORD_CHARS).then_some(FieldProblem::TooShort(MIN_PASSWORD_CHARS)),
            (!composed.chars().any(char::is_alphabetic)).then_some(FieldProblem::MissingLetter),
            (!composed.chars().any(char::is_numeric)).then_some(FieldProblem::MissingDigit),
            // Its normal form would be another one day, and with it the hash.
            composed
                .contains(is_unassigned)
                .then_some(FieldProblem::UnassignedCharacter),
        ]
    });
    if refuse_weak_passwords {
        let like = |password: &str, name: Option<&str>| name.is_some_and(|name| resembles(password, name));
        form.check("password", password.as_deref(), |password| {
            [
                is_common(password).then_some(FieldProblem::CommonPassword),
                like(password, email.as_ref().map(Address::as_str)).then_some(FieldProblem::PasswordLikeEmail),
                like(password, username.as_deref()).then_some(FieldProblem::PasswordLikeUsername),
            ]
        });
    }
    match (email, username, password) {
        (Some(email), Some(username), Some(password)) if form.problems.is_empty() => Ok(Signup {
            email: email.as_str().to_owned(),
            username,
            password: password.into(),
        }),
        _ => Err(ApiError::SignupFields(form.problems)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::forms::tests::{object, problems};

    #[test]
    fn a_signup_is_trimmed_and_in_any_script() {
        let json = r#"{"email":" minsu@example.com ","username":"민수.1","password":"비밀번호 1234","more":[{}]}"#;
        let read = signup(&object(json), true);
        let read = read.ok().unwrap();
        assert_eq!(
            (read.email.as_str(), read.username.as_str()),
            ("minsu@example.com", "민수.1")
        );
        assert_eq!(read.password.expose(), "비밀번호 1234");
    }

    #[test]
    fn all_wrong_fields_of_a_signup_are_reported_at_once() {
        for (json, expected) in [
            (
                "{}",
                r#"{"email":["This field is required."],"password":["This field is required."],"username":["This field is required."]}"#,
            ),
            (
                r#"{"email":null,"username":"","password":true}"#,
                r#"{"email":["This field may not be null."],"password":["Not a valid string."],"username":["This field may not be blank."]}"#,
            ),
            (
                r#"{"email":"nobody","username":"a b","password":"\u0000"}"#,
                r#"{"email":["Enter a valid email address."],"password":["Null characters are not allowed."],"username":["A username may have letters, digits and @.+-_ only."]}"#,
            ),
            (
                r#"{"email":"a@example.com","username":"a","password":"!?!?"}"#,
                r#"{"password":["Ensure this field has at least 8 characters.","The password must have a letter.","The password must have a digit."]}"#,
            ),
            (r#"{"email":"a@example.com","username":7,"password":"abcdefg1"}"#, ""),
        ] {
            assert_eq!(problems(signup(&object(json), false)), expected, "{json}");
        }
        let long = format!(
            r#"{{"email":"a@example.com","username":"{}","password":"abcdefg1"}}"#,
            "가".repeat(151)
        );
        assert!(problems(signup(&object(&long), false)).contains("no more than 150 characters"));
    }

    #[test]
    fn a_weak_password_is_refused_if_that_is_configured() {
        let json =
            |password: &str| format!(r#"{{"email":"hong@example.com","username":"gildong","password":"{password}"}}"#);
        for (password, expected) in [
            ("Password1", r#"{"password":["This password is too common."]}"#),
            ("hong1234", ""),
            (
                "hong2@example.com",
                r#"{"password":["The password is too similar to the email address."]}"#,
            ),
            (
                "Gildong1",
                r#"{"password":["The password is too similar to the username."]}"#,
            ),
            (
                "password",
                r#"{"password":["The password must have a digit.","This password is too common."]}"#,
            ),
        ] {
            assert_eq!(problems(signup(&object(&json(password)), true)), expected, "{password}");
        }
        for password in ["Password1", "Gildong1"] {
            assert_eq!(problems(signup(&object(&json(password)), false)), "", "{password}");
        }
        // Each field is judged, even if another one is missing.
        let missing = r#"{"username":"gildong","password":"gildong1"}"#;
        assert_eq!(
            problems(signup(&object(missing), true)),
            r#"{"email":["This field is required."],"password":["The password is too similar to the username."]}"#
        );
    }
}
