//! The entry point of the component.

use spin_sdk::wasip3::{
    self,
    http::types::{ErrorCode, Fields, Method, Request, Response},
    wit_future, wit_stream,
};

use sugang_protocol::request_id::{self, RequestIds};

use crate::service::{self, Answer, Asked};

/// The handler that the component exports.
pub struct Component;

#[cfg(target_arch = "wasm32")]
wasip3::http::service::export!(Component);

impl wasip3::exports::http::handler::Guest for Component {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let target = request.get_path_with_query().unwrap_or_default();
        let headers = request.get_headers();
        let text = |name: &str| {
            let value = headers.get(name).into_iter().next()?;
            String::from_utf8(value).ok()
        };
        let asked = Asked {
            reads: matches!(request.get_method(), Method::Get | Method::Head),
            path: target.split('?').next().unwrap_or_default().to_owned(),
            if_none_match: text("if-none-match"),
            accept_language: text("accept-language"),
            ids: RequestIds::new(
                std::env::var_os(request_id::HOST_VARIABLE).and_then(|_| text(request_id::OWN_HEADER)),
                text(request_id::HEADER).as_deref(),
            ),
        };
        send(service::respond(&asked))
    }
}

/// Hands a response to the host, which removes the body of one to HEAD.
fn send(answer: Answer) -> Result<Response, ErrorCode> {
    let mut fields: Vec<(String, Vec<u8>)> = answer
        .headers
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into_bytes()))
        .collect();
    let has_body = !answer.body.is_empty();
    if has_body {
        fields.push(("content-length".into(), answer.body.len().to_string().into_bytes()));
    }
    let headers = Fields::from_list(&fields).map_err(|error| ErrorCode::InternalError(Some(error.to_string())))?;
    let (trailers, end) = wit_future::new(|| Ok(None));
    let (mut writer, contents) = wit_stream::new();
    let (sent, _transmitted) = Response::new(headers, has_body.then_some(contents), end);
    // Our statuses are valid; if one were not, the host's default would be better than no response.
    let _ = sent.set_status_code(answer.status);
    wasip3::spawn(async move {
        if has_body {
            // The rest of the body was for a client that is gone.
            writer.write_all(answer.body.into_owned()).await;
        }
        drop(writer);
        // This fails if the client is gone, and then does not matter.
        let _ = trailers.write(Ok(None)).await;
    });
    Ok(sent)
}
