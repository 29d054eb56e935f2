//! Refunds: what operators see of payments, and how they give them back.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error},
};
use serde_json::value::RawValue;

use super::{
    DateTime, Money, PaymentId, PaymentMethod, PaymentStatus, PaymentType, RefundId, RefundStatus, UserId, Word,
};

/// Money of a payment that goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Refund {
    /// Its id.
    pub id: RefundId,
    /// How much.
    pub amount: Money,
    /// What became of it.
    #[cfg_attr(feature = "openapi", schema(value_type = RefundStatus))]
    pub status: Word<RefundStatus>,
    /// Why, if a reason was given.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    #[cfg_attr(feature = "openapi", schema(examples("강사 사정으로 폐강")))]
    pub reason: Option<String>,
    /// The user or the operator who asked for it; null when another program did.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub requested_by: Option<UserId>,
    /// When it was asked for.
    #[cfg_attr(feature = "openapi", schema(examples("2026-11-23T03:21:26.123456Z")))]
    pub requested_at: DateTime,
    /// Whether the user keeps the registration without the money.
    pub keeps_registration: bool,
    /// Why the gateway has refused it, or what it needs: one that is `requested` with a code waits for an operator.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    #[cfg_attr(feature = "openapi", schema(examples("NOT_CANCELABLE_PAYMENT")))]
    pub code: Option<String>,
    /// The gateway's id of it, or what an operator has noted.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub reference: Option<String>,
}

/// The bank account to which a gateway sends money that was paid in to a virtual account.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RefundAccount {
    /// The bank, by the code that the gateway has for it.
    #[cfg_attr(feature = "openapi", schema(examples("20")))]
    pub bank: String,
    /// Its number: digits alone.
    #[cfg_attr(feature = "openapi", schema(examples("1002123456789")))]
    pub account_number: String,
    /// The name of its holder.
    #[cfg_attr(feature = "openapi", schema(examples("김민수")))]
    pub holder: String,
}

/// Shows nothing of the account, so that it gets into no log.
impl fmt::Debug for RefundAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefundAccount")
    }
}

/// Answer 202 of a request that gives money back over a gateway: what the gateway has done is not known yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RefundPending {
    /// What happens, for people.
    #[cfg_attr(feature = "openapi", schema(examples("환불을 확인하고 있습니다")))]
    pub message: String,
    /// The payment, which stays paid until the outcome is known.
    pub payment_id: PaymentId,
    /// The refund.
    pub refund_id: RefundId,
    /// How much goes back.
    pub amount: Money,
    /// What is known of it.
    #[cfg_attr(feature = "openapi", schema(value_type = RefundStatus))]
    pub status: Word<RefundStatus>,
}

/// What became of a request that gives money back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Settlement<T> {
    /// It is done.
    Done(T),
    /// The gateway's answer is not known yet. The same request tells later what has become of it.
    Pending(RefundPending),
}

/// Not derived: serde reads the alternatives of an untagged type from a copy, which an amount is not read from.
impl<'de, T: DeserializeOwned> Deserialize<'de> for Settlement<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let pending = |_| serde_json::from_str(json.get()).map(Self::Pending);
        serde_json::from_str(json.get())
            .map(Self::Done)
            .or_else(pending)
            .map_err(D::Error::custom)
    }
}

impl<T> Settlement<T> {
    /// Returns what was done, or what is pending.
    ///
    /// # Errors
    /// The refund, while its outcome is not known.
    pub fn done(self) -> Result<T, RefundPending> {
        match self {
            Self::Done(done) => Ok(done),
            Self::Pending(pending) => Err(pending),
        }
    }
}

/// A payment, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ManagedPayment {
    /// Its id.
    pub id: PaymentId,
    /// What was paid for.
    #[cfg_attr(feature = "openapi", schema(value_type = PaymentType))]
    pub payment_type: Word<PaymentType>,
    /// Title of what was paid for.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    #[cfg_attr(feature = "openapi", schema(examples("정보처리기사 실기 모의시험")))]
    pub target_title: Option<String>,
    /// The same as `payment_type`.
    #[cfg_attr(feature = "openapi", schema(value_type = PaymentType))]
    pub target_type: Word<PaymentType>,
    /// Id of the exam or course.
    #[cfg_attr(feature = "openapi", schema(examples(1)))]
    pub target_id: i64,
    /// What was paid.
    pub amount: Money,
    /// How it was paid.
    #[cfg_attr(feature = "openapi", schema(value_type = PaymentMethod))]
    pub payment_method: Word<PaymentMethod>,
    /// What became of it.
    #[cfg_attr(feature = "openapi", schema(value_type = PaymentStatus))]
    pub status: Word<PaymentStatus>,
    /// When it was paid.
    #[cfg_attr(feature = "openapi", schema(examples("2026-11-23T03:21:26.123456Z")))]
    pub paid_at: DateTime,
    /// When it was cancelled, if it was.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub cancelled_at: Option<DateTime>,
    /// When the registration that it paid for was made, if there is one.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    #[cfg_attr(feature = "openapi", schema(examples("2026-11-23T03:21:26.123456Z")))]
    pub registration_time: Option<DateTime>,
    /// Its user.
    pub user_id: UserId,
    /// Why it was cancelled, if a reason was given.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    #[cfg_attr(feature = "openapi", schema(examples("단순 변심")))]
    pub refund_reason: Option<String>,
    /// How much of it can still be given back.
    pub left: Money,
    /// What was given back of it, and what is to be, oldest first.
    pub refunds: Vec<Refund>,
}

/// Body of `POST /api/operator/payments/{id}/refund/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RefundPayment {
    /// How much; all that is left, if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// Why, kept with the refund.
    #[cfg_attr(feature = "openapi", schema(examples("강사 사정으로 폐강")))]
    pub reason: String,
    /// Whether the user keeps the registration, although nothing is left of the payment.
    #[serde(default)]
    pub keep_registration: bool,
    /// Where the money goes, if it was paid in to a virtual account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_account: Option<RefundAccount>,
}

/// Answer 200 of `POST /api/operator/payments/{id}/refund/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Refunded {
    /// The payment.
    pub payment_id: PaymentId,
    /// The refund; null where there was nothing to give back.
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub refund_id: Option<RefundId>,
    /// How much goes back.
    pub amount: Money,
    /// How much of the payment can still be given back. At 0.00, it is cancelled.
    pub left: Money,
}
