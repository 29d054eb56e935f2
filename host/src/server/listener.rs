//! Accepts connections and reads requests from them.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

use super::service::Service;
use crate::{log, settings::Limits};

/// Connections that wait to be accepted. The operating system may allow fewer.
const BACKLOG: u32 = 8192;

/// The pause after a failed `accept`. If file descriptors have run out, the next attempt would fail at once again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Binds a listening socket.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A new server can take the address of one that has just stopped.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections until the server stops, then waits for the open ones to end.
pub(super) async fn accept(listener: TcpListener, addr: SocketAddr, service: Arc<Service>) {
    let stopping = service.instances.stopping().clone();
    let mut stopped = pin!(stopping.cancelled());
    let open = GracefulShutdown::new();
    let http = protocol(&service.limits);
    let slots = Arc::new(Semaphore::new(service.limits.connections));
    loop {
        let next = async {
            // The semaphore is never closed, so there is always a permit in the end.
            let permit = slots.clone().acquire_owned().await.ok();
            (listener.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            next = next => next,
            () = &mut stopped => break,
        };
        match accepted {
            Ok((stream, client)) => serve(&http, &open, stream, client, addr, &service, permit),
            Err(error) => {
                log::write(
                    "warn",
                    "a connection could not be accepted",
                    json!({ "error": error.to_string() }),
                );
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    open.shutdown().await;
}

fn protocol(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.headers)
        .max_buf_size(limits.header_bytes.max(8192));
    http
}

/// Serves one connection in the background.
fn serve(
    http: &http1::Builder,
    open: &GracefulShutdown,
    stream: TcpStream,
    client: SocketAddr,
    server: SocketAddr,
    service: &Arc<Service>,
    permit: Option<OwnedSemaphorePermit>,
) {
    // Without it the connection still works, only slower.
    _ = stream.set_nodelay(true);
    let killed = service.instances.killed().clone();
    let service = service.clone();
    let respond = service_fn(move |request: Request<Incoming>| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.respond(request, client, server).await) }
    });
    let connection = open.watch(http.serve_connection(TokioIo::new(stream), respond));
    tokio::spawn(async move {
        tokio::select! {
            // An error means that the client has gone or broken the protocol; hyper has responded to the latter.
            _ = connection => {}
            () = killed.cancelled() => {}
        }
        drop(permit);
    });
}
