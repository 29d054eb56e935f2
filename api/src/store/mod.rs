//! The stores: PostgreSQL, which keeps every invariant, and Redis, without which every operation still works.

mod call;
mod constraints;
mod deadline;
mod error;
pub(crate) mod functions;
mod lock;
pub(crate) mod operator_functions;
pub(crate) mod order_functions;
mod outcome;
mod pool;
mod postgres;
mod redis;
mod redis_failure;
pub(crate) mod refund_functions;
mod retry;
mod row;
pub(crate) mod webhook_functions;

pub(crate) use deadline::within;
pub(crate) use lock::{probe_lock, with_lock};
pub(crate) use outcome::Outcome;
pub(crate) use postgres::{Database, Limit};
pub(crate) use redis::Redis;
pub(crate) use redis_failure::Failure as RedisFailure;
pub(crate) use row::FunctionRow;
