//! Connections to Redis.

use std::{io, pin::Pin};

use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo, RedisError, aio::MultiplexedConnection};
use rustls::pki_types::ServerName;
use sugang_protocol::store_url::{RedisUrl, UrlError};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{
    AddressError, ConnectError,
    tls::{Authorities, Identity, Verification, client_config},
};

/// The task that reads and writes the socket of a connection, until the connection ends.
pub type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Connects to one address.
pub struct Connector {
    /// The address.
    pub url: RedisUrl,
    tls: Option<(TlsConnector, ServerName<'static>)>,
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
            url,
        })
    }

    /// Connects, authenticates and selects the database. The caller polls the driver, and bounds the wait.
    ///
    /// # Errors
    /// Redis does not answer, or refuses the user or the database.
    pub async fn connect(&self) -> Result<(MultiplexedConnection, Driver), RedisError> {
        let stream = TcpStream::connect((self.url.host.host.as_str(), self.url.port())).await?;
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
