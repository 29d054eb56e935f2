//! The operations: each reads its request, makes one SQL call and builds its response.

pub(crate) mod accounts;
mod closings;
mod deliveries;
pub(crate) mod docs;
mod export;
pub(crate) mod figures;
pub(crate) mod health;
pub(crate) mod items;
pub(crate) mod operator_audit;
pub(crate) mod operator_exports;
pub(crate) mod operator_imports;
pub(crate) mod operator_items;
pub(crate) mod operator_orders;
pub(crate) mod operator_payments;
pub(crate) mod operator_registrations;
pub(crate) mod operator_repeats;
pub(crate) mod operator_seats;
pub(crate) mod operator_users;
pub(crate) mod operator_webhooks;
pub(crate) mod operators;
pub(crate) mod orders;
mod page;
pub(crate) mod payments;
pub(crate) mod refunds;
pub(crate) mod registrations;
mod return_url;
pub(crate) mod returns;
pub(crate) mod sweep;
pub(crate) mod webhooks;

/// Seconds since 1970.
fn unix_time() -> i64 {
    jsonwebtoken::get_current_timestamp().cast_signed()
}
