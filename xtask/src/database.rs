//! Which database a command works on.

use sugang_bench::postgres::connect;
use tokio_postgres::Client;

use crate::stores::{Access, StoresChoice, Supervisor};

/// The flags that name the database.
#[derive(clap::Args)]
pub struct DatabaseChoice {
    /// The database [default: that of `cargo xtask up`, also while it runs]
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    database: Option<String>,
    #[command(flatten)]
    stores: StoresChoice,
}

/// A database that answers, and the supervisor of its server, if this command needed one.
pub struct Database {
    /// `postgres://…`
    pub url: String,
    supervisor: Option<Supervisor>,
}

impl DatabaseChoice {
    /// Finds the database; the checkout's own is started where it does not run.
    pub async fn open(&self, command: &str) -> anyhow::Result<Database> {
        Ok(match &self.database {
            Some(url) => Database {
                url: url.clone(),
                supervisor: None,
            },
            None => {
                let supervisor = Supervisor::start(self.stores, Access::Shared, command).await?;
                Database {
                    url: supervisor.stores.database_url.clone(),
                    supervisor: Some(supervisor),
                }
            }
        })
    }
}

impl Database {
    /// Opens a connection.
    pub async fn connect(&self) -> anyhow::Result<Client> {
        connect(&self.url).await
    }

    /// Stops the server, if this command started it.
    pub async fn close(self) -> anyhow::Result<()> {
        match self.supervisor {
            Some(supervisor) => supervisor.stop().await,
            None => Ok(()),
        }
    }
}
