//! A lock in Redis around every registration and cancellation: of equal requests at the same moment one goes on, the
//! others are told to come back instead of queueing in the database. It guards comfort, not money: the database alone
//! keeps every invariant, so that without Redis everything goes on.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    rc::Rc,
    time::{Duration, Instant},
};

use spin_sdk::redis::{Connection, RedisParameter, RedisResult};
use uuid::Uuid;

use crate::{
    deadline::within,
    errors::{BUSY, Failure},
    log,
};

/// For how long a Redis that failed is left alone.
const REST: Duration = Duration::from_secs(1);
/// Deletes the lock if it is still the caller's: it may have expired, and be another's by now.
const RELEASE: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";

/// Redis, as one instance sees it.
pub struct Locks {
    url: String,
    timeout: Duration,
    ttl_ms: u64,
    connection: RefCell<Option<Rc<Connection>>>,
    rests_until: Cell<Option<Instant>>,
}

/// Redis did not answer, or not as it should.
struct Away;

enum Attempt {
    /// The lock is held under this token.
    Held(String),
    /// Somebody else holds it.
    Refused,
    /// Redis is away.
    Unguarded,
}

impl Locks {
    /// Opens nothing yet.
    pub fn new(url: String, timeout: Duration, ttl_ms: u64) -> Self {
        Self {
            url,
            timeout,
            ttl_ms,
            connection: RefCell::default(),
            rests_until: Cell::default(),
        }
    }

    /// Does `work` while it holds the lock `key`; without a lock when Redis is away.
    ///
    /// # Errors
    /// 409 when somebody else holds the lock; whatever `work` fails with.
    pub async fn guard<T>(&self, key: &str, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        match self.acquire(key).await {
            Attempt::Refused => Err((&BUSY).into()),
            Attempt::Unguarded => work.await,
            Attempt::Held(token) => {
                let result = work.await;
                // Before the answer: who sends the next request after it must not find the lock.
                self.release(key, &token).await;
                result
            }
        }
    }

    /// Whether Redis answers.
    pub async fn is_there(&self) -> bool {
        self.bounded(self.execute("PING", Vec::new())).await.is_ok()
    }

    async fn acquire(&self, key: &str) -> Attempt {
        if self.rests_until.get().is_some_and(|until| Instant::now() < until) {
            return Attempt::Unguarded;
        }
        // Arguments reach traces: this one opens nothing but the lock.
        let token = Uuid::new_v4().simple().to_string();
        let arguments = vec![
            text(key),
            text(&token),
            text("NX"),
            text("PX"),
            text(&self.ttl_ms.to_string()),
        ];
        match self.bounded(self.execute("SET", arguments)).await.as_deref() {
            Ok([RedisResult::Status(_)]) => Attempt::Held(token),
            Ok([RedisResult::Nil] | []) => Attempt::Refused,
            Ok(_) | Err(Away) => Attempt::Unguarded,
        }
    }

    async fn release(&self, key: &str, token: &str) {
        // Where it fails, the lock expires by itself.
        let _ = self
            .bounded(self.execute("EVAL", vec![text(RELEASE), text("1"), text(key), text(token)]))
            .await;
    }

    async fn execute(&self, command: &str, arguments: Vec<RedisParameter>) -> Result<Vec<RedisResult>, String> {
        let kept = self.connection.borrow().clone();
        let connection = match kept {
            Some(connection) => connection,
            None => {
                let opened = Connection::open(&self.url).await.map_err(|error| error.to_string())?;
                let opened = Rc::new(opened);
                *self.connection.borrow_mut() = Some(opened.clone());
                opened
            }
        };
        connection
            .execute(command, arguments)
            .await
            .map_err(|error| error.to_string())
    }

    /// Waits for Redis no longer than configured. What failed is opened anew, after a rest.
    async fn bounded<T>(&self, work: impl Future<Output = Result<T, String>>) -> Result<T, Away> {
        let cause = match within(self.timeout, work).await {
            Some(Ok(result)) => {
                self.rests_until.set(None);
                return Ok(result);
            }
            Some(Err(cause)) => cause.replace(&self.url, "redis_url"),
            None => "Redis did not answer in time".to_owned(),
        };
        log::warning("redis_away", &cause);
        self.rests_until.set(Instant::now().checked_add(REST));
        *self.connection.borrow_mut() = None;
        Err(Away)
    }
}

fn text(text: &str) -> RedisParameter {
    RedisParameter::Binary(text.as_bytes().to_vec())
}
