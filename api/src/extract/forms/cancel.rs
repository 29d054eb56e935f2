//! The form of a cancellation.

use sugang_sdk::types::Cancel;

use super::{reader::FormReader, refund::refund_account, text::text};
use crate::{
    error::{ApiError, FieldProblem},
    extract::body::Object,
    text::nfc,
};

/// Reads a cancellation; both fields are optional.
///
/// # Errors
/// 400 if the reason is not a text, or the account is none.
pub(crate) fn cancel(object: &Object<'_>) -> Result<Cancel, ApiError> {
    const REASON: &str = "refund_reason";
    let mut form = FormReader::new(object);
    let refund_reason = match object.get(REASON).map(|raw| text(raw)) {
        None | Some(Err(FieldProblem::Null | FieldProblem::Blank)) => None,
        Some(reason) => form.keep(REASON, reason).map(|reason| nfc(&reason).into_owned()),
    };
    let refund_account = refund_account(&mut form);
    match form.problems.is_empty() {
        true => Ok(Cancel {
            refund_reason,
            refund_account,
        }),
        false => Err(ApiError::Fields(form.problems)),
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

    #[test]
    fn an_account_has_three_parts() {
        let account = |json| cancel(&object(json)).ok().and_then(|cancel| cancel.refund_account);
        let whole = account(r#"{"refund_account":{"bank":"20","account_number":"1002","holder":"김민수"}}"#).unwrap();
        assert_eq!(
            [whole.bank, whole.account_number, whole.holder],
            ["20", "1002", "김민수"].map(str::to_owned)
        );
        assert_eq!(account(r#"{"refund_account":null}"#), None);
        for wrong in [
            r#""20 1002""#,
            r#"{"bank":"20","account_number":"1002"}"#,
            r#"{"bank":"20","account_number":"10-02","holder":"김민수"}"#,
            r#"{"bank":" ","account_number":"1002","holder":"김민수"}"#,
        ] {
            assert_eq!(
                problems(cancel(&object(&format!("{{\"refund_account\":{wrong}}}")))),
                r#"{"refund_account":["It must be an object with bank, account_number (digits) and holder."]}"#,
                "{wrong}"
            );
        }
    }
}
