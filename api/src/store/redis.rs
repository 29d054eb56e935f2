//! The connection of an instance to Redis, with a circuit breaker.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use spin_sdk::redis::{Connection, Error, RedisParameter, RedisResult};

use super::{deadline::within, redis_failure::Failure};
use crate::log;

/// For this long after Redis did not answer, guarded commands fail without being sent.
const COOLDOWN: Duration = Duration::from_secs(1);
/// An instance writes at most one line about failures within this time.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Redis, with the one connection of the instance. Callers must be able to continue without it.
pub(crate) struct Redis {
    url: String,
    prefix: String,
    timeout: Duration,
    connection: RefCell<Option<Rc<Connection>>>,
    cooldown: Cell<Option<(Instant, Failure)>>,
    logged: Cell<Option<Instant>>,
}

impl Redis {
    /// Stores the settings. The first command opens the connection. Every key begins with `{prefix}:`, braces included.
    pub(crate) fn new(url: String, prefix: String, timeout: Duration) -> Self {
        Self {
            url,
            prefix,
            timeout,
            connection: RefCell::default(),
            cooldown: Cell::default(),
            logged: Cell::default(),
        }
    }

    /// Names a key. All keys have the same tag, so that in a cluster they are on one node, and a script can read several.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{{{}}}:{name}", self.prefix)
    }

    /// Ends the cooldown: the next command is sent.
    pub(crate) fn end_cooldown(&self) {
        self.cooldown.set(None);
    }

    /// Sends a command, unless Redis did not answer within the cooldown.
    ///
    /// # Errors
    /// Redis refuses the command, or does not answer.
    pub(crate) async fn execute(&self, command: &str, arguments: &[&str]) -> Result<Vec<RedisResult>, Failure> {
        match self.cooldown.get() {
            Some((until, failure)) if Instant::now() < until => Err(failure),
            _ => self.execute_unguarded(command, arguments).await,
        }
    }

    /// Sends a command even during the cooldown, and waits at most for the configured time.
    ///
    /// A Redis that does not answer closes the connection and starts the cooldown.
    ///
    /// # Errors
    /// Those of [`Self::execute`].
    pub(crate) async fn execute_unguarded(
        &self,
        command: &str,
        arguments: &[&str],
    ) -> Result<Vec<RedisResult>, Failure> {
        let (failure, cause) = match within(self.timeout, self.send(command, arguments)).await {
            Some(Ok(result)) => {
                self.cooldown.set(None);
                if self.logged.take().is_some() {
                    log::notice("redis_recovered", command);
                }
                return Ok(result);
            }
            Some(Err(error)) => (Failure::of(&error), error.to_string()),
            None => (Failure::Slow, "Redis did not answer in time".to_owned()),
        };
        self.log(command, failure, &cause);
        if !failure.is_answer() {
            self.cooldown
                .set(Instant::now().checked_add(COOLDOWN).map(|until| (until, failure)));
        }
        if failure.needs_new_connection() {
            *self.connection.borrow_mut() = None;
        }
        Err(failure)
    }

    fn log(&self, command: &str, failure: Failure, cause: &str) {
        if self.logged.get().is_some_and(|logged| logged.elapsed() < LOG_EVERY) {
            return;
        }
        self.logged.set(Some(Instant::now()));
        // The host may name the address, with its password.
        let cause = cause.replace(&self.url, "redis_url");
        log::warning("redis_degraded", &format!("{}: {command}: {cause}", failure.code()));
    }

    async fn send(&self, command: &str, arguments: &[&str]) -> Result<Vec<RedisResult>, Error> {
        let open = self.connection.borrow().clone();
        let connection = match open {
            Some(connection) => connection,
            None => {
                let opened = Rc::new(Connection::open(&self.url).await?);
                *self.connection.borrow_mut() = Some(opened.clone());
                opened
            }
        };
        let arguments: Vec<_> = arguments
            .iter()
            .map(|argument| RedisParameter::Binary(argument.as_bytes().to_vec()))
            .collect();
        connection.execute(command, arguments).await
    }
}
