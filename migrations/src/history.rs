//! What has run on a database, compared with what this version has.

use std::collections::HashMap;

use anyhow::{bail, ensure};
use tokio_postgres::Transaction;

use crate::{
    kind::{ItemKind, label},
    scripts::{self, Script},
};

/// The row of `sugang.migrations` that holds the version and the hash of all functions.
const FUNCTIONS: &str = "functions";

/// What is to be done on a database.
pub(crate) struct Plan {
    /// The files of `schema/` that have not run.
    pub pending: Vec<Script>,
    /// All functions of this version.
    pub functions: Vec<Script>,
    /// Whether the database has other functions.
    pub replaces_functions: bool,
    /// What an earlier version has applied and a file that is pending corrects: statements that make way for it.
    pub amendments: Vec<&'static str>,
    /// What a newer version did. Nothing is to be done then.
    pub newer: Option<Newer>,
}

/// A newer version has migrated the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newer {
    /// What this version does not know: files with their kinds, or `functions`.
    pub scripts: Vec<String>,
    /// The functions that this version calls and that are no longer there. Requests that need them fail.
    pub missing: Vec<String>,
}

impl Plan {
    /// Compares a database with this version.
    ///
    /// # Errors
    /// The two do not belong to one line of versions.
    pub(crate) async fn make(transaction: &Transaction<'_>, kinds: &[ItemKind]) -> anyhow::Result<Self> {
        let mut known = known(transaction).await?;
        let functions = scripts::functions(kinds);
        let made_functions = known.remove(&(FUNCTIONS.to_owned(), String::new()));
        let applied: Vec<_> = known.keys().map(|(script, _)| script.clone()).collect();
        let mut pending = Vec::new();
        let mut newest = 0;
        for script in scripts::schema(kinds) {
            newest = newest.max(number(&script.name).unwrap_or_default());
            if !is_known(&script, &mut known)? {
                pending.push(script);
            }
        }
        let mut unknown: Vec<_> = known.into_keys().collect();
        unknown.sort();
        // A file of a kind that this version does not have may have any number.
        if let Some((script, _)) = unknown
            .iter()
            .find(|(script, kind)| kind.is_empty() && number(script).is_some_and(|number| number <= newest))
        {
            bail!(
                "the database has {script}, which this version does not have, although it has V{newest:02}: \
                 neither an earlier nor a newer version migrated it"
            );
        }
        let mut unknown: Vec<_> = unknown
            .iter()
            .map(|(name, kind)| label(name, Some(kind.as_str()).filter(|kind| !kind.is_empty())))
            .collect();
        if let (Some(unknown), Some(script)) = (unknown.first(), pending.first()) {
            bail!(
                "the database has {unknown}, which this version does not know, but not {}: \
                 neither an earlier nor a newer version migrated it",
                script.label()
            );
        }
        let replaces_functions = !pending.is_empty() || made_functions.as_ref() != Some(&stamp(&functions));
        let made_by = made_functions.as_deref().map_or((0, 0, 0), version);
        if pending.is_empty() && replaces_functions && made_by > version(env!("CARGO_PKG_VERSION")) {
            unknown.push(FUNCTIONS.to_owned());
        }
        let newer = match unknown.is_empty() {
            true => None,
            false => Some(Newer {
                missing: missing(transaction, &functions).await?,
                scripts: unknown,
            }),
        };
        Ok(Self {
            amendments: scripts::amendments_before(&applied, &pending),
            replaces_functions: replaces_functions && newer.is_none(),
            pending,
            functions,
            newer,
        })
    }

    /// Leaves out the files after this number, and the functions.
    pub(crate) fn stop_after(&mut self, until: u64) {
        self.pending
            .retain(|script| number(&script.name).is_some_and(|number| number <= until));
        self.replaces_functions = false;
    }

    /// Whether the database has all of this version.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty() && !self.replaces_functions
    }

    /// What the migration applies, for people.
    pub(crate) fn labels(&self) -> Vec<String> {
        let functions = self.replaces_functions.then(|| FUNCTIONS.to_owned());
        self.pending.iter().map(Script::label).chain(functions).collect()
    }
}

/// Makes the table that remembers what has run.
pub(crate) async fn create(transaction: &Transaction<'_>) -> anyhow::Result<()> {
    let create = "create schema if not exists sugang;
                  create table if not exists sugang.migrations (
                      script     text not null,            -- a file of schema/, or 'functions' for all of functions/
                      kind       text not null default '', -- of a file that runs for each kind
                      hash       text not null,            -- of functions, the version of this crate comes before it
                      applied_at timestamptz not null default now(),
                      primary key (script, kind)
                  )";
    Ok(transaction.batch_execute(create).await?)
}

/// Remembers that a file of `schema/` has run.
pub(crate) async fn record(transaction: &Transaction<'_>, script: &Script) -> anyhow::Result<()> {
    write(transaction, &script.name, script.kind, &scripts::hash([script])).await
}

/// Remembers which functions the database has.
pub(crate) async fn record_functions(transaction: &Transaction<'_>, functions: &[Script]) -> anyhow::Result<()> {
    write(transaction, FUNCTIONS, "", &stamp(functions)).await
}

async fn write(transaction: &Transaction<'_>, script: &str, kind: &str, hash: &str) -> anyhow::Result<()> {
    let record = "insert into sugang.migrations (script, kind, hash) values ($1, $2, $3)
                  on conflict (script, kind) do update set hash = excluded.hash, applied_at = excluded.applied_at";
    transaction.execute(record, &[&script, &kind, &hash]).await?;
    Ok(())
}

/// The hash of everything that has been applied, by script and kind.
async fn known(transaction: &Transaction<'_>) -> anyhow::Result<HashMap<(String, String), String>> {
    let tables = "select to_regclass('public.sugang_migrations') is not null, to_regclass('sugang.migrations') is null";
    let tables = transaction.query_one(tables, &[]).await?;
    let (predecessor, new): (bool, bool) = (tables.get(0), tables.get(1));
    ensure!(
        !predecessor,
        "a version from before the first release made this database, and its tables have changed since: delete it. \
         `cargo xtask reset --delete-data` deletes that of `cargo xtask up`"
    );
    if new {
        return Ok(HashMap::new());
    }
    let rows = transaction
        .query("select script, kind, hash from sugang.migrations", &[])
        .await?;
    Ok(rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect())
}

/// Whether a file of `schema/` has been applied. It is removed from those that are known.
fn is_known(script: &Script, known: &mut HashMap<(String, String), String>) -> anyhow::Result<bool> {
    let Some(before) = known.remove(&(script.name.clone(), script.kind.to_owned())) else {
        return Ok(false);
    };
    ensure!(
        before == scripts::hash([script]),
        "schema/{}.sql has changed since it was applied to this database: add a new file instead",
        script.name
    );
    Ok(true)
}

/// The functions that the API of this version calls and that the database does not have.
async fn missing(transaction: &Transaction<'_>, functions: &[Script]) -> anyhow::Result<Vec<String>> {
    let called: Vec<_> = functions.iter().flat_map(Script::called_routines).collect();
    let missing = "select 'sugang.' || name from unnest($1::text[]) name
                   where not exists (select from pg_proc
                                     where pronamespace = to_regnamespace('sugang') and proname = name)
                   order by 1";
    let rows = transaction.query(missing, &[&called]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The version of this crate and the hash of all functions. The version tells an older program to leave them alone.
fn stamp(functions: &[Script]) -> String {
    format!("{} {}", env!("CARGO_PKG_VERSION"), scripts::hash(functions))
}

/// The version at the beginning of a stamp; 0.0.0 if there is none.
fn version(stamp: &str) -> (u64, u64, u64) {
    let version = stamp.split(' ').next().unwrap_or_default();
    let mut parts = version.split(['.', '-', '+']).map_while(|part| part.parse().ok());
    match version.contains('.') {
        true => (
            parts.next().unwrap_or(0),
            parts.next().unwrap_or(0),
            parts.next().unwrap_or(0),
        ),
        false => (0, 0, 0),
    }
}

/// The number of a file of `schema/`.
fn number(script: &str) -> Option<u64> {
    script.strip_prefix('V')?.split_once("__")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(version("0.10.0 abc") > version("0.9.3 abc"));
        assert!(version("1.0.0-rc.1 abc") >= version("1.0.0 abc"));
        // A hash without a version, as before.
        assert_eq!(version("12ab"), (0, 0, 0));
        assert_eq!(version(""), (0, 0, 0));
    }

    #[test]
    fn a_schema_file_has_a_number() {
        assert_eq!(number("V07__audit_log"), Some(7));
        assert_eq!(number("V107__later"), Some(107));
        for other in ["functions", "V__x", "Vx__y", "X07__audit_log"] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
