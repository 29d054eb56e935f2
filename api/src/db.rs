//! The one place that talks to PostgreSQL. Every request is one statement: a call of a function of the schema `sugang`
//! (see `migrations/`), which answers one row.

use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

use spin_sdk::pg::{Connection, DbValue, Error, ParameterValue, PgError, QueryError};
use sugang_sdk::types::ErrorCode;

use crate::{
    deadline::within,
    errors::{BUSY, Failure, IDEMPOTENCY_KEY_REUSED, Internal, REQUEST_IN_PROGRESS},
};

/// The statement that calls a function of the schema `sugang`. All of them answer the same; of that a `list` is asked for
/// its counts, and what reads `one` thing for none: each column costs the way through host and component.
#[macro_export]
macro_rules! statement {
    (list $call:literal) => {
        concat!("select outcome, body, count, page, pages from sugang.", $call)
    };
    (one $call:literal) => {
        concat!("select outcome, body from sugang.", $call)
    };
    ($call:literal) => {
        concat!("select outcome, body, replayed from sugang.", $call)
    };
}

/// What a statement answers.
pub struct Answer {
    /// `ok`, or why not.
    pub outcome: String,
    /// JSON: ready to send, or facts for a message.
    pub body: String,
    /// Lists: how many there are in all.
    pub count: i64,
    /// Lists: the page that this is.
    pub page: i64,
    /// Lists: the last page.
    pub pages: i64,
    /// An earlier request with the same idempotency key was answered so.
    pub replayed: bool,
}

impl Answer {
    /// An outcome that the caller does not know: the database and the component are not of one version.
    pub fn unexpected(&self) -> Failure {
        Failure::Internal(Internal::new(format!("unexpected outcome {:?}", self.outcome)))
    }

    /// An outcome that only an idempotency key brings about.
    pub fn of_key(&self) -> Failure {
        match self.outcome.as_str() {
            "key_reused" => (&IDEMPOTENCY_KEY_REUSED).into(),
            "in_progress" => (&REQUEST_IN_PROGRESS).into(),
            _ => self.unexpected(),
        }
    }

    /// The facts in the body.
    ///
    /// # Errors
    /// The body is not what the statement promises.
    pub fn facts<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, Failure> {
        serde_json::from_str(&self.body).map_err(|_| {
            Failure::Internal(Internal::new(format!(
                "unexpected facts with outcome {:?}",
                self.outcome
            )))
        })
    }
}

/// Whether a statement may be sent again after a connection broke under it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It reads, or an idempotency key lets it take effect only once.
    Safe,
    /// It may have taken effect.
    Never,
}

/// PostgreSQL, as one instance sees it.
pub struct Database {
    url: String,
    timeout: Duration,
    pool: Pool<Connection>,
}

impl Database {
    /// Opens nothing yet.
    pub fn new(url: String, connections: usize, timeout: Duration) -> Self {
        Self {
            url,
            timeout,
            pool: Pool::new(connections),
        }
    }

    /// Sends a statement and waits for its row, in all for no longer than the configured time.
    ///
    /// # Errors
    /// 503 when PostgreSQL is away or too slow, 409 when it gave way to another transaction, 500 for everything else.
    pub async fn ask(
        &self,
        statement: &'static str,
        parameters: Vec<ParameterValue>,
        repeat: Repeat,
    ) -> Result<Answer, Failure> {
        let work = async {
            match self.attempt(statement, parameters.clone()).await {
                // The connection had been idle here or in the host's pool: PostgreSQL may be well, and this one a
                // survivor of before.
                Err(Trouble::Broken { sent: true, .. }) if repeat == Repeat::Safe => {
                    self.attempt(statement, parameters).await
                }
                result => result,
            }
        };
        match within(self.timeout, work).await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(trouble)) => Err(trouble.into_failure(&self.url)),
            None => Err(Failure::Unavailable(Internal::new("PostgreSQL did not answer in time"))),
        }
    }

    async fn attempt(&self, statement: &'static str, parameters: Vec<ParameterValue>) -> Result<Answer, Trouble> {
        // Taken out of the pool: if this future is dropped at its deadline, the connection is, too, and never reused
        // with a statement still at work on it.
        let kept = match self.pool.take() {
            Some(kept) => kept,
            None => {
                let begun = Instant::now();
                let opened = Connection::open(&self.url).await;
                let opened = opened.map_err(|error| Trouble::of(error, false))?;
                self.pool.opened(opened, begun.elapsed(), Instant::now())
            }
        };
        match row(&kept.connection, statement, parameters).await {
            Ok(row) => {
                self.pool.keep(kept, Instant::now());
                decode(row)
            }
            Err(error) => {
                let trouble = Trouble::of(error, true);
                match trouble {
                    Trouble::Broken { .. } => self.pool.forget_idle(),
                    _ => self.pool.keep(kept, Instant::now()),
                }
                Err(trouble)
            }
        }
    }
}

async fn row(
    connection: &Connection,
    statement: &str,
    parameters: Vec<ParameterValue>,
) -> Result<Option<Vec<DbValue>>, Error> {
    let mut result = connection.query(statement, parameters).await?;
    let row = result.rows().next().await;
    // An error that comes late comes here, and nowhere else.
    result.result().await?;
    Ok(row)
}

fn decode(row: Option<Vec<DbValue>>) -> Result<Answer, Trouble> {
    let unknown = || Trouble::Defect("a statement did not answer one row of known columns".into());
    let mut values = row.ok_or_else(unknown)?.into_iter();
    let mut text = || match values.next() {
        Some(DbValue::Str(text)) => Ok(text),
        Some(_) => Ok(String::new()),
        None => Err(unknown()),
    };
    let (outcome, body) = (text()?, text()?);
    let number = |value: &DbValue| match value {
        DbValue::Int64(number) => *number,
        _ => 0,
    };
    let (counts, replayed) = match values.as_slice() {
        [] => ([0; 3], false),
        [replayed] => ([0; 3], matches!(replayed, DbValue::Boolean(true))),
        [count, page, pages] => ([count, page, pages].map(number), false),
        _ => return Err(unknown()),
    };
    let [count, page, pages] = counts;
    Ok(Answer {
        outcome,
        body,
        count,
        page,
        pages,
        replayed,
    })
}

/// What went wrong with a statement.
#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    /// The connection is of no more use. `sent`: there was one, and the statement went over it.
    Broken { sent: bool, cause: String },
    /// PostgreSQL is well but cannot serve now.
    Overloaded(String),
    /// Another transaction was in the way.
    GaveWay(String),
    /// Nobody but us is to blame.
    Defect(String),
}

impl Trouble {
    fn of(error: Error, sent: bool) -> Self {
        let broken = |cause| Self::Broken { sent, cause };
        let error = match error {
            Error::PgError(error) => error,
            Error::Decode(cause) => return Self::Defect(cause),
        };
        match error {
            PgError::ConnectionFailed(cause) | PgError::Other(cause) => broken(cause),
            // Without an SQLSTATE it is not PostgreSQL that refused: the connection closed under the statement.
            PgError::QueryFailed(QueryError::Text(cause)) => broken(cause),
            PgError::BadParameter(cause) | PgError::ValueConversionFailed(cause) => Self::Defect(cause),
            PgError::QueryFailed(QueryError::DbError(error)) => {
                // The detail may hold a user's data; code and message do not.
                let cause = format!("SQLSTATE {}: {}", error.code, error.message);
                match (error.code.get(..2).unwrap_or_default(), error.code.as_str()) {
                    // Connection exceptions; shutdowns and crashes.
                    ("08", _) | (_, "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "25006") => broken(cause),
                    // Out of connections, memory or disk; cancelled by a timeout of its own.
                    ("53", _) | (_, "57014") => Self::Overloaded(cause),
                    // Serialization failures and deadlocks; a lock that was not to be had; a row that another writer,
                    // the Django service for one, put where ours was to go after we had looked.
                    ("40", _) | (_, "55P03" | "23505" | "23514") => Self::GaveWay(cause),
                    _ => Self::Defect(cause),
                }
            }
        }
    }

    fn into_failure(self, url: &str) -> Failure {
        match self {
            // A host may name the address, with its password, when it says that it could not connect.
            Self::Broken { cause, .. } | Self::Overloaded(cause) => {
                Failure::Unavailable(Internal::new(cause.replace(url, "database_url")))
            }
            Self::GaveWay(cause) => {
                crate::log::warning(ErrorCode::Busy.as_str(), &cause);
                (&BUSY).into()
            }
            Self::Defect(cause) => Failure::Internal(Internal::new(cause)),
        }
    }
}

/// Connections that served and wait for the instance's next request.
///
/// Who finds none opens one, and never waits for another request of the instance: the host bounds how many are open, and
/// queues for them. (A request that woke another one would need wit-bindgen's `inter-task-wakeup`, which traps on
/// wasmtime 48: it cancels the read of a stream that is still in a waitable set.)
///
/// What one instance keeps another has not, and a host starts as many instances as it likes. So a connection goes back
/// to the host after a while, and while others have to queue for one, at once.
struct Pool<C> {
    idle: RefCell<Vec<Kept<C>>>,
    most: usize,
    scarce_until: Cell<Option<Instant>>,
}

/// A connection, and for how many statements it may still be kept.
#[derive(Debug, PartialEq, Eq)]
struct Kept<C> {
    connection: C,
    statements: u32,
}

/// Statements after which a connection goes back to the host: opening costs a fraction of what the statements do.
const STATEMENTS: u32 = 16;
/// An opening that takes longer than this has queued for a connection, or waited for a new one to be made.
const QUEUED: Duration = Duration::from_millis(10);
/// For how long none is kept after that.
const SCARCE: Duration = Duration::from_secs(1);

impl<C> Pool<C> {
    fn new(most: usize) -> Self {
        Self {
            idle: RefCell::default(),
            most,
            scarce_until: Cell::default(),
        }
    }

    /// The one that served last.
    fn take(&self) -> Option<Kept<C>> {
        self.idle.borrow_mut().pop()
    }

    fn opened(&self, connection: C, took: Duration, now: Instant) -> Kept<C> {
        if took > QUEUED {
            self.scarce_until.set(now.checked_add(SCARCE));
        }
        Kept {
            connection,
            statements: STATEMENTS,
        }
    }

    fn keep(&self, mut kept: Kept<C>, now: Instant) {
        kept.statements = kept.statements.saturating_sub(1);
        let scarce = self.scarce_until.get().is_some_and(|until| now < until);
        let mut idle = self.idle.borrow_mut();
        if !scarce && kept.statements > 0 && idle.len() < self.most {
            idle.push(kept);
        }
    }

    /// Drops the connections that nobody uses: where one broke, the others did, too.
    fn forget_idle(&self) {
        // Taken out first: dropping one may run code that looks into the pool.
        let forgotten = self.idle.take();
        drop(forgotten);
    }
}

#[cfg(test)]
mod tests {
    use spin_sdk::pg::DbError;

    use super::*;

    #[test]
    fn a_pool_keeps_so_many_and_gives_out_the_last_first() {
        let (pool, now) = (Pool::<u8>::new(2), Instant::now());
        assert_eq!(pool.take(), None);
        for connection in [1, 2, 3] {
            pool.keep(pool.opened(connection, Duration::ZERO, now), now);
        }
        let next = || pool.take().map(|kept| kept.connection);
        assert_eq!((next(), next(), next()), (Some(2), Some(1), None));
        pool.keep(pool.opened(4, Duration::ZERO, now), now);
        pool.forget_idle();
        assert_eq!(pool.take(), None);
    }

    #[test]
    fn a_connection_goes_back_after_a_while_and_at_once_where_others_queue() {
        let (pool, now) = (Pool::<u8>::new(1), Instant::now());
        let mut kept = Some(pool.opened(1, QUEUED, now));
        let mut statements = 0;
        while let Some(used) = kept {
            statements += 1;
            pool.keep(used, now);
            kept = pool.take();
        }
        assert_eq!(statements, STATEMENTS);

        pool.keep(pool.opened(2, QUEUED * 2, now), now);
        assert_eq!(pool.take(), None);
        pool.keep(pool.opened(3, Duration::ZERO, now), now + SCARCE);
        assert!(pool.take().is_some());
    }

    #[test]
    fn sqlstates_decide() {
        let trouble = |code: &str| {
            let error = DbError {
                as_text: String::new(),
                severity: "ERROR".into(),
                code: code.into(),
                message: "m".into(),
                detail: Some("Key (email)=(minsu@example.com)".into()),
                extras: Vec::new(),
            };
            Trouble::of(Error::PgError(PgError::QueryFailed(QueryError::DbError(error))), true)
        };
        for code in ["57P01", "57P02", "57P03", "08006", "25006"] {
            assert_eq!(
                trouble(code),
                Trouble::Broken {
                    sent: true,
                    cause: format!("SQLSTATE {code}: m")
                }
            );
        }
        for code in ["53300", "53200", "57014"] {
            assert_eq!(trouble(code), Trouble::Overloaded(format!("SQLSTATE {code}: m")));
        }
        for code in ["40001", "40P01", "55P03", "23505", "23514"] {
            assert_eq!(trouble(code), Trouble::GaveWay(format!("SQLSTATE {code}: m")));
        }
        for code in ["23502", "42883", "22P02", "", "é"] {
            assert_eq!(trouble(code), Trouble::Defect(format!("SQLSTATE {code}: m")));
        }
    }

    #[test]
    fn a_row_is_decoded_by_position() {
        let decoded = |rest: &[DbValue]| {
            let row = [&[DbValue::Str("ok".into()), DbValue::Str("[]".into())], rest].concat();
            let answer = decode(Some(row)).unwrap_or_else(|trouble| panic!("{trouble:?}"));
            assert_eq!((answer.outcome.as_str(), answer.body.as_str()), ("ok", "[]"));
            (answer.count, answer.page, answer.pages, answer.replayed)
        };
        assert_eq!(decoded(&[]), (0, 0, 0, false));
        assert_eq!(decoded(&[DbValue::Boolean(true)]), (0, 0, 0, true));
        assert_eq!(decoded(&[DbValue::DbNull]), (0, 0, 0, false));
        assert_eq!(decoded(&[41, 2, 3].map(DbValue::Int64)), (41, 2, 3, false));
        for row in [
            None,
            Some(vec![DbValue::DbNull]),
            Some(vec![DbValue::DbNull; 4]),
            Some(vec![DbValue::DbNull; 6]),
        ] {
            assert!(matches!(decode(row), Err(Trouble::Defect(_))));
        }
    }
}
