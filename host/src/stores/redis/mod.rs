//! Connections to Redis, one shared by all instances for each address.
//!
//! Commands that stand alone can share a connection. A command that changes or blocks its connection (`MULTI`, `SELECT`,
//! `BLPOP`, …) gives the component's connection a dedicated one, from then on. A shared connection that broke, or that
//! left a command without a reply, is replaced for the next command; the command itself is never sent twice.

mod client;
mod commands;
mod error;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _};
use tokio_util::task::TaskTracker;

use client::Client;
pub(crate) use client::Connection;
pub(crate) use error::Error;

use super::AllowedHosts;
use crate::{settings::RedisLimits, sync::lock};

/// Addresses that may have a client. The component chooses them, so their number needs a bound.
const MAX_CLIENTS: usize = 64;

/// The Redis clients of one server, by address.
pub(crate) struct Clients {
    limits: RedisLimits,
    allowed: Arc<AllowedHosts>,
    tasks: TaskTracker,
    clients: Mutex<HashMap<String, Arc<Client>>>,
}

impl Clients {
    pub(super) fn new(limits: RedisLimits, allowed: Arc<AllowedHosts>) -> Self {
        Self {
            limits,
            allowed,
            tasks: TaskTracker::new(),
            clients: Mutex::default(),
        }
    }

    /// Opens a connection, and connects unless another one to the same address is open.
    ///
    /// # Errors
    /// The address cannot be parsed, is not allowed or requires TLS; there are too many addresses; Redis does not answer.
    pub(crate) async fn open(&self, address: &str) -> Result<Connection, Error> {
        Connection::open(self.client(address)?).await
    }

    fn client(&self, address: &str) -> Result<Arc<Client>, Error> {
        let mut clients = lock(&self.clients);
        if let Some(client) = clients.get(address) {
            return Ok(client.clone());
        }
        if self.tasks.is_closed() || clients.len() >= MAX_CLIENTS {
            return Err(Error::TooManyConnections);
        }
        let info = self.parse(address)?;
        let client = Arc::new(Client::new(info, self.limits.clone(), self.tasks.clone()));
        clients.insert(address.to_owned(), client.clone());
        Ok(client)
    }

    fn parse(&self, address: &str) -> Result<ConnectionInfo, Error> {
        let info = address.into_connection_info().map_err(|_| Error::InvalidAddress)?;
        match info.addr() {
            ConnectionAddr::Tcp(host, port) => self.allowed.check("redis", host, *port).map_err(Error::other)?,
            ConnectionAddr::TcpTls { .. } => {
                return Err(Error::other(
                    "the address requires TLS, which this host does not support; use redis://",
                ));
            }
            _ => return Err(Error::InvalidAddress),
        }
        Ok(info)
    }

    /// Closes all connections.
    pub(super) async fn close(&self) {
        self.tasks.close();
        lock(&self.clients).clear();
        self.tasks.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(allowed: &str) -> Clients {
        let allowed = AllowedHosts::parse(&[allowed.to_owned()]).unwrap();
        Clients::new(RedisLimits::default(), Arc::new(allowed))
    }

    #[tokio::test]
    async fn an_address_is_checked_before_it_is_opened() {
        let clients = clients("redis://allowed:*");
        assert!(clients.client("redis://allowed:6000/1").is_ok());
        for (address, expected) in [
            ("redis://other", "redis://other:6379 is not in"),
            ("rediss://allowed", "InvalidAddress"),
            ("redis+unix:///tmp/x", "InvalidAddress"),
            ("nonsense", "InvalidAddress"),
        ] {
            let error = format!("{:?}", clients.client(address).err());
            assert!(error.contains(expected), "{address}: {error}");
        }
    }

    #[tokio::test]
    async fn the_number_of_addresses_is_bounded() {
        let clients = clients("redis://*:*");
        for number in 0..MAX_CLIENTS {
            assert!(clients.client(&format!("redis://a/{number}")).is_ok());
        }
        assert!(matches!(clients.client("redis://b"), Err(Error::TooManyConnections)));
        assert!(clients.client("redis://a/0").is_ok());
    }

    #[tokio::test]
    async fn a_closed_server_opens_nothing() {
        let clients = clients("redis://*:*");
        clients.close().await;
        assert!(matches!(
            clients.open("redis://a").await,
            Err(Error::TooManyConnections)
        ));
    }
}
