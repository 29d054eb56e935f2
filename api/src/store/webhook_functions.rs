//! The functions of webhooks and of their deliveries, declared as in [`super::functions`].

use std::sync::LazyLock;

use spin_sdk::pg::ParameterValue;

use super::{
    call::{Columns, Declaration, FunctionCall, SqlType, Statement, functions},
    retry::Retry,
};

functions! {
    /// The functions of webhooks.
    WebhookFunctions {
        /// Lists one page of the webhooks.
        list_webhooks ListWebhooks = "list_webhooks" List {
            user: i64,
            page: i64,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Gets one webhook.
        get_webhook GetWebhook = "get_webhook" One {
            user: i64,
            id: i64,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Creates, edits or deletes a webhook, or gives it another secret.
        change_webhook ChangeWebhook = "change_webhook" Change {
            user: i64,
            webhook: i64,
            change: String,
            fields: String,
            request_id: String,
            key: Option<String>,
            fingerprint: Option<String>,
            epoch: i64,
        } retry(self) Retry::with_key(self.key.as_deref());

        /// Writes an event for one webhook alone, which the caller sends.
        ping_webhook PingWebhook = "ping_webhook" One {
            user: i64,
            webhook: i64,
            lease_ms: i64,
            request_id: String,
            epoch: i64,
        } retry(self) Retry::Never;

        /// Lists one page of what a webhook was told of.
        list_deliveries ListDeliveries = "list_deliveries" List {
            user: i64,
            id: i64,
            page: i64,
            status: Option<String>,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Has one delivery sent again, or all that have failed since a time.
        redeliver Redeliver = "redeliver" Change {
            user: i64,
            webhook: i64,
            delivery: Option<i64>,
            since: Option<String>,
            request_id: String,
            key: Option<String>,
            fingerprint: Option<String>,
            epoch: i64,
        } retry(self) Retry::with_key(self.key.as_deref());

        /// Claims deliveries that are due, so that no other sweep sends them.
        claim_deliveries ClaimDeliveries = "claim_deliveries" One {
            each: i64,
            lease_ms: i64,
            keep_days: i64,
            first: bool,
        } retry(self) Retry::Never;

        /// Settles a try to deliver by what its receiver has answered, once.
        settle_delivery SettleDelivery = "settle_delivery" One {
            id: i64,
            try_: i64,
            status: Option<i64>,
            error: Option<String>,
            retry_after: Option<i64>,
        } retry(self) Retry::Idempotent;
    }
}

/// Returns the statements of webhooks.
pub(crate) fn webhooks() -> &'static WebhookFunctions {
    static WEBHOOKS: LazyLock<WebhookFunctions> = LazyLock::new(|| WebhookFunctions::new(""));
    &WEBHOOKS
}
