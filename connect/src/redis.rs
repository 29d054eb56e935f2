//! Connections to Redis.

use std::{io, net::SocketAddr, pin::Pin, time::Duration};

use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo, RedisError, aio::MultiplexedConnection};
use rustls::pki_types::ServerName;
use sugang_protocol::store_url::{RedisUrl, UrlError};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{
    AddressError, ConnectError,
    addresses::{PassedOver, first, look_up},
    tls::{Authorities, Identity, Verification, client_config},
};

/// The time after which the next address of a name is tried as well: short, since a request waits for Redis no longer than
/// `redis_timeout_ms`.
const STAGGER: Duration = Duration::from_millis(100);

/// The task that reads and writes the socket of a connection, until the connection ends.
pub type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Connects to one address.
pub struct Connector {
    /// The address.
    pub url: RedisUrl,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    passed_over: PassedOver,
}

/// Connects to the Redis at this URL, and drives the connection in a task of its own.
///
/// # Errors
/// The URL can never work, or Redis does not answer or refuses the user.
pub async fn connect(url: &str) -> Result<MultiplexedConnection, ConnectError> {
    let url = RedisUrl::parse(url, "").map_err(AddressError::from)?;
    let connected = Connector::new(url)?.connect().await;
    let (connection, driver) = connected.map_err(ConnectError::Redis)?;
    tokio::spawn(driver);
    Ok(connection)
}

impl Connector {
    /// Reads the files of certificates that the URL names.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn new(url: RedisUrl) -> Result<Self, AddressError> {
        Ok(Self {
            tls: url.tls.then(|| tls(&url)).transpose()?,
            passed_over: PassedOver::default(),
            url,
        })
    }

    /// Connects to the first address of the host that answers, authenticates and selects the database. The caller polls
    /// the driver, and bounds the wait.
    ///
    /// # Errors
    /// Redis does not answer, or refuses the user or the database.
    pub async fn connect(&self) -> Result<(MultiplexedConnection, Driver), RedisError> {
        let addresses = look_up(&self.url.host.host, self.url.port()).await?;
        self.connect_to_any(addresses).await
    }

    async fn connect_to_any(
        &self,
        mut addresses: Vec<SocketAddr>,
    ) -> Result<(MultiplexedConnection, Driver), RedisError> {
        self.passed_over.put_last(&mut addresses);
        let attempts = addresses.iter().map(|address| self.open(*address)).collect();
        let (number, opened) = first(attempts, STAGGER).await.map_err(most_telling)?;
        self.passed_over.note(&addresses, number);
        Ok(opened)
    }

    async fn open(&self, address: SocketAddr) -> Result<(MultiplexedConnection, Driver), RedisError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let settings = self.settings();
        // The callers bound both waits.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        Ok(match &self.tls {
            None => {
                let (connection, driver) = MultiplexedConnection::new_with_config(&settings, stream, config).await?;
                (connection, Box::pin(driver))
            }
            Some((connector, host)) => {
                let stream = connector.connect(host.clone(), stream).await.map_err(handshake)?;
                let (connection, driver) = MultiplexedConnection::new_with_config(&settings, stream, config).await?;
                (connection, Box::pin(driver))
            }
        })
    }

    fn settings(&self) -> RedisConnectionInfo {
        let mut settings = RedisConnectionInfo::default().set_db(self.url.database.into());
        if let Some(user) = &self.url.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &self.url.password {
            settings = settings.set_password(password);
        }
        match self.url.resp3 {
            true => settings.set_protocol(ProtocolVersion::RESP3),
            false => settings,
        }
    }
}

/// The error of several attempts that says most: the last one of a server that answered, if one did.
fn most_telling(errors: Vec<RedisError>) -> RedisError {
    let nothing = || RedisError::from(io::Error::new(io::ErrorKind::NotFound, "the host has no address"));
    errors
        .into_iter()
        .max_by_key(|error| !error.is_io_error())
        .unwrap_or_else(nothing)
}

fn handshake(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("the TLS handshake failed: {error}"))
}

fn tls(url: &RedisUrl) -> Result<(TlsConnector, ServerName<'static>), AddressError> {
    const AUTHORITIES: &str = "ssl_ca_certs";
    let authorities = match &url.authorities {
        None => Authorities::of_system(AUTHORITIES)?,
        Some(path) => Authorities::of_file(AUTHORITIES, path)?,
    };
    let identity = url.client_certificate.as_ref().map(|files| Identity {
        files,
        certificate_parameter: "ssl_certfile",
        key_parameter: "ssl_keyfile",
    });
    let config = client_config(Verification::Host(authorities), identity)?;
    let host = ServerName::try_from(url.host.host.clone()).map_err(|error| AddressError::Certificates {
        parameter: "host",
        reason: format!("no certificate can be for it: {error}"),
    })?;
    Ok((TlsConnector::from(config), host))
}

/// Puts the password of another setting into a URL, and encodes all of it.
///
/// # Errors
/// The URL can never work, or has a password as well.
pub fn complete(url: &str, password: &str) -> Result<String, UrlError> {
    Ok(RedisUrl::parse(url, password)?.to_url())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Answers every command with `OK`.
    async fn serve(mut stream: TcpStream) {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            let commands = buffer[..length].iter().filter(|byte| **byte == b'*').count();
            stream.write_all(&b"+OK\r\n".repeat(commands)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn another_address_is_tried_where_one_is_silent_or_refuses() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
        // The kernel takes the connection, and nothing answers.
        let silent = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
        let [good, hung, closed] = [1, 2, 3].map(|last| SocketAddr::from(([127, 0, 0, last], port)));
        let connector = Connector::new(RedisUrl::parse("redis://name/1", "").unwrap()).unwrap();
        for (addresses, is_late) in [
            (vec![closed, good], false),
            (vec![hung, good], true),
            // It is remembered.
            (vec![hung, good], false),
        ] {
            let began = Instant::now();
            let (mut connection, driver) = connector.connect_to_any(addresses).await.unwrap();
            assert_eq!(began.elapsed() >= STAGGER, is_late);
            tokio::spawn(driver);
            redis::cmd("PING").exec_async(&mut connection).await.unwrap();
        }
        drop(silent);
        let error = connector.connect_to_any(vec![closed]).await.err().unwrap();
        assert!(error.to_string().contains("Connection refused"), "{error}");
    }
}
