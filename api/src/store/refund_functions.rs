//! The functions of refunds over gateways, declared as in [`super::functions`].

use std::sync::LazyLock;

use spin_sdk::pg::ParameterValue;

use super::{
    call::{Columns, Declaration, FunctionCall, SqlType, Statement, functions},
    retry::Retry,
};

functions! {
    /// The functions of refunds, beside those that begin one.
    RefundFunctions {
        /// Settles a refund by what its gateway has said, once.
        settle_refund SettleRefund = "settle_refund" Change {
            payment: i64,
            refund: i64,
            outcome: String,
            facts: String,
            lease_ms: i64,
            request_id: String,
        } retry(self) Retry::Idempotent;

        /// Claims refunds that no process looks after, so that no other sweep does.
        claim_refunds ClaimRefunds = "claim_refunds" One {
            limit: i64,
            lease_ms: i64,
        } retry(self) Retry::Never;

        /// Claims payments whose gateway is asked what has become of their money.
        claim_reconciliations ClaimReconciliations = "claim_reconciliations" One {
            limit: i64,
            days: i64,
        } retry(self) Retry::Never;

        /// Notes what a gateway shows of the money of a payment.
        reconcile_payment ReconcilePayment = "reconcile_payment" Change {
            payment: i64,
            asked_at: String,
            outcome: String,
            facts: String,
            refunds: String,
            request_id: String,
            days: i64,
        } retry(self) Retry::Idempotent;

        /// Counts the refunds that wait for a person.
        refund_figures RefundFigures = "refund_figures" One {
        } retry(self) Retry::Idempotent;
    }
}

/// Returns the statements of refunds.
pub(crate) fn refunds() -> &'static RefundFunctions {
    static REFUNDS: LazyLock<RefundFunctions> = LazyLock::new(|| RefundFunctions::new(""));
    &REFUNDS
}
