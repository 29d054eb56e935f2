//! Plain responses and requests.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{Request, Response, body::Frame, header::CONTENT_TYPE};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::Value;
use tokio::time::{sleep, timeout};

/// The body of a response.
pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// For which a gateway waits for the answer to an event.
const EVENT_LIMIT: Duration = Duration::from_secs(10);

pub(crate) fn json((status, body): (u16, Value)) -> Response<Body> {
    text(status, "application/json", body.to_string())
}

pub(crate) fn text(status: u16, media_type: &'static str, text: String) -> Response<Body> {
    response(status, media_type, Full::from(text).boxed())
}

fn response(status: u16, media_type: &'static str, body: Body) -> Response<Body> {
    let response = Response::builder().status(status).header(CONTENT_TYPE, media_type);
    response.body(body).expect("a valid head")
}

/// Sends the second half of a body late.
pub(crate) fn slowly(status: u16, text: String, millis: u64) -> Response<Body> {
    let text = Bytes::from(text);
    let half = text.len() / 2;
    let parts = [(0, text.slice(..half)), (millis, text.slice(half..))];
    let parts = stream::unfold(parts.into_iter(), |mut parts| async {
        let (millis, part) = parts.next()?;
        sleep(Duration::from_millis(millis)).await;
        Some((Ok(Frame::data(part)), parts))
    });
    response(status, "application/json", BodyExt::boxed(StreamBody::new(parts)))
}

/// Sends one request, and returns the status of its answer; `None` without one.
pub(crate) async fn post(url: &str, headers: &[(String, String)], body: String) -> Option<u16> {
    let mut request = Request::post(url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let sent = client.request(request.body(Full::from(body)).ok()?);
    let response = timeout(EVENT_LIMIT, sent).await.ok()?.ok()?;
    Some(response.status().as_u16())
}
