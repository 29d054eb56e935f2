//! Webhooks: who is told of changes, of which, and what was delivered.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    DateTime, DeliveryId, OrderId, PaymentId, PaymentType, RefundId, RegistrationId, UnknownWord, UserId, WebhookId,
    Word, payment::words,
};

words! {
    /// A change that webhooks are told of.
    EventType {
        /// A user has registered, again or for the first time.
        RegistrationCreated = "registration.created",
        /// A registration was completed.
        RegistrationCompleted = "registration.completed",
        /// A registration was cancelled.
        RegistrationCancelled = "registration.cancelled",
        /// A registration was changed, and not its status.
        RegistrationUpdated = "registration.updated",
        /// A registration was deleted, or given to another user or item.
        RegistrationDeleted = "registration.deleted",
        /// An order holds a seat, or may be paid again after its gateway has declined.
        OrderHeld = "order.held",
        /// The gateway was asked to move the money.
        OrderApproving = "order.approving",
        /// A deposit is expected.
        OrderAwaitingDeposit = "order.awaiting_deposit",
        /// An order was paid.
        OrderPaid = "order.paid",
        /// An order has expired.
        OrderExpired = "order.expired",
        /// An order was cancelled.
        OrderCancelled = "order.cancelled",
        /// Money has come for an order that has no seat.
        OrderRefundDue = "order.refund_due",
        /// An order was changed, and not its status.
        OrderUpdated = "order.updated",
        /// An order was deleted with its user.
        OrderDeleted = "order.deleted",
        /// Money is there.
        PaymentPaid = "payment.paid",
        /// A payment was cancelled.
        PaymentCancelled = "payment.cancelled",
        /// Another program has written that a payment was refunded.
        PaymentRefunded = "payment.refunded",
        /// A payment was changed, and not its status.
        PaymentUpdated = "payment.updated",
        /// A payment was deleted, or given to another user or item.
        PaymentDeleted = "payment.deleted",
        /// Money is to go back.
        RefundRequested = "refund.requested",
        /// The gateway was asked to give money back.
        RefundSent = "refund.sent",
        /// Money went back.
        RefundDone = "refund.done",
        /// The gateway has refused to give money back.
        RefundRefused = "refund.refused",
        /// Money went back at the gateway's own console.
        RefundExternal = "refund.external",
        /// Users can register for an item from now on.
        ItemOpened = "item.opened",
        /// The last seat of an item is taken.
        ItemSoldOut = "item.sold_out",
        /// An item that was full has a free seat.
        ItemSeatAvailable = "item.seat_available",
        /// An operator tests the webhook.
        Ping = "ping",
    }

    /// The state of a webhook.
    WebhookStatus {
        /// It is told of changes.
        Active = "active",
        /// It is told later of what changes meanwhile.
        Paused = "paused",
        /// Its receiver has answered 410: it is told of nothing.
        Ended = "ended",
    }

    /// Why a webhook is paused.
    PausedBy {
        /// A superuser has paused it.
        Operator = "operator",
        /// For five days, nothing could be delivered.
        Failures = "failures",
    }

    /// The state of a delivery.
    DeliveryStatus {
        /// It is to be sent, for the first time or again.
        Pending = "pending",
        /// Its receiver has answered 2xx.
        Delivered = "delivered",
        /// The last try has failed too.
        Failed = "failed",
    }
}

/// What an event is about: ids, and the status. Its receiver gets the rest over the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventData {
    /// The registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_id: Option<RegistrationId>,
    /// The order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
    /// The payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_id: Option<PaymentId>,
    /// The refund.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_id: Option<RefundId>,
    /// The user whose registration, order or payment it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// Whether it is an exam or a course.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<PaymentType>))]
    pub item_type: Option<Word<PaymentType>>,
    /// The exam or course.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(examples(1)))]
    pub item_id: Option<i64>,
    /// The webhook that a `ping` tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_id: Option<WebhookId>,
    /// The new status; `deleted` and `moved` for what is no longer there.
    #[cfg_attr(feature = "openapi", schema(examples("paid")))]
    pub status: String,
}

/// What a webhook's receiver gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// What has happened.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "openapi", schema(value_type = EventType))]
    pub event_type: Word<EventType>,
    /// When.
    #[cfg_attr(feature = "openapi", schema(examples("2026-11-26T03:21:26.123456Z")))]
    pub timestamp: DateTime,
    /// To what.
    pub data: EventData,
}

/// A webhook: a server that is told of changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Where events are sent.
    #[cfg_attr(feature = "openapi", schema(examples("https://hooks.example.com/sugang")))]
    pub url: String,
    /// Of what it is told; of everything if the list is empty.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<EventType>))]
    pub types: Vec<Word<EventType>>,
    /// Its state.
    #[cfg_attr(feature = "openapi", schema(value_type = WebhookStatus))]
    pub status: Word<WebhookStatus>,
    /// Why it is paused, if it is.
    #[cfg_attr(feature = "openapi", schema(required = true, value_type = Option<PausedBy>))]
    pub paused_by: Option<Word<PausedBy>>,
    /// When it was created.
    #[cfg_attr(feature = "openapi", schema(examples("2026-11-26T03:21:26.123456Z")))]
    pub created_at: DateTime,
    /// Who has created it.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub created_by: Option<UserId>,
    /// Since when no delivery has succeeded, if the latest has failed.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub failing_since: Option<DateTime>,
    /// Until when the secret from before signs as well.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub old_secret_until: Option<DateTime>,
    /// How many deliveries are to be sent.
    #[cfg_attr(feature = "openapi", schema(examples(0)))]
    pub pending: u64,
    /// By which its receiver verifies what it gets. It is shown once: when it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(examples("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="))
    )]
    pub secret: Option<String>,
}

/// Body of `POST /api/operator/webhooks/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewWebhook {
    /// Where events are sent: `https://`.
    #[cfg_attr(feature = "openapi", schema(examples("https://hooks.example.com/sugang")))]
    pub url: String,
    /// Of what it is told; of everything without a list, or with an empty one.
    #[serde(default)]
    pub types: Vec<EventType>,
}

/// Body of `PATCH /api/operator/webhooks/{id}/`. What is left out stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EditWebhook {
    /// Where events are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(examples("https://hooks.example.com/sugang")))]
    pub url: Option<String>,
    /// Of what it is told from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub types: Option<Vec<EventType>>,
    /// `true` pauses it; `false` makes it active again, also after failures or a 410.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

/// Answer 200 of `POST /api/operator/webhooks/{id}/ping/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pinged {
    /// Whether the receiver has answered 2xx.
    pub delivered: bool,
    /// The receiver's HTTP status, if it has answered.
    #[cfg_attr(feature = "openapi", schema(required = true, examples(204)))]
    pub status: Option<u16>,
    /// Why there is none: `not_allowed` (`webhook_hosts` does not name the server, or its address is not public),
    /// `unreachable`, or `no_answer`.
    #[cfg_attr(feature = "openapi", schema(required = true, examples("not_allowed")))]
    pub error: Option<String>,
}

/// What was, or is to be, delivered to a webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// The `webhook-id` of each try.
    #[cfg_attr(feature = "openapi", schema(examples("evt_0f8e7c1a5b2d4e6f9a3c8b7d6e5f4a3b")))]
    pub event_id: String,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
    /// Its state.
    #[cfg_attr(feature = "openapi", schema(value_type = DeliveryStatus))]
    pub status: Word<DeliveryStatus>,
    /// How often it was sent since it was asked for.
    #[cfg_attr(feature = "openapi", schema(examples(1)))]
    pub tries: u32,
    /// When it is sent next, if it is.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub next_at: Option<DateTime>,
    /// When it was sent last.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub last_at: Option<DateTime>,
    /// The receiver's HTTP status of the latest try.
    #[cfg_attr(feature = "openapi", schema(required = true, examples(204)))]
    pub last_status: Option<u16>,
    /// Why there was none, as in [`Pinged`].
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub last_error: Option<String>,
    /// When it was delivered, or had failed.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub ended_at: Option<DateTime>,
}

/// Body of `POST /api/operator/webhooks/{id}/redeliver/`: one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Redeliver {
    /// This one, whatever became of it.
    Delivery(DeliveryId),
    /// All that have failed since then.
    Since(DateTime),
}

/// Answer 200 of `POST /api/operator/webhooks/{id}/redeliver/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Redelivered {
    /// How many are sent again.
    #[cfg_attr(feature = "openapi", schema(examples(1)))]
    pub deliveries: u64,
}
