//! PostgreSQL and Redis: finds them, and holds them for as long as somebody needs them.
//!
//! They are held by a process of their own, the keeper: `cargo xtask stores`, this very program. It ends what it
//! started as soon as its standard input does, so nothing is left behind when the command or test that asked for the
//! stores fails, panics or is killed.

pub mod docker;
pub mod local;

use std::{
    env, fmt,
    process::Stdio,
    str::FromStr,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, ChildStdin, Command},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_postgres::NoTls;

use crate::{progress::Step, project};

/// Long enough for the first start in a slow container.
const START_LIMIT: Duration = Duration::from_secs(90);

/// Holds PostgreSQL and Redis until its standard input ends (Ctrl-D) or it is interrupted.
///
/// When both answer, it prints one line of JSON: `database_url`, `redis_url`, `from` ("url", "docker" or "local") and,
/// where it started them, their process or container ids. After that it takes orders, one a line, for tests of faults:
/// `postgres` or `redis`, then `stop` (orderly), `kill` (at once, as a crash), `start`, `freeze` or `thaw`. Each is
/// answered by one line, `{"done":"redis stop"}` or `{"failed":"…"}`; a store keeps its address over a restart.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    choice: StoresChoice,
    /// Keep the data in this checkout's `.sugang/` (or its Docker volumes), with durable settings.
    #[arg(long)]
    keep: bool,
}

/// The flag that forces one kind of stores, for every command that needs them.
#[derive(clap::Args, Clone, Copy)]
pub struct StoresChoice {
    /// Take these PostgreSQL and Redis instead of the first that work.
    #[arg(long, value_name = "WHICH", env = "SUGANG_STORES")]
    stores: Option<Source>,
}

/// Where stores can come from, in the order in which they are tried.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// DATABASE_URL and REDIS_URL.
    Url,
    /// Containers of postgres:17 and redis:7.2.
    Docker,
    /// The programs of this machine; as root on Debian and Ubuntu, installed by apt when they are missing.
    Local,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Url => "DATABASE_URL and REDIS_URL",
            Self::Docker => "Docker",
            Self::Local => "the programs of this machine",
        })
    }
}

/// How long the data live, and with that how careful the stores are with them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// As long as the keeper. Nothing is written through to the disk.
    Throwaway,
    /// Until somebody deletes them.
    Kept,
}

impl Lifetime {
    /// Settings of PostgreSQL. Tests open a pool for each of many databases at once. What is kept may become long: it gets
    /// an eighth of the memory (PostgreSQL takes it as it needs it), and room to write much before it has to tidy up.
    fn postgres_settings(self) -> Vec<String> {
        let settings = match self {
            Self::Throwaway => vec![
                "max_connections=400",
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
            ],
            Self::Kept => vec!["max_connections=200", "max_wal_size=4GB"],
        };
        let mut settings: Vec<_> = settings.into_iter().map(ToOwned::to_owned).collect();
        if self == Self::Kept {
            let megabytes = (project::memory().unwrap_or_default() >> 20) / 8;
            let megabytes = megabytes.clamp(128, 4096);
            settings.push(format!("shared_buffers={megabytes}MB"));
        }
        settings
    }

    /// When Redis saves: `seconds changes`, or nothing for never.
    fn redis_save(self) -> &'static str {
        match self {
            Self::Throwaway => "",
            Self::Kept => "60 1",
        }
    }
}

/// The line that the keeper prints.
#[derive(Clone, Serialize, Deserialize)]
pub struct Ready {
    /// `postgres://…`, its user may create databases.
    pub database_url: String,
    /// `redis://…`
    pub redis_url: String,
    /// Which stores were taken.
    pub from: Source,
    /// The same for people.
    pub description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    postgres_pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redis_pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    postgres_container: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redis_container: Option<String>,
}

#[derive(Clone, Copy)]
enum Store {
    Postgres,
    Redis,
}

#[derive(Clone, Copy)]
enum Action {
    Stop,
    Kill,
    Start,
    Freeze,
    Thaw,
}

/// One order to the keeper.
#[derive(Clone, Copy)]
struct Order {
    store: Store,
    action: Action,
}

impl FromStr for Order {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Self> {
        let (store, action) = line
            .trim()
            .split_once(' ')
            .context("an order is a store and an action")?;
        let store = match store {
            "postgres" => Store::Postgres,
            "redis" => Store::Redis,
            other => bail!("no such store: {other}"),
        };
        let action = match action {
            "stop" => Action::Stop,
            "kill" => Action::Kill,
            "start" => Action::Start,
            "freeze" => Action::Freeze,
            "thaw" => Action::Thaw,
            other => bail!("no such action: {other}"),
        };
        Ok(Self { store, action })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Done(String),
    Failed(String),
}

/// Stores that answer.
enum Held {
    Url(Ready),
    Docker(Box<docker::Docker>, Ready),
    Local(Box<local::Local>, Ready),
}

impl Held {
    fn ready(&self) -> &Ready {
        match self {
            Self::Url(ready) | Self::Docker(_, ready) | Self::Local(_, ready) => ready,
        }
    }

    async fn obey(&mut self, order: Order) -> anyhow::Result<()> {
        match self {
            Self::Url(_) => bail!("stores that somebody else started are not touched"),
            Self::Docker(docker, _) => docker.obey(order).await?,
            Self::Local(local, _) => local.obey(order).await?,
        }
        if matches!(order.action, Action::Start | Action::Thaw) {
            let ready = self.ready();
            match order.store {
                Store::Postgres => postgres_answers(&ready.database_url, &mut || Ok(())).await?,
                Store::Redis => redis_answers(&ready.redis_url, &mut || Ok(())).await?,
            }
        }
        Ok(())
    }

    async fn end(self) -> anyhow::Result<()> {
        match self {
            Self::Url(_) => Ok(()),
            Self::Docker(docker, _) => docker.end().await,
            Self::Local(local, _) => local.end().await,
        }
    }
}

/// Runs the subcommand: the keeper.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let lifetime = if arguments.keep {
        Lifetime::Kept
    } else {
        Lifetime::Throwaway
    };
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut orders = lines_of_stdin();

    let mut held = find(arguments.choice, lifetime).await?;
    println!("{}", serde_json::to_string(held.ready())?);
    loop {
        let line = tokio::select! {
            line = orders.recv() => line,
            _ = hangup.recv() => None,
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
        };
        let Some(line) = line else { break };
        let outcome = match line.parse::<Order>() {
            Ok(order) => held.obey(order).await,
            Err(error) => Err(error),
        };
        let answer = match outcome {
            Ok(()) => Answer::Done(line),
            Err(error) => Answer::Failed(format!("{error:#}")),
        };
        println!("{}", serde_json::to_string(&answer)?);
    }
    held.end().await
}

/// A thread of its own: a read that waits for ever must not keep the keeper from ending.
fn lines_of_stdin() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

async fn find(choice: StoresChoice, lifetime: Lifetime) -> anyhow::Result<Held> {
    let sources = choice
        .stores
        .map_or_else(|| Source::value_variants().to_vec(), |source| vec![source]);
    let mut reasons = String::new();
    for source in sources {
        let taken = match source {
            Source::Url => url().await.map(Held::Url),
            Source::Docker => docker::start(lifetime)
                .await
                .map(|(docker, ready)| Held::Docker(Box::new(docker), ready)),
            Source::Local => local::start(lifetime)
                .await
                .map(|(local, ready)| Held::Local(Box::new(local), ready)),
        };
        match taken {
            Ok(held) => {
                eprintln!("Stores: {}", held.ready().description);
                return Ok(held);
            }
            Err(reason) => reasons += &format!("\n  {source}: {reason:#}"),
        }
    }
    bail!(
        "no PostgreSQL and Redis to work with.{reasons}\n\
         One of these is enough: set DATABASE_URL and REDIS_URL, start a Docker engine, or install the programs \
         `postgres` and `redis-server`."
    )
}

async fn url() -> anyhow::Result<Ready> {
    let variable = |name: &str| env::var(name).map_err(|_| anyhow!("{name} is not set"));
    let (database_url, redis_url) = (variable("DATABASE_URL")?, variable("REDIS_URL")?);
    let limit = Duration::from_secs(5);
    let postgres = timeout(limit, postgres_version(&database_url));
    let postgres = postgres
        .await
        .context("DATABASE_URL does not answer")?
        .context("DATABASE_URL")?;
    timeout(limit, redis_ping(&redis_url))
        .await
        .context("REDIS_URL does not answer")?
        .context("REDIS_URL")?;
    let description = format!("DATABASE_URL (PostgreSQL {postgres}) and REDIS_URL");
    Ok(Ready {
        database_url,
        redis_url,
        from: Source::Url,
        description,
        postgres_pid: None,
        redis_pid: None,
        postgres_container: None,
        redis_container: None,
    })
}

async fn postgres_version(database_url: &str) -> anyhow::Result<String> {
    let (client, connection) = tokio_postgres::connect(database_url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client.query_one("show server_version", &[]).await?.get(0))
}

async fn redis_ping(redis_url: &str) -> anyhow::Result<()> {
    let mut connection = redis::Client::open(redis_url)?
        .get_multiplexed_async_connection()
        .await?;
    Ok(redis::cmd("PING").query_async(&mut connection).await?)
}

/// Waits until PostgreSQL takes queries; `alive` may tell that it never will.
async fn postgres_answers(url: &str, alive: &mut dyn FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        match timeout(Duration::from_secs(2), postgres_version(url)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) if begun.elapsed() > START_LIMIT => return Err(error.context("PostgreSQL does not answer")),
            Err(_) if begun.elapsed() > START_LIMIT => bail!("PostgreSQL does not answer"),
            Ok(Err(_)) | Err(_) => alive()?,
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until Redis answers; `alive` may tell that it never will.
async fn redis_answers(url: &str, alive: &mut dyn FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        match timeout(Duration::from_secs(2), redis_ping(url)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) if begun.elapsed() > START_LIMIT => return Err(error.context("Redis does not answer")),
            Err(_) if begun.elapsed() > START_LIMIT => bail!("Redis does not answer"),
            Ok(Err(_)) | Err(_) => alive()?,
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// A TCP port of the loopback address that nobody listens on at this moment.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// A running keeper, seen from the command that needs the stores. Dropped, it lets the keeper end.
pub struct Keeper {
    process: Child,
    /// What holds the keeper: it ends when this does.
    stdin: ChildStdin,
    /// What it holds.
    pub ready: Ready,
}

impl Keeper {
    /// Starts a keeper and waits until the stores answer.
    pub async fn start(choice: StoresChoice, lifetime: Lifetime) -> anyhow::Result<Self> {
        let step = Step::loud("Find PostgreSQL and Redis");
        let mut command = Command::new(env::current_exe()?);
        command.arg("stores").stdin(Stdio::piped()).stdout(Stdio::piped());
        // Ctrl-C is for us: the keeper ends after us, not with us.
        command.process_group(0);
        if lifetime == Lifetime::Kept {
            command.arg("--keep");
        }
        match choice.stores.and_then(|source| source.to_possible_value()) {
            Some(source) => command.args(["--stores", source.get_name()]),
            None => command.env_remove("SUGANG_STORES"),
        };
        let mut process = command.spawn().context("cannot start the keeper of the stores")?;
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        let (stdin, stdout) = stdin.zip(stdout).context("the keeper has no pipes")?;
        let Some(ready) = first_line(stdout).await? else {
            process.wait().await?;
            bail!("without PostgreSQL and Redis there is nothing to do");
        };
        step.done("");
        Ok(Self {
            process,
            stdin,
            ready: serde_json::from_str(&ready).context("the keeper speaks oddly")?,
        })
    }

    /// Waits until the keeper ends by itself, which it should not.
    pub async fn lost(&mut self) -> anyhow::Error {
        match self.process.wait().await {
            Ok(status) => anyhow!("the keeper of the stores ended ({status})"),
            Err(error) => error.into(),
        }
    }

    /// Lets the keeper end, and waits until all that it started has ended.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.stdin);
        let status = self.process.wait().await?;
        if !status.success() {
            bail!("the stores did not stop cleanly ({status})");
        }
        Ok(())
    }
}

async fn first_line(stdout: impl AsyncRead + Unpin) -> anyhow::Result<Option<String>> {
    Ok(BufReader::new(stdout).lines().next_line().await?)
}
