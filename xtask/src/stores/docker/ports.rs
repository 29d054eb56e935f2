//! Where the engine publishes ports.

use std::{env, path::Path, time::Duration};

use anyhow::Context;
use testcontainers::bollard::Docker as Engine;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use url::Url;

use crate::stores::probe::START_LIMIT;

/// Addresses that this process reaches, and where the engine allows it, no other machine.
pub struct Ports {
    /// Addresses of the engine's machine to publish on.
    pub publish: Vec<String>,
    /// Hosts to try from here.
    reach: Vec<String>,
}

impl Ports {
    /// Chooses the addresses for the engine of `DOCKER_HOST`, or for that of this machine.
    pub async fn of_the_engine(engine: &Engine) -> anyhow::Result<Self> {
        let remote = env::var("DOCKER_HOST").ok().and_then(|url| Url::parse(&url).ok());
        if let Some(host) = remote.as_ref().and_then(Url::host_str).filter(|host| !host.is_empty()) {
            return Ok(Self {
                publish: vec!["0.0.0.0".into()],
                reach: vec![host.to_owned()],
            });
        }
        let mut addresses = vec!["127.0.0.1".to_owned()];
        // In a container, the engine may be that of the machine around it, which has another loopback address.
        if Path::new("/.dockerenv").exists() {
            let bridge = engine.inspect_network("bridge", None).await?;
            let gateways = bridge.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
            addresses.extend(gateways.into_iter().find_map(|config| config.gateway));
        }
        Ok(Self {
            publish: addresses.clone(),
            reach: addresses,
        })
    }

    /// The first host that accepts a connection on the port.
    pub async fn reached(&self, port: u16) -> anyhow::Result<&str> {
        let search = async {
            loop {
                for host in &self.reach {
                    let connection = TcpStream::connect((host.as_str(), port));
                    if matches!(timeout(Duration::from_secs(2), connection).await, Ok(Ok(_))) {
                        return host;
                    }
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        let found = timeout(START_LIMIT, search).await;
        let found = found.with_context(|| format!("no answer on port {port} of {}", self.reach.join(" or ")))?;
        Ok(found)
    }
}
