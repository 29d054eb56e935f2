//! The audit as a command: what `cargo xtask audit` and `sugang-host audit` have in common.

use anyhow::{Context, bail};
use console::style;
use tokio_postgres::NoTls;

use crate::audit::{Finding, audit};

/// The most ids that are printed for one check.
const MAX_IDS: usize = 20;

/// Audits the database at `database_url`.
///
/// # Errors
/// The database cannot be reached, and as for [`audit`].
pub async fn audit_database(database_url: &str) -> anyhow::Result<Vec<Finding>> {
    let (client, connection) = tokio_postgres::connect(database_url, NoTls)
        .await
        .context("cannot reach the database to audit it")?;
    let driver = tokio::spawn(connection);
    let findings = audit(&client).await?;
    drop(client);
    driver.await??;
    Ok(findings)
}

/// Prints what each check found: "ok", or the ids of what violates it.
///
/// # Errors
/// A check found something.
pub fn report(findings: &[Finding]) -> anyhow::Result<()> {
    for finding in findings {
        let label = match finding.ids.is_empty() {
            true => style(" ok").green(),
            false => style("BAD").red(),
        };
        println!("{} {}", label.bold(), line(finding));
    }
    let broken = findings.iter().filter(|finding| !finding.ids.is_empty()).count();
    if broken > 0 {
        bail!("{broken} of {} checks found something", findings.len());
    }
    Ok(())
}

fn line(finding: &Finding) -> String {
    let name = match &finding.kind {
        Some(kind) => format!("{} ({kind})", finding.check),
        None => finding.check.clone(),
    };
    let ids = &finding.ids[..finding.ids.len().min(MAX_IDS)];
    match finding.ids.len() - ids.len() {
        _ if ids.is_empty() => name,
        0 => format!("{name}: {}", ids.join(", ")),
        more => format!("{name}: {} and {more} more", ids.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(kind: Option<&str>, ids: usize) -> Finding {
        Finding {
            check: "capacity".to_owned(),
            kind: kind.map(str::to_owned),
            ids: (1..=ids).map(|id| id.to_string()).collect(),
        }
    }

    #[test]
    fn a_finding_is_one_line() {
        assert_eq!(line(&finding(None, 0)), "capacity");
        assert_eq!(line(&finding(Some("exam"), 2)), "capacity (exam): 1, 2");
        let long = line(&finding(None, 23));
        assert!(long.ends_with("19, 20 and 3 more"), "{long}");
    }

    #[test]
    fn a_finding_fails_the_report() {
        assert!(report(&[finding(None, 0)]).is_ok());
        let error = report(&[finding(None, 0), finding(Some("exam"), 1)]).unwrap_err();
        assert_eq!(error.to_string(), "1 of 2 checks found something");
    }
}
