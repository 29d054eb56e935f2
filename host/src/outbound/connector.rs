//! Opens connections for the HTTP client.

use std::{
    error::Error as _,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use sugang_connect::https;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tower_service::Service;
use wasmtime_wasi_http::Error;

use super::target::Target;
use crate::stores::AllowedHosts;

tokio::task_local! {
    /// The time in which the request of this task waits for its connection.
    pub(super) static CONNECT_TIMEOUT: Duration;
}

/// An open connection, encrypted or not.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

impl Connection for Box<dyn Transport> {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// Why there is no connection. Nothing of a request has been sent then.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("the URL names no server")]
    Url,
    #[error("the name cannot be looked up: {0}")]
    LookUp(io::Error),
    #[error("the name leads only to addresses that are not public, and allowed_outbound_hosts does not name them")]
    Prohibited,
    #[error("{0}")]
    Refused(io::Error),
    #[error("no connection in time")]
    Timeout,
    #[error("the TLS handshake failed: {0}")]
    Handshake(io::Error),
}

impl ConnectError {
    /// The error that the component sees.
    pub(super) fn for_component(&self) -> Error {
        match self {
            Self::Url => Error::HttpRequestUriInvalid,
            Self::LookUp(_) => Error::DnsError {
                rcode: None,
                info_code: None,
            },
            Self::Prohibited => Error::DestinationIpProhibited,
            Self::Refused(error) if error.kind() == io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
            Self::Refused(_) => Error::DestinationUnavailable,
            Self::Timeout => Error::ConnectionTimeout,
            Self::Handshake(_) => Error::TlsProtocolError,
        }
    }
}

/// Opens connections to servers that the component may reach.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) allowed: Arc<AllowedHosts>,
    /// `None` if no HTTPS server is allowed.
    pub(super) tls: Option<https::Connector>,
    pub(super) timeout: Duration,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Transport>>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let limit = CONNECT_TIMEOUT.try_with(|limit| *limit).unwrap_or(self.timeout);
        let connector = self.clone();
        Box::pin(async move {
            let target = Target::of(&uri).ok_or(ConnectError::Url)?;
            let opened = timeout(limit, connector.open(&target, limit)).await;
            opened.map_err(|_| ConnectError::Timeout)?.map(TokioIo::new)
        })
    }
}

impl Connector {
    async fn open(&self, target: &Target, limit: Duration) -> Result<Box<dyn Transport>, ConnectError> {
        let mut addresses = target.look_up().await.map_err(ConnectError::LookUp)?;
        addresses.retain(|address| target.may_open(*address, &self.allowed));
        let stream = connect(&addresses, limit).await?;
        if !target.encrypted {
            return Ok(Box::new(stream));
        }
        let tls = self.tls.as_ref().ok_or(ConnectError::Prohibited)?;
        let host = target.host.to_string();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let stream = tls.connect(host, stream).await.map_err(ConnectError::Handshake)?;
        Ok(Box::new(stream))
    }
}

/// Connects to the first of these addresses that answers. Each has a part of the time, so that one that is silent leaves
/// some to the others.
async fn connect(addresses: &[SocketAddr], limit: Duration) -> Result<TcpStream, ConnectError> {
    let mut last = ConnectError::Prohibited;
    for address in addresses {
        let part = limit / addresses.len() as u32;
        match timeout(part, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).map_err(ConnectError::Refused)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = ConnectError::Refused(error),
            Err(_) => last = ConnectError::Timeout,
        }
    }
    Err(last)
}

/// Finds why there is no connection, in the client's error.
pub(super) fn connect_error(error: &hyper_util::client::legacy::Error) -> Option<&ConnectError> {
    error.source()?.downcast_ref()
}
