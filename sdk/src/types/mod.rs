//! The wire types: every request and response of the API.
//!
//! The API and the client share these types, so that the two cannot drift apart. Fields have the order in which they are
//! sent. Responses may have unknown keys, which a later version adds.

mod account;
mod audit;
mod creation;
mod error;
mod figures;
mod id;
mod item;
mod managed_registration;
mod managed_user;
mod money;
mod operator;
mod order;
mod payment;
mod refund;
#[cfg(test)]
mod tests;
mod webhook;

pub use account::{AccessToken, Login, Refresh, Secret, SignedUp, Signup, Tokens, User};
pub use audit::AuditCheck;
pub use creation::{Every, ItemsCreated, RepeatItem};
pub use error::{ErrorBody, ErrorCode, ErrorText, FieldErrors, RowError};
pub use figures::{DayFigures, Figures, ItemFigures, MoneySum};
pub use id::{CourseId, DeliveryId, ExamId, OrderId, PaymentId, RefundId, RegistrationId, UserId, WebhookId};
pub use item::{Completed, Course, Exam, Item, Page, PageOf, Register, Registered, Registration, Sort};
pub use managed_registration::{
    CancelRegistration, CompleteRegistrations, NewRegistration, RegistrationCancelled, RegistrationChanged,
    RegistrationsCompleted,
};
pub use managed_user::{ManagedUser, RegistrationCounts, UserDetails, UserRegistration};
pub use money::{Money, MoneyError};
pub use operator::{EditItem, ManagedCourse, ManagedExam, ManagedItem, ManagedRegistration, NewItem, UserRights};
pub use order::{
    ApproveOrder, AttemptStatus, CancelOrder, ConfirmOrder, Deposit, ManagedOrder, Order, OrderAttempt, OrderRefund,
    OrderStatus, PaymentWindow, Preorder, RefundOrder,
};
pub use payment::{
    Cancel, Cancelled, Payment, PaymentMethod, PaymentStatus, PaymentType, RefundChoice, RefundStatus,
    RegistrationStatus, TransactionMetadata, UnknownWord, Word,
};
pub use refund::{ManagedPayment, Refund, RefundAccount, RefundPayment, RefundPending, Refunded, Settlement};
pub use webhook::{
    Delivery, DeliveryStatus, EditWebhook, Event, EventData, EventType, NewWebhook, PausedBy, Pinged, Redeliver,
    Redelivered, Webhook, WebhookStatus,
};

/// An instant in UTC, sent as RFC 3339 with `Z`.
pub type DateTime = chrono::DateTime<chrono::Utc>;

/// A calendar day in UTC, sent as `YYYY-MM-DD`.
pub type Date = chrono::NaiveDate;
