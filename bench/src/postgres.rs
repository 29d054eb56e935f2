//! One connection to PostgreSQL.

use anyhow::Context;
use tokio_postgres::{Client, NoTls};

/// Connects to the database at this URL and drives the connection in a task of its own.
///
/// # Errors
/// When the database does not answer or refuses the user.
pub async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .context("cannot reach the database")?;
    tokio::spawn(connection);
    Ok(client)
}
