//! Leases: how the component holds on to PostgreSQL without holding a connection.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::Stream;
use tokio::sync::OnceCell;
use tokio_postgres::{RowStream, Statement, error::Severity, types::BorrowToSql};

use super::{
    Error, Pool,
    session::SessionManager,
    statements::{is_outdated, is_single},
};
use crate::{
    stores::pool::{self, Condition},
    sync::lock,
};

type PooledConnection = pool::PooledConnection<SessionManager>;

/// The right to execute statements at one address.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    pinned: OnceCell<Arc<PooledConnection>>,
    result_bytes: usize,
}

/// The rows of a running statement, with the connection that they come from.
pub(crate) struct RunningStatement {
    rows: Pin<Box<RowStream>>,
    connection: Arc<PooledConnection>,
}

impl Lease {
    pub(super) fn new(pool: Arc<Pool>, result_bytes: usize) -> Self {
        Self {
            pool,
            pinned: OnceCell::new(),
            result_bytes,
        }
    }

    /// Sends a statement and its parameters: in one round trip if the session has it prepared, else in two.
    ///
    /// `bind` makes the parameters, once the types are known that the statement takes.
    ///
    /// # Errors
    /// There is no connection, PostgreSQL refuses the statement, or `bind` fails.
    pub(crate) async fn start<P, E>(
        &self,
        sql: &str,
        bind: impl Fn(&Statement) -> Result<Vec<P>, E>,
    ) -> Result<(Statement, RunningStatement), E>
    where
        P: BorrowToSql,
        E: From<Error>,
    {
        let connection = self.connection(sql).await?;
        let (statement, rows) = send(&connection, sql, bind).await?;
        let rows = Box::pin(rows);
        Ok((statement, RunningStatement { rows, connection }))
    }

    async fn connection(&self, sql: &str) -> Result<Arc<PooledConnection>, Error> {
        match self.pinned.get() {
            Some(pinned) => Ok(pinned.clone()),
            None if is_single(sql) => Ok(Arc::new(self.pool.borrow().await?)),
            None => {
                let pin = async { Ok::<_, Error>(Arc::new(self.pool.pin().await?)) };
                Ok(self.pinned.get_or_try_init(|| pin).await?.clone())
            }
        }
    }

    /// The limit of a result, in bytes.
    pub(crate) fn result_bytes(&self) -> usize {
        self.result_bytes
    }
}

async fn send<P, E>(
    connection: &PooledConnection,
    sql: &str,
    bind: impl Fn(&Statement) -> Result<Vec<P>, E>,
) -> Result<(Statement, RowStream), E>
where
    P: BorrowToSql,
    E: From<Error>,
{
    let session = connection.get();
    loop {
        let cached = lock(&session.statements).get(sql);
        let was_cached = cached.is_some();
        let statement = match cached {
            Some(statement) => statement,
            None => {
                let prepared = connection.running(session.client.prepare(sql)).await;
                let statement = prepared
                    .inspect_err(|error| note_failure(connection, error))
                    .map_err(Error::from)?;
                lock(&session.statements).put(sql, statement.clone());
                statement
            }
        };
        let parameters = bind(&statement)?;
        connection.set_condition(Condition::Running);
        match session.client.query_raw(&statement, parameters).await {
            Ok(rows) => return Ok((statement, rows)),
            // It was refused before it ran, so preparing and sending it once more repeats no effect.
            Err(error) if was_cached && is_outdated(&error) => {
                connection.set_condition(Condition::Clean);
                lock(&session.statements).remove(sql);
            }
            Err(error) => {
                note_failure(connection, &error);
                return Err(Error::from(error).into());
            }
        }
    }
}

/// Notes the condition of a connection after a failed statement.
fn note_failure(connection: &PooledConnection, error: &tokio_postgres::Error) {
    // Only an error that PostgreSQL itself reports ends the statement; after any other it may still run.
    if let Some(error) = error.as_db_error() {
        connection.set_condition(match error.parsed_severity() {
            Some(Severity::Fatal | Severity::Panic) => Condition::Ended,
            _ => Condition::Clean,
        });
    }
}

impl RunningStatement {
    /// The number of rows that the statement has changed, once its last row was read.
    pub(crate) fn rows_affected(&self) -> Option<u64> {
        self.rows.rows_affected()
    }
}

impl Stream for RunningStatement {
    type Item = Result<tokio_postgres::Row, tokio_postgres::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let row = self.rows.as_mut().poll_next(context);
        match &row {
            Poll::Ready(None) => self.connection.set_condition(Condition::Clean),
            Poll::Ready(Some(Err(error))) => note_failure(&self.connection, error),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        row
    }
}
