//! `cargo xtask audit`: checks the books of a database.

use crate::database::DatabaseChoice;

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
    sugang_migrations::report(&findings?)
}
