//! Responds to requests: by the component, or by itself if the component cannot.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST},
    request::Parts,
};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Body;
use serde::Deserialize;
use serde_json::{Value, json};
use sugang_protocol::{Cors, ErrorSpec, HELD_FILES, client_network, host, method_for_log, path};
use tokio::time::timeout;
use wasmtime_wasi_http::{Error, WasiBody, handler::ExpirationError};

use super::{
    bulkhead::Bulkhead,
    error_response,
    memory::Memory,
    mounts::{Mounted, Mounts},
    pace::Rate,
    request::{Endpoints, RequestMeta, normalize, path_for_log},
    request_body::{self, BodyLimits},
    response_body::{self, ResponseBody},
    shared_bodies::{Key, SharedBodies},
    shares::{Lane, Shares},
};
use crate::{
    error::StartError,
    instances::Instances,
    log,
    manifest::{HostSettings, PathPattern, Sweep},
    settings::Limits,
    stores::Stores,
};

/// The margin by which the host waits longer than an instance, which ends a late request itself. An instance that
/// computes without a pause cannot, and then the host's own timeout applies.
const TIMEOUT_MARGIN: Duration = Duration::from_secs(1);

/// Bytes of a request that do not count against the memory for requests. Those of this API's usual ones are a quarter of it.
const SMALL_REQUEST: usize = 8 << 10;

/// Time for the stores to close their connections. If a store hangs, the sockets close with the process.
const STORES_TIMEOUT: Duration = Duration::from_secs(2);

/// Responds to the requests of one server.
pub(super) struct Service {
    usual: Arc<Bulkhead>,
    cpu_bound: Arc<Bulkhead>,
    outbound: Arc<Bulkhead>,
    probes: Arc<Bulkhead>,
    mounts: Mounts,
    cpu_bound_paths: HashSet<String>,
    outbound_paths: Vec<PathPattern>,
    probe_paths: HashSet<String>,
    cors: Cors,
    /// See [`Endpoints::only_loopback`].
    only_loopback: bool,
    bodies: BodyLimits,
    /// What trusted proxies have, and what all others have a part of.
    pub(super) unlimited: Arc<Shares>,
    /// What the host requests by its clock.
    pub(super) sweep: Option<Sweep>,
    /// The configured address, by which the host's own requests name it.
    listen: SocketAddr,
    shared_bodies: Arc<SharedBodies>,
    pub(super) instances: Instances,
    stores: Arc<Stores>,
    pub(super) limits: Limits,
}

/// A client, as its requests are served.
pub(super) struct Client {
    pub(super) address: SocketAddr,
    /// The address that it has connected to.
    pub(super) server: SocketAddr,
    pub(super) shares: Arc<Shares>,
}

/// Why the component has no response to a request.
struct Failure {
    error: &'static ErrorSpec,
    /// For the log; `None` for a request that the client can see to be wrong.
    cause: Option<String>,
    /// The rest of the request will not be read.
    closes: bool,
}

impl From<&'static ErrorSpec> for Failure {
    fn from(error: &'static ErrorSpec) -> Self {
        Self {
            error,
            cause: None,
            closes: false,
        }
    }
}

impl Failure {
    fn new(error: &'static ErrorSpec, cause: String) -> Self {
        Self {
            error,
            cause: Some(cause),
            closes: false,
        }
    }
}

/// The members of an error body that the probe needs.
#[derive(Deserialize)]
struct ProbeError {
    detail: String,
    code: String,
}

impl Service {
    pub(super) fn new(
        instances: Instances,
        mounts: Vec<Mounted>,
        stores: Arc<Stores>,
        settings: HostSettings,
        listen: SocketAddr,
        limits: Limits,
    ) -> Self {
        let is_loopback = listen.ip().to_canonical().is_loopback();
        if settings.hosts_are_unknown && !is_loopback {
            let fields = json!({ "remedy": "set public_url or allowed_hosts" });
            log::write(
                "warn",
                "links in responses lead to any host that a request names",
                fields,
            );
        }
        let bulkhead = |requests| Arc::new(Bulkhead::new(instances.clone(), requests));
        Self {
            mounts: Mounts::new(mounts, settings.files),
            usual: bulkhead(limits.requests),
            cpu_bound: bulkhead(limits.cpu_bound_requests),
            outbound: bulkhead(limits.outbound_requests),
            probes: bulkhead(limits.probe_requests),
            cpu_bound_paths: settings.cpu_bound,
            outbound_paths: settings.outbound,
            probe_paths: settings.probes,
            cors: settings.cors,
            sweep: settings.sweep,
            listen,
            only_loopback: settings.hosts_are_unknown && is_loopback,
            bodies: BodyLimits {
                bytes: settings.max_body_bytes,
                rate: Rate {
                    patience: limits.body_timeout,
                    bytes_per_second: limits.min_rate,
                },
            },
            unlimited: Arc::new(Shares::unlimited(&limits)),
            shared_bodies: Arc::default(),
            instances,
            stores,
            limits,
        }
    }

    /// Responds to one request. Everything that goes wrong on the way becomes a response.
    pub(super) async fn respond<B>(&self, request: Request<B>, client: &Client) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Error>,
    {
        let begun = Instant::now();
        let meta = RequestMeta::read(&request);
        let response = match self.answer(request, &meta, client).await {
            Ok(response) => {
                self.mounts.log(&meta, response.status(), client.address, begun);
                response
            }
            Err(failure) => {
                log_refusal(
                    failure.error,
                    failure.cause.as_deref(),
                    &meta,
                    Some(&meta.path),
                    client.address,
                );
                let mut response = error_response::build(failure.error, &meta, &self.cors);
                if failure.closes {
                    response
                        .headers_mut()
                        .insert(CONNECTION, HeaderValue::from_static("close"));
                }
                response
            }
        };
        without_body_for_head(response, &meta.method)
    }

    /// Refuses what came in place of a request.
    pub(super) fn refuse<B>(
        &self,
        request: Request<B>,
        error: &'static ErrorSpec,
        client: SocketAddr,
    ) -> Response<ResponseBody> {
        let meta = RequestMeta::read(&request);
        // What hyper got in its place names no path of the client.
        log_refusal(error, None, &meta, None, client);
        without_body_for_head(error_response::build(error, &meta, &self.cors), &meta.method)
    }

    async fn answer<B>(
        &self,
        mut request: Request<B>,
        meta: &RequestMeta,
        client: &Client,
    ) -> Result<Response<ResponseBody>, Failure>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Error>,
    {
        let endpoints = Endpoints {
            client: client.address,
            server: client.server,
            only_loopback: self.only_loopback,
        };
        normalize(&mut request, endpoints, &meta.ids.own)?;
        if meta.is_for_the_server() {
            return Ok(error_response::options_of_the_server(meta, &self.cors));
        }
        let (mut head, body) = request.into_parts();
        let path = path::canonical(&meta.path).unwrap_or_default();
        self.mounts.check_host(&path, &head.uri)?;
        if head.method.is_safe()
            && let Some(tags) = self.shared_bodies.tags(&path)
        {
            head.headers.insert(HELD_FILES, tags);
        }
        let waits = head.headers.contains_key(EXPECT);
        let memory = client.shares.requests.reserve(SMALL_REQUEST);
        let body = request_body::receive(body, waits, &self.bodies, length(&head), memory)
            .await
            .map_err(|error| Failure {
                closes: true,
                ..error.into()
            })?;
        let body = body.map_err(Into::into).boxed_unsync();
        // A place is taken once nothing of the request is to come, and given back once the component has finished.
        let (lane, bulkhead) = self.lane(&meta.method, &path);
        let wait = self.limits.request_wait_timeout;
        let place = bulkhead.admit(&client.shares, lane, wait).await;
        let place = place.ok_or(&host::OVERLOADED)?;
        let limit = self.limits.request_timeout + TIMEOUT_MARGIN;
        let request = Request::from_parts(head, body);
        // What has begun is finished, and occupies its place until then, even if the client goes away.
        let (memory, shared) = (client.shares.responses.clone(), self.shared_bodies.clone());
        let begun = tokio::spawn(async move {
            let mut forwarded = timeout(limit, forward(&bulkhead, request, &memory, &shared)).await;
            if let Ok(Ok(response)) = &mut forwarded
                && let Some(rest) = &mut response.body_mut().rest
            {
                rest.place = Some(place);
            }
            forwarded.unwrap_or_else(|_| Err(Failure::new(&host::TIMEOUT, format!("no response within {limit:?}"))))
        });
        let crashed = |error| Failure::new(&host::INSTANCE_CRASHED, format!("{error:#}"));
        begun.await.map_err(crashed)?
    }

    /// Finds the places of a request to a canonical path.
    fn lane(&self, method: &Method, path: &str) -> (Lane, Arc<Bulkhead>) {
        let (lane, bulkhead) = if let Some(mount) = self.mounts.find(path) {
            (Lane::Usual, mount)
        } else if method == Method::OPTIONS || self.probe_paths.contains(path) {
            (Lane::Probes, &self.probes)
        } else if self.cpu_bound_paths.contains(path) {
            (Lane::CpuBound, &self.cpu_bound)
        } else if self.outbound_paths.iter().any(|pattern| pattern.matches(path)) {
            (Lane::Outbound, &self.outbound)
        } else {
            (Lane::Usual, &self.usual)
        };
        (lane, bulkhead.clone())
    }

    /// Requests the probe before the server listens.
    ///
    /// # Errors
    /// The component crashes, or reports that its configuration is wrong, or PostgreSQL refuses it for good.
    pub(super) async fn probe(&self, path: String) -> Result<(), StartError> {
        let failed = || StartError::Probe { path: path.clone() };
        let request = Request::get(path.as_str());
        let (status, body) = self.request(request).await.ok_or_else(failed)?;
        if let Ok(error) = serde_json::from_slice::<ProbeError>(&body) {
            match error.code.as_str() {
                "misconfigured" => return Err(StartError::Misconfigured { detail: error.detail }),
                "internal_error" if status == StatusCode::INTERNAL_SERVER_ERROR => return Err(failed()),
                _ => {}
            }
        }
        match self.stores.postgres.refusal() {
            Some(reason) => Err(StartError::Postgres { reason }),
            None => Ok(()),
        }
    }

    /// Requests the sweep inside the process. Returns the status and the body of the response; 404 without a sweep.
    pub(super) async fn sweep(&self) -> (u16, Bytes) {
        let Some(sweep) = &self.sweep else {
            return (404, Bytes::new());
        };
        let request = Request::post(sweep.path.as_str()).header(AUTHORIZATION, format!("Bearer {}", sweep.secret));
        let response = self.request(request).await;
        response.map_or((500, Bytes::new()), |(status, body)| (status.as_u16(), body))
    }

    /// Sends a request of the host itself. `None` if it is malformed.
    async fn request(&self, request: http::request::Builder) -> Option<(StatusCode, Bytes)> {
        let request = request.header(HOST, self.listen.to_string());
        let request = request.body(Empty::<Bytes>::new()).ok()?;
        let client = Client {
            address: self.listen,
            server: self.listen,
            shares: self.unlimited.clone(),
        };
        let response = self.respond(request, &client).await;
        Some((response.status(), response.into_body().bytes))
    }

    /// Ends all instances, the idle ones at once, then closes the connections to the stores.
    pub(super) async fn close(&self, limit: Duration) {
        self.instances.close(limit).await;
        _ = timeout(STORES_TIMEOUT, self.stores.close()).await;
    }
}

/// Logs a request that the host answers by itself, with the cause if that is not the request.
fn log_refusal(error: &ErrorSpec, cause: Option<&str>, meta: &RequestMeta, path: Option<&str>, client: SocketAddr) {
    let mut fields = json!({
        "code": error.code,
        "status": error.status(),
        "request_id": meta.ids.own,
        "client_request_id": meta.ids.client,
        "address": client_network(client.ip()),
        "method": path.map(|_| method_for_log(meta.method.as_str())),
        "path": path.and_then(path_for_log),
        "error": cause,
    });
    if let Value::Object(fields) = &mut fields {
        fields.retain(|_, value| !value.is_null());
    }
    match cause {
        Some(_) => log::write("error", "a request failed", fields),
        None => log::write("info", "a request was refused", fields),
    }
}

/// Has an instance respond, and receives the response from it.
async fn forward(
    bulkhead: &Bulkhead,
    request: Request<WasiBody>,
    memory: &Memory,
    shared: &SharedBodies,
) -> Result<Response<ResponseBody>, Failure> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let response = match bulkhead.handler.handle((), request).await {
        Ok(response) => response,
        Err(error) if error.is::<ExpirationError>() => return Err(Failure::new(&host::TIMEOUT, error.to_string())),
        Err(error) => return Err(Failure::new(&host::INSTANCE_CRASHED, format!("{error:#}"))),
    };
    let (head, body) = response.into_parts();
    let body = match Key::of(&method, uri.path(), head.status, &head.headers) {
        Some(file) => shared.get_or_receive(file, body, memory).await,
        // The component names the length of every other body that it has made.
        None if head.headers.contains_key(CONTENT_TYPE) && !head.headers.contains_key(CONTENT_LENGTH) => {
            Ok(Some(response_body::pass_on(body)))
        }
        // What has changed nothing can be asked for again. A response to anything else is short, and always sent.
        None => response_body::receive(body, method.is_safe().then_some(memory)).await,
    };
    match body {
        Ok(Some(body)) => Ok(Response::from_parts(head, body)),
        Ok(None) => Err((&host::OVERLOADED).into()),
        Err(error) => Err(Failure::new(&host::INSTANCE_CRASHED, error.to_string())),
    }
}

/// The bytes of a head, with what the host has added to it.
fn length(head: &Parts) -> usize {
    let headers = head.headers.iter();
    let headers: usize = headers.map(|(name, value)| name.as_str().len() + value.len()).sum();
    headers + head.uri.path().len() + head.uri.query().map_or(0, str::len)
}

/// Leaves the length of the body to a response to HEAD, and nothing else of it.
fn without_body_for_head(mut response: Response<ResponseBody>, method: &Method) -> Response<ResponseBody> {
    let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&response.status());
    if method == Method::HEAD && !bodiless {
        let length = response.body().rest.is_none().then(|| response.body().bytes.len());
        if let Some(length) = length {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        *response.body_mut() = Vec::new().into();
    }
    response
}
