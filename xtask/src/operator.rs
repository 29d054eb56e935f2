//! `cargo xtask operator`: makes the operators of a database.

use sugang_migrations::OperatorCommand;

use crate::database::DatabaseChoice;

/// Makes an account an operator, takes that right, or lists the operators.
///
/// An operator manages exams and courses over the API; a superuser also makes operators. Prints the account with the right
/// that it has now.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    database: DatabaseChoice,
    #[command(subcommand)]
    command: OperatorCommand,
}

/// Runs the subcommand.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let database = arguments.database.open("operator").await?;
    let managed = sugang_migrations::manage_operators(&database.url, &arguments.command).await;
    managed.and(database.close().await)
}
