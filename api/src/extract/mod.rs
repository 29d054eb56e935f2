//! What handlers read from a request: its body, its query string and its idempotency key.

pub(crate) mod body;
pub(crate) mod forms;
mod idempotency;
mod query;

pub(crate) use body::Body;
pub(crate) use idempotency::Idempotency;
pub(crate) use query::Query;
