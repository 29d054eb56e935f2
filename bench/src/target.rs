//! What receives the load: a server of the API over HTTP, or the database directly.

use std::{path::Path, time::Duration};

use anyhow::Context;
use url::Url;

use crate::{
    catalogue::Scenario,
    server::{Server, Stores},
    worker::Worker,
};

/// A target, with the workers that send requests to it.
pub(crate) struct Target {
    /// Its name in the report.
    pub name: String,
    /// One for each connection.
    pub workers: Vec<Worker>,
    /// Whether it is the database itself.
    pub is_limit: bool,
    /// The server, where the bench started it.
    pub server: Option<Server>,
    rows: i64,
}

/// The numbers of the demo users that a target's workers read as.
#[derive(Clone, Copy)]
pub(crate) struct Users {
    pub first: i64,
    pub count: i64,
}

impl Target {
    /// Starts the host on a free port.
    pub async fn host(program: &Path, stores: &Stores, name: &str, users: Users) -> anyhow::Result<Self> {
        Self::started(Server::start_host(program, stores).await?, name, users).await
    }

    /// Starts the `spin` of the `PATH`.
    pub async fn spin(stores: &Stores, users: Users) -> anyhow::Result<Self> {
        Self::started(Server::start_spin(stores).await?, "spin", users).await
    }

    async fn started(server: Server, name: &str, users: Users) -> anyhow::Result<Self> {
        let target = Self::running(name, &server.url, users).await?;
        Ok(Self {
            server: Some(server),
            ..target
        })
    }

    /// A server that runs already.
    pub async fn running(name: &str, url: &Url, users: Users) -> anyhow::Result<Self> {
        let mut workers = Vec::new();
        for number in users.first..users.first + users.count {
            let worker = Worker::over_http(url, number).await;
            workers.push(worker.with_context(|| format!("{name} ({url})"))?);
        }
        let rows = workers.first().map_or(0, |worker| worker.state.rows);
        Ok(Self {
            name: name.to_owned(),
            workers,
            is_limit: false,
            server: None,
            rows,
        })
    }

    /// The database of `served`.
    pub async fn limit(served: &Self, database_url: &str, name: &str, users: Users) -> anyhow::Result<Self> {
        let mut workers = Vec::new();
        for number in users.first..users.first + users.count {
            workers.push(Worker::over_sql(database_url, number, served.rows).await?);
        }
        Ok(Self {
            name: name.to_owned(),
            workers,
            is_limit: true,
            server: None,
            rows: served.rows,
        })
    }

    /// Whether the scenario can run here.
    pub fn supports(&self, scenario: &Scenario) -> bool {
        scenario.has_limit || !self.is_limit
    }

    /// CPU time of the server until now, where the bench started it.
    pub fn cpu(&self) -> anyhow::Result<Option<Duration>> {
        self.server.as_ref().map(Server::cpu).transpose()
    }

    /// The server's highest resident memory until now in bytes, where the bench started it.
    pub fn highest_memory(&self) -> anyhow::Result<Option<u64>> {
        self.server.as_ref().map(Server::highest_memory).transpose()
    }

    /// Closes all connections, and ends the server where the bench started it.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.workers.clear();
        match self.server {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }
}
