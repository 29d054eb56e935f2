//! Connections to PostgreSQL.

mod cancel;
mod stream;
#[cfg(test)]
mod tests;

use std::{
    env,
    error::Error as _,
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use sugang_protocol::store_url::{HostPort, PostgresUrl, SslMode, UrlError};
use tokio::time::timeout;
use tokio_postgres::{
    CancelToken, Client, Config, Error, Socket,
    config::{ChannelBinding, LoadBalanceHosts, SslMode as DriverMode, TargetSessionAttrs},
    error::SqlState,
};

use crate::{
    AddressError, ConnectError,
    addresses::{PassedOver, first, look_up, shuffle},
    error::HandshakeError,
    tls::{Authorities, Identity, Verification, client_config},
};
pub use cancel::Server;
use stream::MakeTls;
pub use stream::TlsStream;

pub use crate::error::describe;

/// The time after which the next server of a URL without `connect_timeout` is tried as well.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest time after which the next address of one name is tried as well.
const STAGGER: Duration = Duration::from_secs(1);

/// The other half of a [`Client`]: polled, it reads and writes the socket.
pub type Connection = tokio_postgres::Connection<Socket, TlsStream>;

/// An open connection.
pub struct Opened {
    /// Executes statements.
    pub client: Client,
    /// Reads and writes the socket.
    pub connection: Connection,
    /// Where it leads; `None` over a socket of this machine.
    pub server: Option<Server>,
}

/// Connects to the servers of one URL.
pub struct Connector {
    /// The URL.
    pub url: PostgresUrl,
    /// The driver's settings but those that the URL decides: hosts, user, password, TLS. Its `connect_timeout` bounds the
    /// whole attempt at one host of the URL.
    pub config: Config,
    targets: Vec<Target>,
    tls: MakeTls,
    fallback: Fallback,
    passed_over: PassedOver,
}

/// One server that a URL names.
struct Target {
    /// The name that is looked up and that the certificate is for, or the folder of a socket.
    host: String,
    /// `hostaddr`, which is connected to in place of the name.
    address: Option<IpAddr>,
    port: u16,
    is_socket: bool,
}

/// Why connections go on without TLS to a server that has it.
#[derive(Default)]
struct Fallback {
    cause: OnceLock<String>,
    is_told: AtomicBool,
}

/// Connects to the database at this URL, and says on standard error if TLS fails that the URL does without.
///
/// # Errors
/// The URL can never work, or the database does not answer or refuses the user.
pub async fn connect(url: &str) -> Result<(Client, Connection), ConnectError> {
    let url = PostgresUrl::parse(url, "").map_err(AddressError::from)?;
    let connector = Connector::new(url)?;
    let opened = connector.connect().await?;
    if let Some(cause) = connector.tls_failure() {
        eprintln!("warning: the connection to PostgreSQL is not encrypted: {cause}");
    }
    Ok((opened.client, opened.connection))
}

impl Connector {
    /// Reads the files of certificates that the URL names.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn new(url: PostgresUrl) -> Result<Self, AddressError> {
        Ok(Self {
            config: config(&url),
            targets: targets(&url),
            tls: tls(&url)?,
            fallback: Fallback::default(),
            passed_over: PassedOver::default(),
            url,
        })
    }

    /// Why a connection was opened without TLS though the server has it: `sslmode=prefer` allows that. Told once.
    pub fn tls_failure(&self) -> Option<&str> {
        let cause = self.fallback.cause.get()?;
        (!self.fallback.is_told.swap(true, Relaxed)).then_some(cause)
    }

    /// Connects to the first server that fits, with or without TLS as `sslmode` says.
    ///
    /// # Errors
    /// No server answers, or each refuses the connection.
    pub async fn connect(&self) -> Result<Opened, ConnectError> {
        let mut targets: Vec<_> = self.targets.iter().collect();
        if self.is_balanced() {
            shuffle(&mut targets);
        }
        let limit = self.config.get_connect_timeout().copied();
        let attempts = targets
            .into_iter()
            .map(|target| self.connect_to(target, limit))
            .collect();
        let opened = first(attempts, limit.unwrap_or(PATIENCE)).await;
        opened.map(|(_, opened)| opened).map_err(most_telling)
    }

    /// Connects to one server. All addresses of its name share the time.
    async fn connect_to(&self, target: &Target, limit: Option<Duration>) -> Result<Opened, ConnectError> {
        let connecting = async {
            if target.is_socket {
                return self.open(target, None).await;
            }
            let addresses = match target.address {
                Some(address) => vec![SocketAddr::new(address, target.port)],
                None => {
                    let addresses = look_up(&target.host, target.port).await;
                    addresses.map_err(ConnectError::Unreachable)?
                }
            };
            self.connect_to_any(target, addresses, limit).await
        };
        match limit {
            None => connecting.await,
            Some(limit) => timeout(limit, connecting).await.unwrap_or_else(|_| Err(silence(limit))),
        }
    }

    /// Connects to one of the addresses that a name has.
    async fn connect_to_any(
        &self,
        target: &Target,
        mut addresses: Vec<SocketAddr>,
        limit: Option<Duration>,
    ) -> Result<Opened, ConnectError> {
        if self.is_balanced() {
            shuffle(&mut addresses);
        }
        self.passed_over.put_last(&mut addresses);
        let part = limit.map(|limit| limit / u32::try_from(addresses.len()).unwrap_or(u32::MAX));
        let attempts = addresses
            .iter()
            .map(|address| self.open(target, Some(*address)))
            .collect();
        let opened = first(attempts, part.map_or(STAGGER, |part| part.min(STAGGER))).await;
        let (number, opened) = opened.map_err(most_telling)?;
        self.passed_over.note(&addresses, number);
        Ok(opened)
    }

    /// Connects to one address, or to a socket of this machine.
    async fn open(&self, target: &Target, address: Option<SocketAddr>) -> Result<Opened, ConnectError> {
        use SslMode::{Allow, Disable, Prefer, Require, VerifyCa, VerifyFull};
        let (first, second) = match self.url.ssl_mode() {
            // PostgreSQL encrypts no sockets of its own machine, and libpq ignores sslmode there.
            _ if address.is_none() => (DriverMode::Disable, None),
            Disable => (DriverMode::Disable, None),
            Allow => (DriverMode::Disable, Some(DriverMode::Require)),
            Prefer => (DriverMode::Prefer, Some(DriverMode::Disable)),
            Require | VerifyCa | VerifyFull => (DriverMode::Require, None),
        };
        let mut config = self.config.clone();
        config.host(&target.host);
        match address {
            None => config.port(target.port),
            Some(address) => config.port(address.port()).hostaddr(address.ip()),
        };
        let opened = match (self.open_as(&mut config, first).await, second) {
            (Err(error), Some(second)) if depends_on_tls(&error) => {
                let opened = self.open_as(&mut config, second).await;
                if opened.is_ok() && is_of_handshake(&error) {
                    self.fallback.cause.get_or_init(|| describe(&error));
                }
                // The first attempt's error says more, unless the second fails for a reason of its own.
                opened.map_err(|other| if depends_on_tls(&other) { error } else { other })
            }
            (result, _) => result,
        };
        let (client, connection) = opened.map_err(ConnectError::Postgres)?;
        Ok(Opened {
            client,
            connection,
            server: address.map(|address| Server {
                name: target.host.clone(),
                address,
            }),
        })
    }

    async fn open_as(&self, config: &mut Config, mode: DriverMode) -> Result<(Client, Connection), Error> {
        config.ssl_mode(mode);
        config.connect(self.tls.clone()).await
    }

    fn is_balanced(&self) -> bool {
        self.config.get_load_balance_hosts() == LoadBalanceHosts::Random
    }

    /// Cancels what a session executes, over a connection of its own.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn cancel(&self, session: CancelToken) -> Result<(), Error> {
        session.cancel_query(self.tls.clone()).await
    }
}

/// The error of several attempts that says most: the last one of a server that answered, if one did.
fn most_telling(errors: Vec<ConnectError>) -> ConnectError {
    let told = |error: &ConnectError| match error {
        ConnectError::Postgres(error) if error.as_db_error().is_some() => 2,
        ConnectError::Postgres(error) if is_of_handshake(error) => 1,
        _ => 0,
    };
    let nothing = || ConnectError::Unreachable(io::Error::new(io::ErrorKind::NotFound, "no server is named"));
    errors.into_iter().max_by_key(told).unwrap_or_else(nothing)
}

fn silence(limit: Duration) -> ConnectError {
    let message = format!("no answer within {limit:?}");
    ConnectError::Unreachable(io::Error::new(io::ErrorKind::TimedOut, message))
}

/// Whether the same server may accept the same user with TLS, or without.
fn depends_on_tls(error: &Error) -> bool {
    // "no pg_hba.conf entry for host …, no encryption" has this code.
    error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) || is_of_handshake(error)
}

fn is_of_handshake(error: &Error) -> bool {
    error.source().is_some_and(|source| source.is::<HandshakeError>())
}

fn targets(url: &PostgresUrl) -> Vec<Target> {
    let target = |(index, host): (usize, &HostPort)| Target {
        host: host.host.clone(),
        address: url.addresses.get(index).copied(),
        port: host.port.unwrap_or(PostgresUrl::PORT),
        is_socket: url.is_socket(index),
    };
    url.hosts.iter().enumerate().map(target).collect()
}

fn config(url: &PostgresUrl) -> Config {
    let mut config = Config::new();
    if let Some(user) = &url.user {
        config.user(user);
    }
    if let Some(password) = &url.password {
        config.password(password);
    }
    if let Some(database) = &url.database {
        config.dbname(database);
    }
    for (name, value) in &url.settings {
        set(&mut config, name, value);
    }
    config
}

/// Sets what the URL sets; its values were checked when it was parsed.
fn set(config: &mut Config, name: &str, value: &str) {
    let number = value.parse::<u32>().unwrap_or_default();
    let seconds = Duration::from_secs(number.into());
    match (name, value) {
        ("application_name", _) => config.application_name(value),
        ("options", _) => config.options(value),
        ("connect_timeout", _) if number > 0 => config.connect_timeout(seconds),
        // Milliseconds, where the driver's own strings have seconds.
        ("tcp_user_timeout", _) if number > 0 => config.tcp_user_timeout(Duration::from_millis(number.into())),
        ("keepalives", _) => config.keepalives(number > 0),
        ("keepalives_idle", _) if number > 0 => config.keepalives_idle(seconds),
        ("keepalives_interval", _) if number > 0 => config.keepalives_interval(seconds),
        ("keepalives_retries", _) if number > 0 => config.keepalives_retries(number),
        ("channel_binding", "disable") => config.channel_binding(ChannelBinding::Disable),
        ("channel_binding", "require") => config.channel_binding(ChannelBinding::Require),
        ("load_balance_hosts", "random") => config.load_balance_hosts(LoadBalanceHosts::Random),
        ("target_session_attrs", "read-write") => config.target_session_attrs(TargetSessionAttrs::ReadWrite),
        ("target_session_attrs", "read-only") => config.target_session_attrs(TargetSessionAttrs::ReadOnly),
        _ => config,
    };
}

/// TLS as libpq has it: without a file of authorities, `require` and what is weaker verifies nothing. Where there are only
/// sockets, no file is read.
fn tls(url: &PostgresUrl) -> Result<MakeTls, AddressError> {
    const ROOTS: &str = "sslrootcert";
    if (0..url.hosts.len()).all(|index| url.is_socket(index)) {
        return Ok(MakeTls(client_config(Verification::Unverified, None)?));
    }
    let default_file = default_authorities();
    let named = url.authorities.as_deref().or(default_file.as_deref());
    let read = |named: &str| match named {
        "system" => Authorities::of_system(ROOTS),
        path => Authorities::of_file(ROOTS, path),
    };
    let verification = match (url.ssl_mode(), named) {
        (SslMode::Disable, _) => Verification::Unverified,
        (SslMode::VerifyFull, Some(named)) => Verification::Host(read(named)?),
        (_, Some(named)) => Verification::Chain(read(named)?),
        (SslMode::VerifyCa | SslMode::VerifyFull, None) => {
            return Err(AddressError::Certificates {
                parameter: ROOTS,
                reason: "this sslmode verifies, so it must name a file with the authorities that sign the server's \
                         certificate, or system for those of the system"
                    .to_owned(),
            });
        }
        (_, None) => Verification::Unverified,
    };
    let identity = url.client_certificate.as_ref().map(|files| Identity {
        files,
        certificate_parameter: "sslcert",
        key_parameter: "sslkey",
    });
    Ok(MakeTls(client_config(verification, identity)?))
}

/// The file that libpq reads where the URL names none, if there is one.
fn default_authorities() -> Option<String> {
    let path = PathBuf::from(env::var_os("HOME")?).join(".postgresql/root.crt");
    path.is_file().then(|| path.to_string_lossy().into_owned())
}

/// Puts the password of another setting into a URL, and encodes all of it.
///
/// # Errors
/// The URL can never work, or has a password as well.
pub fn complete(url: &str, password: &str) -> Result<String, UrlError> {
    Ok(PostgresUrl::parse(url, password)?.to_url())
}
