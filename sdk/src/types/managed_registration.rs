//! What operators do with registrations.

use serde::{Deserialize, Serialize};

use super::{ManagedRegistration, Money, PaymentMethod, RefundAccount, RefundChoice, RegistrationId, UserId};

/// Body of `POST /api/operator/tests/{id}/registrations/` and of the same for courses. It names the user by id or by e-mail
/// address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewRegistration {
    /// The id of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// The e-mail address of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(examples("minsu@example.com")))]
    pub email: Option<String>,
    /// `outside` or `free`.
    pub payment_method: PaymentMethod,
    /// What was paid outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// What the payment outside is known by there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(examples("무통장 2026-11-23 3번")))]
    pub reference: Option<String>,
    /// Why it is free of charge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(examples("장학생")))]
    pub reason: Option<String>,
    /// Whether to register although the period has not begun, or is over.
    #[serde(default)]
    pub outside_period: bool,
}

impl NewRegistration {
    /// Registers a user free of charge.
    pub fn free(user: UserId, reason: impl Into<String>) -> Self {
        Self {
            user_id: Some(user),
            email: None,
            payment_method: PaymentMethod::Free,
            amount: None,
            reference: None,
            reason: Some(reason.into()),
            outside_period: false,
        }
    }

    /// Registers a user who has paid outside of this service.
    pub fn paid_outside(user: UserId, amount: Money, reference: impl Into<String>) -> Self {
        Self {
            payment_method: PaymentMethod::Outside,
            amount: Some(amount),
            reference: Some(reference.into()),
            reason: None,
            ..Self::free(user, "")
        }
    }
}

/// Answer of a request by which an operator changes a registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegistrationChanged {
    /// What it is now.
    pub registration: ManagedRegistration,
}

/// Body of `POST /api/operator/tests/{id}/registrations/complete/` and of the same for courses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CompleteRegistrations {
    /// The registrations, at most 1,000.
    pub ids: Vec<RegistrationId>,
}

/// Answer to [`CompleteRegistrations`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegistrationsCompleted {
    /// How many were completed.
    pub completed: u64,
}

/// Body of `POST /api/operator/tests/{id}/registrations/{registration}/cancel/` and of the same for courses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CancelRegistration {
    /// What goes back of the payment.
    pub refund: RefundChoice,
    /// Why.
    #[cfg_attr(feature = "openapi", schema(examples("무단 결석")))]
    pub reason: String,
    /// Where the money goes, if it was paid in to a virtual account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_account: Option<RefundAccount>,
}

/// Answer to [`CancelRegistration`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegistrationCancelled {
    /// What it is now.
    pub registration: ManagedRegistration,
    /// How much goes back.
    pub refunded: Money,
    /// How much of the payment stays. With it the user may register for the same again, and only an operator gives it back.
    pub kept: Money,
}
