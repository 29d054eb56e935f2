//! The form of a cancellation.

use sugang_sdk::types::Cancel;

use super::text::text;
use crate::{
    error::{ApiError, FieldProblem, FieldProblems},
    extract::body::Object,
    text::nfc,
};

/// Reads a cancellation; the reason is optional.
///
/// # Errors
/// 400 if the reason is not a text.
pub(crate) fn cancel(object: &Object<'_>) -> Result<Cancel, ApiError> {
    const REASON: &str = "refund_reason";
    match object.get(REASON).map(|raw| text(raw)) {
        None | Some(Err(FieldProblem::Null | FieldProblem::Blank)) => Ok(Cancel::default()),
        Some(Ok(reason)) => Ok(Cancel {
            refund_reason: Some(nfc(&reason).into_owned()),
        }),
        Some(Err(problem)) => Err(ApiError::Fields(FieldProblems::of(REASON, problem))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::forms::tests::{object, problems};

    #[test]
    fn the_reason_is_optional() {
        let reason = |json| cancel(&object(json)).ok().and_then(|cancel| cancel.refund_reason);
        assert_eq!(
            reason(r#"{"refund_reason":" 단순 변심 "}"#).as_deref(),
            Some("단순 변심")
        );
        for json in ["{}", r#"{"refund_reason":null}"#, r#"{"refund_reason":" "}"#] {
            assert_eq!(problems(cancel(&object(json))), "");
            assert_eq!(reason(json), None);
        }
        assert_eq!(
            problems(cancel(&object(r#"{"refund_reason":["x"]}"#))),
            r#"{"refund_reason":["Not a valid string."]}"#
        );
    }
}
