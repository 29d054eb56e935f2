//! PostgreSQL and Redis on behalf of the component: their connections, the limits of these, and the addresses that the
//! component may open. Nothing here knows of WebAssembly.

mod admission;
mod allowed_hosts;
mod claim;
mod configured;
mod origin;
mod pool;
pub(crate) mod postgres;
pub(crate) mod redis;

use std::sync::Arc;

use serde_json::json;

pub(crate) use allowed_hosts::{AllowedHosts, parse_host};
pub(crate) use configured::StoreUrls;
use configured::misconfigured;

use crate::{error::StartError, log, settings::Limits};

/// The stores of one server.
pub(crate) struct Stores {
    pub(crate) postgres: postgres::Pools,
    pub(crate) redis: redis::Clients,
}

impl Stores {
    /// Makes the stores of a server, without connecting; must be called inside of a Tokio runtime.
    pub(crate) fn new(allowed: Arc<AllowedHosts>, limits: &Limits) -> Self {
        Self {
            postgres: postgres::Pools::new(limits.postgres.clone(), allowed.clone()),
            redis: redis::Clients::new(limits.redis.clone(), allowed),
        }
    }

    /// Makes the pools of these stores, without connecting.
    ///
    /// # Errors
    /// A URL names a file that cannot be used, or a host that the manifest does not allow.
    pub(crate) fn prepare(&self, urls: &StoreUrls) -> Result<(), StartError> {
        if let Some(url) = &urls.postgres {
            let prepared = self.postgres.prepare(url);
            prepared.map_err(|error| misconfigured("database_url", &error.fault()))?;
        }
        if let Some(url) = &urls.redis {
            let prepared = self.redis.prepare(url);
            prepared.map_err(|error| misconfigured("redis_url", &error.fault()))?;
        }
        Ok(())
    }

    /// Connects to these stores once, and logs which of them cannot be used now, and why. Requests connect again.
    pub(crate) async fn report(&self, urls: &StoreUrls) {
        let postgres = async {
            if let Some(url) = &urls.postgres {
                warn("PostgreSQL", "database_url", self.postgres.check(url).await);
            }
        };
        let redis = async {
            if let Some(url) = &urls.redis {
                warn("Redis", "redis_url", self.redis.open(url).await.map(drop));
            }
        };
        tokio::join!(postgres, redis);
    }

    /// Closes all connections and waits until the stores have been told so.
    pub(crate) async fn close(&self) {
        tokio::join!(self.postgres.close(), self.redis.close());
    }
}

fn warn<E: std::error::Error>(store: &str, variable: &str, result: Result<(), E>) {
    if let Err(error) = result {
        log::write(
            "warn",
            &format!("{store} cannot be used now; the service starts without it"),
            json!({ "variable": variable, "error": error.to_string() }),
        );
    }
}
