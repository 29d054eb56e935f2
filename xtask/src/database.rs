//! Which database a command is about.

use anyhow::Context;
use tokio_postgres::{Client, NoTls};

use crate::stores::{Keeper, Lifetime, StoresChoice};

/// The flags that name the database.
#[derive(clap::Args)]
pub struct DatabaseChoice {
    /// The database [default: that of `cargo xtask up`]
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    database: Option<String>,
    #[command(flatten)]
    stores: StoresChoice,
}

/// A database that answers, and what holds it.
pub struct Database {
    /// `postgres://…`
    pub url: String,
    keeper: Option<Keeper>,
}

impl DatabaseChoice {
    /// Finds the database, and starts it when it is the checkout's own.
    pub async fn open(&self) -> anyhow::Result<Database> {
        let database = match &self.database {
            Some(url) => Database {
                url: url.clone(),
                keeper: None,
            },
            None => {
                let keeper = Keeper::start(self.stores, Lifetime::Kept).await?;
                Database {
                    url: keeper.ready.database_url.clone(),
                    keeper: Some(keeper),
                }
            }
        };
        Ok(database)
    }
}

impl Database {
    /// A connection of its own.
    pub async fn connect(&self) -> anyhow::Result<Client> {
        connect(&self.url).await
    }

    /// Lets go of it.
    pub async fn close(self) -> anyhow::Result<()> {
        match self.keeper {
            Some(keeper) => keeper.stop().await,
            None => Ok(()),
        }
    }
}

/// Connects to a database by its address.
pub async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .context("cannot reach the database")?;
    tokio::spawn(connection);
    Ok(client)
}
