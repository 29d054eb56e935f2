//! Connections to PostgreSQL, pooled for each address.
//!
//! A guest holds a [`Lease`], and a lease holds no connection of PostgreSQL as long as it need not: a statement that
//! cannot begin a transaction borrows one and gives it back when its last row is there. So a few connections, their plans
//! warm, serve any number of instances, and an instance that keeps its lease takes nothing from the others. As with any
//! pooling by statement, what such a statement sets for the session does not reach the next one of the same lease.
//!
//! A statement that may begin a transaction (or set what a session is to keep) pins a connection to the lease until the
//! guest lets go of it. A guest may trap at any point, so nothing that it left there may reach the next one: the connection
//! is then cleaned in the background (a transaction is rolled back, its locks are freed), and nobody gets it before that
//! is done; the same for one whose borrower did not wait for its last row. A connection that cannot be cleaned quickly
//! still has a statement running: that is cancelled, and the connection closed.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use futures::Stream;
use tokio::{
    runtime::Handle,
    sync::{AcquireError, OnceCell, OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
    time::timeout,
};
use tokio_postgres::{
    Client, Config, NoTls, RowStream, Statement,
    config::{Host, SslMode},
    error::{Severity, SqlState},
};
use tokio_util::task::TaskTracker;

use super::{
    connection_failed, failed,
    turns::{Turn, Turns},
    types,
};
use crate::{
    bindings::spin::postgres::postgres::{Error, ParameterValue},
    outbound::Rules,
    settings::PostgresLimits,
};

/// What a guest can leave behind on a connection, beside an open transaction.
const RESET: &str = "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
    SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES";

/// Statements after which a connection is in a transaction if and only if it was before. The extended protocol takes
/// one statement at a time, so the first word decides. Without this every clean-up would draw PostgreSQL's warning
/// "there is no transaction in progress" into its log.
const NEUTRAL: [&str; 8] = [
    "select", "with", "insert", "update", "delete", "merge", "values", "table",
];

/// Addresses with a pool of their own.
const POOLS: usize = 64;

/// The pools of one server.
pub(crate) struct Pools {
    limits: PostgresLimits,
    runtime: Handle,
    tasks: TaskTracker,
    pools: Mutex<HashMap<String, Arc<Pool>>>,
}

/// The connections to one address: those that are out hold a permit, the others wait in `idle`.
struct Pool {
    config: Config,
    limits: PostgresLimits,
    runtime: Handle,
    tasks: TaskTracker,
    permits: Arc<Semaphore>,
    turns: Arc<Turns>,
    idle: Mutex<Vec<(Session, Instant)>>,
}

struct Session {
    client: Client,
    driver: AbortHandle,
    statements: Mutex<Statements>,
}

/// A connection in a guest's hands; see the module for what it holds.
pub(super) struct Lease {
    pool: Arc<Pool>,
    pinned: OnceCell<Arc<Held>>,
}

/// A connection of PostgreSQL that is out of the pool. Dropped, it goes back.
struct Held {
    pool: Arc<Pool>,
    session: Option<Session>,
    permit: Option<OwnedSemaphorePermit>,
    state: Mutex<State>,
    /// A borrowed connection's; a transaction does other things between its statements.
    _turn: Option<Turn>,
}

/// What is known of a connection that is out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing runs on it, and nothing is left on it.
    Clean,
    /// A statement may still run on it.
    Running,
    /// It is a lease's own, and may be in a transaction.
    Pinned,
    /// PostgreSQL has ended it. Its socket may close only a moment later.
    Over,
}

/// The rows of a running statement, with the connection that they come from.
pub(super) struct Running {
    rows: Pin<Box<RowStream>>,
    held: Arc<Held>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pools {
    /// Makes the pools of a server; must be called inside of a Tokio runtime.
    pub(crate) fn new(limits: PostgresLimits) -> Self {
        Self {
            limits,
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            pools: Mutex::default(),
        }
    }

    /// Gives out a lease of an address that the rules allow. Whether PostgreSQL answers there shows with the first
    /// statement.
    ///
    /// # Errors
    /// `connection-failed`: the address is no address, is not allowed, or asks for TLS.
    pub(super) fn open(&self, address: &str, rules: &Rules) -> Result<Lease, Error> {
        Ok(Lease {
            pool: self.pool(address, rules)?,
            pinned: OnceCell::new(),
        })
    }

    fn pool(&self, address: &str, rules: &Rules) -> Result<Arc<Pool>, Error> {
        let mut pools = lock(&self.pools);
        if let Some(pool) = pools.get(address) {
            return Ok(pool.clone());
        }
        if self.tasks.is_closed() {
            return Err(connection_failed("the server is stopping"));
        }
        if pools.len() >= POOLS {
            return Err(connection_failed(format!("{POOLS} addresses were opened already")));
        }
        let pool = Arc::new(Pool {
            config: self.configuration(address, rules)?,
            limits: self.limits.clone(),
            runtime: self.runtime.clone(),
            tasks: self.tasks.clone(),
            permits: Arc::new(Semaphore::new(self.limits.connections)),
            turns: Turns::new(self.limits.at_once),
            idle: Mutex::default(),
        });
        pools.insert(address.to_owned(), pool.clone());
        Ok(pool)
    }

    /// Reads the address; only what passes here is ever connected to.
    fn configuration(&self, address: &str, rules: &Rules) -> Result<Config, Error> {
        let mut config: Config = address.parse().map_err(|error| {
            connection_failed(format!(
                "the address is no PostgreSQL URL or connection string: {error}"
            ))
        })?;
        let ports = config.get_ports();
        let port = |index: usize| match ports {
            [] => 5432,
            [port] => *port,
            ports => ports.get(index).copied().unwrap_or(5432),
        };
        let allow = |host: &str, port| match rules.allow("postgres", host, port) {
            true => Ok(()),
            false => Err(connection_failed(format!(
                "postgres://{host}:{port} is not in the component's allowed_outbound_hosts"
            ))),
        };
        for (index, host) in config.get_hosts().iter().enumerate() {
            match host {
                Host::Tcp(host) => allow(host, port(index))?,
                Host::Unix(_) => return Err(connection_failed("Unix sockets are not supported")),
            }
        }
        // `hostaddr` is where the connection really goes, whatever `host` says.
        for (index, address) in config.get_hostaddrs().iter().enumerate() {
            allow(&address.to_string(), port(index))?;
        }
        if !matches!(config.get_ssl_mode(), SslMode::Disable | SslMode::Prefer) {
            return Err(connection_failed(
                "the address asks for TLS, which this host does not have; use sslmode=prefer",
            ));
        }
        config.connect_timeout(self.limits.connect_timeout);
        config.tcp_user_timeout(self.limits.connect_timeout * 5);
        if config.get_application_name().is_none() {
            config.application_name("sugang-host");
        }
        Ok(config)
    }

    /// Closes all connections and waits until PostgreSQL has been told so. Connections that are still out close when
    /// they come back.
    pub(crate) async fn close(&self) {
        self.tasks.close();
        for (_, pool) in lock(&self.pools).drain() {
            pool.permits.close();
            lock(&pool.idle).clear();
        }
        self.tasks.wait().await;
    }
}

impl Pool {
    async fn take(self: &Arc<Self>, state: State) -> Result<Held, Error> {
        let wait = self.limits.wait_timeout;
        let turn_and_permit = async {
            let turn = match state {
                State::Pinned => None,
                _ => Some(self.turns.take().await),
            };
            Ok((turn, self.permits.clone().acquire_owned().await?))
        };
        let (turn, permit) = timeout(wait, turn_and_permit)
            .await
            .map_err(|_| {
                let connections = self.limits.connections;
                connection_failed(format!("all {connections} connections stayed in use for {wait:?}"))
            })?
            .map_err(|_: AcquireError| connection_failed("the server is stopping"))?;
        let session = match self.take_idle() {
            Some(session) => session,
            None => self.connect().await?,
        };
        Ok(Held {
            pool: self.clone(),
            session: Some(session),
            permit: Some(permit),
            state: Mutex::new(state),
            _turn: turn,
        })
    }

    fn take_idle(&self) -> Option<Session> {
        let mut idle = lock(&self.idle);
        std::iter::from_fn(|| idle.pop())
            .map(|(session, _)| session)
            .find(|session| !session.client.is_closed())
    }

    async fn connect(&self) -> Result<Session, Error> {
        let limit = self.limits.connect_timeout;
        let (client, connection) = timeout(limit, self.config.connect(NoTls))
            .await
            .map_err(|_| connection_failed(format!("PostgreSQL did not answer within {limit:?}")))?
            .map_err(|error| connection_failed(super::describe(&error)))?;
        let driver = async {
            // Its error reaches whoever has a statement running.
            _ = connection.await;
        };
        let driver = self.runtime.spawn(self.tasks.track_future(driver)).abort_handle();
        Ok(Session {
            client,
            driver,
            statements: Mutex::new(Statements::new(self.limits.statements)),
        })
    }

    fn put_back(&self, session: Session) {
        let mut idle = lock(&self.idle);
        if self.tasks.is_closed() {
            return;
        }
        idle.push((session, Instant::now()));
        let kept = |(session, since): &(Session, Instant)| {
            since.elapsed() < self.limits.idle_timeout && !session.client.is_closed()
        };
        // The one that was used last is taken first, so the old ones gather at the front.
        if idle.first().is_some_and(|oldest| !kept(oldest)) {
            idle.retain(kept);
        }
    }

    async fn recycle(self: Arc<Self>, session: Session, in_transaction: bool, _permit: OwnedSemaphorePermit) {
        let clean = async {
            if in_transaction {
                session.client.batch_execute("ROLLBACK").await?;
            }
            session.client.batch_execute(RESET).await
        };
        match timeout(self.limits.recycle_timeout, clean).await {
            Ok(Ok(())) => self.put_back(session),
            Ok(Err(_)) => session.driver.abort(),
            Err(_) => {
                session.driver.abort();
                let cancel = session.client.cancel_token();
                // Where PostgreSQL hangs as a whole the cancellation fails too, and the closed socket has to do.
                _ = timeout(self.limits.connect_timeout, cancel.cancel_query(NoTls)).await;
            }
        }
    }
}

impl Lease {
    /// Sends a statement and its parameters in one round trip, if the connection knows the statement, else in two.
    ///
    /// # Errors
    /// `connection-failed`: PostgreSQL does not answer in time, or all of its connections stay in use; whatever
    /// PostgreSQL refuses.
    pub(super) async fn start(&self, sql: &str, values: &[ParameterValue]) -> Result<(Statement, Running), Error> {
        let held = match self.pinned.get() {
            Some(pinned) => pinned.clone(),
            None if is_neutral(sql) => Arc::new(self.pool.take(State::Clean).await?),
            None => {
                let pin = async { Ok::<_, Error>(Arc::new(self.pool.take(State::Pinned).await?)) };
                self.pinned.get_or_try_init(|| pin).await?.clone()
            }
        };
        let (statement, rows) = held.send(sql, values).await?;
        Ok((
            statement,
            Running {
                rows: Box::pin(rows),
                held,
            },
        ))
    }

    /// The longest that a result may get.
    pub(super) fn result_bytes(&self) -> usize {
        self.pool.limits.result_bytes
    }
}

impl Held {
    async fn send(&self, sql: &str, values: &[ParameterValue]) -> Result<(Statement, RowStream), Error> {
        let session = self
            .session
            .as_ref()
            .ok_or_else(|| connection_failed("the connection was given back"))?;
        loop {
            let known = lock(&session.statements).get(sql);
            let was_known = known.is_some();
            let statement = match known {
                Some(statement) => statement,
                None => {
                    let prepared = self.watch(session.client.prepare(sql)).await;
                    let statement = prepared.inspect_err(|error| self.failed(error)).map_err(failed)?;
                    lock(&session.statements).put(sql, statement.clone());
                    statement
                }
            };
            let parameters = types::parameters(&statement, values)?;
            self.becomes(State::Running);
            match session.client.query_raw(&statement, parameters).await {
                Ok(rows) => return Ok((statement, rows)),
                // It was refused before it ran, so to prepare it again and send it once more does nothing twice.
                Err(error) if was_known && is_outdated(&error) => {
                    self.becomes(State::Clean);
                    lock(&session.statements).forget(sql);
                }
                Err(error) => {
                    self.failed(&error);
                    return Err(failed(error));
                }
            }
        }
    }

    /// Notes that something runs on the connection until `work` has ended, however it ends.
    async fn watch<T>(&self, work: impl Future<Output = T>) -> T {
        self.becomes(State::Running);
        let result = work.await;
        self.becomes(State::Clean);
        result
    }

    /// Notes that a statement failed.
    fn failed(&self, error: &tokio_postgres::Error) {
        // PostgreSQL's own word is the end of a statement; anything else leaves it open what runs.
        if let Some(error) = error.as_db_error() {
            self.becomes(match error.parsed_severity() {
                Some(Severity::Fatal | Severity::Panic) => State::Over,
                _ => State::Clean,
            });
        }
    }

    /// Notes what a borrowed connection is at. A pinned one stays that.
    fn becomes(&self, state: State) {
        let mut known = lock(&self.state);
        if *known != State::Pinned {
            *known = state;
        }
    }
}

impl Running {
    /// The rows that the statement has changed, when its last row was read.
    pub(super) fn rows_affected(&self) -> Option<u64> {
        self.rows.rows_affected()
    }
}

impl Stream for Running {
    type Item = Result<tokio_postgres::Row, tokio_postgres::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let row = self.rows.as_mut().poll_next(context);
        match &row {
            Poll::Ready(None) => self.held.becomes(State::Clean),
            Poll::Ready(Some(Err(error))) => self.held.failed(error),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        row
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (Some(session), Some(permit)) = (self.session.take(), self.permit.take()) else {
            return;
        };
        if session.client.is_closed() {
            return;
        }
        let state = *lock(&self.state);
        match state {
            State::Clean => self.pool.put_back(session),
            State::Over => session.driver.abort(),
            State::Running | State::Pinned => {
                let recycle = self.pool.clone().recycle(session, state == State::Pinned, permit);
                self.pool.runtime.spawn(self.pool.tasks.track_future(recycle));
            }
        }
    }
}

/// Whether a statement cannot begin or end a transaction.
fn is_neutral(sql: &str) -> bool {
    let word = sql
        .trim_start()
        .split(|char: char| !char.is_ascii_alphabetic())
        .next()
        .unwrap_or_default();
    NEUTRAL.iter().any(|neutral| neutral.eq_ignore_ascii_case(word))
}

/// Whether a prepared statement was refused because the tables under it, or the list of prepared statements, changed.
fn is_outdated(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|error| {
        let replanned =
            *error.code() == SqlState::FEATURE_NOT_SUPPORTED && error.routine() == Some("RevalidateCachedQuery");
        replanned || *error.code() == SqlState::INVALID_SQL_STATEMENT_NAME
    })
}

/// The prepared statements of a connection; the oldest makes room.
struct Statements {
    limit: usize,
    by_sql: HashMap<Arc<str>, Statement>,
    order: VecDeque<Arc<str>>,
}

impl Statements {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            by_sql: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    fn get(&self, sql: &str) -> Option<Statement> {
        self.by_sql.get(sql).cloned()
    }

    fn put(&mut self, sql: &str, statement: Statement) {
        let sql: Arc<str> = sql.into();
        if self.by_sql.insert(sql.clone(), statement).is_none() {
            self.order.push_back(sql);
        }
        while self.order.len() > self.limit {
            let oldest = self.order.pop_front();
            oldest.and_then(|oldest| self.by_sql.remove(&oldest));
        }
    }

    fn forget(&mut self, sql: &str) {
        self.by_sql.remove(sql);
        self.order.retain(|known| &**known != sql);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_statements_are_neutral() {
        for sql in [
            "select 1",
            "  SELECT 1",
            "with x as (select 1) select 1",
            "Insert into t values (1)",
            "table t",
            "values (1)",
        ] {
            assert!(is_neutral(sql), "{sql}");
        }
        for sql in [
            "begin",
            "BEGIN;",
            "start transaction",
            "commit and chain",
            "savepoint a",
            "call p()",
            "do $$ begin end $$",
            "",
            "/* select */ begin",
            "-- select\nbegin",
            "selects",
            "set role x",
            "listen a",
            "prepare transaction 'a'",
        ] {
            assert!(!is_neutral(sql), "{sql}");
        }
    }

    #[tokio::test]
    async fn an_address_is_checked_before_it_is_opened() {
        let pools = Pools::new(PostgresLimits::default());
        let rules = Rules::parse(&["postgres://allowed:*".to_owned()]).unwrap();
        for (address, expected) in [
            ("postgres://u@allowed/db", ""),
            ("host=allowed port=6000 user=u", ""),
            ("postgres://u@other/db", "postgres://other:5432 is not in"),
            ("host=allowed,other user=u", "postgres://other:5432 is not in"),
            (
                "host=allowed hostaddr=10.0.0.1 user=u",
                "postgres://10.0.0.1:5432 is not in",
            ),
            ("host=/var/run/postgresql user=u", "Unix sockets"),
            ("postgres://u@allowed/db?sslmode=require", "TLS"),
            ("mysql://u@allowed/db", "no PostgreSQL URL"),
        ] {
            match pools.configuration(address, &rules) {
                Ok(_) => assert_eq!(expected, "", "{address} was accepted"),
                Err(Error::ConnectionFailed(error)) => {
                    assert!(error.contains(expected) && !expected.is_empty(), "{error}")
                }
                Err(error) => panic!("{address}: {error:?}"),
            }
        }
    }
}
