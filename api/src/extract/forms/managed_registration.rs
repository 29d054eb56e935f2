//! The forms by which an operator registers a user, completes registrations and cancels one.

use serde_json::value::RawValue;
use sugang_sdk::types::{
    CancelRegistration, CompleteRegistrations, NewRegistration, PaymentMethod, RegistrationId, UserId,
};

use super::{
    reader::FormReader,
    refund::{positive, refund_account},
    text::{flag, integer},
};
use crate::{
    error::{ApiError, FieldProblem},
    extract::body::Object,
};

/// The length of the column that keeps what a payment is known by elsewhere.
const MAX_REFERENCE_CHARS: usize = 100;
/// What the ids of this service's own payments begin with.
const OWN_REFERENCE: &str = "sugang_";
/// The most registrations that one request completes.
pub(crate) const MAX_REGISTRATIONS: usize = 1_000;

/// Reads a registration by hand: for one user, paid outside with a reference, or free of charge with a reason.
///
/// # Errors
/// 400 with every field that is wrong.
pub(crate) fn new_registration(object: &Object<'_>) -> Result<NewRegistration, ApiError> {
    let mut form = FormReader::new(object);
    let user_id = form.nullable("user_id", |raw| integer(raw).map(Some)).flatten();
    let email = match user_id.is_some() || object.contains_key("user_id") {
        true if object.contains_key("email") => form.keep("email", Err(FieldProblem::InvalidChoice)),
        true => None,
        false => form.text("email"),
    };
    let method = form.text("payment_method").and_then(|word| {
        let method = word.parse().ok();
        let method = method.filter(|method| [PaymentMethod::Outside, PaymentMethod::Free].contains(method));
        form.keep("payment_method", method.ok_or(FieldProblem::InvalidChoice))
    });
    let (mut amount, mut reference, mut reason) = (None, None, None);
    match method {
        Some(PaymentMethod::Outside) => {
            amount = form.value("amount").and_then(|raw| form.keep("amount", positive(raw)));
            reference = explanation(&mut form, "reference");
        }
        Some(_) => reason = explanation(&mut form, "reason"),
        None => {}
    }
    let outside_period = form.nullable("outside_period", |raw| flag(raw).map(Some)).flatten();
    match method {
        Some(payment_method) if form.problems.is_empty() => Ok(NewRegistration {
            user_id: user_id.map(UserId),
            email,
            payment_method,
            amount,
            reference,
            reason,
            outside_period: outside_period.unwrap_or_default(),
        }),
        _ => Err(ApiError::Fields(form.problems)),
    }
}

/// Reads why, or by which name elsewhere.
pub(super) fn explanation(form: &mut FormReader<'_>, name: &'static str) -> Option<String> {
    let text = form.text(name);
    form.check(name, text.as_deref(), |text| {
        [
            (text.chars().count() > MAX_REFERENCE_CHARS).then_some(FieldProblem::TooLong(MAX_REFERENCE_CHARS)),
            text.starts_with(OWN_REFERENCE).then_some(FieldProblem::InvalidChoice),
        ]
    });
    text
}

/// Reads a cancellation of a registration. Whether the money goes back is never a default.
///
/// # Errors
/// 400 with every field that is wrong.
pub(crate) fn cancel_registration(object: &Object<'_>) -> Result<CancelRegistration, ApiError> {
    let mut form = FormReader::new(object);
    let refund = form.text("refund");
    let refund = refund.and_then(|word| form.keep("refund", word.parse().map_err(|_| FieldProblem::InvalidChoice)));
    let (reason, refund_account) = (form.text("reason"), refund_account(&mut form));
    match (refund, reason) {
        (Some(refund), Some(reason)) if form.problems.is_empty() => Ok(CancelRegistration {
            refund,
            reason,
            refund_account,
        }),
        _ => Err(ApiError::Fields(form.problems)),
    }
}

/// Reads the ids of registrations.
///
/// # Errors
/// 400 if they are no list of 1 to 1,000 ids.
pub(crate) fn complete_registrations(object: &Object<'_>) -> Result<CompleteRegistrations, ApiError> {
    let mut form = FormReader::new(object);
    let ids = form
        .value("ids")
        .and_then(|raw| form.keep("ids", registration_ids(raw)));
    match ids {
        Some(ids) => Ok(CompleteRegistrations { ids }),
        None => Err(ApiError::Fields(form.problems)),
    }
}

fn registration_ids(raw: &RawValue) -> Result<Vec<RegistrationId>, FieldProblem> {
    let ids: Vec<i64> = serde_json::from_str(raw.get()).map_err(|_| FieldProblem::ListLength(MAX_REGISTRATIONS))?;
    match ids.len() {
        1..=MAX_REGISTRATIONS => Ok(ids.into_iter().map(RegistrationId).collect()),
        _ => Err(FieldProblem::ListLength(MAX_REGISTRATIONS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::forms::tests::{object, problems};

    #[test]
    fn a_registration_by_hand_is_of_one_user_and_says_how_it_was_paid() {
        for json in [
            r#"{"user_id":1,"payment_method":"outside","amount":"1.00","reference":"계좌 3","outside_period":true}"#,
            r#"{"email":"minsu@example.com","payment_method":"free","reason":"장학생"}"#,
        ] {
            assert!(new_registration(&object(json)).is_ok(), "{json}");
        }
        for (json, expected) in [
            (
                "{}",
                r#"{"email":["This field is required."],"payment_method":["This field is required."]}"#,
            ),
            (
                r#"{"user_id":"x","email":"a@b.c","payment_method":"card","outside_period":1}"#,
                concat!(
                    r#"{"email":["This is not a valid choice."],"outside_period":["Must be a valid boolean."],"#,
                    r#""payment_method":["This is not a valid choice."],"user_id":["A valid integer is required."]}"#
                ),
            ),
            (
                r#"{"user_id":1,"payment_method":"outside","amount":0,"reference":"sugang_1"}"#,
                concat!(
                    r#"{"amount":["Ensure this value is greater than 0."],"#,
                    r#""reference":["This is not a valid choice."]}"#
                ),
            ),
            (
                r#"{"user_id":1,"payment_method":"free"}"#,
                r#"{"reason":["This field is required."]}"#,
            ),
        ] {
            assert_eq!(problems(new_registration(&object(json))), expected, "{json}");
        }
    }

    #[test]
    fn a_cancellation_says_what_becomes_of_the_money() {
        assert!(cancel_registration(&object(r#"{"refund":"none","reason":"무단 결석"}"#)).is_ok());
        assert_eq!(
            problems(cancel_registration(&object(r#"{"refund":"half"}"#))),
            r#"{"reason":["This field is required."],"refund":["This is not a valid choice."]}"#
        );
    }

    #[test]
    fn ids_are_a_list() {
        let read = |ids: &str| complete_registrations(&object(&format!("{{\"ids\":{ids}}}")));
        assert_eq!(read("[3,1]").ok().unwrap().ids, [RegistrationId(3), RegistrationId(1)]);
        let many = format!("[{}1]", "1,".repeat(MAX_REGISTRATIONS));
        for ids in ["[]", "1", "[\"x\"]", "[1.5]", &many] {
            assert_eq!(
                problems(read(ids)),
                r#"{"ids":["It must be a list of 1 to 1000 ids."]}"#,
                "{ids:.20}"
            );
        }
    }
}
