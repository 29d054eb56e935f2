//! The forms of orders: the pre-order, its approval, and what operators do.

use sugang_sdk::types::{ApproveOrder, CancelOrder, ConfirmOrder, PaymentMethod, Preorder, RefundId, RefundOrder};

use super::{
    managed_registration::explanation,
    reader::FormReader,
    refund::positive,
    text::{integer, text},
};
use crate::{
    error::{ApiError, FieldProblem},
    extract::body::Object,
};

/// The longest id that a gateway gives a payment.
pub(crate) const MAX_KEY_CHARS: usize = 200;

/// Reads a pre-order. What costs nothing needs none.
///
/// # Errors
/// 400 with every field that is wrong.
pub(crate) fn preorder(object: &Object<'_>) -> Result<Preorder, ApiError> {
    let mut form = FormReader::new(object);
    let amount = form.value("amount").and_then(|raw| form.keep("amount", positive(raw)));
    let method = form.text("payment_method").and_then(|word| {
        let free = [PaymentMethod::Free, PaymentMethod::Outside];
        let method = word.parse().ok().filter(|method| !free.contains(method));
        form.keep("payment_method", method.ok_or(FieldProblem::InvalidChoice))
    });
    let return_url = form.nullable("return_url", |raw| text(raw).map(Some)).flatten();
    match (amount, method) {
        (Some(amount), Some(payment_method)) if form.problems.is_empty() => Ok(Preorder {
            amount,
            payment_method,
            return_url,
        }),
        _ => Err(ApiError::Fields(form.problems)),
    }
}

/// Reads an approval; both fields are optional.
///
/// # Errors
/// 400 with every field that is wrong.
pub(crate) fn approve_order(object: &Object<'_>) -> Result<ApproveOrder, ApiError> {
    let mut form = FormReader::new(object);
    let amount = form.nullable("amount", |raw| positive(raw).map(Some)).flatten();
    let payment_key = form.nullable("payment_key", |raw| text(raw).map(Some)).flatten();
    form.check("payment_key", payment_key.as_deref(), |key| {
        [(key.chars().count() > MAX_KEY_CHARS).then_some(FieldProblem::TooLong(MAX_KEY_CHARS))]
    });
    match form.problems.is_empty() {
        true => Ok(ApproveOrder { amount, payment_key }),
        false => Err(ApiError::Fields(form.problems)),
    }
}

/// Reads what an operator has seen on the account.
///
/// # Errors
/// 400 with every field that is wrong.
pub(crate) fn confirm_order(object: &Object<'_>) -> Result<ConfirmOrder, ApiError> {
    let mut form = FormReader::new(object);
    let amount = form.value("amount").and_then(|raw| form.keep("amount", positive(raw)));
    let reference = explanation(&mut form, "reference");
    match (amount, reference, form.text("reason")) {
        (Some(amount), Some(reference), Some(reason)) if form.problems.is_empty() => Ok(ConfirmOrder {
            amount,
            reference,
            reason,
        }),
        _ => Err(ApiError::Fields(form.problems)),
    }
}

/// Reads why an operator cancels an order.
///
/// # Errors
/// 400 without a reason.
pub(crate) fn cancel_order(object: &Object<'_>) -> Result<CancelOrder, ApiError> {
    let mut form = FormReader::new(object);
    let reason = form.text("reason");
    reason
        .map(|reason| CancelOrder { reason })
        .ok_or(ApiError::Fields(form.problems))
}

/// Reads by which name the bank knows a transfer back, and which refund it is.
///
/// # Errors
/// 400 with every field that is wrong.
pub(crate) fn refund_order(object: &Object<'_>) -> Result<RefundOrder, ApiError> {
    let mut form = FormReader::new(object);
    let refund_id = form
        .nullable("refund_id", |raw| integer(raw).map(|id| Some(RefundId(id))))
        .flatten();
    match explanation(&mut form, "reference") {
        Some(reference) if form.problems.is_empty() => Ok(RefundOrder { reference, refund_id }),
        _ => Err(ApiError::Fields(form.problems)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::forms::tests::{object, problems};

    #[test]
    fn a_preorder_has_a_price_and_a_method_that_costs_something() {
        assert!(preorder(&object(r#"{"amount":45000,"payment_method":"card"}"#)).is_ok());
        assert_eq!(
            problems(preorder(&object(r#"{"amount":0,"payment_method":"free"}"#))),
            concat!(
                r#"{"amount":["Ensure this value is greater than 0."],"#,
                r#""payment_method":["This is not a valid choice."]}"#
            )
        );
        assert_eq!(
            problems(preorder(&object("{}"))),
            r#"{"amount":["This field is required."],"payment_method":["This field is required."]}"#
        );
    }

    #[test]
    fn an_approval_needs_no_field() {
        for json in [
            "{}",
            r#"{"amount":null,"payment_key":null}"#,
            r#"{"amount":"1.00","payment_key":"k"}"#,
        ] {
            assert!(approve_order(&object(json)).is_ok(), "{json}");
        }
        let long = "k".repeat(MAX_KEY_CHARS + 1);
        assert_eq!(
            problems(approve_order(&object(&format!(
                r#"{{"amount":"x","payment_key":"{long}"}}"#
            )))),
            concat!(
                r#"{"amount":["A valid number is required."],"#,
                r#""payment_key":["Ensure this field has no more than 200 characters."]}"#
            )
        );
    }

    #[test]
    fn operators_say_what_they_have_seen_and_why() {
        let required = r#"["This field is required."]"#;
        assert_eq!(
            problems(confirm_order(&object("{}"))),
            format!(r#"{{"amount":{required},"reason":{required},"reference":{required}}}"#)
        );
        assert_eq!(
            problems(cancel_order(&object("{}"))),
            format!(r#"{{"reason":{required}}}"#)
        );
        assert_eq!(
            problems(refund_order(&object(r#"{"reference":"sugang_1","refund_id":"x"}"#))),
            r#"{"reference":["This is not a valid choice."],"refund_id":["A valid integer is required."]}"#
        );
        let one = refund_order(&object(r#"{"reference":"bank-1","refund_id":2}"#))
            .ok()
            .unwrap();
        assert_eq!(one.refund_id, Some(RefundId(2)));
    }
}
