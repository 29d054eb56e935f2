//! One connection to PostgreSQL.

use anyhow::Context;
use tokio_postgres::Client;

/// Connects to the database at this URL and drives the connection in a task of its own.
///
/// # Errors
/// When the database does not answer or refuses the user.
pub async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = sugang_connect::postgres::connect(url)
        .await
        .context("cannot reach the database")?;
    tokio::spawn(connection);
    Ok(client)
}
