//! Responds to requests: by the component, or by itself if the component cannot.

use std::{collections::HashSet, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Body;
use serde::Deserialize;
use serde_json::json;
use sugang_protocol::{ErrorSpec, host};
use tokio::time::timeout;
use wasmtime_wasi_http::{Error, WasiBody, handler::ExpirationError};

use super::{
    bulkhead::Bulkhead,
    error_response,
    request::{RequestMeta, normalize},
    request_body::DrainedBody,
    response_body::{ResponseBody, buffer_small_body},
};
use crate::{error::StartError, instances::Instances, log, settings::Limits, stores::Stores};

/// The margin by which the host waits longer than an instance, which ends a late request itself. An instance that
/// computes without a pause cannot, and then the host's own timeout applies.
const TIMEOUT_MARGIN: Duration = Duration::from_secs(1);

/// Time for the stores to close their connections. If a store hangs, the sockets close with the process.
const STORES_TIMEOUT: Duration = Duration::from_secs(2);

/// Responds to the requests of one server.
pub(super) struct Service {
    usual: Bulkhead,
    /// For requests that compute for long, such as a login: the other requests of the same instance would wait meanwhile,
    /// and the instance keeps the memory that the computation took.
    cpu_bound: Bulkhead,
    cpu_bound_paths: HashSet<String>,
    pub(super) instances: Instances,
    stores: Arc<Stores>,
    pub(super) limits: Limits,
}

/// Why the component has no response to a request.
struct Failure {
    error: &'static ErrorSpec,
    /// For the log; `None` for a request that the client can see to be wrong.
    cause: Option<String>,
}

impl Failure {
    fn new(error: &'static ErrorSpec, cause: String) -> Self {
        Self {
            error,
            cause: Some(cause),
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
        stores: Arc<Stores>,
        cpu_bound_paths: HashSet<String>,
        limits: Limits,
    ) -> Self {
        Self {
            usual: Bulkhead::new(instances.clone(), limits.requests),
            cpu_bound: Bulkhead::new(instances.clone(), limits.cpu_bound_requests),
            cpu_bound_paths,
            instances,
            stores,
            limits,
        }
    }

    /// Responds to one request. Everything that goes wrong on the way becomes a response.
    pub(super) async fn respond<B>(
        &self,
        mut request: Request<B>,
        client: SocketAddr,
        server: SocketAddr,
    ) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Error>,
    {
        let meta = RequestMeta::read(&mut request);
        let bulkhead = self.bulkhead(&meta.path);
        let Some(permit) = bulkhead.admit(self.limits.request_wait_timeout).await else {
            return error_response::build(&host::OVERLOADED, &meta);
        };
        match self.forward(bulkhead, request, client, server).await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                Response::from_parts(head, buffer_small_body(body, permit).await)
            }
            Err(failure) => {
                if let Some(cause) = failure.cause {
                    let fields = json!({
                        "request_id": meta.request_id,
                        "method": meta.method.as_str(),
                        "path": meta.path,
                        "error": cause,
                    });
                    log::write("error", "a request failed", fields);
                }
                error_response::build(failure.error, &meta)
            }
        }
    }

    fn bulkhead(&self, path: &str) -> &Bulkhead {
        match self.cpu_bound_paths.contains(path.trim_end_matches('/')) {
            true => &self.cpu_bound,
            false => &self.usual,
        }
    }

    /// Has an instance respond.
    async fn forward<B>(
        &self,
        bulkhead: &Bulkhead,
        mut request: Request<B>,
        client: SocketAddr,
        server: SocketAddr,
    ) -> Result<Response<WasiBody>, Failure>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Error>,
    {
        normalize(&mut request, client, server).map_err(|error| Failure { error, cause: None })?;
        let request = request.map(|body| DrainedBody::new(body).map_err(Into::into).boxed_unsync());
        let limit = self.limits.request_timeout + TIMEOUT_MARGIN;
        match timeout(limit, bulkhead.handler.handle((), request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if error.is::<ExpirationError>() => Err(Failure::new(&host::TIMEOUT, error.to_string())),
            Ok(Err(error)) => Err(Failure::new(&host::INSTANCE_CRASHED, format!("{error:#}"))),
            Err(_) => Err(Failure::new(&host::TIMEOUT, format!("no response within {limit:?}"))),
        }
    }

    /// Requests the probe before the server listens.
    ///
    /// # Errors
    /// The component crashes, or reports that its configuration is wrong, or PostgreSQL refuses it for good.
    pub(super) async fn probe(&self, path: String, listen: SocketAddr) -> Result<(), StartError> {
        let failed = || StartError::Probe { path: path.clone() };
        let request = Request::get(path.as_str())
            .body(Empty::<Bytes>::new())
            .map_err(|_| failed())?;
        let response = self.respond(request, listen, listen).await;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|_| failed())?.to_bytes();
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

    /// Ends all instances, the idle ones at once, then closes the connections to the stores.
    pub(super) async fn close(&self, limit: Duration) {
        self.instances.close(limit).await;
        _ = timeout(STORES_TIMEOUT, self.stores.close()).await;
    }
}
