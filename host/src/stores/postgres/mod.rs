//! Connections to PostgreSQL, pooled for each address.
//!
//! The component holds a [`Lease`], and a lease holds no connection as long as it can avoid it: a statement that cannot
//! begin a transaction borrows one and returns it after its last row. So a few connections with warm plans serve any
//! number of instances, and an instance that keeps its lease takes nothing from the others. As with any pooling by
//! statement, what such a statement sets for the session does not reach the next one of the same lease.
//!
//! A statement that may begin a transaction, or set what a session is to keep, pins a connection to the lease until the
//! component drops it.

mod address;
mod cancel_request;
mod error;
mod facts;
mod lease;
mod session;
mod statements;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

pub(crate) use error::Error;
use facts::Recognition;
pub(crate) use lease::{Lease, Parameters, RunningStatement};
use session::SessionManager;

pub(crate) use super::pool::PoolError;
use super::{
    allowed_hosts::AllowedHosts,
    claim::Claim,
    origin::Origin,
    pool::{self, PoolLimits},
};
use crate::{settings::PostgresLimits, sync::lock};

type Pool = pool::Pool<SessionManager>;

/// Addresses that may have a pool. The component chooses them, so their number needs a bound.
const MAX_POOLS: usize = 64;

/// The pools of one server.
pub(crate) struct Pools {
    limits: PostgresLimits,
    allowed: Arc<AllowedHosts>,
    runtime: Handle,
    tasks: TaskTracker,
    pools: Mutex<HashMap<String, Arc<Pool>>>,
}

impl Pools {
    pub(super) fn new(limits: PostgresLimits, allowed: Arc<AllowedHosts>) -> Self {
        Self {
            limits,
            allowed,
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            pools: Mutex::default(),
        }
    }

    /// Leases connections to an address. Whether PostgreSQL answers there shows with the first statement.
    ///
    /// # Errors
    /// The address can never work or is not allowed; there are too many addresses; the server is stopping.
    pub(crate) fn open(&self, address: &str) -> Result<Lease, Error> {
        Ok(Lease::new(self.pool(address, Origin::Component)?, &self.limits))
    }

    /// Makes the pool of an address that a variable names, so that the component finds it.
    ///
    /// # Errors
    /// The address can never work or is not allowed.
    pub(super) fn prepare(&self, address: &str) -> Result<(), Error> {
        self.pool(address, Origin::Operator).map(drop)
    }

    /// Connects, and leaves the connection to the first statement.
    ///
    /// # Errors
    /// PostgreSQL does not answer, or refuses the connection.
    pub(super) async fn check(&self, address: &str) -> Result<(), Error> {
        let connection = self.pool(address, Origin::Component)?.borrow(Claim::default()).await?;
        drop(connection);
        Ok(())
    }

    fn pool(&self, address: &str, origin: Origin) -> Result<Arc<Pool>, Error> {
        let mut pools = lock(&self.pools);
        if let Some(pool) = pools.get(address) {
            return Ok(pool.clone());
        }
        if self.tasks.is_closed() {
            return Err(PoolError::Stopping.into());
        }
        if pools.len() >= MAX_POOLS {
            return Err(Error::Address(format!(
                "is one too many: {MAX_POOLS} were opened already"
            )));
        }
        let manager = SessionManager {
            connector: address::parse(address, origin, &self.allowed, self.limits.connect_timeout)?,
            connect_timeout: self.limits.connect_timeout,
            prepare: self.limits.prepare,
            statements: self.limits.statements,
            runtime: self.runtime.clone(),
            tasks: self.tasks.clone(),
            recognition: Recognition::default(),
        };
        let limits = PoolLimits {
            connections: self.limits.connections,
            statements: self.limits.at_once,
            wait: self.limits.wait_timeout,
            recycle: self.limits.recycle_timeout,
            idle: self.limits.idle_timeout,
            age: self.limits.max_age,
            pause: self.limits.check_after,
            check: self.limits.check_timeout,
        };
        let pool = Arc::new(Pool::new(manager, limits, self.runtime.clone(), self.tasks.clone()));
        pools.insert(address.to_owned(), pool.clone());
        Ok(pool)
    }

    /// Why an address refuses every connection until an operator changes a setting.
    pub(crate) fn refusal(&self) -> Option<String> {
        let pools = lock(&self.pools);
        pools.values().find_map(|pool| pool.manager().recognition.refusal())
    }

    /// Closes all connections and waits until PostgreSQL has been told so. Borrowed connections close when they are
    /// returned.
    pub(super) async fn close(&self) {
        self.tasks.close();
        for (_, pool) in lock(&self.pools).drain() {
            pool.close();
        }
        self.tasks.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::types::Type;

    use super::*;

    struct NoParameters;

    impl Parameters for NoParameters {
        type Parameter = i32;
        type Error = Error;

        fn own_types(&self) -> Vec<Type> {
            Vec::new()
        }

        fn text(&self, _: usize) -> Option<String> {
            None
        }

        fn null() -> i32 {
            0
        }

        fn bind(&self, _: &[Type]) -> Result<Vec<i32>, Error> {
            Ok(Vec::new())
        }
    }

    fn pools() -> Pools {
        Pools::new(
            PostgresLimits::default(),
            Arc::new(AllowedHosts::parse(&["postgres://*:*".to_owned()]).unwrap()),
        )
    }

    #[tokio::test]
    async fn an_address_has_one_pool() {
        let pools = pools();
        let (one, same) = (
            pools.pool("postgres://u@a/b", Origin::Component).unwrap(),
            pools.pool("postgres://u@a/b", Origin::Operator).unwrap(),
        );
        assert!(Arc::ptr_eq(&one, &same));
        assert!(!Arc::ptr_eq(
            &one,
            &pools.pool("postgres://u@a/c", Origin::Component).unwrap()
        ));
    }

    #[tokio::test]
    async fn the_number_of_addresses_is_bounded() {
        let pools = pools();
        for number in 0..MAX_POOLS {
            assert!(pools.open(&format!("postgres://u@a/{number}")).is_ok());
        }
        let error = pools.open("postgres://u@a/more").err().unwrap().to_string();
        assert_eq!(error, "the address is one too many: 64 were opened already");
        assert!(pools.open("postgres://u@a/0").is_ok());
    }

    #[tokio::test]
    async fn a_closed_server_opens_nothing() {
        let pools = pools();
        let lease = pools.open("postgres://u@a/b").unwrap();
        pools.close().await;
        assert_eq!(
            pools.open("postgres://u@a/b").err().unwrap().to_string(),
            "the server is stopping"
        );
        let error = lease.start("select 1", NoParameters).await.err().unwrap().to_string();
        assert_eq!(error, "the server is stopping");
    }
}
