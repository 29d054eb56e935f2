//! The application, and the servers that it is served by.

use std::{
    collections::HashSet,
    convert::Infallible,
    io,
    net::SocketAddr,
    path::Path,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::Semaphore,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wasmtime::{Cache, CacheConfig, Config, Engine, component::Component};
use wasmtime_wasi_http::{
    Error, WasiBody,
    handler::{ExpirationError, ProxyHandler},
    p3::bindings::ServicePre,
};

use crate::{
    http::{AnswerBody, Asked, Drained, Problem, compact, prepare},
    log,
    manifest::Manifest,
    outbound::Rules,
    pace, postgres, redis,
    settings::{Limits, Settings},
    variables,
    worker::{Guest, Instances, Stores, link},
};

/// A manifest and its compiled component. A clone is the same application.
#[derive(Clone)]
pub struct Application(Arc<Loaded>);

struct Loaded {
    manifest: Manifest,
    engine: Engine,
    service: ServicePre<Guest>,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A variable that the manifest requires has no value.
    #[error(
        "the variable `{name}` is required and not set: set {environment} in the environment, or pass --variable {name}=…"
    )]
    MissingVariable {
        /// The variable.
        name: String,
        /// What sets it from the environment.
        environment: String,
    },
    /// A value was given for a variable that the manifest does not declare.
    #[error("the application has no variable `{name}`")]
    UnknownVariable {
        /// The variable.
        name: String,
    },
    /// `allowed_outbound_hosts` has a rule that is none.
    #[error("{0:#}")]
    OutboundHosts(anyhow::Error),
    /// The component says that its configuration is wrong.
    #[error("the application is misconfigured: {detail}")]
    Misconfigured {
        /// In the component's words.
        detail: String,
    },
    /// The component failed at its first request.
    #[error("the component failed at its first request, {path}; the lines above say why")]
    Probe {
        /// The probe's path.
        path: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
}

impl Application {
    /// Reads the manifest and compiles its component; from the second time on, wasmtime's cache has it compiled.
    ///
    /// # Errors
    /// The manifest or the component cannot be read, asks for what this host has not, or is no HTTP component.
    pub async fn load(manifest: &Path) -> Result<Self> {
        let manifest = Manifest::read(manifest)?;
        tokio::task::spawn_blocking(|| Self::compile(manifest)).await?
    }

    fn compile(manifest: Manifest) -> Result<Self> {
        let mut config = Config::new();
        config.wasm_component_model_async(true);
        // A machine without a home folder compiles every time.
        config.cache(Cache::new(CacheConfig::new()).ok());
        config.epoch_interruption(true);
        let engine = Engine::new(&config)?;
        pace::tick(&engine)?;

        let source = &manifest.component.source;
        let wasm = std::fs::read(source)
            .with_context(|| format!("cannot read the component {}: build it first", source.display()))?;
        let component = Component::new(&engine, &wasm)
            .map_err(anyhow::Error::from)
            .with_context(|| format!("{} is no WebAssembly component", source.display()))?;
        let service = link(&engine, &component)
            .map_err(anyhow::Error::from)
            .with_context(|| {
                format!(
                    "{} does not fit this host: it must be built with spin-sdk 7, for HTTP",
                    source.display()
                )
            })?;
        Ok(Self(Arc::new(Loaded {
            manifest,
            engine,
            service,
        })))
    }

    /// Starts a server: gives the variables their values, asks the probe, then listens. Returns when it does.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing is left running then.
    pub async fn serve(&self, settings: Settings) -> Result<Server, StartError> {
        let resolved = variables::resolve(&self.0.manifest, &settings)?;
        let rules = Rules::parse(&resolved.allowed_outbound_hosts).map_err(StartError::OutboundHosts)?;
        let limits = settings.limits;
        let stores = Arc::new(Stores {
            variables: resolved.variables,
            rules,
            postgres: postgres::Pools::new(limits.postgres.clone()),
            redis: redis::Servers::new(limits.redis.clone()),
        });
        let instances = Instances {
            engine: self.0.engine.clone(),
            service: self.0.service.clone(),
            environment: self.0.manifest.component.environment.clone().into_iter().collect(),
            limits: limits.clone(),
            stores,
            computing: Arc::new(Semaphore::new(limits.computing)),
            alive: TaskTracker::new(),
            stopping: CancellationToken::new(),
            killed: CancellationToken::new(),
        };
        let service = Arc::new(Service {
            usual: Lane::new(&instances, limits.requests),
            computing: Lane::new(&instances, limits.computing_requests),
            computing_paths: self.0.manifest.component.computing.iter().cloned().collect(),
            instances,
            limits,
        });

        match Self::start(&service, settings.listen, settings.probe).await {
            Ok((addr, listener)) => {
                let accepting = tokio::spawn(accept(listener, addr, service.clone()));
                Ok(Server {
                    addr,
                    service,
                    accepting: Some(accepting),
                })
            }
            Err(error) => {
                service.close(Duration::ZERO).await;
                Err(error)
            }
        }
    }

    async fn start(
        service: &Service,
        listen: SocketAddr,
        probe: Option<String>,
    ) -> Result<(SocketAddr, TcpListener), StartError> {
        if let Some(path) = probe {
            service.probe(path, listen).await?;
        }
        let failed = |error| StartError::Listen { address: listen, error };
        let listener = bind(listen).map_err(failed)?;
        Ok((listener.local_addr().map_err(failed)?, listener))
    }
}

/// Connections that wait to be accepted; the system may allow fewer.
const BACKLOG: u32 = 8192;

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A new server can take the address of one that has just stopped.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A running server. Dropped without [`Server::stop`], it ends at once and cuts off what is in flight.
pub struct Server {
    addr: SocketAddr,
    service: Arc<Service>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops: no new connection, requests in flight end (within `shutdown_timeout`), then the instances and their
    /// connections to the stores are closed. Nothing of the server is left when this returns.
    pub async fn stop(mut self) {
        let begun = Instant::now();
        let limit = self.service.limits.shutdown_timeout;
        self.service.instances.stopping.cancel();
        if let Some(mut accepting) = self.accepting.take()
            && timeout(limit, &mut accepting).await.is_err()
        {
            log::write(
                "warn",
                "requests were still in flight at the end of the shutdown timeout",
                json!({}),
            );
            accepting.abort();
        }
        self.service.close(limit.saturating_sub(begun.elapsed())).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            self.service.instances.stopping.cancel();
            self.service.instances.killed.cancel();
        }
    }
}

/// Accepts connections until the server stops, then waits for those that are open.
async fn accept(listener: TcpListener, addr: SocketAddr, service: Arc<Service>) {
    let stopping = service.instances.stopping.clone();
    let open = GracefulShutdown::new();
    let limits = &service.limits;
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.headers)
        .max_buf_size(limits.header_bytes.max(8192));
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut stopped = pin!(stopping.cancelled());
    let killed = service.instances.killed.clone();
    loop {
        let next = async {
            // Never closed, so there is always a permit in the end.
            let place = places.clone().acquire_owned().await.ok();
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            next = next => next,
            () = &mut stopped => break,
        };
        let (stream, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                log::write(
                    "warn",
                    "a connection could not be accepted",
                    json!({ "error": error.to_string() }),
                );
                // Where it is for want of file descriptors, the next attempt would fail at once again.
                sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        // A connection that cannot be set so still works, only slower.
        _ = stream.set_nodelay(true);
        let service = service.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            let service = service.clone();
            async move { Ok::<_, Infallible>(service.answer(request, client, addr).await) }
        });
        let connection = open.watch(http.serve_connection(TokioIo::new(stream), answer));
        let killed = killed.clone();
        tokio::spawn(async move {
            tokio::select! {
                // Its error is the client's going away, or its breaking of the protocol, which hyper has answered.
                _ = connection => {}
                () = killed.cancelled() => {}
            }
            drop(place);
        });
    }
    drop(listener);
    open.shutdown().await;
}

/// Instances, and places for so many requests at once. Whoever comes on top queues.
struct Lane {
    handler: ProxyHandler<Instances>,
    places: Arc<Semaphore>,
}

impl Lane {
    fn new(instances: &Instances, places: usize) -> Self {
        Self {
            handler: ProxyHandler::new(instances.clone()),
            places: Arc::new(Semaphore::new(places)),
        }
    }
}

/// What answers the requests of one server.
struct Service {
    usual: Lane,
    /// For requests that compute for long, such as a login: whatever else an instance is at waits for that, and the memory
    /// that it takes stays with the instance. Those who queue here keep nobody from a place over there.
    computing: Lane,
    computing_paths: HashSet<String>,
    instances: Instances,
    limits: Limits,
}

#[derive(Deserialize)]
struct Misconfigured {
    detail: String,
    code: String,
}

impl Service {
    /// Answers one request, in whatever way; everything that goes wrong on the way becomes an answer.
    async fn answer<B>(&self, mut request: Request<B>, client: SocketAddr, server: SocketAddr) -> Response<AnswerBody>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Error>,
    {
        let asked = Asked::of(request.headers_mut());
        let lane = match self
            .computing_paths
            .contains(request.uri().path().trim_end_matches('/'))
        {
            true => &self.computing,
            false => &self.usual,
        };
        let place = lane.places.clone().acquire_owned();
        let Ok(Ok(permit)) = timeout(self.limits.request_wait_timeout, place).await else {
            return Problem::Overloaded.answer(&asked);
        };
        let about = (request.method().clone(), request.uri().path().to_owned());
        let answered = match prepare(&mut request, client, server) {
            Ok(()) => {
                let request = request.map(|body| Drained::new(body).map_err(Into::into).boxed_unsync());
                self.ask(&lane.handler, request).await
            }
            Err(problem) => Err((problem, None)),
        };
        match answered {
            Ok(answer) => {
                let (head, body) = answer.into_parts();
                Response::from_parts(head, compact(body, permit).await)
            }
            Err((problem, error)) => {
                if let Some(error) = error {
                    let fields = json!({
                        "request_id": asked.request_id,
                        "method": about.0.as_str(),
                        "path": about.1,
                        "error": error,
                    });
                    log::write("error", "a request failed", fields);
                }
                problem.answer(&asked)
            }
        }
    }

    async fn ask(
        &self,
        handler: &ProxyHandler<Instances>,
        request: Request<WasiBody>,
    ) -> Result<Response<WasiBody>, (Problem, Option<String>)> {
        // The instance ends a request in time by itself, unless it computes and never waits: then this notices first.
        let limit = self.limits.request_timeout + Duration::from_secs(1);
        match timeout(limit, handler.handle((), request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if error.is::<ExpirationError>() => Err((Problem::Timeout, Some(error.to_string()))),
            Ok(Err(error)) => Err((Problem::Internal, Some(format!("{error:#}")))),
            Err(_) => Err((Problem::Timeout, Some(format!("no answer within {limit:?}")))),
        }
    }

    async fn probe(&self, path: String, listen: SocketAddr) -> Result<(), StartError> {
        let failed = || StartError::Probe { path: path.clone() };
        let request = Request::get(path.as_str())
            .body(Empty::<Bytes>::new())
            .map_err(|_| failed())?;
        let answer = self.answer(request, listen, listen).await;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|_| failed())?.to_bytes();
        if let Ok(problem) = serde_json::from_slice::<Misconfigured>(&body) {
            match problem.code.as_str() {
                "misconfigured" => return Err(StartError::Misconfigured { detail: problem.detail }),
                "internal_error" if status == StatusCode::INTERNAL_SERVER_ERROR => return Err(failed()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Ends all instances, at once those without work, then the connections to the stores.
    async fn close(&self, limit: Duration) {
        let instances = &self.instances;
        instances.stopping.cancel();
        instances.alive.close();
        if timeout(limit, instances.alive.wait()).await.is_err() {
            instances.killed.cancel();
            _ = timeout(Duration::from_secs(2), instances.alive.wait()).await;
        }
        let stores = async { tokio::join!(instances.stores.postgres.close(), instances.stores.redis.close()) };
        // A store that hangs does not take leave; the sockets close with the process.
        _ = timeout(Duration::from_secs(2), stores).await;
    }
}
