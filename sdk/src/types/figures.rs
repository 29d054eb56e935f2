//! Figures: what operators see of registrations and money.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::Date;

/// A sum of amounts of money, which may have more digits than one amount. It is sent as a string with two decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(
        description = "A sum of money in won: a string with two decimals.",
        value_type = String,
        format = "decimal",
        pattern = r"^\d+\.\d{2}$",
        example = "4500000.00"
    )
)]
pub struct MoneySum(Decimal);

impl MoneySum {
    /// Returns the sum as a decimal with a scale of 2.
    pub fn decimal(self) -> Decimal {
        self.0
    }
}

impl fmt::Display for MoneySum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for MoneySum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MoneySum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Decimal::from_str_exact(&text).map(Self).map_err(D::Error::custom)
    }
}

/// The figures of one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DayFigures {
    /// The day (UTC).
    #[cfg_attr(feature = "openapi", schema(examples("2026-11-23")))]
    pub day: Date,
    /// How many registrations were made, those that were taken up again included.
    #[cfg_attr(feature = "openapi", schema(examples(12)))]
    pub registered: i64,
    /// How many were cancelled.
    #[cfg_attr(feature = "openapi", schema(examples(2)))]
    pub cancelled: i64,
    /// How much was paid.
    pub money_in: MoneySum,
    /// How much was given back.
    pub money_out: MoneySum,
}

/// Answer of `GET /api/operator/figures/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Figures {
    /// Each day of the period.
    pub days: Vec<DayFigures>,
    /// How many registrations were made in all of them.
    #[cfg_attr(feature = "openapi", schema(examples(12)))]
    pub registered: i64,
    /// How many were cancelled.
    #[cfg_attr(feature = "openapi", schema(examples(2)))]
    pub cancelled: i64,
    /// How much was paid.
    pub money_in: MoneySum,
    /// How much was given back.
    pub money_out: MoneySum,
}

/// Answer of `GET /api/operator/tests/{id}/figures/` and `GET /api/operator/courses/{id}/figures/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ItemFigures {
    /// Id of the exam or course.
    #[cfg_attr(feature = "openapi", schema(examples(1)))]
    pub id: i64,
    /// How many registrations are neither completed nor cancelled.
    #[cfg_attr(feature = "openapi", schema(examples(12)))]
    pub registered: i64,
    /// How many are completed.
    #[cfg_attr(feature = "openapi", schema(examples(3)))]
    pub completed: i64,
    /// How many are cancelled.
    #[cfg_attr(feature = "openapi", schema(examples(2)))]
    pub cancelled: i64,
    /// How many may register; null for no limit.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub capacity: Option<i64>,
    /// How many seats are neither registered nor held by an order; null for no limit.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub remaining: Option<i64>,
    /// By how many the registrations exceed a capacity that was lowered.
    #[cfg_attr(feature = "openapi", schema(examples(0)))]
    pub over_capacity: i64,
    /// How much was paid for it.
    pub money_in: MoneySum,
    /// How much of that was given back.
    pub money_out: MoneySum,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_has_more_digits_than_an_amount() {
        let json = "\"45000000000.00\"";
        let sum: MoneySum = serde_json::from_str(json).unwrap();
        assert_eq!(sum.decimal(), Decimal::from(45_000_000_000_i64));
        assert_eq!(serde_json::to_string(&sum).unwrap(), json);
        for json in ["\"\"", "\"NaN\"", "null"] {
            assert!(serde_json::from_str::<MoneySum>(json).is_err(), "{json}");
        }
    }
}
