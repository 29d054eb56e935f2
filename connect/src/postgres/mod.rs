//! Connections to PostgreSQL.

mod cancel;
mod stream;

use std::{
    env,
    error::Error as _,
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use sugang_protocol::store_url::{PostgresUrl, SslMode, UrlError};
use tokio_postgres::{
    CancelToken, Client, Config, Error, Socket,
    config::{ChannelBinding, LoadBalanceHosts, SslMode as DriverMode, TargetSessionAttrs},
    error::SqlState,
};

use crate::{
    AddressError, ConnectError,
    error::HandshakeError,
    tls::{Authorities, Identity, Verification, client_config},
};
pub use cancel::Server;
use stream::MakeTls;
pub use stream::TlsStream;

pub use crate::error::describe;

/// The other half of a [`Client`]: polled, it reads and writes the socket.
pub type Connection = tokio_postgres::Connection<Socket, TlsStream>;

/// Connects to one address.
pub struct Connector {
    /// The address.
    pub url: PostgresUrl,
    /// The driver's settings, all of which may be changed but those that the URL decides: hosts, user, password, TLS.
    pub config: Config,
    tls: MakeTls,
    fallback: Fallback,
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
    let connected = connector.connect().await.map_err(ConnectError::Postgres)?;
    if let Some(cause) = connector.tls_failure() {
        eprintln!("warning: the connection to PostgreSQL is not encrypted: {cause}");
    }
    Ok(connected)
}

impl Connector {
    /// Reads the files of certificates that the URL names.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn new(url: PostgresUrl) -> Result<Self, AddressError> {
        Ok(Self {
            config: config(&url),
            tls: tls(&url)?,
            fallback: Fallback::default(),
            url,
        })
    }

    /// Why a connection was opened without TLS though the server has it: `sslmode=prefer` allows that. Told once.
    pub fn tls_failure(&self) -> Option<&str> {
        let cause = self.fallback.cause.get()?;
        (!self.fallback.is_told.swap(true, Relaxed)).then_some(cause)
    }

    /// Connects, with or without TLS as `sslmode` says.
    ///
    /// # Errors
    /// No host answers, or each refuses the connection.
    pub async fn connect(&self) -> Result<(Client, Connection), Error> {
        use SslMode::{Allow, Disable, Prefer, Require, VerifyCa, VerifyFull};
        let (first, second) = match self.url.ssl_mode() {
            // PostgreSQL encrypts no sockets of its own machine.
            _ if self.url.has_socket() => (DriverMode::Disable, None),
            Disable => (DriverMode::Disable, None),
            Allow => (DriverMode::Disable, Some(DriverMode::Require)),
            Prefer => (DriverMode::Prefer, Some(DriverMode::Disable)),
            Require | VerifyCa | VerifyFull => (DriverMode::Require, None),
        };
        match (self.connect_as(first).await, second) {
            (Err(error), Some(second)) if depends_on_tls(&error) => {
                let connected = self.connect_as(second).await;
                if connected.is_ok() && is_of_handshake(&error) {
                    self.fallback.cause.get_or_init(|| describe(&error));
                }
                // The first attempt's error says more, unless the second fails for a reason of its own.
                connected.map_err(|other| if depends_on_tls(&other) { error } else { other })
            }
            (result, _) => result,
        }
    }

    async fn connect_as(&self, mode: DriverMode) -> Result<(Client, Connection), Error> {
        let mut config = self.config.clone();
        config.ssl_mode(mode);
        config.connect(self.tls.clone()).await
    }

    /// Cancels what a session executes, over a connection of its own.
    ///
    /// # Errors
    /// PostgreSQL does not answer.
    pub async fn cancel(&self, session: CancelToken) -> Result<(), Error> {
        session.cancel_query(self.tls.clone()).await
    }
}

/// Whether the same server may accept the same user with TLS, or without.
fn depends_on_tls(error: &Error) -> bool {
    // "no pg_hba.conf entry for host …, no encryption" has this code.
    error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) || is_of_handshake(error)
}

fn is_of_handshake(error: &Error) -> bool {
    error.source().is_some_and(|source| source.is::<HandshakeError>())
}

fn config(url: &PostgresUrl) -> Config {
    let mut config = Config::new();
    for host in &url.hosts {
        config.host(&host.host);
        config.port(host.port.unwrap_or(PostgresUrl::PORT));
    }
    for address in &url.addresses {
        config.hostaddr(*address);
    }
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

/// TLS as libpq has it: without a file of authorities, `require` and what is weaker verifies nothing.
fn tls(url: &PostgresUrl) -> Result<MakeTls, AddressError> {
    const ROOTS: &str = "sslrootcert";
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
