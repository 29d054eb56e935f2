//! Looks at a whole database before anything in it is changed.
//!
//! The checks are files of `preflight/`, one finding each, in a folder for each [`Level`]. Adding a check is adding a file.

mod check;
mod level;
mod text;

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio_postgres::{Client, SimpleQueryMessage, Transaction};

use crate::{kind::ItemKind, progress::Progress, session::SESSION};
use check::{Check, checks};
pub use level::Level;

/// The most rows that are fetched of one finding. Its count is of all of them.
const MAX_ROWS: usize = 1000;

/// The checks that take no time, so that they run on a current database as well: a restored dump comes without the sequences
/// that gave its ids, and the Django service goes on to add columns.
const CURRENT: [&str; 3] = ["column_unknown", "sequence_owners", "sequences"];

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreflightFinding {
    /// The name of the check: its file in `preflight/`, without a suffix for checks that run for each kind.
    pub check: String,
    /// The kind that was checked, for a check that runs for each kind.
    pub kind: Option<String>,
    /// What the finding means for the migration.
    pub level: Level,
    /// What the rows have in common, as a sentence.
    pub finds: String,
    /// The number of rows.
    pub count: u64,
    /// The first rows, at most 1,000, as the check writes them.
    pub rows: Vec<String>,
    /// What to consider before using the remedy, or how a repair was made. May be empty.
    pub advice: String,
    /// SQL that removes the finding; psql runs it as it stands. Empty when no statement can.
    pub remedy: String,
}

/// A check that PostgreSQL refused to run, because a table, a column or a right is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unchecked {
    /// The name of the check with its kind.
    pub check: String,
    /// PostgreSQL's reason.
    pub reason: String,
}

/// What all checks found. `Display` gives the whole of it, in sections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preflight {
    /// What was found, the obstacles first.
    pub findings: Vec<PreflightFinding>,
    /// Checks that could not run. On a database without tables there are none: nothing can be wrong with it.
    pub unchecked: Vec<Unchecked>,
    /// The number of checks that ran.
    pub checks: usize,
    /// How long they took together.
    pub elapsed: Duration,
    /// Whether the repairs have been made.
    pub repaired: bool,
}

impl Preflight {
    /// The findings of one level.
    pub fn of(&self, level: Level) -> impl Iterator<Item = &PreflightFinding> {
        self.findings.iter().filter(move |finding| finding.level == level)
    }

    /// Whether there is anything to read in it.
    pub fn says_something(&self) -> bool {
        !self.findings.is_empty() || !self.unchecked.is_empty()
    }

    /// Whether the migration cannot begin.
    pub fn blocks(&self) -> bool {
        self.of(Level::Obstacle).next().is_some() || !self.unchecked.is_empty()
    }
}

/// The error of a migration that did not begin, because of what the preflight found. Nothing has been changed.
#[derive(Debug)]
pub struct Blocked(pub Preflight);

impl std::error::Error for Blocked {}

impl std::fmt::Display for Blocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let obstacles: Vec<_> = self.0.of(Level::Obstacle).map(PreflightFinding::label).collect();
        let unchecked = self.0.unchecked.iter().map(|unchecked| unchecked.check.clone());
        let all: Vec<_> = obstacles.into_iter().chain(unchecked).collect();
        write!(
            f,
            "{} {} in the way of the migration, and nothing has been changed: {}. \
             `migrate --check` shows each with its rows and a remedy",
            all.len(),
            if all.len() == 1 {
                "finding stands"
            } else {
                "findings stand"
            },
            all.join(", ")
        )
    }
}

/// Runs every check on a database that may be in use, and changes nothing.
///
/// # Errors
/// When the connection breaks.
pub(crate) async fn inspect(client: &mut Client, kinds: &[ItemKind], progress: &Progress) -> anyhow::Result<Preflight> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(SESSION).await?;
    let preflight = inspect_within(&transaction, kinds, Scope::All, progress).await?;
    transaction.rollback().await?;
    Ok(preflight)
}

/// Which checks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    All,
    /// Those of [`CURRENT`], and whether this role may replace the functions here.
    Functions,
    /// Those of [`CURRENT`].
    Current,
}

/// The same within a transaction.
pub(crate) async fn inspect_within(
    transaction: &Transaction<'_>,
    kinds: &[ItemKind],
    scope: Scope,
    progress: &Progress,
) -> anyhow::Result<Preflight> {
    let started = Instant::now();
    let mut checks = checks(kinds);
    checks.retain(|check| match scope {
        Scope::All => true,
        Scope::Functions => {
            let others = ["server_read_only", "rights_of_role", "rights_of_tables"];
            CURRENT.contains(&check.name.as_str()) || others.contains(&check.name.as_str())
        }
        Scope::Current => CURRENT.contains(&check.name.as_str()),
    });
    for parent in parents(transaction).await? {
        checks.iter_mut().for_each(|check| check.leave_out_children(&parent));
    }
    let mut preflight = Preflight {
        findings: Vec::new(),
        unchecked: Vec::new(),
        checks: checks.len(),
        elapsed: Duration::ZERO,
        repaired: false,
    };
    for (number, check) in checks.iter().enumerate() {
        progress.step(format!("check {} of {}: {}", number + 1, checks.len(), check.label()));
        transaction.batch_execute("savepoint preflight").await?;
        match run(transaction, check).await {
            Ok(finding) => preflight.findings.extend(finding),
            Err(error) => {
                let refusal = error
                    .as_db_error()
                    .map(|db| (db.code().code().to_owned(), db.message().to_owned()));
                match refusal {
                    // A table that does not exist yet. Another check knows whether it should.
                    Some((code, _)) if code == "42P01" => {}
                    // The statement does not fit the database: a column, a type, a right, or the encoding of a text.
                    Some((code, reason)) if ["42", "22", "0A", "3F"].contains(&&code[..2]) => {
                        let check = check.label();
                        preflight.unchecked.push(Unchecked { check, reason });
                    }
                    _ => return Err(error).with_context(|| format!("the check {} failed", check.label())),
                }
            }
        }
        transaction.batch_execute("rollback to savepoint preflight").await?;
    }
    preflight.elapsed = started.elapsed();
    Ok(preflight)
}

/// The tables from which others inherit. That is an obstacle; rows of the others would make the remaining findings, and
/// their remedies, wrong.
async fn parents(transaction: &Transaction<'_>) -> anyhow::Result<Vec<String>> {
    let parents = "select relname::text from pg_class
                   where relnamespace = to_regnamespace('public') and relkind = 'r'
                     and exists (select from pg_inherits where inhparent = pg_class.oid)";
    let rows = transaction.query(parents, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn run(transaction: &Transaction<'_>, check: &Check) -> Result<Option<PreflightFinding>, tokio_postgres::Error> {
    let query = format!(
        "with finding as materialized (\n{}\n) select (select count(*) from finding), finding.* from finding limit {MAX_ROWS}",
        check.query
    );
    let mut count = 0;
    let (mut rows, mut remedies) = (Vec::new(), Vec::new());
    for message in transaction.simple_query(&query).await? {
        if let SimpleQueryMessage::Row(row) = message {
            count = row.get(0).and_then(|count| count.parse().ok()).unwrap_or_default();
            rows.push(row.get(1).unwrap_or("null").to_owned());
            if row.len() > 2 {
                remedies.extend(row.get(2).map(str::to_owned));
            }
        }
    }
    if rows.is_empty() {
        return Ok(None);
    }
    Ok(Some(PreflightFinding {
        check: check.name.clone(),
        kind: check.kind.map(str::to_owned),
        level: check.level,
        finds: check.finds.clone(),
        count,
        rows,
        advice: check.advice.clone(),
        remedy: match remedies.is_empty() {
            true => check.remedy.clone(),
            false => remedies.join("\n"),
        },
    }))
}
