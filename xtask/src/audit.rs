//! `cargo xtask audit`: checks the books of a database.

use sugang_migrations::Format;

use crate::database::DatabaseChoice;

/// Checks that the books are right: seats, money, counts, history, and what guards them.
///
/// Runs every check of `migrations/audit/` on one snapshot, while the service may be at work. Prints each with "ok", or the
/// ids of the rows that break it and what to do, and fails when there are any.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    database: DatabaseChoice,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let database = arguments.database.open("audit").await?;
    let findings = sugang_migrations::audit_database(&database.url).await;
    database.close().await?;
    let format = if arguments.json { Format::Json } else { Format::Text };
    sugang_migrations::report(&findings?, format)
}
