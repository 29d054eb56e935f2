//! Connections to Redis, one shared by all instances for each address.
//!
//! Commands that stand alone can share a connection. A command that changes or blocks its connection (`MULTI`, `SELECT`,
//! `BLPOP`, …) gives the component's connection a dedicated one, from then on. A shared connection that broke, or that
//! left a command without a reply, is replaced for the next command; the command itself is never executed twice.

mod client;
mod cluster;
mod commands;
mod error;
mod report;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use redis::{Cmd, Value};
use sugang_connect::redis::Connector;
use sugang_protocol::store_url::RedisUrl;
use tokio_util::task::TaskTracker;

use client::Client;
pub(crate) use client::Connection;
use cluster::Places;
pub(crate) use error::Error;
use report::Report;

use super::{allowed_hosts::AllowedHosts, origin::Origin};
use crate::{settings::RedisLimits, sync::lock};

/// Addresses that may have a client. The component chooses them, so their number needs a bound.
const MAX_CLIENTS: usize = 64;
/// The most nodes that a command is sent to. Keys move from node to node only while a cluster is rearranged.
const MAX_REDIRECTIONS: u32 = 3;

/// The Redis clients of one server, by address.
pub(crate) struct Clients {
    limits: RedisLimits,
    allowed: Arc<AllowedHosts>,
    tasks: TaskTracker,
    clients: Mutex<HashMap<String, Arc<Client>>>,
    places: Places,
    report: Report,
}

impl Clients {
    pub(super) fn new(limits: RedisLimits, allowed: Arc<AllowedHosts>) -> Self {
        Self {
            limits,
            allowed,
            tasks: TaskTracker::new(),
            clients: Mutex::default(),
            places: Places::default(),
            report: Report::default(),
        }
    }

    /// Opens a connection, and connects unless another one to the same address is open.
    ///
    /// # Errors
    /// The address can never work or is not allowed; there are too many addresses; Redis does not answer.
    pub(crate) async fn open(&self, address: &str) -> Result<Connection, Error> {
        let attempt = self.report.attempt("open");
        let opened = match self.client(address, Origin::Component) {
            Ok(client) => Connection::open(client, address).await,
            Err(error) => Err(error),
        };
        attempt.ended(opened)
    }

    /// Executes the command `name` on a connection, and follows a cluster to the node that has its key.
    ///
    /// # Errors
    /// Redis refuses the command or does not answer in time, or the command does not work over such a connection.
    pub(crate) async fn execute(&self, connection: &Connection, name: &str, command: &Cmd) -> Result<Value, Error> {
        let attempt = self.report.attempt(name);
        attempt.ended(self.execute_in_cluster(connection, name, command).await)
    }

    /// Executes a command on the opened server, or on the node of its cluster that has the key.
    async fn execute_in_cluster(&self, connection: &Connection, name: &str, command: &Cmd) -> Result<Value, Error> {
        let Some(place) = cluster::place(connection.address(), name, command) else {
            return connection.execute(name, command).await;
        };
        let mut node = self.places.get(&place);
        for _ in 0..MAX_REDIRECTIONS {
            let reply = match &node {
                None => connection.execute(name, command).await,
                Some(node) => self.execute_at(node, name, command).await,
            };
            let asked = node.as_deref().unwrap_or(connection.address());
            match reply {
                Err(Error::Redis(error)) => match cluster::moved_to(&error, asked) {
                    Some(moved) if moved != asked => {
                        self.places.set(place.clone(), moved.clone());
                        node = Some(moved);
                    }
                    _ => {
                        self.places.forget(&place);
                        return Err(error.into());
                    }
                },
                Err(error) => {
                    // The node may be gone. The opened one knows its successor.
                    self.places.forget(&place);
                    return Err(error);
                }
                reply => return reply,
            }
        }
        Err(Error::other(
            "CLUSTERDOWN: the nodes of the cluster send a command in circles",
        ))
    }

    async fn execute_at(&self, node: &str, name: &str, command: &Cmd) -> Result<Value, Error> {
        let connection = Connection::open(self.client(node, Origin::Component)?, node).await?;
        connection.execute(name, command).await
    }

    /// Makes the client of an address that a variable names, so that the component finds it.
    ///
    /// # Errors
    /// The address can never work or is not allowed.
    pub(super) fn prepare(&self, address: &str) -> Result<(), Error> {
        self.client(address, Origin::Operator).map(drop)
    }

    fn client(&self, address: &str, origin: Origin) -> Result<Arc<Client>, Error> {
        let mut clients = lock(&self.clients);
        if let Some(client) = clients.get(address) {
            return Ok(client.clone());
        }
        if self.tasks.is_closed() || clients.len() >= MAX_CLIENTS {
            return Err(Error::TooManyConnections);
        }
        let connector = self.parse(address, origin)?;
        let client = Arc::new(Client::new(connector, self.limits.clone(), self.tasks.clone()));
        clients.insert(address.to_owned(), client.clone());
        Ok(client)
    }

    fn parse(&self, address: &str, origin: Origin) -> Result<Connector, Error> {
        let wrong = |error: &dyn std::error::Error| Error::Address(error.to_string());
        let url = RedisUrl::parse(address, "").map_err(|error| wrong(&error))?;
        let scheme = if url.tls { "rediss" } else { "redis" };
        self.allowed
            .check(scheme, &url.host.host, url.port())
            .map_err(|error| Error::Address(format!("is refused: {error}")))?;
        if url.names_files() {
            origin.check_files().map_err(Error::Address)?;
        }
        Connector::new(url).map_err(|error| wrong(&error))
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
        assert!(clients.client("redis://allowed:6000/1", Origin::Component).is_ok());
        for (address, expected) in [
            ("redis://other", "redis://other:6379 is not in"),
            ("rediss://allowed", "rediss://allowed:6379 is not in"),
            ("redis+unix:///tmp/x", "Unix socket"),
            ("nonsense", "must begin with redis://"),
        ] {
            let error = format!("{:?}", clients.client(address, Origin::Component).err());
            assert!(error.contains(expected), "{address}: {error}");
        }
    }

    #[tokio::test]
    async fn the_number_of_addresses_is_bounded() {
        let clients = clients("redis://*:*");
        for number in 0..MAX_CLIENTS {
            assert!(
                clients
                    .client(&format!("redis://a/{number}"), Origin::Component)
                    .is_ok()
            );
        }
        assert!(matches!(
            clients.client("redis://b", Origin::Component),
            Err(Error::TooManyConnections)
        ));
        assert!(clients.client("redis://a/0", Origin::Component).is_ok());
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
