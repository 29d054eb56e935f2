//! HTTP requests of the component to other servers: only to those that the manifest allows, encrypted if the URL says so,
//! with a limit on everything that the server could make grow.
//!
//! No redirect is followed, and no proxy is used.

mod body;
mod connector;
mod public;
mod target;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    error::Error as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper_util::{
    client::legacy::{self, connect::capture_connection},
    rt::{TokioExecutor, TokioTimer},
};
use serde_json::json;
use sugang_connect::https;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use crate::{error::StartError, log, settings::OutboundLimits, stores::AllowedHosts, sync::lock};
use body::LimitedBody;
use connector::{CONNECT_TIMEOUT, Connector, connect_error};
use target::Target;

/// Bytes of the head of a response.
const HEAD_BYTES: usize = 64 << 10;

/// The wait for a place beside the other requests to a server: one that hangs keeps no request waiting for long.
const PLACE_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends the requests of one server's component.
pub(crate) struct Client {
    allowed: Arc<AllowedHosts>,
    limits: OutboundLimits,
    http: legacy::Client<Connector, WasiBody>,
    /// Requests in flight to each server: one that hangs takes nothing from the others.
    places: Mutex<HashMap<Target, Arc<Semaphore>>>,
}

impl Client {
    /// Makes a client, without connecting.
    ///
    /// # Errors
    /// The manifest allows HTTPS, and the file of authorities cannot be used, or this system has no authorities.
    pub(crate) fn new(allowed: Arc<AllowedHosts>, limits: &OutboundLimits) -> Result<Self, StartError> {
        let authorities = limits.authorities.as_deref();
        let tls = allowed.has_scheme("https").then(|| https::Connector::new(authorities));
        let connector = Connector {
            allowed: allowed.clone(),
            tls: tls.transpose().map_err(|error| StartError::Misconfigured {
                detail: format!("HTTPS to other servers {error}"),
            })?,
            timeout: limits.connect_timeout,
        };
        Ok(Self {
            http: legacy::Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(limits.idle_timeout)
                .pool_max_idle_per_host(limits.requests)
                .http1_max_buf_size(HEAD_BYTES)
                .build(connector),
            allowed,
            limits: limits.clone(),
            places: Mutex::default(),
        })
    }

    /// Sends a request, and returns the response as soon as its head is there.
    ///
    /// # Errors
    /// The server is not allowed, there is no connection to it, or no response comes in time.
    pub(crate) async fn send(
        &self,
        mut request: Request<WasiBody>,
        options: RequestOptions,
    ) -> Result<Response<WasiBody>, Error> {
        let target = Target::of(request.uri()).ok_or(Error::HttpRequestUriInvalid)?;
        if !target.is_allowed(&self.allowed) {
            report(&target, "it is not in the component's allowed_outbound_hosts");
            return Err(Error::HttpRequestDenied);
        }
        let connect_timeout = at_most(options.connect_timeout, self.limits.connect_timeout);
        let first_byte_timeout = at_most(options.first_byte_timeout, self.limits.first_byte_timeout);
        let pause = at_most(options.between_bytes_timeout, self.limits.between_bytes_timeout);
        let place = timeout(connect_timeout.min(PLACE_TIMEOUT), self.place(&target)).await;
        let Some(place) = place.ok().flatten() else {
            report(&target, "too many requests wait for it");
            return Err(Error::ConnectionLimitReached);
        };
        let mut connection = capture_connection(&mut request);
        let late = async {
            if connection.wait_for_connection_metadata().await.is_some() {
                sleep(first_byte_timeout).await;
            } else {
                // There is no connection, which the exchange itself reports.
                std::future::pending::<()>().await;
            }
        };
        let response = tokio::select! {
            response = CONNECT_TIMEOUT.scope(connect_timeout, self.http.request(request)) => response,
            () = late => {
                report(&target, "no response in time");
                return Err(Error::ConnectionReadTimeout);
            }
        };
        let response = response.map_err(|error| failure(&target, &error))?;
        Ok(response.map(|body| LimitedBody::new(body, self.limits.response_bytes, pause, place).boxed_unsync()))
    }

    async fn place(&self, target: &Target) -> Option<OwnedSemaphorePermit> {
        let places = {
            let mut places = lock(&self.places);
            places.retain(|_, places| Arc::strong_count(places) > 1);
            let new = || Arc::new(Semaphore::new(self.limits.requests));
            places.entry(target.clone()).or_insert_with(new).clone()
        };
        places.acquire_owned().await.ok()
    }
}

/// What the component asks for, within the host's own limit.
fn at_most(asked: Option<Duration>, limit: Duration) -> Duration {
    asked.map_or(limit, |asked| asked.min(limit))
}

fn failure(target: &Target, error: &legacy::Error) -> Error {
    if let Some(error) = connect_error(error) {
        report(target, &error.to_string());
        return error.for_component();
    }
    let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    report(target, &cause);
    match error.source().and_then(|cause| cause.downcast_ref::<hyper::Error>()) {
        Some(error) if error.is_parse() => Error::HttpProtocolError,
        _ => Error::ConnectionTerminated,
    }
}

/// Logs why a request has no response; the component sees only a code.
fn report(target: &Target, error: &str) {
    let fields = json!({ "server": target.to_string(), "error": error });
    log::write("warn", "a request to another server failed", fields);
}
