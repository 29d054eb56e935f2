//! A refund, and what becomes of it.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sugang_sdk::types::{Money, RefundAccount};

use super::attempt::{Attempt, won};

/// What the names of our refunds begin with at a gateway.
const OWN: &str = "sugang_";

/// One refund, as the SQL functions hand it out.
#[derive(Debug, Deserialize)]
pub(crate) struct Refund {
    #[serde(rename = "refund")]
    pub(crate) id: i64,
    pub(crate) payment: i64,
    pub(super) amount: Money,
    /// The same for each try. There is none before the first.
    pub(super) idempotency_key: Option<String>,
    /// How often it was sent, this time included. 0: it is looked up before.
    pub(crate) tries: i64,
    /// What the gateway can still give back, if nothing was given back at its own console.
    pub(super) cancellable: Money,
    /// What it has given back, as far as that is noted.
    pub(super) returned: Money,
    /// Where the money goes, where the gateway cannot know that.
    pub(super) account: Option<RefundAccount>,
    /// The gateway's own id of the payment.
    pub(super) external_id: String,
    pub(crate) attempt: Attempt,
}

impl Refund {
    /// The amount in whole won.
    pub(super) fn won(&self) -> Option<i64> {
        won(self.amount)
    }

    /// Whether the gateway shows so much as given back that too little is left for this refund.
    pub(super) fn exceeds_what_is_left(&self, shown: &[ShownRefund]) -> bool {
        let shown = shown.iter().filter(|shown| shown.state != RefundState::Failed);
        let shown: i64 = shown.map(|shown| shown.amount).sum();
        let taken = self.cancellable.decimal() + self.returned.decimal();
        self.amount.decimal() > taken - Decimal::from(shown)
    }

    /// The reason that is sent to the gateway. It says in the gateway's own books which refund it is.
    pub(super) fn reason(&self) -> Option<String> {
        Some(format!("refund {}: {}", self.id, self.idempotency_key.as_ref()?))
    }
}

/// Money that a gateway shows as given back.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ShownRefund {
    /// The gateway's own id.
    pub(super) id: String,
    pub(super) amount: i64,
    /// Our key, where it was sent along; empty if it was not, and `None` if the gateway returns no such text.
    pub(super) key: Option<String>,
    pub(super) state: RefundState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RefundState {
    Done,
    Pending,
    Failed,
}

/// The key in the reason that a gateway returns.
pub(super) fn key_in(reason: &str) -> String {
    let key = reason.split_whitespace().find(|word| word.starts_with(OWN));
    key.unwrap_or_default().to_owned()
}

/// What has become of a refund. As JSON it is what `sugang.settle_refund` takes as facts, which finds the refund among those
/// that the gateway shows.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum RefundOutcome {
    Shown {
        refunds: Vec<ShownRefund>,
    },
    /// Surely it is not given back, unless it is shown all the same.
    Refused {
        code: String,
        refunds: Vec<ShownRefund>,
    },
    Unknown {},
}

impl RefundOutcome {
    /// The name in SQL.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Shown { .. } => "shown",
            Self::Refused { .. } => "refused",
            Self::Unknown {} => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_a_word_of_the_reason() {
        assert_eq!(key_in("refund 12: sugang_0123"), "sugang_0123");
        for other in ["", "고객 변심", "refund sugang"] {
            assert_eq!(key_in(other), "");
        }
    }
}
