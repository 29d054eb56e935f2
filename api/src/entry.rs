//! Where the host calls in. The request is taken as the host has it, and not through the SDK's `http_service`, which
//! answers a request that it cannot convert with a bare 500.

use http::Method;
use spin_sdk::wasip3::{
    self,
    http::types::{ErrorCode, Fields, Request, Response, Scheme},
    wit_future, wit_stream,
};

use crate::{call::Head, service};

/// What the component exports.
pub struct Component;

#[cfg(target_arch = "wasm32")]
wasip3::http::service::export!(Component);

impl wasip3::exports::http::handler::Guest for Component {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let response = service::respond(head(&request), request).await;
        send(response)
    }
}

fn head(request: &Request) -> Head {
    let target = request.get_path_with_query().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let headers = request.get_headers().copy_all();
    let authority = request.get_authority().filter(|authority| is_authority(authority));
    let scheme = match request.get_scheme() {
        Some(Scheme::Https) => "https",
        _ => "http",
    };
    Head {
        // A method that is none is one that no path takes.
        method: Method::try_from(request.get_method()).unwrap_or(Method::TRACE),
        path: path.to_owned(),
        query: query.to_owned(),
        origin: authority.map(|authority| format!("{scheme}://{authority}")),
        headers,
    }
}

/// A client names the authority, and links are made with it.
fn is_authority(authority: &str) -> bool {
    !authority.is_empty()
        && authority
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}

fn send(response: crate::response::Response) -> Result<Response, ErrorCode> {
    let mut fields: Vec<(String, Vec<u8>)> = response
        .headers
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into_bytes()))
        .collect();
    let has_body = !response.body.is_empty();
    if has_body {
        fields.push(("content-length".into(), response.body.len().to_string().into_bytes()));
    }
    let headers = Fields::from_list(&fields).map_err(|error| ErrorCode::InternalError(Some(error.to_string())))?;
    let (trailers, end) = wit_future::new(|| Ok(None));
    let (mut writer, contents) = wit_stream::new();
    let (sent, _transmitted) = Response::new(headers, has_body.then_some(contents), end);
    // A status that is none would be a defect; the host's default is then better than no answer.
    let _ = sent.set_status_code(response.status);
    wasip3::spawn(async move {
        if has_body {
            // What is left over was for a client that is gone.
            writer.write_all(response.body).await;
        }
        drop(writer);
        // Nobody waits for trailers of an answer that nobody reads.
        let _ = trailers.write(Ok(None)).await;
    });
    Ok(sent)
}
