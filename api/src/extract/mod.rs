//! What handlers read from a request: its body, the rows of a file, its query string, its idempotency key, and the versions
//! that it expects.

pub(crate) mod body;
pub(crate) mod forms;
mod idempotency;
mod if_match;
mod query;
pub(crate) mod rows;

pub(crate) use body::Body;
pub(crate) use idempotency::Idempotency;
pub(crate) use if_match::expected_versions;
pub(crate) use query::Query;
