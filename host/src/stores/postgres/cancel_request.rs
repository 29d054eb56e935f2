//! A request to cancel a statement, written into memory.
//!
//! A connection names a process of the server when it is opened. The driver keeps the number to itself, but writes it into
//! a request to cancel, which it sends over any stream that it is given.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use sugang_connect::postgres::{Connector, Server};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::{
    Client,
    tls::{ChannelBinding, TlsConnect, TlsStream},
};

use crate::sync::lock;

/// The bytes of a request to cancel.
const REQUEST: usize = 16;

/// Records what is written to it. To a driver that asks for TLS first, it agrees.
#[derive(Clone, Default)]
pub(super) struct CancelRequest(Arc<Mutex<Vec<u8>>>);

impl CancelRequest {
    /// The request to cancel what a client's connection executes.
    ///
    /// # Errors
    /// The driver makes none.
    pub(super) async fn of(client: &Client) -> Result<Self, tokio_postgres::Error> {
        let request = Self::default();
        let token = client.cancel_token();
        token.cancel_query_raw(request.clone(), request.clone()).await?;
        Ok(request)
    }

    /// The request is the last that is written: its length, its code, the process and a key, with four bytes each.
    fn bytes(&self) -> Option<[u8; REQUEST]> {
        lock(&self.0).last_chunk().copied()
    }

    /// The process whose statement is to be cancelled.
    pub(super) fn process(&self) -> Option<i32> {
        let bytes = self.bytes()?;
        let (_, process) = bytes.split_first_chunk::<8>()?;
        process.first_chunk().copied().map(i32::from_be_bytes)
    }

    /// Whether the driver asks for TLS first, as it did for the connection: more is written than the request.
    fn asks_for_tls(&self) -> bool {
        lock(&self.0).len() > REQUEST
    }

    /// Sends the request to a pooler, and waits until the pooler has passed it on and closes the connection. PgBouncer 1.18
    /// crashes when it is the other side that closes first, as the driver does.
    ///
    /// # Errors
    /// The pooler does not listen, or the connection breaks.
    pub(super) async fn send(&self, connector: &Connector, pooler: &Server) -> io::Result<()> {
        let request = self.bytes().unwrap_or_default();
        connector
            .send_cancel_request(pooler, self.asks_for_tls(), &request)
            .await
    }
}

impl AsyncRead for CancelRequest {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        buffer.put_slice(b"S");
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for CancelRequest {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        lock(&self.0).extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl TlsStream for CancelRequest {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl TlsConnect<Self> for CancelRequest {
    type Stream = Self;
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn connect(self, stream: Self) -> Self::Future {
        ready(Ok(stream))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn the_process_is_read_behind_a_request_for_tls() {
        let mut request = CancelRequest::default();
        assert_eq!(request.process(), None);
        request.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await.unwrap();
        assert_eq!(request.read_u8().await.unwrap(), b'S');
        request
            .write_all(&[0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 1, 2, 9, 9, 9, 9])
            .await
            .unwrap();
        assert_eq!(request.process(), Some(258));
        assert!(request.asks_for_tls());
    }
}
