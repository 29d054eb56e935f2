//! `cargo xtask explain`: the plans of the reads.

use sugang_bench::explain;

use crate::database::DatabaseChoice;

/// Prints the plans, row counts and buffers of the statements behind every kind of read.
///
/// Each is executed three times and the last execution is shown, since the first ones of a session plan, and read into
/// caches. The database's user must be allowed to load auto_explain (a superuser is).
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    database: DatabaseChoice,
    /// Only the requests with this in their name. May be repeated.
    #[arg(long)]
    only: Vec<String>,
}

/// Runs the subcommand.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let database = arguments.database.open("explain").await?;
    let explained = explain::explain(&database.url, &arguments.only).await;
    explained.and(database.close().await)
}
