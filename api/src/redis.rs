//! Redis, as one instance sees it. Everything that needs it goes on without: it answers in time, or is away.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use spin_sdk::redis::{Connection, RedisParameter, RedisResult};

use crate::{deadline::within, log};

/// For how long a Redis that failed is left alone.
const REST: Duration = Duration::from_secs(1);

/// See the module.
pub struct Redis {
    url: String,
    timeout: Duration,
    connection: RefCell<Option<Rc<Connection>>>,
    rests_until: Cell<Option<Instant>>,
}

/// Redis did not answer, or not as it should.
#[derive(Debug)]
pub struct Away;

impl Redis {
    /// Opens nothing yet.
    pub fn new(url: String, timeout: Duration) -> Self {
        Self {
            url,
            timeout,
            connection: RefCell::default(),
            rests_until: Cell::default(),
        }
    }

    /// Whether Redis answers now.
    pub async fn is_there(&self) -> bool {
        self.insist("PING", &[]).await.is_ok()
    }

    /// Sends a command, unless Redis has failed a moment ago.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn ask(&self, command: &str, arguments: &[&str]) -> Result<Vec<RedisResult>, Away> {
        if self.rests_until.get().is_some_and(|until| Instant::now() < until) {
            return Err(Away);
        }
        self.insist(command, arguments).await
    }

    /// Sends a command, also to a Redis that has failed a moment ago. Waits no longer than configured; what failed is
    /// opened anew, after a rest.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn insist(&self, command: &str, arguments: &[&str]) -> Result<Vec<RedisResult>, Away> {
        let cause = match within(self.timeout, self.execute(command, arguments)).await {
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

    async fn execute(&self, command: &str, arguments: &[&str]) -> Result<Vec<RedisResult>, String> {
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
