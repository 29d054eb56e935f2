//! Requests to cancel a statement that wait until they are carried out.

use std::{io, net::SocketAddr};

use rustls::pki_types::ServerName;
use sugang_protocol::store_url::SslMode;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

use super::Connector;

/// The question for TLS, which PostgreSQL answers with one byte.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// The server, or the pooler before it, that a connection leads to.
pub struct Server {
    /// The name in its certificate.
    pub name: String,
    /// Where it listens: one of the addresses of its name.
    pub address: SocketAddr,
}

impl Connector {
    /// Sends a request to cancel to one server, and waits until that server closes the connection. With `tls`, it is
    /// encrypted where the server can, or must, as for the connection that it concerns.
    ///
    /// # Errors
    /// The server does not listen, cannot prove its name, or has no TLS although the URL demands it.
    pub async fn send_cancel_request(&self, server: &Server, tls: bool, request: &[u8]) -> io::Result<()> {
        let mut stream = TcpStream::connect(server.address).await?;
        if tls {
            stream.write_all(&SSL_REQUEST).await?;
            if stream.read_u8().await? == b'S' {
                let name = ServerName::try_from(server.name.clone()).map_err(io::Error::other)?;
                let connector = tokio_rustls::TlsConnector::from(self.tls.0.clone());
                return send(connector.connect(name, stream).await?, request).await;
            }
            if self.url.ssl_mode() != SslMode::Prefer {
                return Err(io::Error::other("the server does not support TLS"));
            }
        }
        send(stream, request).await
    }
}

async fn send(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> io::Result<()> {
    stream.write_all(request).await?;
    stream.flush().await?;
    match stream.read_to_end(&mut Vec::new()).await {
        // A server need not say goodbye.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        _ => Ok(()),
    }
}
