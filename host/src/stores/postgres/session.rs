//! Sessions of PostgreSQL, and how a pool opens, checks, cleans and ends them.

use std::{sync::Mutex, time::Duration};

use serde_json::json;
use sugang_connect::postgres::{Connector, Opened, Server, describe};
use tokio::{runtime::Handle, task::AbortHandle, time::timeout};
use tokio_postgres::{Client, error::SqlState};
use tokio_util::task::TaskTracker;

use super::{
    cancel_request::CancelRequest,
    facts::{Facts, Recognition},
    statements::StatementCache,
};
use crate::{
    log,
    settings::Prepare,
    stores::pool::{ConnectError, Manager},
    sync::lock,
};

/// Removes what a session may keep, beside an open transaction.
const RESET: &str = "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
    SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES";

/// An open connection to PostgreSQL, or to a pooler before it.
pub(super) struct Session {
    pub(super) client: Client,
    server: Option<Server>,
    /// The task that reads and writes the socket.
    driver: AbortHandle,
    /// Whether statements are prepared on it.
    pub(super) prepares: bool,
    pub(super) statements: Mutex<StatementCache>,
    /// The `lock_timeout` that was set on it, if any.
    pub(super) lock_timeout: Mutex<Option<Duration>>,
    /// Whether a pooler may give each statement to another session of PostgreSQL.
    pub(super) is_pooled: bool,
    is_read_only: bool,
    /// Statements that set what the role or the database has set otherwise than it is needed.
    sets: String,
}

/// Opens, cleans and ends the sessions of one address.
pub(super) struct SessionManager {
    pub(super) connector: Connector,
    /// For each host of the address.
    pub(super) connect_timeout: Duration,
    pub(super) prepare: Prepare,
    /// Prepared statements cached for each session.
    pub(super) statements: usize,
    /// Where the drivers run: an instance that connects may end before its session does.
    pub(super) runtime: Handle,
    pub(super) tasks: TaskTracker,
    pub(super) recognition: Recognition,
}

impl SessionManager {
    async fn open(&self) -> Result<Session, ConnectError> {
        let Opened {
            client,
            connection,
            server,
        } = self.connector.connect().await.map_err(|error| match &error {
            sugang_connect::ConnectError::Postgres(error) => refusal(error),
            error => ConnectError::Failed(error.to_string()),
        })?;
        if let Some(cause) = self.connector.tls_failure() {
            let fields = json!({ "cause": cause });
            log::write("warn", "the connections to PostgreSQL are not encrypted", fields);
        }
        let driver = async {
            // The running statement reports its error.
            _ = connection.await;
        };
        let driver = self.runtime.spawn(self.tasks.track_future(driver)).abort_handle();
        let facts = Facts::learn(&client).await.map_err(|error| refusal(&error))?;
        let is_pooled = match self.prepare {
            Prepare::Auto => facts.is_pooled,
            Prepare::Always => false,
            Prepare::Never => true,
        };
        if self.recognition.is_new(&facts) {
            let fields = json!({ "pooler": facts.is_pooled, "prepares": !is_pooled, "read_only": facts.is_read_only });
            log::write("info", "connected to PostgreSQL", fields);
        }
        let sets = facts
            .to_set
            .iter()
            .map(|setting| format!("; SET {setting}"))
            .collect::<String>();
        if let Some(needed) = facts.to_set.first() {
            if facts.is_pooled {
                return Err(ConnectError::Refused(format!(
                    "the role or the database has set otherwise what the service needs, and behind a pooler no session \
                     can set it: alter role … set {needed}"
                )));
            }
            let set = client.batch_execute(&sets).await;
            set.map_err(|error| unsettable(&error, &facts.to_set))?;
        }
        Ok(Session {
            client,
            server,
            driver,
            prepares: !is_pooled,
            statements: Mutex::new(StatementCache::new(self.statements)),
            lock_timeout: Mutex::default(),
            is_pooled: facts.is_pooled,
            is_read_only: facts.is_read_only,
            sets,
        })
    }
}

impl Manager for SessionManager {
    type Connection = Session;

    async fn connect(&self) -> Result<Session, ConnectError> {
        let limit = self.connect_timeout * u32::try_from(self.connector.url.hosts.len()).unwrap_or(u32::MAX);
        let opened = timeout(limit, self.open()).await.unwrap_or_else(|_| {
            Err(ConnectError::Failed(format!(
                "PostgreSQL did not answer within {limit:?}"
            )))
        });
        self.recognition.note_refusal(opened.as_ref().err());
        opened
    }

    fn is_closed(&self, session: &Session) -> bool {
        session.client.is_closed()
    }

    /// A session that began read-only may stay so after its server takes changes again.
    fn is_second_rate(&self, session: &Session) -> bool {
        session.is_read_only
    }

    async fn check(&self, session: &Session) -> bool {
        session.client.check_connection().await.is_ok()
    }

    async fn clean(&self, session: &Session, in_transaction: bool) -> bool {
        if session.is_pooled {
            // The next statement may be another session's. A statement leaves nothing; a transaction ends with the
            // connection.
            return !in_transaction && session.client.check_connection().await.is_ok();
        }
        let clean = async {
            // Outside of a transaction PostgreSQL would log a warning.
            if in_transaction {
                session.client.batch_execute("ROLLBACK").await?;
            }
            *lock(&session.lock_timeout) = None;
            session.client.batch_execute(&format!("{RESET}{}", session.sets)).await
        };
        clean.await.is_ok()
    }

    fn discard(&self, session: &Session) {
        session.driver.abort();
    }

    async fn abandon(&self, session: &Session) {
        let cancel = async {
            if !session.is_pooled {
                return self.connector.cancel(session.client.cancel_token()).await;
            }
            let request = CancelRequest::of(&session.client).await?;
            // A pooler at another address does not know the session.
            if let Some(pooler) = &session.server {
                _ = request.send(&self.connector, pooler).await;
            }
            // The pooler forgets what it has to cancel when the connection closes.
            session.client.check_connection().await
        };
        // If PostgreSQL as a whole hangs, the cancellation fails too, and closing the socket has to suffice.
        _ = timeout(self.connect_timeout, cancel).await;
        session.driver.abort();
    }
}

/// Why a session could not set what it needs.
fn unsettable(error: &tokio_postgres::Error, needed: &[&str]) -> ConnectError {
    if error.code() != Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
        return refusal(error);
    }
    ConnectError::Refused(format!(
        "the role or the database has set otherwise what the service needs, and its sessions may not set it ({}): as a \
         superuser, alter role … set {}",
        describe(error),
        needed.join(", ")
    ))
}

/// Why no session was opened.
fn refusal(error: &tokio_postgres::Error) -> ConnectError {
    let cause = describe(error);
    let Some(database) = error.as_db_error() else {
        return ConnectError::Failed(cause);
    };
    let message = database.message();
    if *database.code() == SqlState::TOO_MANY_CONNECTIONS || message.contains("no more connections allowed") {
        return ConnectError::Full(cause);
    }
    match message.strip_prefix("unsupported startup parameter") {
        Some(parameter) => ConnectError::Refused(format!(
            "the pooler refuses what the address asks for{parameter}: remove it from the address, or let the pooler \
             ignore it (PgBouncer: ignore_startup_parameters) and set it by `alter role`"
        )),
        None => ConnectError::Failed(cause),
    }
}
