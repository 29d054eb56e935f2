//! `cargo xtask audit`: checks the books of a database.

use anyhow::bail;
use console::style;

use crate::database::DatabaseChoice;

/// The most ids printed for one check.
const SHOWN: usize = 20;

/// Checks that the books are right: seats, money, counts, history.
///
/// Runs every check of `migrations/audit.sql` on one snapshot, while the service may be at work. Prints each with "ok" or
/// the ids of the rows that break it, and fails when there are any.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    database: DatabaseChoice,
}

/// Runs the subcommand.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let database = arguments.database.open("audit").await?;
    let findings = async { sugang_migrations::audit(&database.connect().await?).await }.await;
    database.close().await?;
    let findings = findings?;
    for finding in &findings {
        let name = match &finding.kind {
            Some(kind) => format!("{} ({kind})", finding.check),
            None => finding.check.clone(),
        };
        if finding.ids.is_empty() {
            println!("{} {name}", style(" ok").green().bold());
            continue;
        }
        let more = finding.ids.len().saturating_sub(SHOWN);
        let ids = finding
            .ids
            .iter()
            .take(SHOWN)
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        println!("{} {name}: {ids}{more}", style("BAD").red().bold());
    }
    let broken = findings.iter().filter(|finding| !finding.ids.is_empty()).count();
    if broken > 0 {
        bail!("{broken} of {} checks found something", findings.len());
    }
    Ok(())
}
