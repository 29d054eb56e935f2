//! The functions of orders, declared as in [`super::functions`].

use std::sync::LazyLock;

use spin_sdk::pg::ParameterValue;

use super::{
    call::{Columns, Declaration, FunctionCall, SqlType, Statement, functions},
    retry::Retry,
};

functions! {
    /// The functions of orders, and of the sweep.
    OrderFunctions {
        /// Gets one order of a user.
        get_order GetOrder = "get_order" One {
            user: i64,
            id: i64,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Lists one page of the orders of a user.
        list_orders ListOrders = "list_orders" List {
            user: i64,
            page: i64,
            status: Option<String>,
            type_: Option<String>,
            from: Option<String>,
            to: Option<String>,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Cancels an order that is not being paid.
        cancel_order CancelOrderCall = "cancel_order" Change {
            user: i64,
            order: i64,
            request_id: String,
            key: Option<String>,
            fingerprint: Option<String>,
            epoch: i64,
        } retry(self) Retry::with_key(self.key.as_deref());

        /// Begins to open the payment window of an order at its gateway: what is sent, or the order whose window is open.
        begin_opening BeginOpening = "begin_opening" Change {
            user: i64,
            order: i64,
            lease_ms: i64,
        } retry(self) Retry::Idempotent;

        /// Keeps what the gateway has opened; without a key, that it has opened nothing.
        end_opening EndOpening = "end_opening" Change {
            attempt: i64,
            gateway_key: Option<String>,
            opened: Option<String>,
        } retry(self) Retry::Idempotent;

        /// Begins to pay an order: what is sent to the gateway, or the order as it is. Sent again, it finds the order
        /// under way.
        begin_approval BeginApproval = "begin_approval" Change {
            user: i64,
            order: i64,
            gateway_key: Option<String>,
            amount: Option<String>,
            lease_ms: i64,
            deposit_seconds: i64,
            account: Option<String>,
            request_id: String,
            key: Option<String>,
            fingerprint: Option<String>,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// The same for a browser that comes back from the payment window of an attempt, without a token.
        begin_return BeginReturn = "begin_return" One {
            order: i64,
            reference: String,
            gateway_key: Option<String>,
            amount: Option<String>,
            lease_ms: i64,
            request_id: String,
        } retry(self) Retry::Idempotent;

        /// Settles an attempt to pay by what its gateway has said, once.
        settle_attempt SettleAttempt = "settle_attempt" Change {
            attempt: i64,
            outcome: String,
            facts: String,
            request_id: String,
            key: Option<String>,
            fingerprint: Option<String>,
        } retry(self) Retry::Idempotent;

        /// Claims attempts whose outcome has to be looked up at their gateways, so that no other sweep does.
        claim_due ClaimDue = "claim_due" One {
            limit: i64,
            lease_ms: i64,
        } retry(self) Retry::Never;

        /// Claims attempts that nothing approves any more, and which a gateway may have money reserved for.
        claim_closings ClaimClosings = "claim_closings" One {
            limit: i64,
        } retry(self) Retry::Never;

        /// Notes whether a gateway has released what was reserved for an attempt.
        settle_closing SettleClosing = "settle_closing" One {
            attempt: i64,
            outcome: String,
            facts: String,
            request_id: String,
        } retry(self) Retry::Idempotent;

        /// Stores an event of a gateway, once, and has its attempt looked up.
        receive_event ReceiveEvent = "receive_event" One {
            gateway: String,
            key: String,
            reference: Option<String>,
            gateway_key: Option<String>,
            secret: Option<String>,
            signed: bool,
            body: String,
            lease_ms: i64,
        } retry(self) Retry::Idempotent;

        /// Claims events whose look-up nothing has settled, so that no other sweep does, and removes old ones.
        claim_events ClaimEvents = "claim_events" One {
            limit: i64,
            lease_ms: i64,
            days: i64,
        } retry(self) Retry::Never;

        /// Settles what a look-up because of an event has found, once.
        settle_event SettleEvent = "settle_event" One {
            event: i64,
            look_up: i64,
            outcome: String,
            facts: String,
            request_id: String,
        } retry(self) Retry::Idempotent;

        /// Ends what has expired, up to a limit for each call.
        sweep Sweep = "sweep" One {
            limit: i64,
        } retry(self) Retry::Idempotent;

        /// Lists one page of the orders of all users.
        list_orders_for_operator ListOrdersForOperator = "list_orders_for_operator" List {
            user: i64,
            page: i64,
            owner: Option<String>,
            key: Option<String>,
            typed_key: Option<String>,
            ascii_key: Option<String>,
            status: Option<String>,
            type_: Option<String>,
            item: Option<String>,
            from: Option<String>,
            to: Option<String>,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Confirms that the deposit of an order has arrived.
        confirm_order ConfirmOrderCall = "confirm_order" Change {
            user: i64,
            order: i64,
            amount: String,
            reference: String,
            reason: String,
            request_id: String,
            key: Option<String>,
            fingerprint: Option<String>,
            epoch: i64,
        } retry(self) Retry::with_key(self.key.as_deref());

        /// Cancels the order of any user.
        cancel_order_for_operator CancelOrderForOperator = "cancel_order_for_operator" Change {
            user: i64,
            order: i64,
            reason: String,
            request_id: String,
            key: Option<String>,
            fingerprint: Option<String>,
            epoch: i64,
        } retry(self) Retry::with_key(self.key.as_deref());

        /// Notes that a refund that is owed of an order was paid out by hand.
        refund_order RefundOrderCall = "refund_order" Change {
            user: i64,
            order: i64,
            reference: String,
            request_id: String,
            key: Option<String>,
            fingerprint: Option<String>,
            epoch: i64,
            refund: Option<i64>,
        } retry(self) Retry::with_key(self.key.as_deref());
    }
}

/// Returns the statements of orders.
pub(crate) fn orders() -> &'static OrderFunctions {
    static ORDERS: LazyLock<OrderFunctions> = LazyLock::new(|| OrderFunctions::new(""));
    &ORDERS
}
