//! Connections to HTTPS servers.

use std::{io, path::Path, sync::Arc};

use rustls::{ClientConfig, crypto::ring, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{AddressError, tls::Authorities};

/// An encrypted connection.
pub type Stream = TlsStream<TcpStream>;

/// Makes the handshakes with servers of any name. A clone shares the sessions that servers let it resume.
#[derive(Clone)]
pub struct Connector(TlsConnector);

impl Connector {
    /// Makes a connector that trusts the authorities of this system, and those of a file in PEM.
    ///
    /// # Errors
    /// The file cannot be used, or there is none and the system has no authorities.
    pub fn new(file: Option<&Path>) -> Result<Self, AddressError> {
        const PARAMETER: &str = "file of authorities";
        let roots = match (file, Authorities::of_system(PARAMETER)) {
            (None, system) => system?.roots,
            (Some(file), system) => {
                let mut roots = Authorities::of_file(PARAMETER, &file.to_string_lossy())?.roots;
                roots
                    .roots
                    .extend(system.map(|system| system.roots.roots).unwrap_or_default());
                roots
            }
        };
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| AddressError::Certificates {
                parameter: "TLS",
                reason: error.to_string(),
            })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Encrypts a connection, and verifies that the server's certificate is for `host`, a name or an address.
    ///
    /// # Errors
    /// The handshake failed; of the kind [`io::ErrorKind::InvalidData`] if what the server showed is not trusted.
    pub async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<Stream> {
        let host = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        self.0.connect(host, stream).await
    }
}
