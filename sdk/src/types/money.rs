//! Money: exact amounts in won, never floats.

use std::{fmt, str::FromStr};

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::value::RawValue;

/// An amount of money: a decimal of at most 10 digits, 2 of them decimals (`decimal(10,2)` in the database).
///
/// It is sent as a string with two decimals (`"45000.00"`), and read from a string or a JSON number. The digits of a number
/// are taken from its text, so only a JSON deserializer can read an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(
        description = "An amount of money in won: a string with two decimals. A request may also send a number.",
        value_type = String,
        format = "decimal",
        pattern = r"^-?\d{1,8}\.\d{2}$",
        example = "45000.00"
    )
)]
pub struct Money(Decimal);

impl Money {
    /// The most digits of an amount, including its decimals.
    pub const DIGITS: u32 = 10;
    /// The most decimals of an amount, and the number with which it is sent.
    pub const DECIMALS: u32 = 2;

    /// Returns a whole amount of won.
    ///
    /// ```
    /// assert_eq!(sugang_sdk::types::Money::won(45_000).to_string(), "45000.00");
    /// ```
    pub fn won(won: u32) -> Self {
        Self(Decimal::new(i64::from(won) * 100, Self::DECIMALS))
    }

    /// Returns the amount as a decimal with a scale of 2.
    pub fn decimal(self) -> Decimal {
        self.0
    }

    /// Returns whether the amount is more than 0.
    pub fn is_positive(self) -> bool {
        self.0 > Decimal::ZERO
    }
}

impl TryFrom<Decimal> for Money {
    type Error = MoneyError;

    /// # Errors
    /// The decimal has too many decimals or digits. Trailing zeros count, as they do for Django.
    fn try_from(mut decimal: Decimal) -> Result<Self, MoneyError> {
        if decimal.scale() > Self::DECIMALS {
            return Err(MoneyError::Decimals);
        }
        if decimal.abs() >= Decimal::from(10_u64.pow(Self::DIGITS - Self::DECIMALS)) {
            return Err(MoneyError::Digits);
        }
        decimal.rescale(Self::DECIMALS);
        Ok(Self(decimal))
    }
}

impl FromStr for Money {
    type Err = MoneyError;

    /// Reads plain (`45000`, `45000.00`) and scientific (`4.5e4`) notation, like JSON and Django.
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let text = text.trim();
        // The float's parser checks the notation, and its value is dropped; its words (`inf`, `NaN`) are refused.
        let digits_and_signs = text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
        if !digits_and_signs || text.parse::<f64>().is_err() {
            return Err(MoneyError::NotANumber);
        }
        let parsed = match text.split_once(['e', 'E']) {
            // `from_scientific` would round a mantissa that is too long.
            Some((mantissa, _)) => Decimal::from_str_exact(mantissa).and_then(|_| Decimal::from_scientific(text)),
            None => Decimal::from_str_exact(text),
        };
        match parsed {
            Ok(decimal) => decimal.try_into(),
            Err(rust_decimal::Error::Underflow) => Err(MoneyError::Decimals),
            Err(_) => Err(MoneyError::Digits),
        }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let parsed = match raw.get().starts_with('"') {
            true => serde_json::from_str::<String>(raw.get())
                .map_err(D::Error::custom)?
                .parse(),
            false => raw.get().parse(),
        };
        parsed.map_err(D::Error::custom)
    }
}

/// Why a text is not an amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The text is not a decimal number.
    #[error("a valid number is required")]
    NotANumber,
    /// The number has more than [`Money::DECIMALS`] decimals.
    #[error("no more than {} decimal places are allowed", Money::DECIMALS)]
    Decimals,
    /// The number has more than [`Money::DIGITS`] digits.
    #[error(
        "no more than {} digits in total, {} of them decimals, are allowed",
        Money::DIGITS,
        Money::DECIMALS
    )]
    Digits,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_read_like_django_and_sent_with_two_decimals() {
        for (json, sent) in [
            (r#""45000.00""#, "45000.00"),
            (r#""45000""#, "45000.00"),
            (r#"" 45000.5 ""#, "45000.50"),
            ("45000", "45000.00"),
            ("45000.00", "45000.00"),
            ("45000.1", "45000.10"),
            ("4.5e4", "45000.00"),
            ("4.5E+4", "45000.00"),
            ("99999999.99", "99999999.99"),
            ("0", "0.00"),
            ("-1", "-1.00"),
        ] {
            let money: Money = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&money).unwrap(), format!("\"{sent}\""), "{json}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for (json, why) in [
            (r#""""#, MoneyError::NotANumber),
            (r#""4_5""#, MoneyError::NotANumber),
            (r#""NaN""#, MoneyError::NotANumber),
            (r#""Infinity""#, MoneyError::NotANumber),
            (r#""1.2.3""#, MoneyError::NotANumber),
            (r#""e""#, MoneyError::NotANumber),
            (r#""-""#, MoneyError::NotANumber),
            ("null", MoneyError::NotANumber),
            ("true", MoneyError::NotANumber),
            ("[1]", MoneyError::NotANumber),
            ("1.000", MoneyError::Decimals),
            ("45000.00000000000000001", MoneyError::Decimals),
            ("1e-3", MoneyError::Decimals),
            // 450000.0001
            ("0.00000000000000000000004500000001e28", MoneyError::Decimals),
            ("0.0000000000000000000000000000000000001", MoneyError::Decimals),
            ("100000000", MoneyError::Digits),
            ("1e8", MoneyError::Digits),
            ("-100000000.00", MoneyError::Digits),
            ("99999999999999999999999999999999999999", MoneyError::Digits),
        ] {
            let error = serde_json::from_str::<Money>(json).unwrap_err().to_string();
            assert!(error.starts_with(&why.to_string()), "{json}: {error}");
        }
        for huge in [
            "1e999",
            "1e-999",
            "1e99999999999999999999",
            "9e28",
            "0e99999999999999999999",
        ] {
            assert!(
                matches!(huge.parse::<Money>(), Err(MoneyError::Digits | MoneyError::Decimals)),
                "{huge}"
            );
        }
    }

    #[test]
    fn won_has_no_decimals() {
        assert_eq!(Money::won(1_000), "1000".parse().unwrap());
        assert!(Money::won(1).is_positive() && !Money::won(0).is_positive());
    }

    /// Splits a number into its sign, its digits without outer zeros, and their power of ten.
    fn parts(text: &str) -> (bool, String, i64) {
        let (mantissa, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{}{decimals}", whole.trim_start_matches(['+', '-']));
        let significant = digits.trim_end_matches('0');
        let zeros = (digits.len() - significant.len()) as i64;
        match significant.trim_start_matches('0') {
            "" => (false, String::new(), 0),
            digits => (
                text.starts_with('-'),
                digits.to_owned(),
                power.parse::<i64>().unwrap() - decimals.len() as i64 + zeros,
            ),
        }
    }

    proptest! {
        #[test]
        fn a_text_is_an_exact_amount_or_refused(
            text in prop_oneof![
                any::<String>(),
                "[-+]?0{0,3}[0-9]{0,9}(\\.[0-9]{0,3})?([eE][-+]?[0-9]{1,2})?",
                "[-+]?0?\\.0{20,30}[0-9]{1,12}[eE]2[0-8]",
                "[-+]?[0-9]{0,40}\\.?[0-9]{0,40}([eE][-+]?[0-9]{1,12})?",
            ],
        ) {
            if let Ok(money) = text.parse::<Money>() {
                let sent = money.to_string();
                prop_assert_eq!(parts(&sent), parts(text.trim()));
                let (whole, decimals) = sent.trim_start_matches('-').split_once('.').unwrap();
                prop_assert!((1..=8).contains(&whole.len()) && decimals.len() == 2, "{}", sent);
                prop_assert_eq!(sent.parse(), Ok(money));
            }
        }

        #[test]
        fn every_notation_of_an_amount_is_read(cents in -9_999_999_999_i64..=9_999_999_999, zeros in 0_usize..10) {
            let money = Money::try_from(Decimal::new(cents, 2)).unwrap();
            let json = serde_json::to_string(&money).unwrap();
            let number = json.trim_matches('"');
            for written in [&json, number, &format!("{cents}e-2"), &format!("\" {number}e0 \"")] {
                prop_assert_eq!(serde_json::from_str::<Money>(written).ok(), Some(money), "{}", written);
            }
            let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
            prop_assert_eq!(format!("{sign}{}{digits}", "0".repeat(zeros)).parse(), Ok(money));
            prop_assert_eq!(money.is_positive(), cents > 0);
        }

        #[test]
        fn numbers_beyond_an_amount_are_refused(beyond in 10_000_000_000_i64.., scale in 3_u32..=28) {
            prop_assert_eq!(Money::try_from(Decimal::new(beyond, 2)), Err(MoneyError::Digits));
            prop_assert_eq!(Money::try_from(Decimal::new(-beyond, 2)), Err(MoneyError::Digits));
            prop_assert_eq!(Money::try_from(Decimal::new(beyond, scale)), Err(MoneyError::Decimals));
        }
    }
}
