//! `cargo xtask migrate`: brings a database up to date.

use crate::{database::DatabaseChoice, progress::Step};

/// Brings a database up to date: an empty one, one of an earlier version, or one that the Django service made.
///
/// A preflight looks at the whole database first. If anything stands in the way, all of it is printed with its rows and a
/// remedy, nothing is changed, and the exit status is 3.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    database: DatabaseChoice,
    /// Only run the preflight: print what stands in the way, what would be repaired, and what is worth knowing
    #[arg(long)]
    check: bool,
}

/// Runs the subcommand.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let database = arguments.database.open("migrate").await?;
    let migrated = sugang_migrations::migrate_database(&database.url, arguments.check).await;
    migrated.and(database.close().await)
}

/// Migrates as a step of another command.
pub async fn migrate(database_url: &str) -> anyhow::Result<()> {
    let step = Step::loud("Migrate the database");
    sugang_migrations::migrate_database(database_url, false).await?;
    step.done("");
    Ok(())
}
