//! The connection of an instance to Redis, with a circuit breaker.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use spin_sdk::redis::{Connection, RedisParameter, RedisResult};

use super::deadline::within;
use crate::log;

/// For this long after a failure, guarded commands fail without being sent.
const COOLDOWN: Duration = Duration::from_secs(1);

/// Redis, with the one connection of the instance. Callers must be able to continue without it.
pub(crate) struct Redis {
    url: String,
    timeout: Duration,
    connection: RefCell<Option<Rc<Connection>>>,
    cooldown_until: Cell<Option<Instant>>,
}

/// Redis did not answer in time, answered with an error, or failed a moment ago.
#[derive(Debug)]
pub(crate) struct RedisUnavailable;

impl Redis {
    /// Stores the settings. The first command opens the connection.
    pub(crate) fn new(url: String, timeout: Duration) -> Self {
        Self {
            url,
            timeout,
            connection: RefCell::default(),
            cooldown_until: Cell::default(),
        }
    }

    /// Returns whether Redis answers now.
    pub(crate) async fn is_available(&self) -> bool {
        self.execute_unguarded("PING", &[]).await.is_ok()
    }

    /// Sends a command, unless Redis failed within the cooldown.
    ///
    /// # Errors
    /// Redis is unavailable.
    pub(crate) async fn execute(
        &self,
        command: &str,
        arguments: &[&str],
    ) -> Result<Vec<RedisResult>, RedisUnavailable> {
        if self.cooldown_until.get().is_some_and(|until| Instant::now() < until) {
            return Err(RedisUnavailable);
        }
        self.execute_unguarded(command, arguments).await
    }

    /// Sends a command even during the cooldown, and waits at most for the configured time.
    ///
    /// A failure closes the connection and starts the cooldown.
    ///
    /// # Errors
    /// Redis is unavailable.
    pub(crate) async fn execute_unguarded(
        &self,
        command: &str,
        arguments: &[&str],
    ) -> Result<Vec<RedisResult>, RedisUnavailable> {
        let cause = match within(self.timeout, self.send(command, arguments)).await {
            Some(Ok(result)) => {
                self.cooldown_until.set(None);
                return Ok(result);
            }
            // The host may name the address, with its password.
            Some(Err(cause)) => cause.replace(&self.url, "redis_url"),
            None => "Redis did not answer in time".to_owned(),
        };
        log::warning("redis_away", &cause);
        self.cooldown_until.set(Instant::now().checked_add(COOLDOWN));
        *self.connection.borrow_mut() = None;
        Err(RedisUnavailable)
    }

    async fn send(&self, command: &str, arguments: &[&str]) -> Result<Vec<RedisResult>, String> {
        let open = self.connection.borrow().clone();
        let connection = match open {
            Some(connection) => connection,
            None => {
                let opened = Connection::open(&self.url).await.map_err(|error| error.to_string())?;
                let opened = Rc::new(opened);
                *self.connection.borrow_mut() = Some(opened.clone());
                opened
            }
        };
        let arguments: Vec<_> = arguments
            .iter()
            .map(|argument| RedisParameter::Binary(argument.as_bytes().to_vec()))
            .collect();
        connection
            .execute(command, arguments)
            .await
            .map_err(|error| error.to_string())
    }
}
