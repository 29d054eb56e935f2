//! Typed ids, so that the id of an exam cannot be mistaken for that of a payment.

use std::{fmt, num::ParseIntError, str::FromStr};

use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(examples(1)))]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIntError;

            fn from_str(text: &str) -> Result<Self, ParseIntError> {
                text.parse().map(Self)
            }
        }

        impl From<i64> for $name {
            fn from(id: i64) -> Self {
                Self(id)
            }
        }
    )*};
}

ids! {
    /// Id of an exam (the API's word for it is "test").
    ExamId;
    /// Id of a course.
    CourseId;
    /// Id of a payment.
    PaymentId;
    /// Id of an application for an exam or of an enrolment in a course; unique among those of its kind only.
    RegistrationId;
    /// Id of an order.
    OrderId;
    /// Id of a refund.
    RefundId;
    /// Id of a user.
    UserId;
    /// Id of a webhook.
    WebhookId;
    /// Id of a delivery to a webhook.
    DeliveryId;
}
