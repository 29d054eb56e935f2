//! A database and a Redis database for each test.
//!
//! The stores are those that `SUGANG_TEST_DATABASE_URL` and `SUGANG_TEST_REDIS_URL` name, or else those that
//! `cargo xtask stores` starts for as long as this process lives. One template database is migrated once; each test gets
//! a copy of it, and one of the numbered databases of Redis, emptied. Two runs may share a PostgreSQL at the same time,
//! but not a Redis.
//!
//! The services of all tests have a role of their own, which has the rights that `migrate --grant-to` gives, and no more.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, ensure};
use sugang_migrations::{KINDS, Options, ServiceRole};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use url::Url;

use crate::{
    runtime,
    supervisor::{Addresses, Supervisor},
};

/// The names of all databases of a run begin with this and the run's name, so that a later run recognizes them.
const PREFIX: &str = "sugang_e2e_";

/// What one test may use until it is dropped.
pub(crate) struct Lease {
    /// For the test, which may do anything.
    pub database_url: Url,
    /// For the service.
    pub service_url: Url,
    pub role: ServiceRole,
    pub redis_url: Url,
    shared: Option<Shared>,
}

/// What a lease takes from the stores that all tests share.
struct Shared {
    name: String,
    redis: u32,
    _redis_permit: OwnedSemaphorePermit,
    stores: &'static Stores,
}

struct Stores {
    database_url: Url,
    redis_url: Url,
    /// Its session holds the lock that says that this run is alive.
    admin: tokio_postgres::Client,
    run: String,
    tests: AtomicU32,
    redis_free: Mutex<Vec<u32>>,
    redis_permits: Arc<Semaphore>,
    /// Stops the stores when its standard input closes, which happens when this process ends, however it ends.
    _supervisor: Option<Supervisor>,
}

/// A fresh database, migrated and empty, and an empty Redis database.
pub(crate) async fn lease() -> anyhow::Result<Lease> {
    static STORES: OnceCell<Stores> = OnceCell::const_new();
    let stores = STORES
        .get_or_try_init(async || runtime().spawn(Stores::open()).await?)
        .await?;
    runtime().spawn(stores.lease()).await?
}

/// The same in stores of one test's own; they end with their supervisor.
pub(crate) async fn lease_of(stores: Addresses) -> anyhow::Result<Lease> {
    static DATABASES: AtomicU32 = AtomicU32::new(0);
    runtime()
        .spawn(async move {
            let Addresses {
                mut database_url,
                redis_url,
            } = stores;
            let name = format!(
                "{PREFIX}{}_own_{}",
                std::process::id(),
                DATABASES.fetch_add(1, Ordering::Relaxed)
            );
            let (admin, connection) = sugang_connect::postgres::connect(database_url.as_str()).await?;
            tokio::spawn(connection);
            admin.batch_execute(&format!("create database {name}")).await?;
            // Stores for tests are not durable; these will crash, and must not lose what they confirmed.
            admin
                .batch_execute(&format!("alter database {name} set synchronous_commit = on"))
                .await?;
            database_url.set_path(&name);
            let role = service_role("own");
            migrate(&database_url, &role).await?;
            empty(&redis_url).await?;
            Ok(Lease {
                service_url: service_url(&database_url, &role),
                role,
                database_url,
                redis_url,
                shared: None,
            })
        })
        .await?
}

fn service_role(run: &str) -> ServiceRole {
    ServiceRole {
        name: format!("{PREFIX}{run}_service"),
        password: Some("service-pass-1".to_owned()),
    }
}

fn service_url(database_url: &Url, role: &ServiceRole) -> Url {
    let mut url = database_url.clone();
    let set = url.set_username(&role.name);
    set.and_then(|()| url.set_password(role.password.as_deref()))
        .expect("the URL of a database has a host");
    url
}

/// Brings a database up to date, and gives the role of the services its rights.
pub(crate) async fn migrate(database_url: &Url, role: &ServiceRole) -> anyhow::Result<()> {
    let options = Options {
        service_role: Some(role.clone()),
        ..Options::default()
    };
    sugang_migrations::migrate(database_url.as_str(), KINDS, options).await?;
    Ok(())
}

async fn empty(redis_url: &Url) -> anyhow::Result<()> {
    let mut connection = sugang_connect::redis::connect(redis_url.as_str()).await?;
    Ok(redis::cmd("FLUSHDB").exec_async(&mut connection).await?)
}

impl Lease {
    /// Returns both. Open connections to the database are closed.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        let Some(Shared {
            name,
            redis,
            stores,
            _redis_permit,
        }) = self.shared
        else {
            return Ok(());
        };
        let dropped = stores
            .admin
            .batch_execute(&format!("drop database {name} with (force)"))
            .await;
        stores
            .redis_free
            .lock()
            .expect("no test panics while it holds the lock")
            .push(redis);
        Ok(dropped?)
    }
}

impl Stores {
    async fn open() -> anyhow::Result<Self> {
        let (addresses, supervisor) = addresses()?;
        let Addresses {
            database_url,
            redis_url,
        } = addresses;
        let (admin, connection) = sugang_connect::postgres::connect(database_url.as_str())
            .await
            .context("cannot reach the tests' PostgreSQL")?;
        tokio::spawn(connection);
        let run = std::process::id().to_string();
        let alive = "select pg_try_advisory_lock(hashtext('sugang_e2e'), $1::text::integer)";
        let locked: bool = admin.query_one(alive, &[&run]).await?.get(0);
        ensure!(locked, "another run of the tests has this one's process id");
        let is_dead = async |name: &str| {
            let owner = name[PREFIX.len()..].split('_').next().unwrap_or_default();
            owner == run || admin.query_one(alive, &[&owner]).await.is_ok_and(|row| row.get(0))
        };
        for row in admin
            .query(
                "select datname from pg_database where starts_with(datname, $1)",
                &[&PREFIX],
            )
            .await?
        {
            let name: String = row.get(0);
            if is_dead(&name).await {
                admin
                    .batch_execute(&format!("drop database if exists {name} with (force)"))
                    .await?;
            }
        }
        for row in admin
            .query(
                "select rolname::text from pg_roles where starts_with(rolname, $1)",
                &[&PREFIX],
            )
            .await?
        {
            let name: String = row.get(0);
            if is_dead(&name).await {
                // A role that has rights in a database stays until that is gone.
                admin.batch_execute(&format!("drop role if exists {name}")).await.ok();
            }
        }
        let template = format!("{PREFIX}{run}_template");
        admin.batch_execute(&format!("create database {template}")).await?;
        let mut template_url = database_url.clone();
        template_url.set_path(&template);
        migrate(&template_url, &service_role(&run)).await?;

        let mut redis = sugang_connect::redis::connect(redis_url.as_str())
            .await
            .context("cannot reach the tests' Redis")?;
        let databases: Vec<String> = redis::cmd("CONFIG")
            .arg("GET")
            .arg("databases")
            .query_async(&mut redis)
            .await
            .unwrap_or_default();
        let databases = databases.get(1).and_then(|n| n.parse().ok()).unwrap_or(16);
        Ok(Self {
            database_url,
            redis_url,
            admin,
            run,
            tests: AtomicU32::new(0),
            redis_free: Mutex::new((0..databases).collect()),
            redis_permits: Arc::new(Semaphore::new(databases as usize)),
            _supervisor: supervisor,
        })
    }

    async fn lease(&'static self) -> anyhow::Result<Lease> {
        let permit = self.redis_permits.clone().acquire_owned().await?;
        let redis = self
            .redis_free
            .lock()
            .expect("no test panics while it holds the lock")
            .pop()
            .context("a permit is a database")?;
        let mut redis_url = self.redis_url.clone();
        redis_url.set_path(&redis.to_string());
        empty(&redis_url).await?;

        let name = format!("{PREFIX}{}_{}", self.run, self.tests.fetch_add(1, Ordering::Relaxed));
        let template = format!("{PREFIX}{}_template", self.run);
        self.admin
            .batch_execute(&format!("create database {name} template {template}"))
            .await?;
        let mut database_url = self.database_url.clone();
        database_url.set_path(&name);
        let role = service_role(&self.run);
        let shared = Shared {
            name,
            redis,
            _redis_permit: permit,
            stores: self,
        };
        Ok(Lease {
            service_url: service_url(&database_url, &role),
            role,
            database_url,
            redis_url,
            shared: Some(shared),
        })
    }
}

fn addresses() -> anyhow::Result<(Addresses, Option<Supervisor>)> {
    let given = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (given("SUGANG_TEST_DATABASE_URL"), given("SUGANG_TEST_REDIS_URL")) {
        (Some(database_url), Some(redis_url)) => {
            let addresses = Addresses {
                database_url: database_url.parse()?,
                redis_url: redis_url.parse()?,
            };
            Ok((addresses, None))
        }
        (None, None) => {
            let supervisor = Supervisor::start(|command| command)?;
            Ok((supervisor.stores.clone(), Some(supervisor)))
        }
        _ => anyhow::bail!("SUGANG_TEST_DATABASE_URL and SUGANG_TEST_REDIS_URL belong together: set both or neither"),
    }
}
