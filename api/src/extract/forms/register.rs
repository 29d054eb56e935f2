//! The form of a registration.

use sugang_sdk::types::{Money, PaymentMethod};

use super::{amount::amount, reader::FormReader};
use crate::{
    error::{ApiError, FieldProblem},
    extract::body::Object,
};

/// What a client sends to register. Only an item whose price is 0 can do without a field; the price is in the database.
#[derive(Debug, Default, PartialEq, Eq)]
#[cfg_attr(any(test, fuzzing), derive(serde::Serialize))]
pub(crate) struct RegisterForm {
    #[cfg_attr(any(test, fuzzing), serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) amount: Option<Money>,
    #[cfg_attr(any(test, fuzzing), serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) payment_method: Option<PaymentMethod>,
}

/// Reads a registration for an exam or a course.
///
/// # Errors
/// 400 with everything that is wrong. What only a free item permits, an amount of 0 and a missing field, is wrong
/// together with something that is wrong for every item.
pub(crate) fn register(object: &Object<'_>) -> Result<RegisterForm, ApiError> {
    let mut form = FormReader::new(object);
    let amount = form.value("amount").and_then(|raw| form.keep("amount", amount(raw)));
    let refused = !form.problems.is_empty() && !form.problems.all(|problem| *problem == FieldProblem::Required);
    if amount == Some(Money::won(0)) {
        form.problems.push("amount", FieldProblem::NotPositive);
    }
    let payment_method = form.text("payment_method").and_then(|word| {
        let method = word.parse().ok().filter(|method| *method != PaymentMethod::Outside);
        form.keep("payment_method", method.ok_or(FieldProblem::InvalidChoice))
    });
    let permitted = |problem: &FieldProblem| matches!(problem, FieldProblem::Required | FieldProblem::NotPositive);
    if refused || !form.problems.all(permitted) {
        return Err(ApiError::Fields(form.problems));
    }
    Ok(RegisterForm { amount, payment_method })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::forms::tests::{object, problems};

    #[test]
    fn a_registration_names_its_wrong_fields() {
        for (json, expected) in [
            (r#"{"amount":"45000.00","payment_method":"card"}"#, ""),
            (r#"{"amount":0,"payment_method":"free"}"#, ""),
            ("{}", ""),
            (
                r#"{"amount":"x","payment_method":"cash"}"#,
                r#"{"amount":["A valid number is required."],"payment_method":["This is not a valid choice."]}"#,
            ),
            (
                r#"{"amount":0,"payment_method":"cash"}"#,
                r#"{"amount":["Ensure this value is greater than 0."],"payment_method":["This is not a valid choice."]}"#,
            ),
            (
                r#"{"amount":-1}"#,
                r#"{"amount":["Ensure this value is greater than 0."],"payment_method":["This field is required."]}"#,
            ),
        ] {
            assert_eq!(problems(register(&object(json))), expected, "{json}");
        }
    }
}
