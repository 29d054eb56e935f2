//! Orders: a seat that is held until it is paid.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    DateTime, Money, OrderId, PaymentId, PaymentMethod, PaymentType, Refund, RefundId, RefundStatus, RegistrationId,
    UnknownWord, UserId, Word, payment::words,
};

words! {
    /// The state of an order.
    OrderStatus {
        /// The seat is held until `expires_at`, and the user can pay.
        Held = "held",
        /// The gateway was asked to move the money, and its answer is not known yet. The seat stays held.
        Approving = "approving",
        /// The user is to pay in by `expires_at`. The seat stays held until then.
        AwaitingDeposit = "awaiting_deposit",
        /// Paid, and the user is registered.
        Paid = "paid",
        /// It was not paid in time.
        Expired = "expired",
        /// It was cancelled.
        Cancelled = "cancelled",
        /// Money has come for it, and no seat is left: the money goes back.
        RefundDue = "refund_due",
    }

    /// The state of an attempt to pay.
    AttemptStatus {
        /// Not sent yet.
        Open = "open",
        /// Sent to the gateway, whose answer is not known yet.
        Sent = "sent",
        /// A deposit is expected.
        Waiting = "waiting",
        /// Its money pays for the order.
        Captured = "captured",
        /// Its money pays for nothing, and goes back.
        Surplus = "surplus",
        /// The gateway has declined it.
        Declined = "declined",
        /// The order has ended, or was changed, before anything was paid.
        Void = "void",
    }
}

impl OrderStatus {
    /// Returns whether the order can still change by itself: it is not known yet whether it will be paid.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Held | Self::Approving | Self::AwaitingDeposit)
    }
}

/// Body of `POST /tests/{id}/preorder/` and `POST /courses/{id}/preorder/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Preorder {
    /// The price.
    pub amount: Money,
    /// How the user will pay.
    pub payment_method: PaymentMethod,
    /// Where the app goes on once the payment window has sent the browser back to the service; one of the addresses that the
    /// service is configured for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(examples("https://app.example.com/pay/done")))]
    pub return_url: Option<String>,
}

/// Where and until when a deposit is to be paid in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Deposit {
    /// The account, as the user is to see it.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    #[cfg_attr(feature = "openapi", schema(examples("국민은행 123456-01-123456 (주)수강")))]
    pub account: Option<String>,
    /// How much.
    pub amount: Money,
    /// By when.
    #[cfg_attr(feature = "openapi", schema(examples("2026-11-26T03:21:26.123456Z")))]
    pub due_at: DateTime,
}

/// What a client opens the payment window of a gateway with. Beside the common members, each gateway has its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PaymentWindow {
    /// Whose window it is.
    #[cfg_attr(feature = "openapi", schema(examples("toss")))]
    pub gateway: String,
    /// By which the gateway knows the attempt: `orderId` at Toss, `paymentId` at PortOne.
    #[cfg_attr(feature = "openapi", schema(examples("sugang_0f8e7c1a5b2d4e6f9a3c8b7d6e5f4a3b")))]
    pub reference: String,
    /// What the window shows as the order.
    #[cfg_attr(feature = "openapi", schema(examples("정보처리기사 실기 모의시험")))]
    pub order_name: String,
    /// How much.
    pub amount: Money,
    /// The currency.
    #[cfg_attr(feature = "openapi", schema(examples("KRW")))]
    pub currency: String,
    /// Toss: the client key, if it is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<String>,
    /// PortOne: the id of the store, if it is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_id: Option<String>,
    /// PortOne: the key of the channel, if it is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_key: Option<String>,
    /// Stripe: the publishable key, if it is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publishable_key: Option<String>,
    /// Stripe: lets the browser confirm this one payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// KakaoPay: where a browser on a computer is sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_pc_url: Option<String>,
    /// KakaoPay: where a browser on a phone is sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_mobile_url: Option<String>,
    /// KakaoPay: where an app sends its user to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_app_url: Option<String>,
}

/// Money of an order that goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrderRefund {
    /// How much.
    pub amount: Money,
    /// What became of it.
    #[cfg_attr(feature = "openapi", schema(value_type = RefundStatus))]
    pub status: Word<RefundStatus>,
    /// What it waits for: `account_required` for the user, who cancels the payment once more with a `refund_account`; any
    /// other for an operator.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    #[cfg_attr(feature = "openapi", schema(examples("account_required")))]
    pub code: Option<String>,
}

/// An order: the wish of a user to register for an exam or a course at its price, with a seat that is held meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// What it is for.
    #[cfg_attr(feature = "openapi", schema(value_type = PaymentType))]
    pub item_type: Word<PaymentType>,
    /// Id of the exam or course.
    #[cfg_attr(feature = "openapi", schema(examples(1)))]
    pub item_id: i64,
    /// Title of the exam or course, as it was ordered.
    #[cfg_attr(feature = "openapi", schema(examples("정보처리기사 실기 모의시험")))]
    pub title: String,
    /// The price, as it was ordered.
    pub amount: Money,
    /// How the user pays.
    #[cfg_attr(feature = "openapi", schema(value_type = PaymentMethod))]
    pub payment_method: Word<PaymentMethod>,
    /// The gateway that moves the money; `manual` is an operator who confirms what has arrived.
    #[cfg_attr(feature = "openapi", schema(examples("manual")))]
    pub gateway: String,
    /// Its state.
    #[cfg_attr(feature = "openapi", schema(value_type = OrderStatus))]
    pub status: Word<OrderStatus>,
    /// When the seat was held.
    #[cfg_attr(feature = "openapi", schema(examples("2026-11-23T03:21:26.123456Z")))]
    pub created_at: DateTime,
    /// Until when the seat is held. While it is `approving`, it is held for longer.
    #[cfg_attr(feature = "openapi", schema(examples("2026-11-23T03:31:26.123456Z")))]
    pub expires_at: DateTime,
    /// When it ended, if it has.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub ended_at: Option<DateTime>,
    /// The payment, if money has come.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub payment_id: Option<PaymentId>,
    /// The registration, once it is paid.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub registration_id: Option<RegistrationId>,
    /// By which the gateway knows the current attempt to pay.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    #[cfg_attr(feature = "openapi", schema(examples("sugang_0f8e7c1a5b2d4e6f9a3c8b7d6e5f4a3b")))]
    pub reference: Option<String>,
    /// What the payment window is opened with, while the user is to pay in one. Null as well while the gateway has not
    /// opened it; then the same pre-order opens it.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub window: Option<PaymentWindow>,
    /// Why the gateway has declined the latest attempt that it has declined.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub declined_code: Option<String>,
    /// Where a deposit is to be paid in, if one is expected.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub deposit: Option<Deposit>,
    /// What goes back of its money, if any does.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub refund: Option<OrderRefund>,
    /// Where the payment window has to send the browser back to, if the pre-order has asked for that: as successUrl and
    /// failUrl, or as redirectUrl. Only the response to the pre-order has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_url: Option<String>,
    /// The server's time, from which a client counts down to `expires_at`.
    #[cfg_attr(feature = "openapi", schema(examples("2026-11-23T03:21:26.123456Z")))]
    pub now: DateTime,
}

impl Order {
    /// Returns how long the seat was still held when the response was made; zero once that time has passed. The client's
    /// `Countdown` goes on from there.
    pub fn time_left(&self) -> std::time::Duration {
        (self.expires_at - self.now).to_std().unwrap_or_default()
    }
}

/// Body of `POST /orders/{id}/approve/`; may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApproveOrder {
    /// The amount that the gateway has shown to the user. Another one than the price is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// What the payment window has returned: Toss's `paymentKey`, PortOne's `paymentToken`, KakaoPay's `pg_token`. Stripe
    /// returns nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment_key: Option<String>,
}

/// One attempt to pay an order, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OrderAttempt {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(examples(1)))]
    pub id: i64,
    /// The gateway.
    #[cfg_attr(feature = "openapi", schema(examples("manual")))]
    pub gateway: String,
    /// Its state.
    #[cfg_attr(feature = "openapi", schema(value_type = AttemptStatus))]
    pub status: Word<AttemptStatus>,
    /// By which the gateway knows it.
    #[cfg_attr(feature = "openapi", schema(examples("sugang_0f8e7c1a5b2d4e6f9a3c8b7d6e5f4a3b")))]
    pub reference: String,
    /// The gateway's own id of the payment; with `manual`, the bank's reference that an operator has confirmed.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub gateway_key: Option<String>,
    /// How much has come.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub captured: Option<Money>,
    /// The payment that it has brought.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub payment_id: Option<PaymentId>,
    /// Why the gateway has declined it.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub code: Option<String>,
    /// When it was opened.
    #[cfg_attr(feature = "openapi", schema(examples("2026-11-23T03:21:26.123456Z")))]
    pub created_at: DateTime,
    /// When its outcome was known, if it is.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub ended_at: Option<DateTime>,
    /// The refunds of its payment, oldest first.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub refunds: Vec<Refund>,
}

/// An order, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ManagedOrder {
    /// What its user sees.
    #[serde(flatten)]
    pub order: Order,
    /// Its user.
    pub user_id: UserId,
    /// The user's e-mail address.
    pub email: String,
    /// The attempts to pay it, oldest first.
    pub attempts: Vec<OrderAttempt>,
}

/// Body of `POST /api/operator/orders/{id}/confirm/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConfirmOrder {
    /// How much has arrived. Another amount than the price is refused.
    pub amount: Money,
    /// By which the bank knows the deposit. One that stands for the deposit of another order is refused.
    #[cfg_attr(feature = "openapi", schema(examples("20261123-000123")))]
    pub reference: String,
    /// Why it is confirmed, kept with the attempt.
    #[cfg_attr(feature = "openapi", schema(examples("입금 확인")))]
    pub reason: String,
}

/// Body of `POST /api/operator/orders/{id}/cancel/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CancelOrder {
    /// Why, kept with the attempt.
    #[cfg_attr(feature = "openapi", schema(examples("전화로 취소 요청")))]
    pub reason: String,
}

/// Body of `POST /api/operator/orders/{id}/refund/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RefundOrder {
    /// By which the bank knows the transfer back.
    #[cfg_attr(feature = "openapi", schema(examples("20261125-000456")))]
    pub reference: String,
    /// Which refund of its attempts was paid out; required where several wait for an operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_id: Option<RefundId>,
}
