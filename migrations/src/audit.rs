//! Whether the books of a database are right: the checks of `audit.sql`.

use anyhow::Context;
use tokio_postgres::Client;

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check's name in `audit.sql`.
    pub check: String,
    /// The kind that it was asked for; none for a check of what all kinds share.
    pub kind: Option<String>,
    /// Ids of what breaks it, in the words of the check; none when all is right.
    pub ids: Vec<String>,
}

/// Asks every check, all of the same moment, on a database that may be in use, and returns what each found.
///
/// # Errors
/// When the database is not migrated, or `client` is in a transaction or loses its connection.
pub async fn audit(client: &Client) -> anyhow::Result<Vec<Finding>> {
    client
        .batch_execute("begin isolation level repeatable read, read only; set local jit = off")
        .await?;
    let findings = ask(client).await;
    client.batch_execute("rollback").await?;
    findings
}

async fn ask(client: &Client) -> anyhow::Result<Vec<Finding>> {
    let fields = "select k.kind, array_agg(f.key), array_agg(coalesce(f.value, ''))
                  from sugang.kinds k, jsonb_each_text(to_jsonb(k)) f group by k.kind order by k.kind";
    let kinds = client
        .query(fields, &[])
        .await
        .context("this is no migrated database")?;
    let mut findings = Vec::new();
    for section in include_str!("../audit.sql").split("-- check: ").skip(1) {
        let (check, query) = section.split_once('\n').context("a check has a name and a query")?;
        if !query.contains('{') {
            findings.push(Finding {
                check: check.to_owned(),
                kind: None,
                ids: ids(client, check, query).await?,
            });
            continue;
        }
        for kind in &kinds {
            let (keys, values): (Vec<String>, Vec<String>) = (kind.get(1), kind.get(2));
            let fill = |query: String, (key, value): (&String, &String)| query.replace(&format!("{{{key}}}"), value);
            let query = keys.iter().zip(&values).fold(query.to_owned(), fill);
            let ids = ids(client, check, &query).await?;
            findings.push(Finding {
                check: check.to_owned(),
                kind: Some(kind.get(0)),
                ids,
            });
        }
    }
    Ok(findings)
}

async fn ids(client: &Client, check: &str, query: &str) -> anyhow::Result<Vec<String>> {
    let rows = client
        .query(query, &[])
        .await
        .with_context(|| format!("the check {check} cannot be asked"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
