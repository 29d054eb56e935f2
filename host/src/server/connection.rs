//! Serves one connection, in the protocol that its client speaks.

use std::{
    convert::Infallible,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use sugang_protocol::host;
use tokio::{
    net::TcpStream,
    time::{MissedTickBehavior, interval},
};

use super::{
    activity::{Activity, SentBody, Verdict},
    connections::Connections,
    pace::{Pace, Rate},
    service::{Client, Service},
    wire::{Protocol, Wire},
};
use crate::settings::Limits;

/// How often a connection of HTTP/2 is examined.
const EXAMINATION: Duration = Duration::from_secs(1);

/// The time for an idle client of HTTP/2 to end the connection, once it was told to.
const GOAWAY_GRACE: Duration = Duration::from_secs(5);

/// How often a client of HTTP/2 is pinged, and the time for its reply.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes that a client of HTTP/2 may send before the service has read them: for one request, and for all of them.
const WINDOW: u32 = 64 << 10;

/// Bytes of one response that wait in a connection of HTTP/2 until its client reads.
const SEND_BUFFER: usize = 64 << 10;

/// Serves connections of all protocols.
pub(super) struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

/// One connection: whose it is, and what serves it.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) service: Arc<Service>,
}

impl Protocols {
    pub(super) fn new(limits: &Limits) -> Self {
        let mut http1 = http1::Builder::new();
        // The wire has deadlines of its own, and hands out nothing that is longer.
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_buf_size(limits.header_bytes.max(8 << 10) + (8 << 10));
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        Self { http1, http2 }
    }

    /// Serves a connection until it ends, or until the server stops.
    pub(super) async fn serve(&self, stream: TcpStream, connection: Connection, connections: &Arc<Connections>) {
        // Without it the connection still works, only slower.
        _ = stream.set_nodelay(true);
        let connection = Arc::new(connection);
        let (limits, instances) = (&connection.service.limits, &connection.service.instances);
        let activity = Activity::new();
        let mut wire = Wire::new(
            stream,
            activity.clone(),
            connections.clone(),
            &connection.client.shares,
            limits,
        );
        let served = async {
            let protocol = tokio::select! {
                protocol = wire.protocol() => protocol,
                () = instances.stopping().cancelled() => None,
            };
            match protocol {
                Some(Protocol::Http1) => self.serve_http1(wire, &connection, &activity).await,
                Some(Protocol::Http2) => self.serve_http2(wire, &connection, &activity).await,
                None => {}
            }
        };
        tokio::select! {
            () = served => {}
            () = instances.killed().cancelled() => {}
        }
    }

    async fn serve_http1(&self, wire: Wire, connection: &Arc<Connection>, activity: &Arc<Activity>) {
        let respond = respond(connection, activity, None);
        let mut serving = pin!(self.http1.serve_connection(wire, service_fn(respond)));
        tokio::select! {
            // An error means that the client has gone, or that it was too slow.
            _ = &mut serving => return,
            () = connection.service.instances.stopping().cancelled() => {}
        }
        activity.stop();
        serving.as_mut().graceful_shutdown();
        _ = serving.await;
    }

    async fn serve_http2(&self, wire: Wire, connection: &Arc<Connection>, activity: &Arc<Activity>) {
        let limits = &connection.service.limits;
        let rate = Rate {
            patience: limits.write_timeout,
            bytes_per_second: limits.min_rate,
        };
        let respond = respond(connection, activity, Some(rate));
        let mut serving = pin!(self.http2.serve_connection(wire, service_fn(respond)));
        let mut examination = interval(EXAMINATION.min(limits.write_timeout).min(limits.idle_timeout));
        examination.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told_to_go: Option<Instant> = None;
        loop {
            tokio::select! {
                _ = &mut serving => return,
                () = connection.service.instances.stopping().cancelled(), if activity.stopped().is_none() => {
                    activity.stop();
                    serving.as_mut().graceful_shutdown();
                }
                _ = examination.tick() => match activity.verdict(limits.idle_timeout) {
                    Verdict::Well => {}
                    Verdict::Stalled => return,
                    Verdict::Idle => match told_to_go {
                        Some(told) if told.elapsed() >= GOAWAY_GRACE => return,
                        Some(_) => {}
                        None => {
                            told_to_go = Some(Instant::now());
                            serving.as_mut().graceful_shutdown();
                        }
                    },
                },
            }
        }
    }
}

/// Responds to the requests of one connection. If `rate` is given, it carries many of them at once, and its client must read
/// each response at that rate.
fn respond(
    connection: &Arc<Connection>,
    activity: &Arc<Activity>,
    rate: Option<Rate>,
) -> impl Fn(Request<Incoming>) -> BoxFuture<'static, Result<Response<SentBody>, Infallible>> + use<> {
    let (connection, activity) = (connection.clone(), activity.clone());
    move |request| {
        let connection = connection.clone();
        let (mut exchange, mut refused) = activity.begin();
        if rate.is_some() {
            exchange.place = connection.client.shares.stream();
            refused = refused.or(exchange.place.is_none().then_some(&host::OVERLOADED));
        }
        Box::pin(async move {
            let response = match refused {
                Some(error) => connection.service.refuse(request, error, connection.client.address),
                None => connection.service.respond(request, &connection.client).await,
            };
            Ok(response.map(|body| exchange.send(body, rate.map(Pace::begin))))
        })
    }
}
