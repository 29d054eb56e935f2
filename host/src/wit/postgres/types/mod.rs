//! Conversions between the values of the WIT interface and PostgreSQL's binary format.
//!
//! The pairs of types are Spin's, so that a component that works here works there.

mod column;
mod decimal;
mod interval;
mod parameter;
mod range;
mod time;
mod value;

pub(super) use column::columns;
pub(super) use parameter::{Parameter, own_type, parameters};
pub(super) use value::{row, size};

/// The error type of the driver's conversions.
type Fallible<T> = Result<T, Box<dyn std::error::Error + Sync + Send>>;

#[cfg(test)]
mod tests;
