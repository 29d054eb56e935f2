//! The HTTP server: from the accepted connection to the instance that responds, and back.

mod activity;
mod bulkhead;
mod connection;
mod connections;
mod error_response;
mod listener;
mod memory;
mod mounts;
mod pace;
mod request;
mod request_body;
mod response_body;
mod service;
mod shared_bodies;
mod shares;
mod sweep;
mod wire;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};

use crate::{error::StartError, instances::Instances, log, manifest::HostSettings, settings::Settings, stores::Stores};
pub(crate) use mounts::Mounted;
use service::Service;

/// A running server. Dropped without [`Server::stop`], it ends at once and aborts the requests in flight.
pub struct Server {
    addr: SocketAddr,
    service: Arc<Service>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    /// Requests the probe and listens.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left running then.
    pub(crate) async fn start(
        instances: Instances,
        mounts: Vec<Mounted>,
        stores: Arc<Stores>,
        host: HostSettings,
        settings: Settings,
    ) -> Result<Self, StartError> {
        let service = Service::new(instances, mounts, stores, host, settings.listen, settings.limits);
        let service = Arc::new(service);
        match Self::listen(&service, settings.listen, settings.probe).await {
            Ok((addr, listener)) => {
                let accepting = tokio::spawn(listener::accept(listener, addr, service.clone()));
                if let Some(every) = settings.sweep_every.filter(|_| service.sweep.is_some()) {
                    tokio::spawn(sweep::run(service.clone(), every));
                }
                Ok(Self {
                    addr,
                    service,
                    accepting: Some(accepting),
                })
            }
            Err(error) => {
                service.close(Duration::ZERO).await;
                Err(error)
            }
        }
    }

    async fn listen(
        service: &Service,
        address: SocketAddr,
        probe: Option<String>,
    ) -> Result<(SocketAddr, TcpListener), StartError> {
        if let Some(path) = probe {
            service.probe(path).await?;
        }
        let failed = |error| StartError::Listen { address, error };
        let listener = listener::bind(address).map_err(failed)?;
        Ok((listener.local_addr().map_err(failed)?, listener))
    }

    /// Sweeps without listening, until nothing more is due. Returns what the component says that it did, each time.
    ///
    /// # Errors
    /// See [`StartError`]; [`StartError::Sweep`] for a sweep that fails.
    pub(crate) async fn sweep(
        instances: Instances,
        stores: Arc<Stores>,
        host: HostSettings,
        settings: Settings,
    ) -> Result<Vec<String>, StartError> {
        let limit = settings.limits.shutdown_timeout;
        let service = Service::new(instances, Vec::new(), stores, host, settings.listen, settings.limits);
        let mut done = Vec::new();
        let swept = loop {
            match sweep::once(&service).await {
                Ok((body, again)) => {
                    done.push(body);
                    if !again.is_zero() {
                        break Ok(done);
                    }
                }
                Err(status) => break Err(StartError::Sweep { status }),
            }
        };
        service.close(limit).await;
        swept
    }

    /// The address that it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops: accepts no new connection, lets requests in flight end (within `shutdown_timeout`), then closes the
    /// instances and their connections to the stores. Nothing of the server is left when this returns.
    pub async fn stop(mut self) {
        let begun = Instant::now();
        let limit = self.service.limits.shutdown_timeout;
        self.service.instances.stopping().cancel();
        if let Some(mut accepting) = self.accepting.take()
            && timeout(limit, &mut accepting).await.is_err()
        {
            log::write(
                "warn",
                "requests were still in flight at the end of the shutdown timeout",
                json!({}),
            );
            accepting.abort();
        }
        self.service.close(limit.saturating_sub(begun.elapsed())).await;
        // Connections that are still open, however slow their clients are.
        self.service.instances.killed().cancel();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            self.service.instances.stopping().cancel();
            self.service.instances.killed().cancel();
        }
    }
}
