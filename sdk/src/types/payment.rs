//! Payments and payment methods.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{DateTime, Money, PaymentId, RefundAccount};

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[doc = $meaning:literal])+ $variant:ident = $word:tt,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum $name {
            $($(#[doc = $meaning])+ #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// All values.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Returns the word on the wire and in the database.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// Returns the meaning in English.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($meaning),+).trim_ascii_start(),)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|known| known.as_str() == word).ok_or(UnknownWord)
            }
        }
    )*};
}

pub(super) use words;

/// The word is not allowed in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the word is not allowed here")]
pub struct UnknownWord;

words! {
    /// A way to pay.
    PaymentMethod {
        /// KakaoPay.
        KakaoPay = "kakaopay",
        /// Credit or debit card.
        Card = "card",
        /// Bank transfer.
        BankTransfer = "bank_transfer",
        /// Nothing to pay: the price is 0, or an operator has waived it.
        Free = "free",
        /// Paid outside of this service, as an operator has entered it. Users cannot choose it.
        Outside = "outside",
    }

    /// What became of a payment.
    PaymentStatus {
        /// In force.
        Paid = "paid",
        /// Cancelled together with its registration.
        Cancelled = "cancelled",
        /// Refunded: read in old rows, never written.
        Refunded = "refunded",
    }

    /// What became of a refund.
    RefundStatus {
        /// Asked for, and not yet sent to the gateway.
        Requested = "requested",
        /// Sent to the gateway, whose answer is not there yet.
        Sent = "sent",
        /// Given back.
        Done = "done",
        /// Not given back.
        Refused = "refused",
        /// Made at the gateway's own console.
        External = "external",
    }

    /// What goes back of a payment whose registration an operator cancels.
    RefundChoice {
        /// All that is left of it.
        All = "all",
        /// Nothing: the payment stays.
        None = "none",
    }

    /// What became of a registration.
    RegistrationStatus {
        /// The user has applied for the exam.
        Applied = "applied",
        /// The user is enrolled in the course.
        Enrolled = "enrolled",
        /// Completed.
        Completed = "completed",
        /// Cancelled, which freed the seat.
        Cancelled = "cancelled",
    }

    /// What a payment was for.
    PaymentType {
        /// An exam.
        Exam = "test",
        /// A course.
        Course = "course",
    }
}

/// What a payment's processing costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TransactionMetadata {
    /// Who processes the payment.
    pub payment_gateway: PaymentMethod,
    /// Whether it can be given back.
    pub supports_refund: bool,
    /// The gateway's share of the amount; with the fee below the only float on the wire, and for display only.
    #[cfg_attr(feature = "openapi", schema(examples(0.029)))]
    pub processing_fee_rate: f64,
    /// The amount times the rate, in won; for display only.
    #[cfg_attr(feature = "openapi", schema(examples(1305.0)))]
    pub estimated_fee: f64,
}

/// A word from a list that may grow, so that clients can read responses of later versions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Word<T> {
    /// A word that this version knows.
    Known(T),
    /// A word that this version does not know.
    New(String),
}

impl<T: PartialEq> PartialEq<T> for Word<T> {
    fn eq(&self, other: &T) -> bool {
        matches!(self, Self::Known(known) if known == other)
    }
}

impl<T: fmt::Display> fmt::Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(known) => known.fmt(f),
            Self::New(new) => new.fmt(f),
        }
    }
}

/// A payment: a snapshot of what was paid, for what, how and when, never changed by a later edit of the exam or course.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Payment {
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
}

/// Body of `POST /payments/{id}/cancel/`; may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cancel {
    /// Why, kept with the payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(examples("단순 변심")))]
    pub refund_reason: Option<String>,
    /// Where the money goes, if it was paid in to a virtual account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_account: Option<RefundAccount>,
}

/// Answer 200 of `POST /payments/{id}/cancel/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cancelled {
    /// What happened, for people.
    #[cfg_attr(feature = "openapi", schema(examples("결제가 취소되었습니다")))]
    pub message: String,
    /// The payment that is cancelled.
    pub payment_id: PaymentId,
    /// When it was cancelled.
    #[cfg_attr(feature = "openapi", schema(examples("2026-11-23T03:21:26.123456Z")))]
    pub cancelled_at: DateTime,
}
