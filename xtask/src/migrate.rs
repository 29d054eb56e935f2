//! `cargo xtask migrate`: brings a database up to date.

use crate::{database::DatabaseChoice, progress::Step};

/// Brings a database up to date: an empty one, one of an earlier version, or one that the Django service made.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    database: DatabaseChoice,
}

/// Runs the subcommand.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let database = arguments.database.open("migrate").await?;
    let migrated = migrate(&database.url).await;
    migrated.and(database.close().await)
}

/// Migrates, and prints which migrations were applied.
pub async fn migrate(database_url: &str) -> anyhow::Result<()> {
    let step = Step::quiet("Migrate the database");
    let applied = sugang_migrations::run(database_url).await?;
    step.done(&match applied.as_slice() {
        [] => "nothing to do".to_owned(),
        applied => applied.join(", "),
    });
    Ok(())
}
