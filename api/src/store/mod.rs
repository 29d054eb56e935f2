//! The stores: PostgreSQL, which keeps every invariant, and Redis, without which every operation still works.

mod deadline;
mod error;
mod lock;
mod pool;
mod postgres;
mod redis;
mod row;

pub(crate) use lock::with_lock;
pub(crate) use postgres::{Database, Retry};
pub(crate) use redis::Redis;
pub(crate) use row::{FunctionRow, statement};
