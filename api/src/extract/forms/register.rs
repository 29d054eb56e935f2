//! The form of a registration.

use sugang_sdk::types::{PaymentMethod, Register};

use super::{amount::amount, reader::FormReader};
use crate::{
    error::{ApiError, FieldProblem},
    extract::body::Object,
};

/// Reads a registration for an exam or a course.
///
/// # Errors
/// 400 with everything that is wrong.
pub(crate) fn register(object: &Object<'_>) -> Result<Register, ApiError> {
    let mut form = FormReader::new(object);
    let amount = form.value("amount").and_then(|raw| form.keep("amount", amount(raw)));
    let payment_method = form.text("payment_method").and_then(|word| {
        form.keep(
            "payment_method",
            word.parse::<PaymentMethod>().map_err(|_| FieldProblem::InvalidChoice),
        )
    });
    match (amount, payment_method) {
        (Some(amount), Some(payment_method)) => Ok(Register { amount, payment_method }),
        _ => Err(ApiError::Fields(form.problems)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::forms::tests::{object, problems};

    #[test]
    fn a_registration_names_its_wrong_fields() {
        assert_eq!(
            problems(register(&object(r#"{"amount":"45000.00","payment_method":"card"}"#))),
            ""
        );
        assert_eq!(
            problems(register(&object(r#"{"amount":"x","payment_method":"cash"}"#))),
            r#"{"amount":["A valid number is required."],"payment_method":["This is not a valid choice."]}"#
        );
    }
}
