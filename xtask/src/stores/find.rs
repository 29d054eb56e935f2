//! Takes the first stores that work.

use std::{env, fmt, time::Duration};

use anyhow::{Context, anyhow, bail};
use sugang_connect::UrlError;
use tokio::time::timeout;

use super::{
    choice::{Access, Source, StoresChoice},
    command::{Action, Command, Store},
    docker::{self, Docker},
    leftovers,
    local::{self, Local, MissingPackages},
    lock::{Borrowed, Claim, Lock, claim},
    probe::{postgres_version, redis_ping, wait_for_postgres, wait_for_redis},
    running::{Processes, RunningStores},
};

/// For external stores to answer.
const URL_LIMIT: Duration = Duration::from_secs(5);

/// Stores that answer.
pub struct Held {
    pub running: RunningStores,
    servers: Servers,
    /// The lock, where these are the checkout's own stores and this process started them.
    pub lock: Option<Lock>,
}

enum Servers {
    /// Other processes started them.
    External,
    /// Another command of this checkout started them, and waits until this is dropped.
    Borrowed(#[expect(dead_code, reason = "held until it is dropped")] Box<Borrowed>),
    Docker(Box<Docker>),
    Local(Box<Local>),
}

/// No source works.
#[derive(Debug)]
pub struct NoStores {
    /// A line for each source.
    reasons: String,
    /// Packages whose programs would do.
    pub missing: Option<MissingPackages>,
}

impl fmt::Display for NoStores {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "no PostgreSQL and Redis to work with.{}\n\
             One of these is enough: set DATABASE_URL and REDIS_URL, start a Docker engine, or install the programs \
             `postgres` and `redis-server`.",
            self.reasons
        )
    }
}

impl std::error::Error for NoStores {}

/// Finds stores, and starts them where they do not run.
///
/// # Errors
/// [`NoStores`] when no source works; another error when the checkout's own stores are occupied.
pub async fn find(choice: StoresChoice, access: Access) -> anyhow::Result<Held> {
    let mut failed = NoStores {
        reasons: String::new(),
        missing: None,
    };
    let mut lock = None;
    for source in choice.sources() {
        if source != Source::Url && lock.is_none() && access != Access::Throwaway {
            match claim(access).await? {
                Claim::Start(claimed) => {
                    leftovers::stop_servers(&claimed).await?;
                    lock = Some(claimed);
                }
                Claim::Use(borrowed) => {
                    let running = borrowed.record.stores.clone();
                    if let Some(wanted) = choice.stores.filter(|wanted| *wanted != running.from) {
                        bail!(
                            "this checkout's stores run already, from {}, for `{}`: stop that to start them from {wanted}",
                            running.from,
                            borrowed.record.started_by
                        );
                    }
                    let servers = Servers::Borrowed(Box::new(borrowed));
                    return Ok(Held::new(running, servers, None));
                }
            }
        }
        let lifetime = access.lifetime();
        let started = match source {
            Source::Url => external().await.map(|running| (running, Servers::External)),
            Source::Docker => docker::start(lifetime)
                .await
                .map(|(docker, running)| (running, Servers::Docker(Box::new(docker)))),
            Source::Local => local::start(lifetime)
                .await
                .map(|(local, running)| (running, Servers::Local(Box::new(local)))),
        };
        match started {
            Ok((running, servers)) => return Ok(Held::new(running, servers, lock)),
            // Other stores in the place of those that are meant would surprise.
            Err(reason) if reason.is::<WrongUrl>() => return Err(reason),
            Err(reason) => {
                failed.reasons += &format!("\n  {source}: {reason:#}");
                failed.missing = reason.downcast_ref::<MissingPackages>().cloned().or(failed.missing);
            }
        }
    }
    Err(failed.into())
}

impl Held {
    fn new(running: RunningStores, servers: Servers, lock: Option<Lock>) -> Self {
        eprintln!("Stores: {}", running.description);
        let lock = match servers {
            Servers::Docker(_) | Servers::Local(_) => lock,
            Servers::External | Servers::Borrowed(_) => None,
        };
        Self { running, servers, lock }
    }

    /// Executes a command; after a start or a thaw, waits until the store answers.
    pub async fn handle(&mut self, command: Command) -> anyhow::Result<()> {
        match &mut self.servers {
            Servers::External | Servers::Borrowed(_) => bail!("this supervisor did not start these stores"),
            Servers::Docker(docker) => docker.handle(command).await?,
            Servers::Local(local) => local.handle(command).await?,
        }
        if matches!(command.action, Action::Start | Action::Thaw) {
            match command.store {
                Store::Postgres => wait_for_postgres(&self.running.database_url, &mut || Ok(())).await?,
                Store::Redis => wait_for_redis(&self.running.redis_url, &mut || Ok(())).await?,
            }
        }
        Ok(())
    }

    /// Stops what this process started.
    pub async fn end(self) -> anyhow::Result<()> {
        match self.servers {
            Servers::External | Servers::Borrowed(_) => Ok(()),
            Servers::Docker(docker) => docker.end().await,
            Servers::Local(local) => local.end().await,
        }
    }
}

/// A URL of the environment can never work.
#[derive(Debug)]
struct WrongUrl(&'static str, UrlError);

impl fmt::Display for WrongUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.0, self.1)
    }
}

impl std::error::Error for WrongUrl {}

async fn external() -> anyhow::Result<RunningStores> {
    let variable = |name: &str| env::var(name).map_err(|_| anyhow!("{name} is not set"));
    let (database_url, redis_url) = (variable("DATABASE_URL")?, variable("REDIS_URL")?);
    let password = |name: &str| env::var(name).unwrap_or_default();
    let database_url = sugang_connect::postgres::complete(&database_url, &password("DATABASE_PASSWORD"))
        .map_err(|error| WrongUrl("DATABASE_URL", error))?;
    let redis_url = sugang_connect::redis::complete(&redis_url, &password("REDIS_PASSWORD"))
        .map_err(|error| WrongUrl("REDIS_URL", error))?;
    let version = timeout(URL_LIMIT, postgres_version(&database_url)).await;
    let version = version
        .context("DATABASE_URL does not answer")?
        .context("DATABASE_URL")?;
    let redis = timeout(URL_LIMIT, redis_ping(&redis_url)).await;
    redis.context("REDIS_URL does not answer")?.context("REDIS_URL")?;
    Ok(RunningStores {
        database_url,
        redis_url,
        from: Source::Url,
        description: format!("DATABASE_URL (PostgreSQL {version}) and REDIS_URL"),
        processes: Processes::default(),
    })
}
