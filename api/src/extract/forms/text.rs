//! Texts, as lenient as those of Django REST framework: surrounding space is cut off, and a number passes as text.

use serde_json::value::RawValue;

use crate::error::FieldProblem;

/// Reads a text that is not blank.
pub(super) fn text(raw: &RawValue) -> Result<String, FieldProblem> {
    let json = raw.get();
    let text = match json.as_bytes().first() {
        Some(b'n') => return Err(FieldProblem::Null),
        // A lone surrogate is valid JSON, but not Unicode text.
        Some(b'"') => serde_json::from_str(json).map_err(|_| FieldProblem::NotText)?,
        Some(b'-' | b'0'..=b'9') => json.to_owned(),
        _ => return Err(FieldProblem::NotText),
    };
    match text.trim() {
        "" => Err(FieldProblem::Blank),
        text if text.contains('\0') => Err(FieldProblem::NullCharacter),
        text => Ok(text.to_owned()),
    }
}

/// Reads a whole number from a number or a text.
pub(super) fn integer(raw: &RawValue) -> Result<i64, FieldProblem> {
    let digits = text(raw).map_err(|_| FieldProblem::InvalidInteger)?;
    digits.parse().map_err(|_| FieldProblem::InvalidInteger)
}

/// Reads true or false, which a form without JSON sends as a text.
pub(super) fn flag(raw: &RawValue) -> Result<bool, FieldProblem> {
    match raw.get() {
        "true" | r#""true""# => Ok(true),
        "false" | r#""false""# => Ok(false),
        _ => Err(FieldProblem::InvalidBoolean),
    }
}
