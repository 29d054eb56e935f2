//! The form of a refund by an operator.

use serde_json::value::RawValue;
use sugang_sdk::types::{Money, RefundAccount, RefundPayment};

use super::{amount::amount, reader::FormReader, text::flag};
use crate::{
    error::{ApiError, FieldProblem},
    extract::body::Object,
};

pub(super) const REFUND_ACCOUNT: &str = "refund_account";
/// A bound for each part of an account.
const MAX_ACCOUNT_CHARS: usize = 60;

/// Reads a refund. Without an amount, it is all that is left.
///
/// # Errors
/// 400 with every field that is wrong.
pub(crate) fn refund(object: &Object<'_>) -> Result<RefundPayment, ApiError> {
    let mut form = FormReader::new(object);
    let amount = form.nullable("amount", |raw| positive(raw).map(Some)).flatten();
    let reason = form.text("reason");
    let keep_registration = form.nullable("keep_registration", |raw| flag(raw).map(Some)).flatten();
    let refund_account = refund_account(&mut form);
    match reason {
        Some(reason) if form.problems.is_empty() => Ok(RefundPayment {
            amount,
            reason,
            keep_registration: keep_registration.unwrap_or_default(),
            refund_account,
        }),
        _ => Err(ApiError::Fields(form.problems)),
    }
}

/// Reads the account to which the money goes. A gateway knows which banks and numbers there are.
pub(super) fn refund_account(form: &mut FormReader<'_>) -> Option<RefundAccount> {
    form.nullable(REFUND_ACCOUNT, |raw| {
        let account: RefundAccount = serde_json::from_str(raw.get()).map_err(|_| FieldProblem::NotAnAccount)?;
        let texts = [&account.bank, &account.account_number, &account.holder];
        let is_valid = texts
            .iter()
            .all(|text| (1..=MAX_ACCOUNT_CHARS).contains(&text.trim().chars().count()))
            && account.account_number.bytes().all(|byte| byte.is_ascii_digit())
            && !texts.iter().any(|text| text.contains('\0'));
        is_valid.then_some(Some(account)).ok_or(FieldProblem::NotAnAccount)
    })
    .flatten()
}

pub(super) fn positive(raw: &RawValue) -> Result<Money, FieldProblem> {
    amount(raw).and_then(|amount| match amount.is_positive() {
        true => Ok(amount),
        false => Err(FieldProblem::NotPositive),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::forms::tests::{object, problems};

    #[test]
    fn the_reason_is_required_and_the_amount_is_not() {
        for (json, expected) in [
            (r#"{"reason":" 환불 "}"#, (None, false)),
            (
                r#"{"reason":"환불","amount":null,"keep_registration":null}"#,
                (None, false),
            ),
            (
                r#"{"reason":"환불","amount":"0.01","keep_registration":true}"#,
                (Some("0.01"), true),
            ),
            (
                r#"{"reason":"환불","amount":100,"keep_registration":"false"}"#,
                (Some("100.00"), false),
            ),
        ] {
            let read = refund(&object(json)).ok().unwrap();
            let amount = read.amount.map(|amount| amount.to_string());
            assert_eq!(
                (read.reason.as_str(), amount.as_deref(), read.keep_registration),
                ("환불", expected.0, expected.1),
                "{json}"
            );
        }
        assert_eq!(
            problems(refund(&object(r#"{"amount":0,"reason":" ","keep_registration":"x"}"#))),
            concat!(
                r#"{"amount":["Ensure this value is greater than 0."],"#,
                r#""keep_registration":["Must be a valid boolean."],"#,
                r#""reason":["This field may not be blank."]}"#
            )
        );
    }
}
