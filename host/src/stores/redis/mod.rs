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
mod silence;

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
use cluster::{Places, Redirection};
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
    /// The client of the address that a variable names, which stays while it is not used.
    prepared: Mutex<Option<(String, Arc<Client>)>>,
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
            prepared: Mutex::default(),
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
        let mut remembered = self.places.forget_unless_answered(&place);
        let mut next = self.places.get(&place).map(Redirection::Moved);
        let mut is_remembered = next.is_some();
        for _ in 0..MAX_REDIRECTIONS {
            let (asked, reply) = match &next {
                None => (connection.address(), connection.execute(name, command).await),
                Some(Redirection::Moved(node) | Redirection::Ask(node)) => match self.open_node(connection, node).await
                {
                    Ok(connection) if matches!(next, Some(Redirection::Ask(_))) => {
                        (&**node, connection.execute_asking(name, command).await)
                    }
                    Ok(connection) => (&**node, connection.execute(name, command).await),
                    // Nothing was sent yet. The opened node knows the successor, if there is one.
                    Err(_) if is_remembered => {
                        (next, is_remembered) = (None, false);
                        continue;
                    }
                    Err(error) => return Err(error),
                },
            };
            is_remembered = false;
            match reply {
                Err(Error::Redis(error)) => match cluster::redirection(&error, asked) {
                    Some(Redirection::Moved(node)) if node != asked => {
                        self.places.set(place.clone(), node.clone());
                        next = Some(Redirection::Moved(node));
                    }
                    Some(asking @ Redirection::Ask(_)) => next = Some(asking),
                    _ => return Err(error.into()),
                },
                reply => {
                    remembered.answered = reply.is_ok();
                    return reply;
                }
            }
        }
        Err(Error::other(
            "CLUSTERDOWN: the nodes of the cluster send a command in circles",
        ))
    }

    /// Opens a connection to another node of the cluster. Its address names the files that the opened one names.
    async fn open_node(&self, opened: &Connection, node: &str) -> Result<Connection, Error> {
        let opened = match self.client(node, self.origin(opened.address())) {
            Ok(client) => Connection::open(client, node).await,
            Err(error) => Err(error),
        };
        opened.map_err(|error| {
            let address = RedisUrl::parse(node, "").map(|url| format!("{}:{}", url.host.host, url.port()));
            Error::Other(format!("node {}: {error}", address.unwrap_or_default()))
        })
    }

    /// Makes the client of an address that a variable names, so that the component finds it.
    ///
    /// # Errors
    /// The address can never work or is not allowed.
    pub(super) fn prepare(&self, address: &str) -> Result<(), Error> {
        *lock(&self.prepared) = Some((address.to_owned(), self.client(address, Origin::Operator)?));
        Ok(())
    }

    fn origin(&self, address: &str) -> Origin {
        match &*lock(&self.prepared) {
            Some((prepared, _)) if prepared == address => Origin::Operator,
            _ => Origin::Component,
        }
    }

    fn client(&self, address: &str, origin: Origin) -> Result<Arc<Client>, Error> {
        let mut clients = lock(&self.clients);
        if let Some(client) = clients.get(address) {
            return Ok(client.clone());
        }
        if clients.len() >= MAX_CLIENTS {
            // The nodes of a cluster have new addresses after each replacement.
            clients.retain(|_, client| Arc::strong_count(client) > 1);
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
        *lock(&self.prepared) = None;
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
        let open = |address: &str| clients.client(address, Origin::Component);
        clients.prepare("redis://prepared").unwrap();
        let used: Vec<_> = (1..MAX_CLIENTS)
            .map(|number| open(&format!("redis://a/{number}")).unwrap())
            .collect();
        assert!(matches!(open("redis://b"), Err(Error::TooManyConnections)));
        assert!(open("redis://a/1").is_ok());
        drop(used);
        assert!(open("redis://b").is_ok(), "those that nothing uses make room");
        assert!(lock(&clients.clients).contains_key("redis://prepared"));
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
