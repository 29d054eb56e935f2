//! Which database a command works on.

use anyhow::anyhow;

use crate::stores::{Access, StoresChoice, Supervisor};

/// The flags that name the database.
#[derive(clap::Args)]
pub struct DatabaseChoice {
    /// The database [default: that of `cargo xtask up`, also while it runs]. DATABASE_PASSWORD sets a password that the
    /// URL leaves out
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
                url: complete_database_url("--database (DATABASE_URL)", url)?,
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

/// Puts `DATABASE_PASSWORD` into a URL; a message calls the URL `name`.
pub fn complete_database_url(name: &str, url: &str) -> anyhow::Result<String> {
    let password = std::env::var("DATABASE_PASSWORD").unwrap_or_default();
    sugang_connect::postgres::complete(url, &password).map_err(|error| anyhow!("{name} {error}"))
}

impl Database {
    /// Stops the server, if this command started it.
    pub async fn close(self) -> anyhow::Result<()> {
        match self.supervisor {
            Some(supervisor) => supervisor.stop().await,
            None => Ok(()),
        }
    }
}
