//! The database: plain SQL in `V*.sql`, run in order, each once, each in its own transaction.
//!
//! Read the files in their order: they explain the system from the tables up.

mod audit;
mod report;

mod embedded {
    refinery::embed_migrations!(".");
}

pub use audit::{Finding, audit};
pub use report::{audit_database, report};

use anyhow::Context;
use tokio_postgres::NoTls;

/// Brings a database up to date and returns the names of the migrations that this call applied (none the second time).
///
/// The database may be empty, or one that the Django service made.
///
/// # Errors
/// When the database cannot be reached or a migration fails. A migration that fails leaves nothing behind.
pub async fn run(database_url: &str) -> anyhow::Result<Vec<String>> {
    let (mut client, connection) = tokio_postgres::connect(database_url, NoTls)
        .await
        .context("cannot reach the database to migrate it")?;
    let driver = tokio::spawn(connection);
    // Where Django's tables are. A database user who is called as our own schema would otherwise make them there anew.
    client.batch_execute("set search_path = public").await?;
    // Two hosts that start at once must not migrate at once; the lock goes with the session.
    client
        .execute("select pg_advisory_lock(hashtextextended('sugang.migrations', 0))", &[])
        .await?;
    let report = embedded::migrations::runner()
        .set_migration_table_name("sugang_migrations")
        .run_async(&mut client)
        .await
        .context("a migration failed; the database is as it was before it")?;
    drop(client);
    driver.await??;
    Ok(report.applied_migrations().iter().map(ToString::to_string).collect())
}
