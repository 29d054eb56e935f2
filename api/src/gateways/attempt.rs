//! An attempt to pay, and what becomes of it.

use std::ops::Range;

use chrono::{DateTime, FixedOffset};
use rust_decimal::prelude::ToPrimitive as _;
use serde::{Deserialize, Serialize};
use sugang_sdk::types::Money;

/// The amounts in won that a payment or a refund may have: what the database stores.
const AMOUNTS: Range<i64> = 1..100_000_000;

/// One attempt to pay an order, as the SQL functions hand it out.
#[derive(Debug, Deserialize)]
pub(crate) struct Attempt {
    #[serde(rename = "attempt")]
    pub(crate) id: i64,
    pub(crate) order: i64,
    /// The title of what is paid, as far as a payment window takes it.
    pub(super) title: String,
    pub(crate) gateway: String,
    /// By which the gateway knows the attempt.
    pub(crate) reference: String,
    /// The same for each try; none before the first.
    pub(super) idempotency_key: Option<String>,
    /// How often it was sent, or looked up, this time included.
    pub(super) tries: i64,
    /// The gateway's own id of the payment: from the opening of the payment window, or returned by it to the client.
    pub(super) gateway_key: Option<String>,
    /// What the payment window has returned to the client.
    pub(super) window_key: Option<String>,
    /// Where the payment window is to send the browser back to, if the client has asked for that.
    #[serde(skip)]
    pub(crate) return_url: Option<String>,
    pub(super) amount: Money,
    pub(super) currency: String,
}

impl Attempt {
    /// The amount in whole won: gateways take no fraction of one.
    pub(super) fn won(&self) -> Option<i64> {
        won(self.amount)
    }

    /// Whether only the payment window knows the key that an approval needs. Stripe's window returns none.
    pub(crate) fn needs_window_key(&self) -> bool {
        self.gateway != "stripe"
    }

    /// The outcome, where the gateway shows a payment. What belongs to another attempt says nothing of this one, and neither
    /// do impossible amounts. Another amount or currency is money all the same: the database sets it aside and gives it
    /// back.
    pub(super) fn paid_by(&self, payment: Payment) -> Outcome {
        let are_possible = is_possible(payment.amount) && (0..payment.amount).contains(&payment.given_back);
        match payment.reference == self.reference && are_possible {
            true => Outcome::Captured {
                amount: payment.amount,
                given_back: payment.given_back,
                currency: payment.currency,
                external_id: payment.external_id,
                is_deposit: payment.is_deposit,
            },
            false => Outcome::Unknown {},
        }
    }
}

/// Whether a gateway may have taken so much, or given it back.
pub(super) fn is_possible(amount: i64) -> bool {
    AMOUNTS.contains(&amount)
}

/// An amount in whole won, if it is one.
pub(super) fn won(amount: Money) -> Option<i64> {
    let amount = amount.decimal();
    amount.is_integer().then(|| amount.to_i64())?
}

/// Money that has arrived, by the gateway's account of it.
pub(super) struct Payment {
    pub(super) reference: String,
    /// What was taken, whether or not it was given back.
    pub(super) amount: i64,
    /// What of it was given back: in the gateway's own console, before we knew of the payment.
    pub(super) given_back: i64,
    pub(super) currency: String,
    /// The gateway's own id.
    pub(super) external_id: String,
    /// Whether it came over a virtual account, which takes nothing back.
    pub(super) is_deposit: bool,
}

/// What has become of an attempt. As JSON it is what `sugang.settle` takes as facts.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Outcome {
    /// The money is there.
    Captured {
        amount: i64,
        given_back: i64,
        currency: String,
        external_id: String,
        #[serde(rename = "deposit", skip_serializing_if = "std::ops::Not::not")]
        is_deposit: bool,
    },
    /// Surely no money has moved, nor will.
    Declined {
        code: String,
    },
    /// A deposit is expected.
    Waiting {
        due_at: DateTime<FixedOffset>,
        account: String,
        /// Proves the gateway's messages about the deposit.
        secret: Option<String>,
    },
    /// Surely nothing has reached the gateway.
    NotSent {},
    /// A look-up shows that no money has moved yet.
    NotExecuted {},
    Unknown {},
}

impl Outcome {
    /// The name in SQL.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Captured { .. } => "captured",
            Self::Declined { .. } => "declined",
            Self::Waiting { .. } => "waiting",
            Self::NotSent {} => "not_sent",
            Self::NotExecuted {} => "not_executed",
            Self::Unknown {} => "unknown",
        }
    }
}
