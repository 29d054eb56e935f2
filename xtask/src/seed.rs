//! `cargo xtask seed`: fills a database.

use sugang_bench::seed::{self, Amounts};

use crate::database::DatabaseChoice;

/// Fills the database with a catalogue, demo users, registrations and payments.
///
/// The numbers are totals: a kind that has as many rows already stays as it is, one that has fewer gets the rest, so the
/// same command twice changes nothing. Registrations are added only to a kind that has none. The same numbers on the
/// same day write the same rows into an empty database. While a kind is filled, its table is locked.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    amounts: Amounts,
    #[command(flatten)]
    database: DatabaseChoice,
}

/// Runs the subcommand.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let database = arguments.database.open("seed").await?;
    let filled = async {
        sugang_migrations::run(&database.url).await?;
        seed::fill(&database.url, arguments.amounts).await
    }
    .await;
    filled.and(database.close().await)
}
