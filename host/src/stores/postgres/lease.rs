//! Leases: how the component holds on to PostgreSQL without holding a connection.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, TryStreamExt as _};
use sugang_protocol::session::{READ_ONLY, is_fault_of_session};
use tokio::sync::OnceCell;
use tokio_postgres::{
    Column, Row, RowStream, Statement,
    error::Severity,
    types::{BorrowToSql, Type},
};

use super::{
    Error, Pool,
    session::SessionManager,
    statements::{is_outdated, is_single},
};
use crate::{
    settings::PostgresLimits,
    stores::{
        claim::{Claim, LockTimeout},
        pool::{self, Condition},
    },
    sync::lock,
};

type PooledConnection = pool::PooledConnection<SessionManager>;

/// The right to execute statements at one address.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    pinned: OnceCell<Arc<PooledConnection>>,
    result_bytes: usize,
    shares: bool,
}

/// The parameters of a statement, before their types are known.
pub(crate) trait Parameters {
    type Parameter: BorrowToSql;
    type Error: From<Error>;

    /// The types that the parameters have by themselves.
    fn own_types(&self) -> Vec<Type>;

    /// The value of the parameter with this number, from 1, if it is a text or a 64-bit integer.
    fn text(&self, number: usize) -> Option<String>;

    /// The parameter that stands for null.
    fn null() -> Self::Parameter;

    /// Converts the parameters to the types that the statement takes.
    ///
    /// # Errors
    /// Their number or a type is wrong, or a value cannot be converted.
    fn bind(&self, types: &[Type]) -> Result<Vec<Self::Parameter>, Self::Error>;
}

/// The rows of a running statement, with the connection that they come from.
pub(crate) struct RunningStatement {
    shape: Shape,
    rows: Pin<Box<RowStream>>,
    connection: Arc<PooledConnection>,
}

/// What tells the columns of a result.
enum Shape {
    Prepared(Statement),
    /// Of an unprepared statement only a row does: the first one, and whether it was given out.
    FirstRow(Option<Row>, bool),
}

impl Lease {
    pub(super) fn new(pool: Arc<Pool>, limits: &PostgresLimits) -> Self {
        Self {
            pool,
            pinned: OnceCell::new(),
            result_bytes: limits.result_bytes,
            shares: limits.shares,
        }
    }

    /// Sends a statement and its parameters: in one round trip if the session has it prepared, else in two. Behind a
    /// pooler nothing is prepared, and each statement takes one.
    ///
    /// # Errors
    /// There is no connection, PostgreSQL refuses the statement, or a parameter does not fit.
    pub(crate) async fn start<P: Parameters>(&self, sql: &str, parameters: P) -> Result<RunningStatement, P::Error> {
        let (connection, lock_timeout) = self.connection(sql, &parameters).await?;
        let (shape, rows) = match connection.get().prepares {
            true => send(&connection, sql, parameters, lock_timeout).await?,
            false => send_unprepared(&connection, sql, parameters).await?,
        };
        Ok(RunningStatement {
            shape,
            rows,
            connection,
        })
    }

    /// The connection for a statement, and the `lock_timeout` that its session may keep.
    async fn connection(
        &self,
        sql: &str,
        parameters: &impl Parameters,
    ) -> Result<(Arc<PooledConnection>, Option<LockTimeout>), Error> {
        match self.pinned.get() {
            Some(pinned) => Ok((pinned.clone(), None)),
            None if is_single(sql) => {
                let claim = match self.shares {
                    true => Claim::read(sql, |number| parameters.text(number)),
                    false => Claim::default(),
                };
                let lock_timeout = claim.lock_timeout();
                Ok((Arc::new(self.pool.borrow(claim).await?), lock_timeout))
            }
            None => {
                let pin = async { Ok::<_, Error>(Arc::new(self.pool.pin().await?)) };
                Ok((self.pinned.get_or_try_init(|| pin).await?.clone(), None))
            }
        }
    }

    /// The limit of a result, in bytes.
    pub(crate) fn result_bytes(&self) -> usize {
        self.result_bytes
    }
}

async fn send<P: Parameters>(
    connection: &PooledConnection,
    sql: &str,
    parameters: P,
    lock_timeout: Option<LockTimeout>,
) -> Result<(Shape, Pin<Box<RowStream>>), P::Error> {
    let session = connection.get();
    let kept = match lock_timeout {
        Some(lock_timeout) if !session.is_pooled => {
            keep(connection, lock_timeout.limit).await?;
            Some(lock_timeout.parameter)
        }
        _ => None,
    };
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
        let mut parameters = parameters.bind(statement.params())?;
        if let Some(parameter) = kept.and_then(|kept| parameters.get_mut(kept.checked_sub(1)?)) {
            *parameter = P::null();
        }
        connection.set_condition(Condition::Running);
        match session.client.query_raw(&statement, parameters).await {
            Ok(rows) => return Ok((Shape::Prepared(statement), Box::pin(rows))),
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

/// Sets the `lock_timeout` of a session, unless it has it already: a setting in each statement costs a read a tenth of its
/// time.
async fn keep(connection: &PooledConnection, lock_timeout: Duration) -> Result<(), Error> {
    let session = connection.get();
    if *lock(&session.lock_timeout) == Some(lock_timeout) {
        return Ok(());
    }
    let set = format!("SET lock_timeout = {}", lock_timeout.as_millis());
    connection
        .running(session.client.batch_execute(&set))
        .await
        .inspect_err(|error| note_failure(connection, error))?;
    *lock(&session.lock_timeout) = Some(lock_timeout);
    Ok(())
}

/// Sends a statement without a name. One message has all of it, so a pooler lets one session execute all of it.
async fn send_unprepared<P: Parameters>(
    connection: &PooledConnection,
    sql: &str,
    parameters: P,
) -> Result<(Shape, Pin<Box<RowStream>>), P::Error> {
    let types = parameters.own_types();
    let parameters = parameters.bind(&types)?;
    connection.set_condition(Condition::Running);
    let sent = async {
        let parameters = parameters.into_iter().zip(types);
        let mut rows = Box::pin(connection.get().client.query_typed_raw(sql, parameters).await?);
        let first = rows.try_next().await?;
        Ok((first, rows))
    };
    let (first, rows) = sent
        .await
        .inspect_err(|error| note_failure(connection, error))
        .map_err(Error::from)?;
    if first.is_none() {
        connection.set_condition(Condition::Clean);
    }
    Ok((Shape::FirstRow(first, false), rows))
}

/// Notes the condition of a connection after a failed statement.
fn note_failure(connection: &PooledConnection, error: &tokio_postgres::Error) {
    match error.as_db_error() {
        // What is not PostgreSQL's own report is a broken connection, or an answer to something else.
        None => connection.suspect(),
        Some(error) if matches!(error.parsed_severity(), Some(Severity::Fatal | Severity::Panic)) => {
            connection.suspect();
        }
        Some(error) if error.code().code() == READ_ONLY => connection.renew(),
        // The plans of the other sessions are as old. So that a second attempt does not meet one of them, they end, too.
        Some(error) if is_fault_of_session(error.code().code(), error.routine()) => {
            connection.renew();
            connection.set_condition(Condition::Ended);
        }
        // The statement has ended, and nothing is left of it.
        Some(_) => connection.set_condition(Condition::Clean),
    }
}

impl RunningStatement {
    /// The columns of the result; of an unprepared statement without a row, none.
    pub(crate) fn columns(&self) -> &[Column] {
        match &self.shape {
            Shape::Prepared(statement) => statement.columns(),
            Shape::FirstRow(first, _) => first.as_ref().map_or(&[], Row::columns),
        }
    }

    /// The number of rows that the statement has changed, once its last row was read.
    pub(crate) fn rows_affected(&self) -> Option<u64> {
        self.rows.rows_affected()
    }
}

impl Stream for RunningStatement {
    type Item = Result<Row, tokio_postgres::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Shape::FirstRow(first, was_given @ false) = &mut self.shape {
            *was_given = true;
            return Poll::Ready(first.clone().map(Ok));
        }
        let row = self.rows.as_mut().poll_next(context);
        match &row {
            Poll::Ready(None) => self.connection.set_condition(Condition::Clean),
            Poll::Ready(Some(Err(error))) => note_failure(&self.connection, error),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        row
    }
}
