//! The open connections: how many there are, and from where.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::json;
use sugang_protocol::client_network;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{log, settings::Limits, sync::lock};

/// The share of all connections that is free as long as connections are not scarce.
const RESERVE: usize = 4;

/// The time between two lines about addresses with too many connections.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The open connections of clients.
pub(super) struct Connections {
    slots: Arc<Semaphore>,
    all: usize,
    per_address: usize,
    trusted_proxies: Vec<IpAddr>,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    refused: Mutex<Refused>,
}

/// Connections that were closed at once, since the last line about them.
#[derive(Default)]
struct Refused {
    connections: u64,
    logged: Option<Instant>,
}

/// A connection's place. It becomes free when this is dropped.
pub(super) struct Place {
    connections: Arc<Connections>,
    address: Option<IpAddr>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Connections {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            slots: Arc::new(Semaphore::new(limits.connections)),
            all: limits.connections,
            per_address: limits.connections_per_address,
            trusted_proxies: limits.trusted_proxies.clone(),
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
        let address = (!self.trusted_proxies.contains(&client.to_canonical())).then(|| client_network(client));
        if let Some(address) = address {
            let mut by_address = lock(&self.by_address);
            let open = by_address.entry(address).or_default();
            if *open >= self.per_address {
                drop(by_address);
                self.report_refusal(address);
                return None;
            }
            *open += 1;
        }
        Some(Place {
            connections: self.clone(),
            address,
            _slot: slot,
        })
    }

    /// Logs, once in a while, that an address has too many connections.
    fn report_refusal(&self, address: IpAddr) {
        let mut refused = lock(&self.refused);
        refused.connections += 1;
        if refused.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
            let fields = json!({ "address": address, "refused": refused.connections, "bound": self.per_address });
            log::write("warn", "too many connections from one address", fields);
            *refused = Refused {
                connections: 0,
                logged: Some(Instant::now()),
            };
        }
    }

    /// Whether most connections are taken, so that idle ones have to make place.
    pub(super) fn are_scarce(&self) -> bool {
        self.slots.available_permits() < self.all / RESERVE
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(address) = self.address else {
            return;
        };
        if let Entry::Occupied(mut open) = lock(&self.connections.by_address).entry(address) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_bound_and_a_trusted_proxy_has_none() {
        let proxy = IpAddr::from([192, 0, 2, 9]);
        let connections = Connections::new(&Limits {
            connections_per_address: 2,
            trusted_proxies: vec![proxy],
            ..Limits::default()
        });
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
}
