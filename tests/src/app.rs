use std::{collections::BTreeMap, path::Path, sync::mpsc, time::Duration};

use anyhow::Context;
use reqwest::Method;
use sugang_host::{Application, Limits, Server, Settings};
use sugang_migrations::ServiceRole;
use tokio::sync::OnceCell;
use url::Url;

use crate::{
    Call, Proxy, runtime,
    stores::{Lease, lease, lease_of, migrate},
    supervisor::{Addresses, Supervisor},
    token,
};

/// The service of one test, with stores of its own; it ends when it is dropped, also by a failing test.
pub struct App {
    /// `http://127.0.0.1:<port>`.
    pub base: String,
    pub(crate) client: reqwest::Client,
    pub(crate) database: tokio_postgres::Client,
    postgres: Option<Proxy>,
    redis: Option<Proxy>,
    settings: Settings,
    server: Option<Server>,
    lease: Option<Lease>,
}

/// How the service of a test is to be set up; see [`App::with`].
#[derive(Default)]
pub struct Builder {
    variables: BTreeMap<String, String>,
    proxied: bool,
    limits: Limits,
    own_stores: Option<Addresses>,
}

impl Builder {
    /// Sets one variable of the component.
    pub fn with(mut self, variable: &str, value: impl ToString) -> Self {
        self.variables.insert(variable.to_owned(), value.to_string());
        self
    }

    /// Puts a [`Proxy`] before each store.
    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// Sets the host's limits.
    pub fn limits(mut self, set: impl FnOnce(&mut Limits)) -> Self {
        set(&mut self.limits);
        self
    }

    /// Takes the stores of this supervisor instead of those that all tests share.
    pub fn on(mut self, supervisor: &Supervisor) -> Self {
        self.own_stores = Some(supervisor.stores.clone());
        self
    }

    /// Takes these stores, of which the Redis is emptied.
    pub fn on_stores(mut self, database_url: &Url, redis_url: &Url) -> Self {
        self.own_stores = Some(Addresses {
            database_url: database_url.clone(),
            redis_url: redis_url.clone(),
        });
        self
    }

    /// Starts the service.
    pub async fn start(self) -> App {
        App::open(self)
            .await
            .unwrap_or_else(|error| panic!("the service does not start: {error:?}"))
    }
}

impl App {
    /// Starts the service with cheap passwords, and patient with locks; with the defaults otherwise.
    pub async fn start() -> Self {
        Builder::default().start().await
    }

    /// The service with a variable other than usual.
    pub fn with(variable: &str, value: impl ToString) -> Builder {
        Builder::default().with(variable, value)
    }

    /// The service on a host with limits other than usual.
    pub async fn limited(set: impl FnOnce(&mut Limits)) -> Self {
        Builder::default().limits(set).start().await
    }

    /// The service on the stores of this supervisor.
    pub fn on(supervisor: &Supervisor) -> Builder {
        Builder::default().on(supervisor)
    }

    /// The service with a [`Proxy`] before each store.
    pub fn proxied() -> Builder {
        Builder::default().proxied()
    }

    async fn open(builder: Builder) -> anyhow::Result<Self> {
        let has_own_stores = builder.own_stores.is_some();
        let lease = match builder.own_stores {
            Some(stores) => lease_of(stores).await?,
            None => lease().await?,
        };
        let (mut postgres, mut redis) = (None, None);
        if builder.proxied {
            postgres = Some(Proxy::in_front_of(&lease.service_url).await?);
            redis = Some(Proxy::in_front_of(&lease.redis_url).await?);
        }
        let database_url = postgres.as_ref().map_or(&lease.service_url, Proxy::url);
        let redis_url = redis.as_ref().map_or(&lease.redis_url, Proxy::url);
        let mut variables = BTreeMap::from(
            [
                ("database_url", database_url.as_str()),
                ("redis_url", redis_url.as_str()),
                ("jwt_secret", token::SECRET),
                ("argon2_memory_kib", "8"),
                ("argon2_iterations", "1"),
                ("log_requests", "false"),
                // Tests keep locks while they do other things, on a busy machine.
                ("lock_timeout_ms", "30000"),
                // Tests are one address, and guess passwords.
                ("login_attempts_per_account", "0"),
                ("login_attempts_per_address", "0"),
                ("signup_attempts_per_account", "0"),
                ("signup_attempts_per_address", "0"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        if !builder.proxied && !has_own_stores {
            // On a busy machine, a slow Redis must not be taken for an unavailable one.
            variables.insert("redis_timeout_ms".to_owned(), "10000".to_owned());
        }
        variables.extend(builder.variables);
        let settings = Settings {
            variables,
            limits: builder.limits,
            ..Settings::default()
        };

        let database = connect(lease.database_url.to_string()).await?;
        let server = serve(settings.clone()).await?;
        Ok(Self {
            base: format!("http://{}", server.addr()),
            client: reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .timeout(Duration::from_secs(60))
                .build()?,
            database,
            postgres,
            redis,
            settings,
            server: Some(server),
            lease: Some(lease),
        })
    }

    /// Expects that the service does not start on the same stores with this variable set, and returns why.
    pub async fn refuses(&self, variable: &str, value: &str) -> String {
        let mut settings = self.settings.clone();
        settings.variables.insert(variable.to_owned(), value.to_owned());
        match serve(settings).await {
            Ok(_) => panic!("it starts with {variable}={value}"),
            Err(error) => format!("{error:#}"),
        }
    }

    /// Sets a variable of the component, from the next start on.
    pub fn set(&mut self, variable: &str, value: impl ToString) {
        self.settings.variables.insert(variable.to_owned(), value.to_string());
    }

    /// Restarts the service, at another address and without its pools.
    pub async fn restart(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
        let server = serve(self.settings.clone()).await.expect("the service starts again");
        self.base = format!("http://{}", server.addr());
        self.server = Some(server);
    }

    /// Stops the service; further hosts may serve its data.
    pub async fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
    }

    /// A second host on the same stores, with the same settings. It ends with this call's result, not with the app.
    pub async fn second_host(&self) -> Self {
        self.host_with(self.settings.clone()).await
    }

    /// A second host that sweeps by its own clock.
    pub async fn sweeping_host(&self, every: Duration) -> Self {
        let settings = Settings {
            sweep_every: Some(every),
            ..self.settings.clone()
        };
        self.host_with(settings).await
    }

    async fn host_with(&self, settings: Settings) -> Self {
        let server = serve(settings).await.expect("a second host starts");
        Self {
            base: format!("http://{}", server.addr()),
            client: self.client.clone(),
            database: self.connect().await,
            postgres: None,
            redis: None,
            settings: self.settings.clone(),
            server: Some(server),
            lease: None,
        }
    }

    /// What stands before PostgreSQL.
    ///
    /// # Panics
    /// When the app was not started with [`App::proxied`].
    pub fn postgres(&self) -> &Proxy {
        self.postgres.as_ref().expect("App::proxied")
    }

    /// What stands before Redis; panics as [`App::postgres`] does.
    pub fn redis(&self) -> &Proxy {
        self.redis.as_ref().expect("App::proxied")
    }

    /// A connection to the test's database, without a proxy.
    pub fn database(&self) -> &tokio_postgres::Client {
        &self.database
    }

    /// One more of these connections.
    pub async fn connect(&self) -> tokio_postgres::Client {
        connect(self.database_url().to_owned())
            .await
            .expect("PostgreSQL answers")
    }

    /// Lets the sessions of the start be used once, after which each request is as many statements as it is.
    ///
    /// # Panics
    /// The service is not ready.
    pub async fn prepare_sessions(&self) {
        assert_eq!(self.get("/readyz").await.status, 200);
    }

    /// Gives the functions the search path that the database has been set to.
    ///
    /// # Panics
    /// It cannot be given.
    pub async fn renew_search_paths(&self) {
        let session = self.connect().await;
        let renewed = session.batch_execute("select sugang.renew_search_paths()").await;
        renewed.unwrap_or_else(|error| panic!("{error:?}"));
    }

    /// Replaces that connection, after the server was restarted.
    pub async fn reconnect(&mut self) {
        self.database = self.connect().await;
    }

    /// URL of the test's database, without a proxy, for a user that may do anything.
    pub fn database_url(&self) -> &str {
        self.lease().database_url.as_str()
    }

    /// The same for the role of the service.
    pub fn service_url(&self) -> &str {
        self.lease().service_url.as_str()
    }

    /// The role of the service.
    pub fn service_role(&self) -> &ServiceRole {
        &self.lease().role
    }

    /// URL of the test's Redis database, without a proxy.
    pub fn redis_url(&self) -> &str {
        self.lease().redis_url.as_str()
    }

    fn lease(&self) -> &Lease {
        self.lease.as_ref().expect("there until the app is dropped")
    }

    /// Brings the test's database up to date, after the test has made it another one.
    ///
    /// # Panics
    /// It cannot be migrated.
    pub async fn migrate(&self) {
        let Lease { database_url, role, .. } = self.lease();
        let migrated = migrate(database_url, role).await;
        migrated.unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// A request that is sent when it is awaited.
    pub fn call(&self, method: &str, path: impl AsRef<str>) -> Call<'_> {
        Call::new(
            self,
            Method::from_bytes(method.as_bytes()).expect("a method"),
            path.as_ref(),
        )
    }

    /// A GET request.
    pub fn get(&self, path: impl AsRef<str>) -> Call<'_> {
        self.call("GET", path)
    }

    /// A POST request without a body.
    pub fn post(&self, path: impl AsRef<str>) -> Call<'_> {
        self.call("POST", path)
    }
}

pub(crate) async fn connect(url: String) -> anyhow::Result<tokio_postgres::Client> {
    runtime()
        .spawn(async move {
            let (database, connection) = sugang_connect::postgres::connect(&url).await?;
            tokio::spawn(connection);
            // What a test makes is where the Django service makes it, whatever schemas its user has.
            database.batch_execute("set search_path = public").await?;
            anyhow::Ok(database)
        })
        .await?
}

/// Serves the one compiled component.
///
/// # Errors
/// When the component cannot be loaded (is it built?), or when it refuses its configuration.
pub(crate) async fn serve(settings: Settings) -> anyhow::Result<Server> {
    static APPLICATION: OnceCell<Application> = OnceCell::const_new();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spin.toml");
    let application = APPLICATION
        .get_or_try_init(async || {
            runtime()
                .spawn(async move { Application::load(&manifest).await })
                .await?
                .context("cannot load the component: `cargo xtask build` makes it")
        })
        .await?;
    let application = application.clone();
    Ok(runtime()
        .spawn(async move { application.serve(settings).await })
        .await??)
}

impl Drop for App {
    fn drop(&mut self) {
        let (server, lease) = (self.server.take(), self.lease.take());
        let (done, wait) = mpsc::channel();
        runtime().spawn(async move {
            if let Some(server) = server {
                server.stop().await;
            }
            let ended = match lease {
                Some(lease) => lease.end().await,
                None => Ok(()),
            };
            done.send(ended).ok();
        });
        match wait.recv_timeout(Duration::from_secs(30)) {
            Ok(Ok(())) => {}
            // A database that is left over does no harm: the next run drops it.
            other => eprintln!("the test's database was not dropped: {other:?}"),
        }
    }
}
