//! One request on its way through the host: what the component is told of it, and what the host answers by itself.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri,
    header::{ACCEPT_LANGUAGE, CONTENT_TYPE, HOST, RETRY_AFTER},
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, SizeHint};
use serde_json::json;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};
use uuid::Uuid;
use wasmtime_wasi_http::{Error, WasiBody};

/// The body of an answer.
pub(crate) type AnswerBody = UnsyncBoxBody<Bytes, Error>;

/// Where the request came from, `address:port`, as Spin tells it.
const CLIENT_ADDRESS: HeaderName = HeaderName::from_static("spin-client-addr");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A body that ends within this much and this soon leaves in one piece with its head, its length known.
const WHOLE_BODY: usize = 256 << 10;
const WHOLE_BODY_WAIT: Duration = Duration::from_millis(5);

/// Of a request's body that nobody wants to read, this much is taken in, for so long.
const UNREAD_BODY: usize = 8 << 20;
const UNREAD_BODY_WAIT: Duration = Duration::from_secs(2);

/// Makes of a request what the component gets: an absolute URI, and of the `spin-*` fields only the host's own.
///
/// # Errors
/// [`Problem::BadRequest`] for a target or a `Host` that makes no URI.
pub(crate) fn prepare<B>(request: &mut Request<B>, client: SocketAddr, server: SocketAddr) -> Result<(), Problem> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    if parts.authority.is_none() {
        parts.authority = Some(match request.headers().get(HOST) {
            Some(host) => Authority::try_from(host.as_bytes()).map_err(|_| Problem::BadRequest)?,
            None => Authority::try_from(server.to_string()).map_err(|_| Problem::BadRequest)?,
        });
    }
    parts.scheme.get_or_insert(Scheme::HTTP);
    parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Problem::BadRequest)?;

    let headers = request.headers_mut();
    let forged: Vec<_> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("spin-"))
        .cloned()
        .collect();
    for name in forged {
        headers.remove(name);
    }
    let client = HeaderValue::try_from(client.to_string()).map_err(|_| Problem::BadRequest)?;
    headers.insert(CLIENT_ADDRESS, client);
    Ok(())
}

/// The body of a request, which is taken in to its end even when it is dropped before. A client that still sends while it
/// is refused (a body that is too long) would otherwise find its connection reset, and never read why.
pub(crate) struct Drained<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    body: Option<B>,
}

impl<B> Drained<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    pub(crate) fn new(body: B) -> Self {
        Self { body: Some(body) }
    }
}

impl<B> Body for Drained<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl<B> Drop for Drained<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| !body.is_end_stream()) else {
            return;
        };
        let drain = async move {
            let mut taken = 0;
            while let Some(Ok(frame)) = body.frame().await {
                taken += frame.data_ref().map_or(0, Bytes::len);
                if taken > UNREAD_BODY {
                    break;
                }
            }
        };
        // None without a runtime: then there is no connection any more either.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(timeout(UNREAD_BODY_WAIT, drain));
        }
    }
}

/// Takes the body of an answer as a whole if it is short and there at once: one write instead of two or more, and a
/// `Content-Length` instead of chunks. Anything else is passed on as it comes.
pub(crate) async fn compact(body: WasiBody, permit: OwnedSemaphorePermit) -> AnswerBody {
    let mut whole = BytesMut::new();
    let mut body = Box::pin(body);
    let mut broken = None;
    let read = async {
        while let Some(frame) = body.frame().await {
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => whole.extend_from_slice(&data),
                // Trailers: the frame after them is the end.
                Ok(Err(_)) => {}
                Err(error) => {
                    broken = Some(error);
                    return false;
                }
            }
            if whole.len() > WHOLE_BODY {
                return false;
            }
        }
        true
    };
    match timeout(WHOLE_BODY_WAIT, read).await {
        Ok(true) => Full::new(whole.freeze()).map_err(|never| match never {}).boxed_unsync(),
        _ => Streamed {
            start: whole.freeze(),
            broken,
            rest: body,
            _permit: permit,
        }
        .boxed_unsync(),
    }
}

/// A body whose start was read already. It counts as a request in flight until it ends.
struct Streamed {
    start: Bytes,
    broken: Option<Error>,
    rest: Pin<Box<WasiBody>>,
    _permit: OwnedSemaphorePermit,
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if !self.start.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.start)))));
        }
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        self.rest.as_mut().poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.start.is_empty() && self.broken.is_none() && self.rest.is_end_stream()
    }

    // No size hint: wasmtime's body tells its whole length for ever, also when a part of it has been read.
}

/// What the host answers when the component cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The request's target or `Host` makes no URI.
    BadRequest,
    /// The instance trapped.
    Internal,
    /// Too many requests are worked on.
    Overloaded,
    /// The component did not answer in time.
    Timeout,
}

impl Problem {
    fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Internal => "internal_error",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
        }
    }

    /// The text, in Korean or English as the client asks.
    fn detail(self, asked: &Asked) -> &'static str {
        let (korean, english) = match self {
            Self::BadRequest => ("잘못된 요청입니다", "The request is malformed."),
            Self::Internal => ("서버 오류가 발생했습니다", "The server failed."),
            Self::Overloaded => (
                "요청이 많습니다. 잠시 후 다시 시도해주세요",
                "Too many requests. Try again in a moment.",
            ),
            Self::Timeout => ("응답 시간이 초과되었습니다", "The server did not answer in time."),
        };
        if asked.english { english } else { korean }
    }

    /// The answer: a JSON object as the component's own errors have it.
    pub(crate) fn answer(self, asked: &Asked) -> Response<AnswerBody> {
        let body = json!({ "detail": self.detail(asked), "code": self.code(), "request_id": asked.request_id });
        let body = Full::new(Bytes::from(body.to_string()))
            .map_err(|never| match never {})
            .boxed_unsync();
        let mut answer = Response::new(body);
        *answer.status_mut() = self.status();
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            HeaderName::from_static("x-content-type-options"),
            HeaderValue::from_static("nosniff"),
        );
        if let Ok(id) = HeaderValue::try_from(&asked.request_id) {
            headers.insert(REQUEST_ID, id);
        }
        if matches!(self, Self::Overloaded | Self::Timeout) {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        answer
    }
}

/// What an answer of the host depends on, kept while the component has the request.
pub(crate) struct Asked {
    pub(crate) request_id: String,
    english: bool,
}

/// Random for the process, counted within it: unique, and no call of the system for each request.
fn new_request_id() -> String {
    static PROCESS: LazyLock<String> = LazyLock::new(|| Uuid::new_v4().simple().to_string());
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", *PROCESS, COUNT.fetch_add(1, Relaxed))
}

impl Asked {
    /// Reads the headers. A request's own id is kept if it is sane; a request without one gets one.
    pub(crate) fn of(headers: &mut HeaderMap) -> Self {
        let sane = |id: &&str| {
            (1..=128).contains(&id.len())
                && id
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let request_id = match headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(sane) {
            Some(id) => id.to_owned(),
            None => {
                let id = new_request_id();
                if let Ok(value) = HeaderValue::try_from(&id) {
                    headers.insert(REQUEST_ID, value);
                }
                id
            }
        };
        let language = headers.get(ACCEPT_LANGUAGE).and_then(|language| language.to_str().ok());
        Self {
            request_id,
            english: language.is_some_and(|language| language.to_ascii_lowercase().starts_with("en")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(request: http::request::Builder) -> Result<Request<()>, Problem> {
        let mut request = request.body(()).unwrap();
        prepare(
            &mut request,
            ([192, 0, 2, 1], 40000).into(),
            ([127, 0, 0, 1], 8000).into(),
        )?;
        Ok(request)
    }

    #[test]
    fn the_component_gets_an_absolute_uri() {
        let cases = [
            (
                Request::get("/a?b=c").header(HOST, "example.com"),
                "http://example.com/a?b=c",
            ),
            (
                Request::get("/a").header(HOST, "example.com:81"),
                "http://example.com:81/a",
            ),
            (Request::get("/"), "http://127.0.0.1:8000/"),
            (
                Request::get("http://target.example/x").header(HOST, "other.example"),
                "http://target.example/x",
            ),
        ];
        for (request, expected) in cases {
            assert_eq!(prepared(request).unwrap().uri().to_string(), expected);
        }
        for host in ["a b", "http://x/", "a/b", ""] {
            let request = Request::get("/").header(HOST, host);
            assert_eq!(prepared(request).unwrap_err(), Problem::BadRequest, "{host}");
        }
    }

    #[test]
    fn a_client_cannot_forge_the_hosts_fields() {
        let request = Request::get("/")
            .header(CLIENT_ADDRESS, "1.2.3.4:5")
            .header("Spin-Client-Addr", "1.2.3.4:6")
            .header("spin-path-info", "/admin")
            .header("x-spin", "kept");
        let request = prepared(request).unwrap();
        let fields: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(fields, [("x-spin", "kept"), ("spin-client-addr", "192.0.2.1:40000")]);
    }

    #[tokio::test]
    async fn a_problem_is_answered_as_json() {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static("abc-1"));
        headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_static("en-GB, ko"));
        let answer = Problem::Overloaded.answer(&Asked::of(&mut headers));
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()[RETRY_AFTER], "1");
        assert_eq!(answer.headers()[REQUEST_ID], "abc-1");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let expected = json!({ "detail": "Too many requests. Try again in a moment.", "code": "overloaded", "request_id": "abc-1" });
        assert_eq!(body, expected);
        assert_eq!(
            Problem::Internal.detail(&Asked::of(&mut HeaderMap::new())),
            "서버 오류가 발생했습니다"
        );
    }

    #[test]
    fn an_id_that_is_not_sane_is_replaced_for_the_component_too() {
        for id in ["", "a b", "{}", &"x".repeat(129)] {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::try_from(id).unwrap());
            let asked = Asked::of(&mut headers);
            assert_ne!(asked.request_id, id);
            assert_eq!(headers[REQUEST_ID], asked.request_id);
        }
    }
}
