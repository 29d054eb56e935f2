//! Serves requests once at the end of a migration, and rolls them back: see `functions/rehearsal.sql`.
//!
//! The migration is committed before. It only adds to what the old service uses, so that service goes on; and what helps,
//! such as a right for the role that was made, needs what the migration has made.

use std::time::Duration;

use tokio_postgres::{Client, Error, IsolationLevel, error::SqlState};

use crate::{
    locks::{LockWait, is_contention},
    role,
    session::SESSION,
};

/// How often the rehearsal is tried while others keep locked what it needs.
const ATTEMPTS: u32 = 4;

/// The most that the rehearsal of one role may take. It takes a tenth of a second, but triggers may be slow.
const LIMIT: Duration = Duration::from_secs(30);

/// What a request would fail of, or that it could not be rehearsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RehearsalFinding {
    /// The requests, what became of them, and where.
    pub finding: String,
    /// What helps.
    pub hint: String,
    /// Whether requests fail.
    pub is_failure: bool,
}

/// Rehearses requests as the role that serves, or where none is named as those of earlier calls, or else as the one that
/// migrates. Returns what they would fail of, or why they were not rehearsed.
///
/// # Errors
/// PostgreSQL cannot be asked.
pub(crate) async fn rehearse(
    client: &mut Client,
    role: Option<&str>,
    wait: &LockWait,
) -> anyhow::Result<Vec<RehearsalFinding>> {
    let mut attempt = 0;
    loop {
        let error = match rehearse_at_once(client, role, wait).await {
            Ok(findings) => return Ok(findings),
            Err(error) => error,
        };
        let postgres = error.downcast_ref::<Error>();
        let is_slow = postgres.is_some_and(|error| error.code() == Some(&SqlState::QUERY_CANCELED));
        if !is_slow && !postgres.is_some_and(is_contention) {
            return Err(error);
        }
        // A transaction of another program, and no reason why a host should not start.
        if is_slow || attempt + 1 == ATTEMPTS {
            return Ok(vec![RehearsalFinding {
                finding: format!("requests were not rehearsed: {}", error.root_cause()),
                hint: "Run `migrate` again when no other transaction is in the way.".to_owned(),
                is_failure: false,
            }]);
        }
        tokio::time::sleep(wait.pause(attempt)).await;
        attempt += 1;
    }
}

async fn rehearse_at_once(
    client: &mut Client,
    role: Option<&str>,
    wait: &LockWait,
) -> anyhow::Result<Vec<RehearsalFinding>> {
    // As requests are served.
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::ReadCommitted)
        .start()
        .await?;
    transaction.batch_execute(SESSION).await?;
    // Shorter than PostgreSQL waits before it looks for a deadlock, so that it never ends a request for the rehearsal.
    let limits = format!(
        "set local lock_timeout = {}; set local statement_timeout = {}",
        wait.timeout(0).as_millis(),
        LIMIT.as_millis()
    );
    transaction.batch_execute(&limits).await?;
    let names = match role {
        Some(role) => vec![role.to_owned()],
        None => role::known(&transaction).await?,
    };
    let roles: Vec<_> = match names.is_empty() {
        true => vec![None],
        false => names.into_iter().map(Some).collect(),
    };
    let mut findings: Vec<RehearsalFinding> = Vec::new();
    for role in &roles {
        let rehearse = "select finding, hint, is_failure from sugang.rehearse($1)";
        for row in transaction.query(rehearse, &[role]).await? {
            let finding = RehearsalFinding {
                finding: row.get(0),
                hint: row.get(1),
                is_failure: row.get(2),
            };
            // What fails for one role mostly fails for each.
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    transaction.rollback().await?;
    Ok(findings)
}

/// The findings as text: failures, then what was not rehearsed. Empty if there are none.
pub(crate) fn text(findings: &[RehearsalFinding]) -> String {
    let mut text = String::new();
    let sections = [
        (
            true,
            "REQUESTS WOULD FAIL, as a rehearsal shows that was rolled back; the migration itself is done",
        ),
        (false, "NOT REHEARSED"),
    ];
    for (is_failure, title) in sections {
        let findings: Vec<_> = findings
            .iter()
            .filter(|finding| finding.is_failure == is_failure)
            .collect();
        if !findings.is_empty() {
            text += &format!("{title}\n\n");
        }
        for RehearsalFinding { finding, hint, .. } in findings {
            // A message of another program stays on its line.
            let finding = finding.replace(char::is_control, " ");
            text += &format!("  rehearsal: {finding}\n    Remedy: {hint}\n\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_comes_with_what_helps() {
        let finding = |finding: &str, is_failure| RehearsalFinding {
            finding: finding.to_owned(),
            hint: "Drop it.".to_owned(),
            is_failure,
        };
        let both = [
            finding("not rehearsed as the role api", false),
            finding("sign-up fails: 23514 a\nb", true),
        ];
        assert_eq!(
            text(&both),
            "REQUESTS WOULD FAIL, as a rehearsal shows that was rolled back; the migration itself is done\n\n  \
             rehearsal: sign-up fails: 23514 a b\n    Remedy: Drop it.\n\n\
             NOT REHEARSED\n\n  rehearsal: not rehearsed as the role api\n    Remedy: Drop it.\n\n"
        );
        assert_eq!(text(&[]), "");
    }
}
