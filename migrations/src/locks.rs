//! Locks tables for a migration without stopping the service behind it.
//!
//! PostgreSQL queues every request for a table behind a request for an exclusive lock on it, and that one waits for the
//! oldest transaction. So a lock is asked for briefly, and again after a pause.

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio_postgres::{Error, Transaction, error::SqlState};

use crate::{kind::ItemKind, progress::Progress, scripts::Script};

/// How a migration waits for tables that others have locked.
#[derive(Debug, Clone, Copy)]
pub struct LockWait {
    /// The longest time for which requests queue behind the migration. The first attempts are shorter.
    pub timeout: Duration,
    /// The time after which an attempt to lock the tables gives up.
    pub limit: Duration,
}

impl Default for LockWait {
    fn default() -> Self {
        Self {
            timeout: Duration::from_millis(1500),
            limit: Duration::from_secs(300),
        }
    }
}

/// The first attempt; each further one takes twice as long. PostgreSQL ends an autovacuum that is in the way only for a
/// request that has waited for a second (`deadlock_timeout`), so later attempts must be longer than that.
const FIRST: Duration = Duration::from_millis(250);

/// The pause after an attempt is this many times as long: requests queue for at most a fifth of the time.
const PAUSE: u32 = 4;

impl LockWait {
    /// The timeout of an attempt, counted from 0.
    pub(crate) fn timeout(self, attempt: u32) -> Duration {
        FIRST.saturating_mul(1 << attempt.min(10)).min(self.timeout)
    }

    /// The pause after an attempt.
    pub(crate) fn pause(self, attempt: u32) -> Duration {
        self.timeout(attempt) * PAUSE
    }
}

/// The error of a migration that could not lock its tables in time. Nothing has been changed.
#[derive(Debug)]
pub struct Locked {
    /// What held the locks, the oldest transaction first, as far as this role may see it.
    pub holder: String,
    /// For how long the migration tried.
    pub limit: Duration,
}

impl std::error::Error for Locked {}

impl std::fmt::Display for Locked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.limit.as_secs();
        write!(
            f,
            "the tables could not be locked within {seconds} s (--lock-wait-s), and nothing has been changed: {}. \
             End that transaction, or try again later",
            self.holder
        )
    }
}

/// The kinds of locks that a migration needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Lets others read: triggers, indexes.
    ShareRowExclusive,
    /// Lets no other transaction in: columns, constraints.
    AccessExclusive,
}

impl Mode {
    fn sql(self) -> &'static str {
        match self {
            Self::ShareRowExclusive => "share row exclusive",
            Self::AccessExclusive => "access exclusive",
        }
    }
}

/// Locks all that the files change, at once and before any of it is changed.
///
/// # Errors
/// [`Locked`] after the limit.
pub(crate) async fn lock_tables(
    transaction: &Transaction<'_>,
    kinds: &[ItemKind],
    pending: &[Script],
    wait: LockWait,
    progress: &Progress,
) -> anyhow::Result<()> {
    let mut locks = Vec::new();
    for (table, mode) in locks_of(kinds, pending) {
        let exists = "select from pg_class where oid = to_regclass($1) and relkind in ('r', 'p')";
        if transaction.query_opt(exists, &[&table]).await?.is_some() {
            locks.push((table, mode));
        }
    }
    let started = Instant::now();
    for attempt in 0.. {
        progress.step("lock the tables".to_owned());
        let timeout = wait.timeout(attempt).as_millis();
        let begin = format!("savepoint locks; set local lock_timeout = {timeout}");
        transaction.batch_execute(&begin).await?;
        match lock_once(transaction, &locks).await {
            Ok(()) => break,
            Err(error) if is_contention(&error) => {}
            Err(error) => return Err(error).context("the tables cannot be locked"),
        }
        // Releases the locks of this attempt; others go on during the pause.
        transaction
            .batch_execute("rollback to savepoint locks; release savepoint locks")
            .await?;
        let holder = holder(transaction, &locks).await?;
        if started.elapsed() >= wait.limit {
            let limit = wait.limit;
            return Err(Locked { holder, limit }.into());
        }
        progress.say(&format!("wait for locks: {holder}"));
        tokio::time::sleep(wait.pause(attempt).min(wait.limit)).await;
    }
    let rest = format!(
        "release savepoint locks; set local lock_timeout = {}",
        wait.timeout.as_millis()
    );
    Ok(transaction.batch_execute(&rest).await?)
}

async fn lock_once(transaction: &Transaction<'_>, locks: &[(String, Mode)]) -> Result<(), Error> {
    for (table, mode) in locks {
        let lock = format!("lock table {table} in {} mode", mode.sql());
        transaction.batch_execute(&lock).await?;
    }
    Ok(())
}

/// Whether other transactions are the reason of an error, so that a later attempt may succeed.
pub(crate) fn is_contention(error: &Error) -> bool {
    let codes = [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED];
    // Two migrations alter the same role: databases share their roles, and PostgreSQL does not queue for them.
    let overtaken = error.as_db_error().and_then(|error| error.routine()) == Some("simple_heap_update");
    overtaken || error.code().is_some_and(|code| codes.contains(code))
}

/// The tables that the files change, in the order in which requests use them.
fn locks_of(kinds: &[ItemKind], pending: &[Script]) -> Vec<(String, Mode)> {
    let mut tables = vec!["users".to_owned()];
    tables.extend(kinds.iter().map(|kind| kind.items.to_owned()));
    tables.extend(kinds.iter().map(|kind| kind.registrations.to_owned()));
    tables.extend(["payments", "django_content_type"].map(str::to_owned));
    let changed: Vec<_> = pending.iter().flat_map(Script::altered_tables).collect();
    for table in &changed {
        if !tables.iter().any(|known| known == table) {
            tables.push((*table).to_owned());
        }
    }
    let lock = |table: String| {
        let mode = match changed.contains(&table.as_str()) {
            true => Mode::AccessExclusive,
            // Functions bring their triggers.
            false => Mode::ShareRowExclusive,
        };
        (table, mode)
    };
    tables.into_iter().map(lock).collect()
}

/// The oldest transaction that holds a lock on one of the tables. One that has just ended has no time any more, and comes
/// last.
async fn holder(transaction: &Transaction<'_>, locks: &[(String, Mode)]) -> anyhow::Result<String> {
    let tables: Vec<_> = locks.iter().map(|(table, _)| table.as_str()).collect();
    // What other roles do is hidden from a role that may not see it.
    let holder = "
        select format('%s is locked by %s', string_agg(distinct l.relation::regclass::text, ', '),
                      case when l.pid is null then 'a prepared transaction (see pg_prepared_xacts)'
                           else concat('process ', l.pid, coalesce(' of ' || a.usename, ''),
                                       coalesce(' (' || nullif(a.application_name, '') || ')', ''),
                                       coalesce(', ' || a.state, ''),
                                       coalesce(', begun ' || round(extract(epoch from clock_timestamp() - a.xact_start))
                                                || ' s ago', '')) end)
        from pg_locks l left join pg_stat_activity a on a.pid = l.pid
        where l.locktype = 'relation' and l.granted and l.pid is distinct from pg_backend_pid()
          and l.database = (select oid from pg_database where datname = current_database())
          and l.relation in (select to_regclass(name) from unnest($1::text[]) name)
        group by l.pid, a.usename, a.application_name, a.state, a.xact_start
        order by l.pid is null desc, a.xact_start nulls last limit 1";
    let row = transaction.query_opt(holder, &[&tables]).await?;
    Ok(row.map_or_else(|| "the holder has just ended".to_owned(), |row| row.get(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kind::KINDS, scripts};

    #[test]
    fn attempts_grow_and_leave_others_most_of_the_time() {
        let wait = LockWait::default();
        let timeouts: Vec<_> = (0..5).map(|attempt| wait.timeout(attempt).as_millis()).collect();
        assert_eq!(timeouts, [250, 500, 1000, 1500, 1500]);
        assert!(wait.timeout(u32::MAX) < wait.pause(u32::MAX));
    }

    #[test]
    fn what_the_files_change_is_locked_in_the_order_of_requests() {
        let all = locks_of(KINDS, &scripts::schema(KINDS));
        let position = |table: &str| all.iter().position(|(known, _)| known == table);
        assert!(position("users") < position("tests") && position("tests") < position("test_registrations"));
        assert!(position("test_registrations") < position("payments"), "{all:?}");
        assert!(all.contains(&("payments".to_owned(), Mode::AccessExclusive)));
        assert!(all.contains(&("sugang.revoked_tokens".to_owned(), Mode::AccessExclusive)));
        assert!(all.contains(&("django_content_type".to_owned(), Mode::ShareRowExclusive)));

        let functions_alone = locks_of(KINDS, &[]);
        assert_eq!(functions_alone.len(), 7, "{functions_alone:?}");
        assert!(functions_alone.iter().all(|(_, mode)| *mode == Mode::ShareRowExclusive));
    }
}
