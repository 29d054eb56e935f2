//! The audit and the migration as commands: what `cargo xtask` and `sugang-host` have in common.

use anyhow::{Context, bail};
use console::style;

use crate::{
    audit::{Finding, audit_with_progress},
    history::Newer,
    kind::{KINDS, label},
    locks::Locked,
    preflight::Blocked,
    rehearsal,
    run::{Migration, Options, Unserved, migrate},
};

/// The most ids that are printed for one check.
const MAX_IDS: usize = 20;

/// Audits the database at `database_url`.
///
/// # Errors
/// The database cannot be reached, and as for [`crate::audit`].
pub async fn audit_database(database_url: &str) -> anyhow::Result<Vec<Finding>> {
    let (client, connection) = sugang_connect::postgres::connect(database_url)
        .await
        .context("cannot reach the database to audit it")?;
    let driver = tokio::spawn(connection);
    let findings = audit_with_progress(&client).await?;
    drop(client);
    driver.await??;
    Ok(findings)
}

/// The exit status of a command that failed: 3 if a migration did not begin ([`Blocked`]), or if requests would fail after
/// it ([`Unserved`]); 4 if it could not lock its tables in time ([`Locked`]); 1 otherwise.
pub fn exit_status(error: &anyhow::Error) -> u8 {
    match error {
        error if error.is::<Blocked>() || error.is::<Unserved>() => 3,
        error if error.is::<Locked>() => 4,
        _ => 1,
    }
}

/// Migrates the database at `database_url`, or only checks it, and prints what was found and done.
///
/// # Errors
/// Those of [`migrate`]; [`Blocked`] and [`Unserved`] after their findings have been printed.
pub async fn migrate_database(database_url: &str, options: Options) -> anyhow::Result<()> {
    let check_only = options.check_only;
    let role = options.service_role.as_ref().map(|role| role.name.clone());
    let migrated = migrate(database_url, KINDS, options).await;
    let migration = match &migrated {
        Ok(migration) => Some(migration),
        Err(error) => error.downcast_ref::<Unserved>().map(|Unserved(migration)| migration),
    };
    let blocked = migrated
        .as_ref()
        .err()
        .and_then(|error| error.downcast_ref::<Blocked>());
    let preflight = match blocked {
        Some(Blocked(preflight)) => Some(preflight),
        None => migration.and_then(|migration| migration.preflight.as_ref()),
    };
    // A database without anything to say about it, such as a new one, is migrated without a word.
    let shown = preflight.filter(|preflight| check_only || preflight.says_something());
    let mut text = shown.map_or_else(String::new, |preflight| format!("{preflight}\n"));
    if let Some(migration) = migration {
        text += &rehearsal::text(&migration.rehearsal);
        text += &summary(migration, check_only);
        text += "\n";
        // A failure may be of this.
        if let Some(role) = role.filter(|_| !check_only && migrated.is_ok()) {
            text += &format!("The role {role} has the rights that requests need, and cannot change the history\n");
        }
    }
    let printed = sugang_output::print(&text);
    // What became of the database matters more than whether it could be said.
    migrated?;
    printed.context(match check_only {
        true => "the report cannot be printed",
        false => "the database is migrated, but the report cannot be printed",
    })
}

fn summary(migration: &Migration, check_only: bool) -> String {
    let applied = migration.applied.join(", ");
    match (&migration.newer, applied.is_empty(), check_only) {
        (Some(newer), _, _) => of_newer(newer),
        (None, true, _) => "The database is up to date".to_owned(),
        (None, false, false) => format!("Applied {applied}"),
        (None, false, true) => format!("Nothing stands in the way. To apply: {applied}"),
    }
}

fn of_newer(newer: &Newer) -> String {
    let scripts = newer.scripts.join(", ");
    let said = format!("A newer version has migrated the database ({scripts}), so it stays as it is. ");
    match newer.missing.as_slice() {
        [] => {
            said + "This version can serve: every function that it calls is there. What those functions do is up to the \
                    newer version, and /readyz checks their parameters"
        }
        missing => {
            said + "This version cannot serve, and /readyz will be 503: it calls functions that are gone: "
                + &missing.join(", ")
        }
    }
}

/// How to print what the audit found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A line for each check, and what to do below those that found something.
    Text,
    /// One JSON object: `{"ok": false, "checks": [{"check", "kind", "count", "ids", "advice"}, ...]}`.
    Json,
}

/// Prints what each check found: "ok", or the ids of what violates it and what to do.
///
/// # Errors
/// A check found something, or the report cannot be printed.
pub fn report(findings: &[Finding], format: Format) -> anyhow::Result<()> {
    let text: String = match format {
        Format::Text => findings.iter().map(lines).collect(),
        Format::Json => format!("{}\n", json(findings)),
    };
    sugang_output::print(&text).context("the report cannot be printed")?;
    let broken = findings.iter().filter(|finding| finding.count > 0).count();
    if broken > 0 {
        bail!("{broken} of {} checks found something", findings.len());
    }
    Ok(())
}

fn lines(finding: &Finding) -> String {
    let line = line(finding);
    match finding.count {
        0 => format!("{} {line}\n", style(" ok").green().bold()),
        _ => format!("{} {line}\n    {}\n", style("BAD").red().bold(), finding.advice),
    }
}

fn json(findings: &[Finding]) -> serde_json::Value {
    let check = |finding: &Finding| {
        serde_json::json!({
            "check": finding.check,
            "kind": finding.kind,
            "count": finding.count,
            "ids": finding.ids,
            "advice": (finding.count > 0).then_some(&finding.advice),
        })
    };
    let ok = findings.iter().all(|finding| finding.count == 0);
    serde_json::json!({ "ok": ok, "checks": findings.iter().map(check).collect::<Vec<_>>() })
}

fn line(finding: &Finding) -> String {
    let name = label(&finding.check, finding.kind.as_deref());
    let ids = &finding.ids[..finding.ids.len().min(MAX_IDS)];
    match usize::try_from(finding.count)
        .unwrap_or(usize::MAX)
        .saturating_sub(ids.len())
    {
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
            advice: "Raise the capacity.".to_owned(),
            count: i64::try_from(ids).unwrap(),
            ids: (1..=ids.min(100)).map(|id| id.to_string()).collect(),
        }
    }

    #[test]
    fn a_finding_is_one_line() {
        assert_eq!(line(&finding(None, 0)), "capacity");
        assert_eq!(line(&finding(Some("exam"), 2)), "capacity (exam): 1, 2");
        for (ids, end) in [(23, "19, 20 and 3 more"), (1_000, "19, 20 and 980 more")] {
            let long = line(&finding(None, ids));
            assert!(long.ends_with(end), "{long}");
        }
    }

    #[test]
    fn a_finding_fails_the_report() {
        assert!(report(&[finding(None, 0)], Format::Text).is_ok());
        for format in [Format::Text, Format::Json] {
            let error = report(&[finding(None, 0), finding(Some("exam"), 1)], format).unwrap_err();
            assert_eq!(error.to_string(), "1 of 2 checks found something");
        }
    }

    #[test]
    fn json_has_every_check() {
        let report = json(&[finding(None, 0), finding(Some("exam"), 2)]);
        let expected = serde_json::json!({"ok": false, "checks": [
            {"check": "capacity", "kind": null, "count": 0, "ids": [], "advice": null},
            {"check": "capacity", "kind": "exam", "count": 2, "ids": ["1", "2"], "advice": "Raise the capacity."},
        ]});
        assert_eq!(report, expected);
    }
}
