//! The instances of the components: how they are made, what each of them has, and how long it lives.

mod component;
mod cpu_fairness;
mod guest;
mod lifetime;
mod outgoing;
mod output;

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wasmtime::Store;
use wasmtime_wasi_http::{
    WasiHttpView as _,
    handler::{HandlerState, Instance, ProxyPre},
};

pub(crate) use component::{CompiledComponent, Compiler};
use cpu_fairness::CpuShare;
use guest::Guest;
use lifetime::{Capacity, Expiration};

use crate::{outbound::Client, settings::Limits, stores::Stores};

/// Time for instances to end once they are killed.
const KILL_TIMEOUT: Duration = Duration::from_secs(2);

/// Makes the instances of one server. A clone makes instances of the same server.
#[derive(Clone)]
pub(crate) struct Instances {
    component: Arc<CompiledComponent>,
    environment: Arc<[(String, String)]>,
    variables: Arc<HashMap<String, String>>,
    stores: Arc<Stores>,
    /// `None` for a component of files.
    outbound: Option<Arc<Client>>,
    limits: Limits,
    /// Slots for instances that compute for long.
    cpu_bound: Arc<Semaphore>,
    alive: TaskTracker,
    /// Once cancelled, idle instances end at once.
    stopping: CancellationToken,
    /// Once cancelled, all instances end at once.
    killed: CancellationToken,
}

impl Instances {
    pub(crate) fn new(
        component: Arc<CompiledComponent>,
        environment: impl IntoIterator<Item = (String, String)>,
        variables: HashMap<String, String>,
        stores: Arc<Stores>,
        outbound: Arc<Client>,
        limits: Limits,
    ) -> Self {
        Self {
            component,
            environment: environment.into_iter().collect(),
            variables: Arc::new(variables),
            stores,
            outbound: Some(outbound),
            cpu_bound: Arc::new(Semaphore::new(limits.cpu_bound)),
            limits,
            alive: TaskTracker::new(),
            stopping: CancellationToken::new(),
            killed: CancellationToken::new(),
        }
    }

    /// Makes instances of another component, which has neither variables nor stores nor other servers. They end together with these.
    pub(crate) fn of_files(
        &self,
        component: Arc<CompiledComponent>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        Self {
            component,
            environment: environment.into_iter().collect(),
            variables: Arc::default(),
            stores: Arc::new(Stores::new(Arc::default(), &self.limits)),
            outbound: None,
            ..self.clone()
        }
    }

    /// Cancelled once the server stops.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Cancelled once everything is to end at once.
    pub(crate) fn killed(&self) -> &CancellationToken {
        &self.killed
    }

    /// Waits until all instances have ended; after `limit` it ends them.
    pub(crate) async fn close(&self, limit: Duration) {
        self.stopping.cancel();
        self.alive.close();
        if timeout(limit, self.alive.wait()).await.is_err() {
            self.killed.cancel();
            _ = timeout(KILL_TIMEOUT, self.alive.wait()).await;
        }
    }
}

impl HandlerState for Instances {
    type StoreData = Guest;
    type WorkerExpiration = Expiration;
    type WorkerState = Capacity;

    async fn instantiate(&self) -> wasmtime::Result<Instance<Guest, Expiration, Capacity>> {
        let guest = Guest::new(
            self.stores.clone(),
            self.outbound.clone(),
            self.variables.clone(),
            &self.environment,
            self.limits.instance_memory,
            self.alive.token(),
        );
        let mut store = Store::new(&self.component.engine, guest);
        store.limiter(|guest| &mut guest.limits);
        let cpu_share = CpuShare::new(self.cpu_bound.clone());
        cpu_share.apply_to(&mut store);
        let service = self.component.service.clone();
        let proxy = ProxyPre::P3(service).instantiate_async(&mut store).await?;
        Ok(Instance {
            store,
            proxy,
            view: Guest::http,
            expiration: Expiration::new(&self.limits, self.stopping.clone(), self.killed.clone(), cpu_share),
            state: Capacity::new(&self.limits),
        })
    }
}
