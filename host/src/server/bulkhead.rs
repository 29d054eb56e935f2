//! Bulkheads: requests of one kind cannot exhaust the capacity of another.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use wasmtime_wasi_http::handler::ProxyHandler;

use super::shares::{Lane, Shares};
use crate::instances::Instances;

/// Instances of their own for some of the requests, and a limit of requests in flight.
pub(super) struct Bulkhead {
    pub(super) handler: ProxyHandler<Instances>,
    permits: Arc<Semaphore>,
}

impl Bulkhead {
    /// Makes a bulkhead for `requests` requests in flight.
    pub(super) fn new(instances: Instances, requests: usize) -> Self {
        Self {
            handler: ProxyHandler::new(instances),
            permits: Arc::new(Semaphore::new(requests)),
        }
    }

    /// Admits a request until the place is dropped, in the order of arrival. Returns `None` after `limit`.
    pub(super) async fn admit(&self, shares: &Arc<Shares>, lane: Lane, limit: Duration) -> Option<Place> {
        let place = async {
            Some(Place {
                _own: shares.place(lane).await,
                _any: self.permits.clone().acquire_owned().await.ok()?,
                _shares: shares.clone(),
            })
        };
        timeout(limit, place).await.ok()?
    }
}

/// The place of a request: among those of its address, and among all.
pub(super) struct Place {
    _own: Option<OwnedSemaphorePermit>,
    _any: OwnedSemaphorePermit,
    _shares: Arc<Shares>,
}
