//! What a payment method accepts, and what it costs.

use std::ops::RangeInclusive;

use rust_decimal::{Decimal, prelude::ToPrimitive};
use sugang_sdk::types::{Money, PaymentMethod, TransactionMetadata};

/// Returns the amounts that the method accepts in one payment.
pub(crate) fn accepted_amounts(method: PaymentMethod) -> RangeInclusive<Money> {
    let (min, max) = match method {
        PaymentMethod::KakaoPay => (100, 50_000_000),
        PaymentMethod::Card => (1_000, 100_000_000),
        PaymentMethod::BankTransfer => (1_000, 200_000_000),
        PaymentMethod::Free | PaymentMethod::Outside => (0, 0),
    };
    Money::won(min)..=Money::won(max)
}

/// Returns the gateway's share of an amount (0.029 is 2.9 %).
fn fee_rate(method: PaymentMethod) -> Decimal {
    match method {
        PaymentMethod::KakaoPay => Decimal::new(29, 3),
        PaymentMethod::Card => Decimal::new(32, 3),
        PaymentMethod::BankTransfer => Decimal::new(5, 3),
        PaymentMethod::Free | PaymentMethod::Outside => Decimal::ZERO,
    }
}

/// Describes what processing a payment costs. The floats are for display only.
pub(crate) fn transaction_metadata(method: PaymentMethod, amount: Money) -> TransactionMetadata {
    let float = |decimal: Decimal| decimal.normalize().to_f64().unwrap_or(f64::NAN);
    let rate = fee_rate(method);
    TransactionMetadata {
        payment_gateway: method,
        supports_refund: true,
        processing_fee_rate: float(rate),
        estimated_fee: float(amount.decimal() * rate),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn methods_differ_in_bounds_and_fees() {
        for (method, fee, min, max) in [
            (PaymentMethod::KakaoPay, 1305.0, 100, 50_000_000),
            (PaymentMethod::Card, 1440.0, 1_000, 100_000_000),
            (PaymentMethod::BankTransfer, 225.0, 1_000, 200_000_000),
            (PaymentMethod::Free, 0.0, 0, 0),
        ] {
            assert_eq!(transaction_metadata(method, Money::won(45_000)).estimated_fee, fee);
            assert_eq!(accepted_amounts(method), Money::won(min)..=Money::won(max));
        }
    }

    proptest! {
        #[test]
        fn a_fee_is_the_amount_times_the_rate(cents in 1_i64..10_000_000_000) {
            let amount: Money = format!("{}.{:02}", cents / 100, cents % 100).parse().unwrap();
            for (method, per_mille) in [
                (PaymentMethod::KakaoPay, 29),
                (PaymentMethod::Card, 32),
                (PaymentMethod::BankTransfer, 5),
            ] {
                let metadata = transaction_metadata(method, amount);
                // Both factors are whole and below 2^53, so this is the nearest float of the exact fee.
                prop_assert_eq!(metadata.estimated_fee, (cents * per_mille) as f64 / 100_000.0);
                prop_assert_eq!(metadata.processing_fee_rate, per_mille as f64 / 1_000.0);
            }
        }
    }
}
