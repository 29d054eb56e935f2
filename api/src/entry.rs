//! The entry point of the component.
//!
//! It reads the host's request itself instead of using the SDK's `http_service`, which answers a request that it cannot
//! convert with a bare 500.

use futures::{StreamExt, stream};
use http::Method;
use spin_sdk::wasip3::{
    self,
    http::types::{ErrorCode, Fields, Request, Response, Scheme},
    wit_future, wit_stream,
};
use sugang_protocol::is_authority;

use crate::{
    http::{RequestHead, Response as OutgoingResponse},
    service,
};

/// The handler that the component exports.
pub struct Component;

#[cfg(target_arch = "wasm32")]
wasip3::http::service::export!(Component);

impl wasip3::exports::http::handler::Guest for Component {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let response = service::respond(head(&request), request).await;
        send(response)
    }
}

fn head(request: &Request) -> RequestHead {
    let target = request.get_path_with_query().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let headers = request.get_headers().copy_all();
    let authority = request.get_authority().filter(|authority| is_authority(authority));
    let scheme = match request.get_scheme() {
        Some(Scheme::Https) => "https",
        _ => "http",
    };
    RequestHead {
        // An invalid method matches no route; neither does TRACE.
        method: Method::try_from(request.get_method()).unwrap_or(Method::TRACE),
        path: path.to_owned(),
        query: query.to_owned(),
        origin: authority.map(|authority| format!("{scheme}://{authority}")),
        headers,
    }
}

fn send(response: OutgoingResponse) -> Result<Response, ErrorCode> {
    let mut fields: Vec<(String, Vec<u8>)> = response
        .headers
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into_bytes()))
        .collect();
    let has_body = !response.body.is_empty() || response.rest.is_some();
    if has_body && response.rest.is_none() {
        fields.push(("content-length".into(), response.body.len().to_string().into_bytes()));
    }
    let headers = Fields::from_list(&fields).map_err(|error| ErrorCode::InternalError(Some(error.to_string())))?;
    let (trailers, end) = wit_future::new(|| Ok(None));
    let (mut writer, contents) = wit_stream::new();
    let (sent, _transmitted) = Response::new(headers, has_body.then_some(contents), end);
    // Our statuses are valid; if one were not, the host's default would be better than no response.
    let _ = sent.set_status_code(response.status);
    wasip3::spawn(async move {
        let mut whole = true;
        if has_body {
            let mut gone = !writer.write_all(response.body).await.is_empty();
            let mut rest = response.rest.unwrap_or_else(|| stream::empty().boxed_local());
            // The rest of the body was for a client that is gone.
            while !gone && whole {
                let Some(part) = rest.next().await else { break };
                whole = part.is_some();
                gone = !writer.write_all(part.unwrap_or_default()).await.is_empty();
            }
        }
        drop(writer);
        // This fails if the client is gone, and then does not matter.
        let end = if whole {
            Ok(None)
        } else {
            Err(ErrorCode::InternalError(None))
        };
        let _ = trailers.write(end).await;
    });
    Ok(sent)
}
