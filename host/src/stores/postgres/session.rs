//! Sessions of PostgreSQL, and how a pool opens, cleans and ends them.

use std::{sync::Mutex, time::Duration};

use tokio::{runtime::Handle, task::AbortHandle, time::timeout};
use tokio_postgres::{Client, Config, NoTls};
use tokio_util::task::TaskTracker;

use super::{error::describe, statements::StatementCache};
use crate::stores::pool::Manager;

/// Removes what a session may keep, beside an open transaction.
const RESET: &str = "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
    SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES";

/// An open connection to PostgreSQL.
pub(super) struct Session {
    pub(super) client: Client,
    /// The task that reads and writes the socket.
    driver: AbortHandle,
    pub(super) statements: Mutex<StatementCache>,
}

/// Opens, cleans and ends the sessions of one address.
pub(super) struct SessionManager {
    pub(super) config: Config,
    pub(super) connect_timeout: Duration,
    /// Prepared statements cached for each session.
    pub(super) statements: usize,
    /// Where the drivers run: an instance that connects may end before its session does.
    pub(super) runtime: Handle,
    pub(super) tasks: TaskTracker,
}

impl Manager for SessionManager {
    type Connection = Session;

    async fn connect(&self) -> Result<Session, String> {
        let limit = self.connect_timeout;
        let (client, connection) = timeout(limit, self.config.connect(NoTls))
            .await
            .map_err(|_| format!("PostgreSQL did not answer within {limit:?}"))?
            .map_err(|error| describe(&error))?;
        let driver = async {
            // The running statement reports its error.
            _ = connection.await;
        };
        let driver = self.runtime.spawn(self.tasks.track_future(driver)).abort_handle();
        Ok(Session {
            client,
            driver,
            statements: Mutex::new(StatementCache::new(self.statements)),
        })
    }

    fn is_closed(&self, session: &Session) -> bool {
        session.client.is_closed()
    }

    async fn clean(&self, session: &Session, in_transaction: bool) -> bool {
        let clean = async {
            // Outside of a transaction PostgreSQL would log a warning.
            if in_transaction {
                session.client.batch_execute("ROLLBACK").await?;
            }
            session.client.batch_execute(RESET).await
        };
        clean.await.is_ok()
    }

    fn discard(&self, session: &Session) {
        session.driver.abort();
    }

    async fn abandon(&self, session: &Session) {
        session.driver.abort();
        let cancel = session.client.cancel_token();
        // If PostgreSQL as a whole hangs, the cancellation fails too, and closing the socket has to suffice.
        _ = timeout(self.connect_timeout, cancel.cancel_query(NoTls)).await;
    }
}
