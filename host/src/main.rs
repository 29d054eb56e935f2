//! `sugang-host`: serves the application of a `spin.toml`, or brings its database up to date.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use sugang_host::{Application, Limits, PostgresLimits, RedisLimits, Settings, half_of_the_processors};
use tokio::signal::unix::{SignalKind, signal};

/// Serves the component of a spin.toml over HTTP, with PostgreSQL, Redis and variables behind it.
///
/// The application's variables come from --variable, else from SPIN_VARIABLE_<NAME> in the environment, else from the
/// manifest. SIGTERM and SIGINT stop the server; requests in flight end first.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the application (what happens without a subcommand, too).
    Serve(Serve),
    /// Bring the database up to date and exit; a second time changes nothing.
    Migrate {
        /// The database, as postgres://user:password@host:port/name.
        #[arg(long, env = "SPIN_VARIABLE_DATABASE_URL", hide_env_values = true)]
        database_url: String,
    },
}

#[derive(Args)]
struct Serve {
    /// The application's manifest.
    #[arg(long, default_value = "spin.toml")]
    manifest: PathBuf,
    /// The address and port to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// A variable of the application, as NAME=VALUE. May be repeated. Others can read it in the list of processes: for
    /// a secret use the environment.
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, String)>,
    /// The path that is asked inside the host before it listens; an answer with the code `misconfigured` stops the
    /// start. Empty for none.
    #[arg(long, default_value = "/readyz")]
    probe: String,
    /// Threads that serve. The default is one for every two processors, and one at least: the others are for PostgreSQL
    /// and Redis. A machine that has nothing else to do wants one for each
    #[arg(long, default_value_t = half_of_the_processors())]
    threads: usize,
    #[command(flatten)]
    limits: LimitArguments,
}

#[derive(Args)]
#[command(next_help_heading = "Limits")]
struct LimitArguments {
    /// Requests worked on at once; more of them queue.
    #[arg(long, default_value_t = Limits::default().requests)]
    max_requests: usize,
    /// Beside them, requests to the manifest's `computing` paths, such as logins. The default is four for each of those that
    /// compute at once
    #[arg(long, default_value_t = Limits::default().computing_requests)]
    max_computing_requests: usize,
    /// Milliseconds that a request queues; then it is answered 503.
    #[arg(long, default_value_t = millis(Limits::default().request_wait_timeout))]
    request_wait_timeout_ms: u64,
    /// Open connections of clients.
    #[arg(long, default_value_t = Limits::default().connections)]
    max_connections: usize,
    /// Milliseconds for an answer; then 504.
    #[arg(long, default_value_t = millis(Limits::default().request_timeout))]
    request_timeout_ms: u64,
    /// Milliseconds for requests in flight to end when the host stops.
    #[arg(long, default_value_t = millis(Limits::default().shutdown_timeout))]
    shutdown_timeout_ms: u64,
    /// Megabytes of memory of one instance.
    #[arg(long, default_value_t = Limits::default().instance_memory >> 20)]
    instance_memory_mib: usize,
    /// Passwords hashed at once (and whatever else computes for long); more of them queue. The default is one for every
    /// two processors, and one at least
    #[arg(long, default_value_t = Limits::default().computing)]
    computing_at_once: usize,
    /// Connections to PostgreSQL.
    #[arg(long, default_value_t = PostgresLimits::default().connections)]
    postgres_connections: usize,
    /// Statements that PostgreSQL works on at once; more of them queue, but behind none that takes longer than 20 ms. The
    /// default is two for each processor of this machine, and four at least
    #[arg(long, default_value_t = PostgresLimits::default().at_once)]
    postgres_at_once: usize,
    /// Milliseconds to wait for a free connection to PostgreSQL.
    #[arg(long, default_value_t = millis(PostgresLimits::default().wait_timeout))]
    postgres_wait_timeout_ms: u64,
    /// Milliseconds to connect to PostgreSQL.
    #[arg(long, default_value_t = millis(PostgresLimits::default().connect_timeout))]
    postgres_connect_timeout_ms: u64,
    /// Milliseconds to connect to Redis.
    #[arg(long, default_value_t = millis(RedisLimits::default().connect_timeout))]
    redis_connect_timeout_ms: u64,
    /// Milliseconds for an answer of Redis.
    #[arg(long, default_value_t = millis(RedisLimits::default().response_timeout))]
    redis_response_timeout_ms: u64,
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

fn variable(text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once('=').context("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Serve {
    fn settings(&self) -> Settings {
        let limits = &self.limits;
        Settings {
            listen: self.listen,
            variables: self.variables.iter().cloned().collect(),
            environment: true,
            probe: (!self.probe.is_empty()).then(|| self.probe.clone()),
            limits: Limits {
                requests: limits.max_requests.max(1),
                computing_requests: limits.max_computing_requests.max(1),
                request_wait_timeout: Duration::from_millis(limits.request_wait_timeout_ms),
                connections: limits.max_connections,
                request_timeout: Duration::from_millis(limits.request_timeout_ms),
                shutdown_timeout: Duration::from_millis(limits.shutdown_timeout_ms),
                instance_memory: limits.instance_memory_mib << 20,
                computing: limits.computing_at_once.max(1),
                postgres: PostgresLimits {
                    connections: limits.postgres_connections,
                    at_once: limits.postgres_at_once.max(1),
                    wait_timeout: Duration::from_millis(limits.postgres_wait_timeout_ms),
                    connect_timeout: Duration::from_millis(limits.postgres_connect_timeout_ms),
                    ..PostgresLimits::default()
                },
                redis: RedisLimits {
                    connect_timeout: Duration::from_millis(limits.redis_connect_timeout_ms),
                    response_timeout: Duration::from_millis(limits.redis_response_timeout_ms),
                    ..RedisLimits::default()
                },
                ..Limits::default()
            },
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Some(Command::Migrate { database_url }) => run(1, migrate(database_url)),
        Some(Command::Serve(arguments)) => run(arguments.threads, serve(arguments)),
        None => run(arguments.serve.threads, serve(&arguments.serve)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(threads: usize, work: impl Future<Output = Result<()>>) -> Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime
        .worker_threads(threads.max(1))
        .enable_all()
        .build()?
        .block_on(work)
}

/// Every connection is an open file, and many systems allow a process 1,024 until it asks for more.
fn allow_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    /// Twice the connections of clients, and more than any system minds.
    const FILES: u64 = 1 << 16;
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Where it is refused, connections wait until others have ended.
        _ = setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(FILES)), hard);
    }
}

async fn serve(arguments: &Serve) -> Result<()> {
    allow_open_files();
    // Before anything else: a signal during the start must not be lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let start = async {
        let application = Application::load(&arguments.manifest).await?;
        anyhow::Ok(application.serve(arguments.settings()).await?)
    };
    let server = tokio::select! {
        server = start => server?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    println!("Serving on http://{}", server.addr());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    server.stop().await;
    Ok(())
}

async fn migrate(database_url: &str) -> Result<()> {
    let applied = sugang_migrations::run(database_url).await?;
    match applied.as_slice() {
        [] => println!("The database is up to date"),
        applied => println!("Applied {}", applied.join(", ")),
    }
    Ok(())
}
