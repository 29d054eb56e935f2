//! Settings of a server, with a limit on everything that a client, the component or a store could make grow.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZero,
    path::PathBuf,
    time::Duration,
};

/// Settings of one [`Server`](crate::Server).
#[derive(Clone)]
pub struct Settings {
    /// The address to listen on; port 0 takes a free one (see [`Server::addr`](crate::Server::addr)). Default
    /// `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// Values of the application's variables. They win over the environment; a name that the manifest does not declare
    /// is an error.
    pub variables: BTreeMap<String, String>,
    /// Whether `SPIN_VARIABLE_<NAME>` of this process sets the variable `<name>`, as with `spin up`. Default `false`.
    pub environment: bool,
    /// The path that is requested once, inside the process, before the server listens: a response with the code
    /// `misconfigured` stops the start. `None` skips that. Default `/readyz`.
    pub probe: Option<String>,
    /// The time between two sweeps of the component, if its manifest has a sweep. `None` for no sweep. Default `None`.
    pub sweep_every: Option<Duration>,
    /// The limits.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            variables: BTreeMap::new(),
            environment: false,
            probe: Some("/readyz".to_owned()),
            sweep_every: None,
            limits: Limits::default(),
        }
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Half of the processors that this process may use, and at least one. The other half is left to the stores.
pub fn default_parallelism() -> usize {
    (processors() / 2).max(1)
}

/// Upper bounds of one server.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Requests in flight; further ones queue. One address has at most a quarter of them. Default 256.
    pub requests: usize,
    /// Requests in flight to the manifest's `cpu_bound` paths, counted apart from `requests`: each holds the memory of a
    /// password hash. One address has at most half of them. Default four for each of the `cpu_bound` instances.
    pub cpu_bound_requests: usize,
    /// Requests in flight to the manifest's `outbound` paths, counted apart from `requests`: each waits for another server,
    /// which may hang. One address has at most a quarter of them. Default 64.
    pub outbound_requests: usize,
    /// The time that a request may queue; then it is answered 503 with `Retry-After`. Default 10 s.
    pub request_wait_timeout: Duration,
    /// Open connections of clients; further ones wait in the listener's backlog. Default 8192.
    pub connections: usize,
    /// The time from a request's head to its response's head; then 504. Default 30 s.
    pub request_timeout: Duration,
    /// Open connections from one address, or from one /64 of IPv6; further ones are closed. Its requests over HTTP/2 have
    /// the same bound; further ones get 503. Default 2048.
    pub connections_per_address: usize,
    /// Addresses that may have all there is: proxies, behind which all clients are. Default the machine itself.
    pub trusted_proxies: Vec<IpAddr>,
    /// Concurrent requests of one connection of HTTP/2. Default 64.
    pub streams: u32,
    /// Requests in flight for probes (the manifest's `probes`) and preflights, counted apart. Default 16.
    pub probe_requests: usize,
    /// The time for a client to send a request head; then 408. A new connection without a byte is closed. Default 10 s.
    pub head_timeout: Duration,
    /// The time that a connection is kept between two requests. At most 5 s when connections are scarce. Default
    /// 70 s, which is longer than what load balancers keep theirs for.
    pub idle_timeout: Duration,
    /// The time without a byte of a request's body; then 408. Default 10 s.
    pub body_timeout: Duration,
    /// The time in which a client reads nothing of a response; then its connection is closed. Default 20 s.
    pub write_timeout: Duration,
    /// Bytes per second at which clients must send bodies and read responses, once these times have passed; 0 for no rate.
    /// Default 1024.
    pub min_rate: u32,
    /// Bytes of a request head. Default 32 KiB.
    pub header_bytes: usize,
    /// Bytes of a request's target. Default 16 KiB.
    pub target_bytes: usize,
    /// Bytes of requests that wait for a place, all together, beside 8 KiB for each. One address has at most a quarter.
    /// Default 64 MiB.
    pub request_memory: usize,
    /// Bytes of responses that wait for their clients, all together, beside 16 KiB for each. When they are exhausted, a
    /// request for a longer one gets 503. One address has at most a quarter. Default 64 MiB.
    pub response_memory: usize,
    /// The time for requests in flight to end when the server stops; then they are aborted. Default 10 s.
    pub shutdown_timeout: Duration,
    /// Requests that an instance serves before it is replaced. Default 1024.
    pub instance_requests: usize,
    /// Requests that an instance serves concurrently. Default 16.
    pub instance_concurrency: usize,
    /// The time that an idle instance is kept. Default 1 s.
    pub instance_idle: Duration,
    /// Bytes of linear memory of an instance. Default 256 MiB.
    pub instance_memory: usize,
    /// Instances that compute for more than a few milliseconds at a stretch, as a login does; further ones queue. Default
    /// [`default_parallelism`].
    pub cpu_bound: usize,
    /// Limits of PostgreSQL.
    pub postgres: PostgresLimits,
    /// Limits of Redis.
    pub redis: RedisLimits,
    /// Limits of requests to other servers.
    pub outbound: OutboundLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests: 256,
            cpu_bound_requests: 4 * default_parallelism(),
            outbound_requests: 64,
            request_wait_timeout: Duration::from_secs(10),
            connections: 8192,
            request_timeout: Duration::from_secs(30),
            connections_per_address: 2048,
            trusted_proxies: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            streams: 64,
            probe_requests: 16,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(70),
            body_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(20),
            min_rate: 1024,
            header_bytes: 32 << 10,
            target_bytes: 16 << 10,
            request_memory: 64 << 20,
            response_memory: 64 << 20,
            shutdown_timeout: Duration::from_secs(10),
            instance_requests: 1024,
            instance_concurrency: 16,
            instance_idle: Duration::from_secs(1),
            instance_memory: 256 << 20,
            cpu_bound: default_parallelism(),
            postgres: PostgresLimits::default(),
            redis: RedisLimits::default(),
            outbound: OutboundLimits::default(),
        }
    }
}

/// Whether statements stay prepared on a connection to PostgreSQL. A pooler that gives each statement to another session
/// mixes up prepared ones, unless it tracks them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Prepare {
    /// They do, unless a pooler is recognized.
    #[default]
    Auto,
    /// They do, also behind a pooler: for one that tracks them.
    Always,
    /// They do not.
    Never,
}

/// Limits of the connections to PostgreSQL, for each address.
#[derive(Clone, Debug)]
pub struct PostgresLimits {
    /// Connections. Default 20: four processes fit a PostgreSQL that takes 100, and leave it room for others.
    pub connections: usize,
    /// Whether statements stay prepared. Default [`Prepare::Auto`].
    pub prepare: Prepare,
    /// Statements that PostgreSQL executes concurrently; further ones queue. A statement that runs for longer than 20 ms
    /// stops counting. Default two for each processor of this machine, and at least four, which fits a PostgreSQL on this
    /// machine; raise it for one that has more processors or is far away.
    pub at_once: usize,
    /// Whether statements that wait for the same row, or have the same text, leave connections to the others. Default
    /// `true`.
    pub shares: bool,
    /// The wait for a free connection; then `connection-failed`. Default 10 s, which is longer than the component's own
    /// timeout.
    pub wait_timeout: Duration,
    /// The time from the connect to the end of the authentication, for each server of the address. Default 2 s.
    pub connect_timeout: Duration,
    /// The time to clean a returned connection; then its statement is cancelled and it is closed. Default 250 ms.
    pub recycle_timeout: Duration,
    /// The time that an idle connection is kept. Default 5 min.
    pub idle_timeout: Duration,
    /// The time that a connection is used at all, less up to an eighth. Default 30 min.
    pub max_age: Duration,
    /// The pause after which a connection is checked before its next use. Default 1 s.
    pub check_after: Duration,
    /// The time for a sign of life. Default 1 s.
    pub check_timeout: Duration,
    /// Prepared statements cached for each connection. Default 256.
    pub statements: usize,
    /// Bytes of a result that is not streamed, or of one row of a streamed one. Default 32 MiB.
    pub result_bytes: usize,
}

impl Default for PostgresLimits {
    fn default() -> Self {
        Self {
            connections: 20,
            prepare: Prepare::Auto,
            at_once: (2 * processors()).max(4),
            shares: true,
            wait_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(2),
            recycle_timeout: Duration::from_millis(250),
            idle_timeout: Duration::from_secs(300),
            max_age: Duration::from_secs(1800),
            check_after: Duration::from_secs(1),
            check_timeout: Duration::from_secs(1),
            statements: 256,
            result_bytes: 32 << 20,
        }
    }
}

/// Limits of the connections to Redis, for each address.
#[derive(Clone, Debug)]
pub struct RedisLimits {
    /// Dedicated connections, beside the shared one, for commands that change or block their connection. Default 64.
    pub connections: usize,
    /// The time from the connect to the end of the authentication. Default 2 s.
    pub connect_timeout: Duration,
    /// The time for one reply. Default 5 s.
    pub response_timeout: Duration,
}

impl Default for RedisLimits {
    fn default() -> Self {
        Self {
            connections: 64,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(5),
        }
    }
}

/// Limits of the component's HTTP requests to other servers. The component may ask for shorter times.
#[derive(Clone, Debug)]
pub struct OutboundLimits {
    /// Requests in flight to each server; further ones wait for a second at most. Default 32: half of `outbound_requests`, so
    /// that a server that hangs leaves places to requests that wait for others.
    pub requests: usize,
    /// The time to look up, connect and encrypt. Default 5 s.
    pub connect_timeout: Duration,
    /// The time from then to the head of the response. Default 60 s: gateways ask for as much.
    pub first_byte_timeout: Duration,
    /// The time between two parts of a response. Default 10 s.
    pub between_bytes_timeout: Duration,
    /// The time that an idle connection is kept. Default 4 s, which is shorter than what servers keep theirs for: a request
    /// that meets the end of its connection may or may not have arrived.
    pub idle_timeout: Duration,
    /// Bytes of a response's body. Default 1 MiB.
    pub response_bytes: usize,
    /// A file in PEM with authorities to trust beside those of this system.
    pub authorities: Option<PathBuf>,
}

impl Default for OutboundLimits {
    fn default() -> Self {
        Self {
            requests: 32,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(60),
            between_bytes_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(4),
            response_bytes: 1 << 20,
            authorities: None,
        }
    }
}
