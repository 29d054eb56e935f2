//! A lock in Redis around every registration and cancellation: of equal requests at the same moment one goes on, the
//! others are told to come back instead of queueing in the database. It guards comfort, not money: the database alone
//! keeps every invariant, so that without Redis everything goes on.

use std::future::Future;

use spin_sdk::redis::RedisResult;
use uuid::Uuid;

use crate::{
    errors::{BUSY, Failure},
    instance::Instance,
};

/// Deletes the lock if it is still the caller's: it may have expired, and be another's by now.
const RELEASE: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";

/// Does `work` while it holds the lock `key`; without a lock when Redis is away.
///
/// # Errors
/// 409 when somebody else holds the lock; whatever `work` fails with.
pub async fn guard<T>(
    instance: &Instance,
    key: &str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    // Arguments reach traces: this one opens nothing but the lock.
    let token = Uuid::new_v4().simple().to_string();
    let ttl_ms = instance.config.lock_ttl_ms.to_string();
    let taken = instance.redis.ask("SET", &[key, &token, "NX", "PX", &ttl_ms]).await;
    match taken.as_deref() {
        Ok([RedisResult::Nil] | []) => Err((&BUSY).into()),
        Ok([RedisResult::Status(_)]) => {
            let result = work.await;
            // Before the answer: who sends the next request after it must not find the lock. Where this fails, it
            // expires by itself.
            let _ = instance.redis.insist("EVAL", &[RELEASE, "1", key, &token]).await;
            result
        }
        Ok(_) | Err(_) => work.await,
    }
}
