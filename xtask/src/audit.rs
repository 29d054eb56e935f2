//! Proves that the books of a database are right, or names what is wrong.

use crate::database::DatabaseChoice;

/// Proves that the books are right: seats, money, counts, history.
///
/// Asks every check of `migrations/audit.sql`, all of one moment, while the service may be at work. Prints each with "ok"
/// or the ids of what breaks it, and fails when there are any.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    database: DatabaseChoice,
}

/// Runs the subcommand.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let database = arguments.database.open().await?;
    let findings = sugang_migrations::audit(&database.connect().await?).await;
    database.close().await?;
    sugang_migrations::report(&findings?)
}
