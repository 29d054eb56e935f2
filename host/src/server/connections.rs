//! The open connections: how many there are, and from where.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex, Weak},
    time::{Duration, Instant},
};

use serde_json::json;
use sugang_protocol::client_network;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::shares::Shares;
use crate::{log, settings::Limits, sync::lock};

/// The share of all connections that is free as long as connections are not scarce.
const RESERVE: usize = 4;

/// The time between two lines about addresses with too many connections.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The open connections of clients.
pub(super) struct Connections {
    slots: Arc<Semaphore>,
    limits: Limits,
    /// What trusted proxies have, and what all others have a part of.
    all: Arc<Shares>,
    by_address: Mutex<HashMap<IpAddr, Address>>,
    refused: Mutex<Refused>,
}

/// One address that has connections, or requests of earlier ones in flight.
#[derive(Default)]
struct Address {
    open: usize,
    shares: Weak<Shares>,
}

/// Connections that were closed at once, since the last line about them.
#[derive(Default)]
struct Refused {
    connections: u64,
    logged: Option<Instant>,
}

/// A connection's place. It becomes free when this is dropped.
pub(super) struct Place {
    /// What its address has.
    pub(super) shares: Arc<Shares>,
    counted: Option<(Arc<Connections>, IpAddr)>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Connections {
    pub(super) fn new(limits: &Limits, all: Arc<Shares>) -> Arc<Self> {
        Arc::new(Self {
            slots: Arc::new(Semaphore::new(limits.connections)),
            limits: limits.clone(),
            all,
            by_address: Mutex::default(),
            refused: Mutex::default(),
        })
    }

    /// Waits for a place. Without one, further connections wait in the listener's backlog.
    pub(super) async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed, so there is always a permit in the end.
        self.slots.clone().acquire_owned().await.ok()
    }

    /// Gives the place to a client; `None` if its address has as many connections as one may have.
    pub(super) fn admit(self: &Arc<Self>, client: IpAddr, slot: Option<OwnedSemaphorePermit>) -> Option<Place> {
        if self.limits.trusted_proxies.contains(&client.to_canonical()) {
            return Some(Place {
                shares: self.all.clone(),
                counted: None,
                _slot: slot,
            });
        }
        let network = client_network(client);
        let mut by_address = lock(&self.by_address);
        if by_address.len() >= self.limits.connections && !by_address.contains_key(&network) {
            by_address.retain(|_, address| address.open > 0 || address.shares.strong_count() > 0);
        }
        let address = by_address.entry(network).or_default();
        if address.open >= self.limits.connections_per_address {
            drop(by_address);
            self.report_refusal(network);
            return None;
        }
        address.open += 1;
        let shares = address.shares.upgrade().unwrap_or_else(|| {
            let shares = Arc::new(self.all.of_one_address(&self.limits));
            address.shares = Arc::downgrade(&shares);
            shares
        });
        Some(Place {
            shares,
            counted: Some((self.clone(), network)),
            _slot: slot,
        })
    }

    /// Logs, once in a while, that an address has too many connections.
    fn report_refusal(&self, address: IpAddr) {
        let mut refused = lock(&self.refused);
        refused.connections += 1;
        if refused.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
            let fields = json!({ "address": address, "refused": refused.connections, "bound": self.limits.connections_per_address });
            log::write("warn", "too many connections from one address", fields);
            *refused = Refused {
                connections: 0,
                logged: Some(Instant::now()),
            };
        }
    }

    /// Whether most connections are taken, so that idle ones have to make place.
    pub(super) fn are_scarce(&self) -> bool {
        self.slots.available_permits() < self.limits.connections / RESERVE
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((connections, network)) = &self.counted else {
            return;
        };
        if let Entry::Occupied(mut entry) = lock(&connections.by_address).entry(*network) {
            let address = entry.get_mut();
            address.open -= 1;
            // Requests in flight keep the shares of their address: a client cannot have new ones by connecting again.
            if address.open == 0 && Arc::strong_count(&self.shares) == 1 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two connections for each address.
    fn connections(trusted_proxies: Vec<IpAddr>, connections: usize) -> Arc<Connections> {
        let limits = Limits {
            connections,
            connections_per_address: 2,
            trusted_proxies,
            ..Limits::default()
        };
        Connections::new(&limits, Arc::new(Shares::unlimited(&limits)))
    }

    #[test]
    fn an_address_has_a_bound_and_a_trusted_proxy_has_none() {
        let proxy = IpAddr::from([192, 0, 2, 9]);
        let connections = connections(vec![proxy], 100);
        let admit = |address: &str| connections.admit(address.parse().unwrap(), None);
        let first = admit("192.0.2.1").unwrap();
        let _second = admit("::ffff:192.0.2.1").unwrap();
        assert!(admit("192.0.2.1").is_none());
        let _other = admit("192.0.2.2").unwrap();
        drop(first);
        let _third = admit("192.0.2.1").unwrap();
        let _of_the_proxy: Vec<_> = (0..5).map(|_| admit("192.0.2.9").unwrap()).collect();

        let _one_network = [admit("2001:db8::1").unwrap(), admit("2001:db8::2").unwrap()];
        assert!(admit("2001:db8::3").is_none());
        let other_network = admit("2001:db8:0:1::3").unwrap();
        drop((_one_network, other_network));
        assert_eq!(lock(&connections.by_address).len(), 2, "what is gone takes no memory");
    }

    #[test]
    fn an_address_keeps_its_shares_while_its_requests_are_in_flight() {
        let connections = connections(vec![], 2);
        let admit = |address: [u8; 4]| connections.admit(address.into(), None).unwrap();
        let first = admit([192, 0, 2, 1]);
        let in_flight = first.shares.clone();
        drop(first);
        let again = admit([192, 0, 2, 1]);
        assert!(Arc::ptr_eq(&again.shares, &in_flight));
        drop((again, in_flight));
        let _others: Vec<_> = (2..5).map(|last| admit([192, 0, 2, last])).collect();
        assert_eq!(lock(&connections.by_address).len(), 3, "what is gone takes no memory");
    }
}
