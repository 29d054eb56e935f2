//! The SDK of Sugang, the enrolment service: its wire types and, with the default feature `client`, a client.

pub mod types;
#[cfg(feature = "webhooks")]
pub mod webhooks;

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
pub use client::{
    ApiError, Builder, Client, Countdown, Error, FiguresOf, FileFormat, Filter, IdempotencyKey, Import, InvalidKey,
    ItemId, Items, Keyed, List, ManagedItems, ManagedOrderFilter, ManagedOrders, ManagedPaymentFilter, ManagedPayments,
    ManagedUsers, ManagedWebhooks, Operator, OrderFilter, Orders, PaymentFilter, Payments, RegistrationFilter,
    RetryPolicy, Session, UserFilter,
};
