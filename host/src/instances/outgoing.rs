//! Outgoing `wasi:http` requests.

use std::sync::Arc;

use http::{Request, Response};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::outbound::Client;

/// Sends the requests of an instance by the client of its server, if the component has one.
pub(super) struct Outgoing(pub(super) Option<Arc<Client>>);

/// The end of sending or receiving a body.
type Transfer = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Transfer,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Transfer), Error>> + Send> {
        let client = self.0.clone();
        Box::new(async move {
            let client = client.ok_or(Error::HttpRequestDenied)?;
            let response = client.send(request, options.unwrap_or_default()).await?;
            // The client drives the connection itself.
            Ok((response, Box::new(async { Ok(()) }) as Transfer))
        })
    }
}
