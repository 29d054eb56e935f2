//! Accepts connections.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use serde_json::json;
use tokio::{
    net::{TcpListener, TcpSocket},
    time::sleep,
};
use tokio_util::task::TaskTracker;

use super::{
    connection::{Connection, Protocols},
    connections::Connections,
    service::{Client, Service},
};
use crate::log;

/// Connections that wait to be accepted. The operating system may allow fewer.
const BACKLOG: u32 = 8192;

/// The pause after a failed `accept`. If file descriptors have run out, the next attempt would fail at once again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Bytes of one connection that the operating system holds, in each direction. Without a bound it holds megabytes for a
/// client that reads slowly, and counts them as this process's memory in a container.
const SOCKET_BUFFER: u32 = 128 << 10;

/// Binds a listening socket.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A new server can take the address of one that has just stopped.
    socket.set_reuseaddr(true)?;
    // What is accepted inherits them.
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections until the server stops, then waits for the open ones to end.
pub(super) async fn accept(listener: TcpListener, server: SocketAddr, service: Arc<Service>) {
    let stopping = service.instances.stopping().clone();
    let mut stopped = pin!(stopping.cancelled());
    let open = TaskTracker::new();
    let protocols = Arc::new(Protocols::new(&service.limits));
    let connections = Connections::new(&service.limits, service.unlimited.clone());
    loop {
        let next = async {
            let slot = connections.slot().await;
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            next = next => next,
            () = &mut stopped => break,
        };
        match accepted {
            Ok((stream, client)) => {
                // Beyond the bound of its address, the connection is closed.
                let Some(place) = connections.admit(client.ip(), slot) else {
                    continue;
                };
                let (protocols, connections) = (protocols.clone(), connections.clone());
                let connection = Connection {
                    client: Client {
                        address: client,
                        server,
                        shares: place.shares.clone(),
                    },
                    service: service.clone(),
                };
                open.spawn(async move {
                    protocols.serve(stream, connection, &connections).await;
                    drop(place);
                });
            }
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
    open.close();
    open.wait().await;
}
