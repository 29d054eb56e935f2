//! A lock in Redis around every registration and cancellation.
//!
//! Of equal requests at the same moment one continues; the others get 409 instead of queueing in the database. The lock
//! only reduces contention; the database enforces correctness. So without Redis every request continues.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use spin_sdk::redis::RedisResult;
use uuid::Uuid;

use super::{redis::Redis, redis_failure::Failure};
use crate::error::{ApiError, catalog::BUSY};

/// Deletes the lock only if it still has the caller's token: an expired lock may belong to another request by now.
const RELEASE: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";

/// Runs `work` while it holds the lock `name`, or without the lock while Redis is unavailable.
///
/// A lock that is not released expires after `ttl`.
///
/// # Errors
/// 409 if another request holds the lock; the errors of `work`.
pub(crate) async fn with_lock<T>(
    redis: &Redis,
    name: &str,
    ttl: Duration,
    work: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    // Arguments of Redis reach traces: this token opens nothing but the lock.
    let token = Uuid::new_v4().simple().to_string();
    let ttl_ms = ttl.as_millis().to_string();
    let key = &*redis.key(name);
    let begun = Instant::now();
    let acquired = redis.execute("SET", &[key, &token, "NX", "PX", &ttl_ms]).await;
    match acquired.as_deref() {
        Ok([RedisResult::Nil] | []) => Err((&BUSY).into()),
        Ok([RedisResult::Status(_)]) => {
            let result = work.await;
            // Released before the response, so that the client's next request does not meet its own lock. If that fails,
            // the lock expires.
            let released = redis.execute_unguarded("EVAL", &[RELEASE, "1", key, &token]).await;
            // A user that may not execute scripts deletes the lock while it cannot have expired yet, and so is its own.
            if released.is_err_and(|failure| failure.is_answer()) && begun.elapsed() < ttl / 2 {
                let _ = redis.execute("DEL", &[key]).await;
            }
            result
        }
        Ok(_) | Err(_) => work.await,
    }
}

/// Takes a lock of no request, to see whether Redis can lock.
///
/// # Errors
/// Why Redis cannot.
pub(crate) async fn probe_lock(redis: &Redis) -> Result<(), Failure> {
    redis
        .execute_unguarded("SET", &[&redis.key("probe"), "", "PX", "1000"])
        .await?;
    Ok(())
}
