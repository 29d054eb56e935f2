//! Amounts of money.

use serde_json::value::RawValue;
use sugang_sdk::types::{Money, MoneyError};

use super::text::text;
use crate::error::FieldProblem;

/// Reads an amount of at least 0 from the digits of a number or a text, so that it never becomes a float.
pub(super) fn amount(raw: &RawValue) -> Result<Money, FieldProblem> {
    let amount = match text(raw) {
        Err(FieldProblem::Null) => return Err(FieldProblem::Null),
        text => text.map_err(|_| FieldProblem::InvalidNumber)?,
    };
    parse_amount(&amount)
}

/// Reads an amount of at least 0 from its text.
pub(crate) fn parse_amount(text: &str) -> Result<Money, FieldProblem> {
    match text.parse::<Money>() {
        Ok(amount) if amount >= Money::won(0) => Ok(amount),
        Ok(_) => Err(FieldProblem::NotPositive),
        Err(MoneyError::NotANumber) => Err(FieldProblem::InvalidNumber),
        Err(MoneyError::Digits) => Err(FieldProblem::TooManyDigits),
        Err(MoneyError::Decimals) => Err(FieldProblem::TooManyDecimals),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_a_number_or_a_text_without_rounding() {
        for (json, expected) in [
            ("45000", Ok("45000.00")),
            ("45000.00", Ok("45000.00")),
            ("\"45000.00\"", Ok("45000.00")),
            ("\" 45000 \"", Ok("45000.00")),
            ("4.5e4", Ok("45000.00")),
            ("0.01", Ok("0.01")),
            ("99999999.99", Ok("99999999.99")),
            ("0", Ok("0.00")),
            ("-0", Ok("0.00")),
            ("-1", Err(FieldProblem::NotPositive)),
            ("1e-999999999", Err(FieldProblem::TooManyDigits)),
            ("1e999999999", Err(FieldProblem::TooManyDigits)),
            ("100000000", Err(FieldProblem::TooManyDigits)),
            ("0.001", Err(FieldProblem::TooManyDecimals)),
            ("\"NaN\"", Err(FieldProblem::InvalidNumber)),
            ("\"Infinity\"", Err(FieldProblem::InvalidNumber)),
            ("\"\"", Err(FieldProblem::InvalidNumber)),
            ("\"4_5\"", Err(FieldProblem::InvalidNumber)),
            ("\"０\"", Err(FieldProblem::InvalidNumber)),
            ("true", Err(FieldProblem::InvalidNumber)),
            ("[1]", Err(FieldProblem::InvalidNumber)),
            ("{}", Err(FieldProblem::InvalidNumber)),
            ("null", Err(FieldProblem::Null)),
        ] {
            let raw = RawValue::from_string(json.into()).unwrap();
            let read = amount(&raw).map(|amount| amount.to_string());
            assert_eq!(
                read.as_deref().map_err(|problem| format!("{problem:?}")),
                expected.map_err(|e| format!("{e:?}")),
                "{json}"
            );
        }
    }
}
