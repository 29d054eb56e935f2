//! PostgreSQL. Every request is one statement: a call of a function of the schema `sugang` (see `migrations/`), which
//! returns one row.

use std::time::{Duration, Instant};

use spin_sdk::pg::{Connection, DbValue, Error, ParameterValue};

use super::{
    deadline::within,
    error::DbError,
    functions::{self, FunctionCall, Statement},
    outcome::Outcome,
    pool::Pool,
    retry::Retry,
    row::FunctionRow,
};
use crate::{error::ApiError, log};

/// The time that a function may take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// The configured time.
    Usual,
    /// That of a function that works on a whole file: three times the configured time.
    File,
    /// That of a check of the audit, which reads whole tables.
    Check,
}

impl Limit {
    fn of(self, usual: Duration) -> Duration {
        match self {
            Self::Usual => usual,
            Self::File => 3 * usual,
            Self::Check => Duration::from_secs(600),
        }
    }
}

/// The database, with the idle connections of the instance.
pub(crate) struct Database {
    url: String,
    timeout: Duration,
    /// In milliseconds.
    lock_timeout: String,
    pool: Pool<Connection>,
}

impl Database {
    /// Stores the settings. Connections are opened by the statements that need them.
    pub(crate) fn new(url: String, max_idle: usize, timeout: Duration, lock_timeout: Duration) -> Self {
        Self {
            url,
            timeout,
            lock_timeout: lock_timeout.as_millis().to_string(),
            pool: Pool::new(max_idle),
        }
    }

    /// Calls a function and returns its row, within a limit.
    ///
    /// # Errors
    /// 503 if PostgreSQL is unavailable or too slow, or if another transaction keeps something locked; 409 if other
    /// transactions were first twice; 500 for a defect.
    pub(crate) async fn execute<C: FunctionCall>(
        &self,
        statements: &'static C::Statements,
        call: C,
        limit: Limit,
    ) -> Result<FunctionRow, ApiError> {
        let (statement, retry) = (C::statement(statements), call.retry());
        self.run(limit.of(self.timeout), statement, retry, call.arguments())
            .await
    }

    /// Not generic: the component has it once, and not for each function.
    async fn run(
        &self,
        limit: Duration,
        statement: &'static Statement,
        retry: Retry,
        arguments: Vec<ParameterValue>,
    ) -> Result<FunctionRow, ApiError> {
        // PostgreSQL refuses such a text as it refuses what was meant for another statement, and its session would be closed.
        if arguments.iter().any(has_nul) {
            return Err(ApiError::internal("a parameter has a NUL"));
        }
        let parameters = self.parameters(statement, arguments);
        let work = async {
            match self.attempt(statement, parameters.clone()).await {
                // The connection was idle, here or in the host's pool, and may be older than PostgreSQL's last restart.
                Err(DbError::ConnectionLost { sent: true, .. }) if retry == Retry::Idempotent => {
                    self.attempt(statement, parameters).await
                }
                // Nothing was written, so any call may be sent again. A session that is read-only may have outlasted the time
                // in which its server was.
                Err(DbError::ReadOnly(_)) => self.attempt(statement, parameters).await,
                Err(DbError::Session(cause)) => {
                    log::warning("session_at_fault", &cause);
                    self.attempt(statement, parameters).await
                }
                // Rolled back; a second look finds what the other transaction has done.
                Err(DbError::Overtaken { .. }) => self.attempt(statement, parameters).await,
                Err(DbError::SequenceBehind(cause)) => {
                    log::warning("sequence_behind", &cause);
                    self.advance_sequences().await?;
                    self.attempt(statement, parameters).await
                }
                result => result,
            }
        };
        match within(limit, work).await {
            Some(Ok(row)) if row.outcome == Outcome::Counting => {
                Err(ApiError::unavailable("a search is still being counted"))
            }
            Some(Ok(row)) => Ok(row),
            Some(Err(error)) => Err(error.into_api_error(&self.url)),
            None => Err(ApiError::unavailable("PostgreSQL did not answer in time")),
        }
    }

    async fn advance_sequences(&self) -> Result<FunctionRow, DbError> {
        let statement = functions::AdvanceSequences::statement(functions::shared());
        self.attempt(statement, self.parameters(statement, Vec::new())).await
    }

    /// The parameters of a statement, as [`functions`] numbers them.
    fn parameters(&self, statement: &Statement, arguments: Vec<ParameterValue>) -> Vec<ParameterValue> {
        let mut parameters = vec![ParameterValue::Str(statement.function.clone())];
        parameters.extend(arguments);
        parameters.push(ParameterValue::Str(self.lock_timeout.clone()));
        parameters
    }

    async fn attempt(&self, statement: &Statement, parameters: Vec<ParameterValue>) -> Result<FunctionRow, DbError> {
        // Taken out of the pool: if this future is dropped at its deadline, the connection is dropped with it, and never
        // reused while the statement still runs on it.
        let pooled = match self.pool.take() {
            Some(pooled) => pooled,
            None => {
                let begun = Instant::now();
                let opened = Connection::open(&self.url).await;
                let opened = opened.map_err(|error| DbError::new(error, false))?;
                self.pool.opened(opened, begun.elapsed(), Instant::now())
            }
        };
        let row = match query(&pooled.connection, &statement.text, parameters).await {
            Ok(row) => FunctionRow::decode(row, &statement.function),
            Err(error) => Err(DbError::new(error, true)),
        };
        match row {
            Err(DbError::ConnectionLost { .. } | DbError::Session(_) | DbError::ReadOnly(_)) => self.pool.clear(),
            _ => self.pool.put_back(pooled, Instant::now()),
        }
        row
    }
}

fn has_nul(parameter: &ParameterValue) -> bool {
    matches!(parameter, ParameterValue::Str(text) if text.contains('\0'))
}

async fn query(
    connection: &Connection,
    statement: &str,
    parameters: Vec<ParameterValue>,
) -> Result<Option<Vec<DbValue>>, Error> {
    let mut result = connection.query(statement, parameters).await?;
    let rows = result.rows();
    let row = rows.next().await;
    // How the result ended is known once its rows were read to their end, which may arrive later than a long row. A
    // stream that has ended is not read again.
    if row.is_some() {
        while rows.next().await.is_some() {}
    }
    result.result().await?;
    Ok(row)
}
