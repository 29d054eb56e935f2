//! Outgoing `wasi:http` requests.

use http::{Request, Response};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// Denies every request: this host has no HTTP client.
pub(super) struct NoOutgoingHttp;

/// The end of sending or receiving a body.
type Transfer = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for NoOutgoingHttp {
    fn send_request(
        &mut self,
        _: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Transfer,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Transfer), Error>> + Send> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}
