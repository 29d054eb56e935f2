//! PostgreSQL and Redis on behalf of the component: their connections, the limits of these, and the addresses that the
//! component may open. Nothing here knows of WebAssembly.

mod admission;
mod allowed_hosts;
mod pool;
pub(crate) mod postgres;
pub(crate) mod redis;

use std::sync::Arc;

pub(crate) use allowed_hosts::AllowedHosts;

use crate::settings::Limits;

/// The stores of one server.
pub(crate) struct Stores {
    pub(crate) postgres: postgres::Pools,
    pub(crate) redis: redis::Clients,
}

impl Stores {
    /// Makes the stores of a server, without connecting; must be called inside of a Tokio runtime.
    pub(crate) fn new(allowed: AllowedHosts, limits: &Limits) -> Self {
        let allowed = Arc::new(allowed);
        Self {
            postgres: postgres::Pools::new(limits.postgres.clone(), allowed.clone()),
            redis: redis::Clients::new(limits.redis.clone(), allowed),
        }
    }

    /// Closes all connections and waits until the stores have been told so.
    pub(crate) async fn close(&self) {
        tokio::join!(self.postgres.close(), self.redis.close());
    }
}
