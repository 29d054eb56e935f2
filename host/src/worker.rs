//! The instances of the component: what each of them holds, and how long it lives.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    sync::Semaphore,
    time::{Sleep, sleep, sleep_until},
};
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFutureOwned},
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use wasmtime::{
    Engine, Store, StoreContextMut, StoreLimits, StoreLimitsBuilder,
    component::{Component, GuestTaskId, HasSelf, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
    handler::{HandlerState, Instance, ProxyPre, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus},
    p3::bindings::ServicePre,
};

use crate::{
    bindings::spin,
    log::{self, GuestOutput},
    outbound::Rules,
    pace::Pace,
    postgres, redis,
    settings::Limits,
};

/// What the instances of one server share.
pub(crate) struct Stores {
    pub(crate) variables: HashMap<String, String>,
    pub(crate) rules: Rules,
    pub(crate) postgres: postgres::Pools,
    pub(crate) redis: redis::Servers,
}

/// What one instance holds.
pub(crate) struct Guest {
    pub(crate) stores: Arc<Stores>,
    pub(crate) table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outgoing: NoOutgoingHttp,
    limits: StoreLimits,
    _alive: TaskTrackerToken,
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.outgoing,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

/// The component asks nobody over HTTP, and this host has no client for it.
struct NoOutgoingHttp;

impl WasiHttpHooks for NoOutgoingHttp {
    fn send_request(
        &mut self,
        _: ::http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Answer, Error>> + Send> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}

type Answer = (
    ::http::Response<WasiBody>,
    Box<dyn Future<Output = Result<(), Error>> + Send>,
);

/// Links the component with everything that this host provides.
pub(crate) fn link(engine: &Engine, component: &Component) -> wasmtime::Result<ServicePre<Guest>> {
    let mut linker = Linker::<Guest>::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    spin::postgres::postgres::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest| guest)?;
    spin::redis::redis::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest| guest)?;
    spin::variables::variables::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest| guest)?;
    ServicePre::new(linker.instantiate_pre(component)?)
}

/// Makes the instances of one server. A clone makes them of the same.
#[derive(Clone)]
pub(crate) struct Instances {
    pub(crate) engine: Engine,
    pub(crate) service: ServicePre<Guest>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) limits: Limits,
    pub(crate) stores: Arc<Stores>,
    /// Places for instances that compute for long.
    pub(crate) computing: Arc<Semaphore>,
    /// Counts the instances that are alive.
    pub(crate) alive: TaskTracker,
    /// Once cancelled, instances without work end at once.
    pub(crate) stopping: CancellationToken,
    /// Once cancelled, all instances end at once.
    pub(crate) killed: CancellationToken,
}

impl HandlerState for Instances {
    type StoreData = Guest;
    type WorkerExpiration = Expiration;
    type WorkerState = Worker;

    async fn instantiate(&self) -> wasmtime::Result<Instance<Guest, Expiration, Worker>> {
        let wasi = WasiCtxBuilder::new()
            .envs(&self.environment)
            .stdout(GuestOutput::default())
            .stderr(GuestOutput::default())
            .build();
        let guest = Guest {
            stores: self.stores.clone(),
            table: ResourceTable::new(),
            wasi,
            http: WasiHttpCtx::new(),
            outgoing: NoOutgoingHttp,
            limits: StoreLimitsBuilder::new()
                .memory_size(self.limits.instance_memory)
                .build(),
            _alive: self.alive.token(),
        };
        let mut store = Store::new(&self.engine, guest);
        store.limiter(|guest| &mut guest.limits);
        let pace = Pace::new(self.computing.clone());
        pace.keep(&mut store);
        let proxy = ProxyPre::P3(self.service.clone()).instantiate_async(&mut store).await?;
        Ok(Instance {
            store,
            proxy,
            view: Guest::http,
            expiration: Expiration {
                idle: self.limits.instance_idle,
                // Later than the answer 504, which the client would miss otherwise.
                busy: self.limits.request_timeout + Duration::from_secs(2),
                timer: Box::pin(sleep(Duration::ZERO)),
                deadline: Instant::now(),
                stopping: Box::pin(self.stopping.clone().cancelled_owned()),
                killed: Box::pin(self.killed.clone().cancelled_owned()),
                pace,
            },
            state: Worker {
                requests: self.limits.instance_requests,
                concurrency: self.limits.instance_concurrency,
                request_timeout: self.limits.request_timeout,
            },
        })
    }
}

/// Ends an instance that has had no work, or that has been at the same work for too long.
pub(crate) struct Expiration {
    idle: Duration,
    busy: Duration,
    timer: Pin<Box<Sleep>>,
    deadline: Instant,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    killed: Pin<Box<WaitForCancellationFutureOwned>>,
    pace: Pace,
}

impl WorkerExpiration for Expiration {
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>, status: WorkerStatus, start: Instant) -> Poll<()> {
        // Asked whenever the instance has nothing to do at the moment.
        self.pace.waits();
        let idle = status == WorkerStatus::Idle;
        let stopped = self.stopping.as_mut().poll(context).is_ready();
        if self.killed.as_mut().poll(context).is_ready() || (idle && stopped) {
            return Poll::Ready(());
        }
        let deadline = start + if idle { self.idle } else { self.busy };
        if deadline != self.deadline {
            self.deadline = deadline;
            self.timer.set(sleep_until(deadline.into()));
        }
        self.timer.as_mut().poll(context)
    }
}

/// How much one instance takes on.
pub(crate) struct Worker {
    requests: usize,
    concurrency: usize,
    request_timeout: Duration,
}

impl WorkerState for Worker {
    type StoreData = Guest;
    type RequestData = ();

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        if total >= self.requests {
            ShouldAccept::Never
        } else if concurrent >= self.concurrency {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, Guest>,
        (): (),
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        Box::pin(sleep(self.request_timeout))
    }

    fn drop(&self, store: Store<Guest>, result: wasmtime::Result<()>) {
        if let Err(error) = result {
            log::write(
                "error",
                "an instance failed, with all its requests",
                json!({ "error": format!("{error:?}") }),
            );
        }
        drop(store);
    }
}
