//! Runs the checks of `audit.sql`.

use anyhow::Context;
use tokio_postgres::Client;

use crate::kind::{ItemKind, KINDS, expand_all};

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The name of the check in `audit.sql`.
    pub check: String,
    /// The kind that was checked, for a check that runs for each kind.
    pub kind: Option<String>,
    /// The ids of the rows that break it, as the check writes them. Empty when all is right.
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
    client
        .batch_execute("begin isolation level repeatable read, read only; set local jit = off")
        .await?;
    let findings = run_checks(client, kinds).await;
    client.batch_execute("rollback").await?;
    findings
}

async fn run_checks(client: &Client, kinds: &[ItemKind]) -> anyhow::Result<Vec<Finding>> {
    client
        .query_one("select 1 from sugang.migrations limit 1", &[])
        .await
        .context("the database is not migrated")?;
    let mut findings = Vec::new();
    for (check, kind, query) in checks(kinds) {
        let rows = client
            .query(&query, &[])
            .await
            .with_context(|| format!("the check {check} failed"))?;
        findings.push(Finding {
            check,
            kind,
            ids: rows.iter().map(|row| row.get(0)).collect(),
        });
    }
    Ok(findings)
}

/// The name, the kind and the query of each check.
fn checks(kinds: &[ItemKind]) -> Vec<(String, Option<String>, String)> {
    let sections = include_str!("../audit.sql").split("-- check: ").skip(1);
    let named = sections.filter_map(|section| section.split_once('\n'));
    named
        .flat_map(|(check, query)| {
            expand_all(query, kinds)
                .into_iter()
                .map(|(kind, query)| (check.to_owned(), kind.map(|kind| kind.kind.to_owned()), query))
        })
        .collect()
}
