//! What the connections from one address have together, so that no address has everything.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::memory::Memory;
use crate::settings::Limits;

/// The part of the memory, and of the places of quick requests, that one address may have.
const QUARTER: usize = 4;

/// The part of the places for requests that compute for long: with less, a single address could not keep the slots busy.
const HALF: usize = 2;

/// A kind of requests, with places of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Usual,
    /// Requests that compute for long, such as a login: the other requests of the same instance would wait meanwhile, and
    /// the instance keeps the memory that the computation took.
    CpuBound,
    /// Requests that wait for another server: as long as it hangs, they would take the places of requests that do not.
    Outbound,
    /// Requests that must be answered when the host is full: a probe would have it restarted, and a preflight would keep
    /// a page from reading the response.
    Probes,
}

/// The shares of one address.
pub(super) struct Shares {
    /// `None` for trusted proxies.
    places: Option<Places>,
    /// Requests of HTTP/2 in flight, of all addresses. They count like connections.
    streams: Arc<Semaphore>,
    /// Memory for requests that wait for a place.
    pub(super) requests: Memory,
    /// Memory for responses that wait for their client.
    pub(super) responses: Memory,
}

/// Places of requests.
struct Places {
    usual: Arc<Semaphore>,
    cpu_bound: Arc<Semaphore>,
    outbound: Arc<Semaphore>,
    probes: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

/// The place of one request of HTTP/2.
pub(super) struct StreamPlace {
    _any: OwnedSemaphorePermit,
    _own: Option<OwnedSemaphorePermit>,
}

impl Shares {
    /// Makes the shares of trusted proxies, behind which all clients are: everything.
    pub(super) fn unlimited(limits: &Limits) -> Self {
        Self {
            places: None,
            streams: Arc::new(Semaphore::new(limits.connections)),
            requests: Memory::new(limits.request_memory),
            responses: Memory::new(limits.response_memory),
        }
    }

    /// Makes the shares that one address has of these.
    pub(super) fn of_one_address(&self, limits: &Limits) -> Self {
        let part = |all: usize, divisor| Arc::new(Semaphore::new(all.div_ceil(divisor)));
        Self {
            places: Some(Places {
                usual: part(limits.requests, QUARTER),
                cpu_bound: part(limits.cpu_bound_requests, HALF),
                outbound: part(limits.outbound_requests, QUARTER),
                probes: part(limits.probe_requests, QUARTER),
                streams: Arc::new(Semaphore::new(limits.connections_per_address)),
            }),
            streams: self.streams.clone(),
            requests: self.requests.share(limits.request_memory / QUARTER),
            responses: self.responses.share(limits.response_memory / QUARTER),
        }
    }

    /// Waits, in the order of arrival, until fewer requests of this address are in flight or ahead in the queue of all.
    /// Without it, one address could fill the queue until others are refused.
    pub(super) async fn place(&self, lane: Lane) -> Option<OwnedSemaphorePermit> {
        let places = self.places.as_ref()?;
        let places = match lane {
            Lane::Usual => &places.usual,
            Lane::CpuBound => &places.cpu_bound,
            Lane::Outbound => &places.outbound,
            Lane::Probes => &places.probes,
        };
        // The semaphore is never closed, so there is always a permit in the end.
        places.clone().acquire_owned().await.ok()
    }

    /// Takes the place of a request of HTTP/2; `None` without one. A connection may carry many requests, and each holds
    /// memory, so they are bounded like connections.
    pub(super) fn stream(&self) -> Option<StreamPlace> {
        let own = self.places.as_ref().map(|own| own.streams.clone().try_acquire_owned());
        let own = own.transpose().ok()?;
        Some(StreamPlace {
            _any: self.streams.clone().try_acquire_owned().ok()?,
            _own: own,
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn one_address_does_not_have_everything() {
        let limits = Limits {
            requests: 8,
            cpu_bound_requests: 4,
            outbound_requests: 12,
            probe_requests: 1,
            connections: 4,
            connections_per_address: 2,
            ..Limits::default()
        };
        let all = Shares::unlimited(&limits);
        let one = all.of_one_address(&limits);
        for (lane, share) in [
            (Lane::Usual, 2),
            (Lane::CpuBound, 2),
            (Lane::Outbound, 3),
            (Lane::Probes, 1),
        ] {
            let taken: Vec<_> = (0..share).map(|_| one.place(lane).now_or_never().unwrap()).collect();
            assert!(
                taken.iter().all(Option::is_some) && one.place(lane).now_or_never().is_none(),
                "{lane:?}"
            );
            assert!(
                all.place(lane).now_or_never().unwrap().is_none(),
                "a proxy has no share"
            );
            drop(taken);
            assert!(one.place(lane).now_or_never().is_some());
        }
        let streams: Vec<_> = (0..2).map(|_| one.stream().unwrap()).collect();
        assert!(one.stream().is_none());
        let of_others: Vec<_> = (0..2).map(|_| all.stream().unwrap()).collect();
        assert!(all.stream().is_none(), "there is a bound for all");
        drop((streams, of_others));
        assert!(one.stream().is_some());
    }
}
