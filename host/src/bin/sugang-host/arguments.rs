//! The command line.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use clap::{Args, Parser, Subcommand};
use sugang_host::{
    LOG_QUEUE_BYTES, Limits, OutboundLimits, PostgresLimits, Prepare, RedisLimits, Settings, default_parallelism,
    environment,
};
use sugang_migrations::{LockWait, OperatorCommand, Options, ServiceRole};

/// Serves the component of a spin.toml over HTTP, with PostgreSQL, Redis and variables behind it.
///
/// The application's variables come from --variable, else from SPIN_VARIABLE_<NAME> in the environment or the file that
/// SPIN_VARIABLE_<NAME>_FILE names, else from the manifest. SIGTERM and SIGINT stop the server; requests in flight end first.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub serve: Serve,
}

#[derive(Subcommand)]
pub enum Command {
    /// Serve the application; this is also what happens without a subcommand.
    Serve(Box<Serve>),
    /// Do what is due without a request, such as releasing seats whose time is up, and exit: for a cron where --sweep-every is
    /// 0.
    ///
    /// Takes what serving takes, and listens nowhere. Prints what it did.
    Sweep(Box<Serve>),
    /// Bring the database up to date and exit; a second time changes nothing.
    ///
    /// A preflight looks at the whole database first. If anything stands in the way, all of it is printed with its rows
    /// and a remedy, nothing is changed, and the exit status is 3. If a newer version has migrated the database, nothing is
    /// changed either, and it says whether this version can serve. At the end, requests are rehearsed as the role that serves,
    /// and rolled back: if they would fail, the exit status is 3 as well, and the migration is done.
    Migrate(Migrate),
    /// Prove that the books are right: seats, money, counts, history, and what guards them.
    ///
    /// Runs every check on one snapshot of the database, while the service may be at work. Prints each check with "ok", or
    /// the ids of what violates it and what to do, and fails if there are any.
    Audit(Audit),
    /// Make an account an operator, take that right, or list the operators.
    ///
    /// An operator manages exams and courses over the API; a superuser also makes operators. Prints the account with the
    /// right that it has now.
    Operator(Operator),
}

#[derive(Args)]
pub struct Operator {
    #[command(flatten)]
    pub database: Database,
    #[command(subcommand)]
    pub command: OperatorCommand,
}

#[derive(Args)]
pub struct Audit {
    #[command(flatten)]
    pub database: Database,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Database {
    /// The database, as postgres://user:password@host:port/name [env: SPIN_VARIABLE_DATABASE_URL, or the file that
    /// SPIN_VARIABLE_DATABASE_URL_FILE names]. SPIN_VARIABLE_DATABASE_PASSWORD, or …_FILE, sets a password that the URL
    /// leaves out
    #[arg(long)]
    database_url: Option<String>,
}

impl Database {
    /// The URL with its password.
    ///
    /// # Errors
    /// There is none, or it can never work.
    pub fn url(&self) -> Result<String> {
        let url = match &self.database_url {
            Some(url) => Some(url.clone()),
            None => environment("SPIN_VARIABLE_DATABASE_URL")?,
        };
        let url = url.context("set the database: SPIN_VARIABLE_DATABASE_URL in the environment, or --database-url")?;
        // A flag would show it in the list of processes.
        let password = environment("SPIN_VARIABLE_DATABASE_PASSWORD")?.unwrap_or_default();
        let completed = sugang_connect::postgres::complete(&url, &password);
        completed.map_err(|error| anyhow!("--database-url (SPIN_VARIABLE_DATABASE_URL) {error}"))
    }
}

#[derive(Args)]
pub struct Migrate {
    #[command(flatten)]
    pub database: Database,
    /// Change nothing: print what stands in the way, what would be repaired, and what is worth knowing, and rehearse requests
    /// on a database that is up to date.
    #[arg(long)]
    pub check: bool,
    /// Do not rehearse requests at the end.
    #[arg(long)]
    no_rehearsal: bool,
    /// The role that is to serve requests: gives it the rights that they need, and no more. SUGANG_ROLE_PASSWORD, or the
    /// file that SUGANG_ROLE_PASSWORD_FILE names, creates it where it is missing, and is its password from then on
    #[arg(long, value_name = "ROLE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    grant_to: Option<String>,
    /// Seconds to try to lock the tables; then the exit status is 4, and nothing has been changed.
    #[arg(long, default_value_t = LockWait::default().limit.as_secs())]
    lock_wait_s: u64,
    /// Milliseconds for which requests queue behind one such attempt, at most.
    #[arg(long, default_value_t = millis(LockWait::default().timeout), value_parser = clap::value_parser!(u64).range(1..))]
    lock_timeout_ms: u64,
}

impl Migrate {
    /// How to migrate.
    ///
    /// # Errors
    /// The password of the role cannot be read.
    pub fn options(&self) -> Result<Options> {
        let role = |name: &String| {
            anyhow::Ok(ServiceRole {
                name: name.clone(),
                password: environment("SUGANG_ROLE_PASSWORD")?.filter(|password| !password.is_empty()),
            })
        };
        Ok(Options {
            check_only: self.check,
            skips_rehearsal: self.no_rehearsal,
            progress: true,
            wait: LockWait {
                timeout: Duration::from_millis(self.lock_timeout_ms),
                limit: Duration::from_secs(self.lock_wait_s),
            },
            service_role: self.grant_to.as_ref().map(role).transpose()?,
            ..Options::default()
        })
    }
}

#[derive(Args)]
pub struct Serve {
    /// The application's manifest.
    #[arg(long, default_value = "spin.toml")]
    pub manifest: PathBuf,
    /// The address and port to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// A variable of the application, as NAME=VALUE. May be repeated. Other users can read it in the list of processes:
    /// set a secret in the environment instead.
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, String)>,
    /// The path that is requested inside the host before it listens; a response with the code `misconfigured` stops the
    /// start. Empty for no probe.
    #[arg(long, default_value = "/readyz")]
    probe: String,
    /// Seconds between two sweeps, which do what is due without a request, such as releasing seats whose time is up. Several
    /// hosts share the work. 0 for none
    #[arg(long, default_value_t = 10)]
    sweep_every: u64,
    /// Threads that serve. The default is one for every two processors, and at least one: the others are left to
    /// PostgreSQL and Redis. If the host has a machine to itself, use one for each processor
    #[arg(long, default_value_t = default_parallelism())]
    pub threads: usize,
    /// Kilobytes of the log that wait for its reader, and as many that are being written. Further lines are dropped and
    /// counted.
    #[arg(long, default_value_t = LOG_QUEUE_BYTES >> 10)]
    pub log_queue_kib: usize,
    #[command(flatten)]
    limits: LimitArguments,
}

#[derive(Args)]
#[command(next_help_heading = "Limits")]
struct LimitArguments {
    /// Requests in flight; further ones queue. One address has at most a quarter of them.
    #[arg(long, default_value_t = Limits::default().requests)]
    max_requests: usize,
    /// Requests in flight to the manifest's `cpu_bound` paths, such as logins, counted apart. The default is four for each
    /// of --max-cpu-bound
    #[arg(long, alias = "max-computing-requests", default_value_t = Limits::default().cpu_bound_requests)]
    max_cpu_bound_requests: usize,
    /// Requests in flight to the manifest's `outbound` paths, which wait for another server, counted apart. One address has
    /// at most a quarter of them.
    #[arg(long, default_value_t = Limits::default().outbound_requests)]
    max_outbound_requests: usize,
    /// Milliseconds that a request may queue; then it is answered 503.
    #[arg(long, default_value_t = millis(Limits::default().request_wait_timeout))]
    request_wait_timeout_ms: u64,
    /// Open connections of clients.
    #[arg(long, default_value_t = Limits::default().connections)]
    max_connections: usize,
    /// Open connections of clients from one address, or from one /64 of IPv6; further ones are closed. Its concurrent
    /// requests over HTTP/2 have the same bound.
    #[arg(long, default_value_t = Limits::default().connections_per_address)]
    max_connections_per_address: usize,
    /// Addresses of proxies, which may have everything: connections, places, memory. With commas between several of them
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', default_values_t = Limits::default().trusted_proxies)]
    trusted_proxies: Vec<IpAddr>,
    /// Requests in flight for /healthz, /readyz and preflights, counted apart.
    #[arg(long, default_value_t = Limits::default().probe_requests)]
    max_probe_requests: usize,
    /// Concurrent requests of one connection of HTTP/2.
    #[arg(long, default_value_t = Limits::default().streams)]
    max_streams: u32,
    /// Milliseconds for a client to send the head of a request; then 408.
    #[arg(long, default_value_t = millis(Limits::default().head_timeout))]
    head_timeout_ms: u64,
    /// Milliseconds that a connection is kept between two requests. Longer than what a load balancer keeps it for; at most
    /// five seconds while three quarters of the connections are taken
    #[arg(long, default_value_t = millis(Limits::default().idle_timeout))]
    idle_timeout_ms: u64,
    /// Milliseconds in which a client sends nothing of a body; then 408.
    #[arg(long, default_value_t = millis(Limits::default().body_timeout))]
    body_timeout_ms: u64,
    /// Milliseconds in which a client reads nothing of a response; then its connection is closed.
    #[arg(long, default_value_t = millis(Limits::default().write_timeout))]
    write_timeout_ms: u64,
    /// Bytes per second at which a client must send a body and read a response, once the two times above have passed. 0 for
    /// no rate
    #[arg(long, default_value_t = Limits::default().min_rate)]
    min_rate_bytes: u32,
    /// Megabytes for requests that wait for a place, beside 8 KiB for each; beyond them, 503. One address has a quarter.
    #[arg(long, default_value_t = Limits::default().request_memory >> 20)]
    request_memory_mib: usize,
    /// Megabytes for responses that wait for their clients, beside 16 KiB for each; beyond them, 503. One address has a
    /// quarter.
    #[arg(long, default_value_t = Limits::default().response_memory >> 20)]
    response_memory_mib: usize,
    /// Milliseconds until a response; then 504.
    #[arg(long, default_value_t = millis(Limits::default().request_timeout))]
    request_timeout_ms: u64,
    /// Milliseconds for requests in flight to end when the host stops.
    #[arg(long, default_value_t = millis(Limits::default().shutdown_timeout))]
    shutdown_timeout_ms: u64,
    /// Megabytes of memory of one instance.
    #[arg(long, default_value_t = Limits::default().instance_memory >> 20)]
    instance_memory_mib: usize,
    /// Instances that compute for long at the same time, as for hashing a password; further ones queue. The default is one
    /// for every two processors, and at least one
    #[arg(long, alias = "computing-at-once", default_value_t = Limits::default().cpu_bound)]
    max_cpu_bound: usize,
    /// Connections to PostgreSQL.
    #[arg(long, default_value_t = PostgresLimits::default().connections)]
    postgres_connections: usize,
    /// Whether statements stay prepared on a connection. `auto`: unless a pooler is recognized between the host and
    /// PostgreSQL. `always`: also behind a pooler, for one that tracks prepared statements
    #[arg(long, value_enum, default_value_t = PostgresLimits::default().prepare)]
    postgres_prepare: Prepare,
    /// Seconds that a connection to PostgreSQL is used at all.
    #[arg(long, default_value_t = PostgresLimits::default().max_age.as_secs())]
    postgres_max_age_s: u64,
    /// Statements that PostgreSQL executes at the same time; further ones queue. A statement stops counting after 20 ms.
    /// The default is two for each processor of this machine, and at least four
    #[arg(long, default_value_t = PostgresLimits::default().at_once)]
    postgres_at_once: usize,
    /// Milliseconds to wait for a free connection to PostgreSQL.
    #[arg(long, default_value_t = millis(PostgresLimits::default().wait_timeout))]
    postgres_wait_timeout_ms: u64,
    /// Milliseconds to connect to each PostgreSQL of the URL; all addresses of its name share them.
    #[arg(long, default_value_t = millis(PostgresLimits::default().connect_timeout))]
    postgres_connect_timeout_ms: u64,
    /// Milliseconds to connect to Redis.
    #[arg(long, default_value_t = millis(RedisLimits::default().connect_timeout))]
    redis_connect_timeout_ms: u64,
    /// Milliseconds for a reply of Redis.
    #[arg(long, default_value_t = millis(RedisLimits::default().response_timeout))]
    redis_response_timeout_ms: u64,
    /// Requests of the component in flight to each other server, such as a payment gateway.
    #[arg(long, default_value_t = OutboundLimits::default().requests)]
    outbound_at_once: usize,
    /// Milliseconds to look up another server, connect to it and encrypt.
    #[arg(long, default_value_t = millis(OutboundLimits::default().connect_timeout))]
    outbound_connect_timeout_ms: u64,
    /// Milliseconds for another server's response to begin. The component may wait for less.
    #[arg(long, default_value_t = millis(OutboundLimits::default().first_byte_timeout))]
    outbound_first_byte_timeout_ms: u64,
    /// A file in PEM with authorities that HTTPS to other servers trusts beside those of this system.
    #[arg(long, value_name = "FILE")]
    outbound_ca_file: Option<PathBuf>,
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

fn variable(text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once('=').context("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Serve {
    pub fn settings(&self) -> Settings {
        Settings {
            listen: self.listen,
            variables: self.variables.iter().cloned().collect(),
            environment: true,
            probe: (!self.probe.is_empty()).then(|| self.probe.clone()),
            sweep_every: (self.sweep_every > 0).then(|| Duration::from_secs(self.sweep_every)),
            limits: self.limits.limits(),
        }
    }
}

impl LimitArguments {
    fn limits(&self) -> Limits {
        Limits {
            requests: self.max_requests.max(1),
            cpu_bound_requests: self.max_cpu_bound_requests.max(1),
            outbound_requests: self.max_outbound_requests.max(1),
            request_wait_timeout: Duration::from_millis(self.request_wait_timeout_ms),
            connections: self.max_connections,
            connections_per_address: self.max_connections_per_address.max(1),
            trusted_proxies: self.trusted_proxies.clone(),
            probe_requests: self.max_probe_requests.max(1),
            streams: self.max_streams.max(1),
            head_timeout: Duration::from_millis(self.head_timeout_ms),
            idle_timeout: Duration::from_millis(self.idle_timeout_ms),
            body_timeout: Duration::from_millis(self.body_timeout_ms),
            write_timeout: Duration::from_millis(self.write_timeout_ms),
            min_rate: self.min_rate_bytes,
            request_memory: self.request_memory_mib << 20,
            response_memory: self.response_memory_mib << 20,
            request_timeout: Duration::from_millis(self.request_timeout_ms),
            shutdown_timeout: Duration::from_millis(self.shutdown_timeout_ms),
            instance_memory: self.instance_memory_mib << 20,
            cpu_bound: self.max_cpu_bound.max(1),
            postgres: PostgresLimits {
                connections: self.postgres_connections,
                prepare: self.postgres_prepare,
                max_age: Duration::from_secs(self.postgres_max_age_s),
                at_once: self.postgres_at_once.max(1),
                wait_timeout: Duration::from_millis(self.postgres_wait_timeout_ms),
                connect_timeout: Duration::from_millis(self.postgres_connect_timeout_ms),
                ..PostgresLimits::default()
            },
            redis: RedisLimits {
                connect_timeout: Duration::from_millis(self.redis_connect_timeout_ms),
                response_timeout: Duration::from_millis(self.redis_response_timeout_ms),
                ..RedisLimits::default()
            },
            outbound: OutboundLimits {
                requests: self.outbound_at_once.max(1),
                connect_timeout: Duration::from_millis(self.outbound_connect_timeout_ms),
                first_byte_timeout: Duration::from_millis(self.outbound_first_byte_timeout_ms),
                authorities: self.outbound_ca_file.clone(),
                ..OutboundLimits::default()
            },
            ..Limits::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn former_names_of_flags_still_work() {
        let flags = ["sugang-host", "--computing-at-once=3", "--max-computing-requests=7"];
        let limits = Arguments::parse_from(flags).serve.settings().limits;
        assert_eq!((limits.cpu_bound, limits.cpu_bound_requests), (3, 7));
    }
}
