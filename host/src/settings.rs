//! How a server is set up, with a limit for everything that a client, a guest or a store could let grow.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    num::NonZero,
    time::Duration,
};

/// How one [`Server`](crate::Server) is set up.
#[derive(Clone)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one (see [`Server::addr`](crate::Server::addr)). Default `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// Values of the application's variables. They win over the environment; a name that the manifest does not declare
    /// is an error.
    pub variables: BTreeMap<String, String>,
    /// Whether `SPIN_VARIABLE_<NAME>` of this process sets the variable `<name>`, as with `spin up`. Default `false`.
    pub environment: bool,
    /// The path that is asked once, inside the process, before the server listens: an answer with the code
    /// `misconfigured` stops the start. `None` skips that. Default `/readyz`.
    pub probe: Option<String>,
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
            limits: Limits::default(),
        }
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Half of the processors that this process may use, and one at least: the others are for the stores, or for those who ask
/// for less.
pub fn half_of_the_processors() -> usize {
    (processors() / 2).max(1)
}

/// What is allowed at most.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Requests that are worked on at once; more of them queue. Default 256.
    pub requests: usize,
    /// Beside them, requests to the manifest's `computing` paths: each takes the memory of a password's hash. Default four
    /// for every one that computes.
    pub computing_requests: usize,
    /// How long a request queues; then it is answered 503 with `Retry-After`. Default 10 s.
    pub request_wait_timeout: Duration,
    /// Open connections of clients; one more waits in the listener's queue. Default 8192.
    pub connections: usize,
    /// From a request's head to its answer's head; then 504. Default 30 s.
    pub request_timeout: Duration,
    /// For a client to send a whole request head, the wait between two requests of a connection included. Default 60 s.
    pub header_timeout: Duration,
    /// Bytes of a request head. Default 32 KiB.
    pub header_bytes: usize,
    /// Header fields of a request. Default 100.
    pub headers: usize,
    /// For requests in flight to end when the server stops; then they are cut off. Default 10 s.
    pub shutdown_timeout: Duration,
    /// Requests that an instance serves before it is replaced. Default 1024.
    pub instance_requests: usize,
    /// Requests that an instance serves at the same time. Default 16.
    pub instance_concurrency: usize,
    /// How long an instance without work is kept. Default 1 s.
    pub instance_idle: Duration,
    /// Bytes of linear memory of an instance. Default 256 MiB.
    pub instance_memory: usize,
    /// Instances that compute for more than a few milliseconds, as a login does, at once; more of them queue. Default one
    /// for every two processors, and one at least: the others are for those who ask for less.
    pub computing: usize,
    /// Connections to PostgreSQL.
    pub postgres: PostgresLimits,
    /// Connections to Redis.
    pub redis: RedisLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests: 256,
            computing_requests: 4 * half_of_the_processors(),
            request_wait_timeout: Duration::from_secs(10),
            connections: 8192,
            request_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(60),
            header_bytes: 32 << 10,
            headers: 100,
            shutdown_timeout: Duration::from_secs(10),
            instance_requests: 1024,
            instance_concurrency: 16,
            instance_idle: Duration::from_secs(1),
            instance_memory: 256 << 20,
            computing: half_of_the_processors(),
            postgres: PostgresLimits::default(),
            redis: RedisLimits::default(),
        }
    }
}

/// Limits of the connections to PostgreSQL, for each address.
#[derive(Clone, Debug)]
pub struct PostgresLimits {
    /// Connections. Default 64.
    pub connections: usize,
    /// Statements that PostgreSQL works on at once; more of them queue, but behind none that takes longer than 20 ms.
    /// Default two for each processor of this machine, and four at least: for a PostgreSQL that has as many. One that has
    /// more, or is far away, wants more.
    pub at_once: usize,
    /// The wait for a free connection; then `connection-failed`. Default 10 s: longer than a component waits itself.
    pub wait_timeout: Duration,
    /// From the connect to the end of the authentication. Default 2 s.
    pub connect_timeout: Duration,
    /// For the clean-up of a returned connection; then it is cancelled and closed. Default 250 ms.
    pub recycle_timeout: Duration,
    /// How long a connection that nobody uses is kept. Default 5 min.
    pub idle_timeout: Duration,
    /// Prepared statements kept for each connection. Default 256.
    pub statements: usize,
    /// Bytes of a result that is not streamed, or of one row of a streamed one. Default 32 MiB.
    pub result_bytes: usize,
}

impl Default for PostgresLimits {
    fn default() -> Self {
        Self {
            connections: 64,
            at_once: (2 * processors()).max(4),
            wait_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(2),
            recycle_timeout: Duration::from_millis(250),
            idle_timeout: Duration::from_secs(300),
            statements: 256,
            result_bytes: 32 << 20,
        }
    }
}

/// Limits of the connections to Redis, for each address.
#[derive(Clone, Debug)]
pub struct RedisLimits {
    /// Connections of a guest's own, beside the shared one, for commands that change or block a connection. Default 64.
    pub connections: usize,
    /// From the connect to the end of the authentication. Default 2 s.
    pub connect_timeout: Duration,
    /// For one answer. Default 5 s.
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
