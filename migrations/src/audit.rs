//! Runs the checks of `audit/`, and compares the functions and triggers with those of this program.

use std::collections::HashMap;

use anyhow::{Context, ensure};
use tokio_postgres::Client;

use crate::{
    checks::{Check, checks},
    kind::{ItemKind, KINDS},
    progress::Progress,
    scripts,
    session::SESSION,
};

/// The most ids that a finding has.
const MAX_IDS: usize = 100;

/// The check that no file has: the functions and triggers are those of this program.
const FUNCTIONS: &str = "functions";

/// What to do about [`FUNCTIONS`].
const FUNCTIONS_ADVICE: &str = "Another version of this program migrated the database, or its functions were changed by \
    hand. Audit with the version that migrated it, or run `update sugang.migrations set hash = '' where script = \
    'functions'` and then `migrate`, which replaces them.";

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The name of the check in `audit/`.
    pub check: String,
    /// The kind that was checked, for a check that runs for each kind.
    pub kind: Option<String>,
    /// What to do about what is found.
    pub advice: String,
    /// How many rows break it.
    pub count: i64,
    /// The ids of these rows, at most a hundred, as the check writes them. Empty when all is right.
    pub ids: Vec<String>,
}

/// Runs every check in one snapshot, on a database that may be in use.
///
/// # Errors
/// When the database is not migrated, `client` is in a transaction, or the connection breaks.
pub async fn audit(client: &Client) -> anyhow::Result<Vec<Finding>> {
    audit_with(client, KINDS).await
}

/// Like [`audit`], for other kinds.
///
/// # Errors
/// Those of [`audit`].
pub async fn audit_with(client: &Client, kinds: &[ItemKind]) -> anyhow::Result<Vec<Finding>> {
    audit_in_steps(client, kinds, &Progress::start(false)).await
}

/// Like [`audit`], and shows on standard error what takes long.
///
/// # Errors
/// Those of [`audit`].
pub(crate) async fn audit_with_progress(client: &Client) -> anyhow::Result<Vec<Finding>> {
    audit_in_steps(client, KINDS, &Progress::start(true)).await
}

/// Runs the checks of these names in the transaction that `client` is in, and so on what it has not committed.
///
/// # Errors
/// When the database is not migrated, or the connection breaks.
pub async fn audit_within(client: &Client, names: &[&str]) -> anyhow::Result<Vec<Finding>> {
    run_checks(client, KINDS, &Progress::start(false), |name| names.contains(&name)).await
}

async fn audit_in_steps(client: &Client, kinds: &[ItemKind], progress: &Progress) -> anyhow::Result<Vec<Finding>> {
    client
        .batch_execute("begin isolation level repeatable read, read only")
        .await?;
    client.batch_execute(SESSION).await?;
    let findings = run_checks(client, kinds, progress, |_| true).await;
    client.batch_execute("rollback").await?;
    findings
}

async fn run_checks(
    client: &Client,
    kinds: &[ItemKind],
    progress: &Progress,
    is_wanted: impl Fn(&str) -> bool,
) -> anyhow::Result<Vec<Finding>> {
    ensure_migrated(client, kinds).await?;
    let mut checks = checks(kinds);
    checks.retain(|check| is_wanted(&check.name));
    let mut findings = Vec::with_capacity(checks.len() + 1);
    if is_wanted(FUNCTIONS) {
        findings.push(functions(client, kinds).await?);
    }
    for (number, check) in (1..).zip(&checks) {
        progress.step(format!("{} ({number} of {})", check.label(), checks.len()));
        findings.push(check.run(client).await?);
    }
    Ok(findings)
}

/// # Errors
/// A file of `schema/` has not been applied.
async fn ensure_migrated(client: &Client, kinds: &[ItemKind]) -> anyhow::Result<()> {
    let applied = client
        .query("select script, kind from sugang.migrations", &[])
        .await
        .context("the database is not migrated")?;
    for script in scripts::schema(kinds) {
        ensure!(
            applied
                .iter()
                .any(|row| row.get::<_, &str>(0) == script.name && row.get::<_, &str>(1) == script.kind),
            "the database is not migrated to this version: {} is missing. Run `migrate` first",
            script.label()
        );
    }
    Ok(())
}

impl Check {
    async fn run(&self, client: &Client) -> anyhow::Result<Finding> {
        let query = format!(
            "select id, count(*) over () from ({}) found (id) limit {MAX_IDS}",
            self.query
        );
        let rows = client
            .query(&query, &[])
            .await
            .with_context(|| format!("the check {} failed", self.label()))?;
        Ok(Finding {
            check: self.name.clone(),
            kind: self.kind.clone(),
            advice: self.advice.clone(),
            count: rows.first().map_or(0, |row| row.get(1)),
            ids: rows.iter().map(|row| row.get(0)).collect(),
        })
    }
}

/// Compares the functions and triggers of the database with those that this program would make. What the database
/// itself has written down about them could have been changed with them.
async fn functions(client: &Client, kinds: &[ItemKind]) -> anyhow::Result<Finding> {
    let bodies = client
        .query(
            "select proname::text, prosrc from pg_proc where pronamespace = 'sugang'::regnamespace and prokind = 'f'",
            &[],
        )
        .await?;
    let bodies: HashMap<&str, &str> = bodies.iter().map(|row| (row.get(0), row.get(1))).collect();
    let triggers = client
        .query(
            "select concat_ws(' ', tgname, tgrelid::regclass, proname) from pg_trigger join pg_proc p on p.oid = tgfoid
             where pronamespace = 'sugang'::regnamespace and tgenabled in ('O', 'A')",
            &[],
        )
        .await?;
    let triggers: Vec<&str> = triggers.iter().map(|row| row.get(0)).collect();
    let mut ids = Vec::new();
    for script in scripts::functions(kinds) {
        for (name, body) in script.bodies() {
            match bodies.get(name) {
                Some(found) if *found == body => {}
                Some(_) => ids.push(format!("sugang.{name} has another body")),
                None => ids.push(format!("sugang.{name} is missing")),
            }
        }
        for trigger in script.triggers() {
            if !triggers.contains(&trigger.as_str()) {
                ids.push(format!("trigger {trigger} is missing or disabled"));
            }
        }
    }
    let count = i64::try_from(ids.len())?;
    ids.truncate(MAX_IDS);
    Ok(Finding {
        check: FUNCTIONS.to_owned(),
        kind: None,
        advice: FUNCTIONS_ADVICE.to_owned(),
        count,
        ids,
    })
}
