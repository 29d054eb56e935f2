//! Bodies of requests.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use sugang_protocol::{ErrorSpec, host};
use tokio::time::{timeout, timeout_at};

use super::{
    memory::Reserved,
    pace::{Pace, Rate},
};

/// The bytes and the time that are spent on a body that the component does not read.
const DRAIN_BYTES: usize = 8 << 20;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The limits of the bodies of requests.
#[derive(Clone)]
pub(super) struct BodyLimits {
    /// Bytes of a body that the component reads.
    pub(super) bytes: usize,
    pub(super) rate: Rate,
}

/// Receives a body, as far as the component would read it, so that a client that sends slowly takes no place of others.
///
/// A body that is declared to be longer is left to the component, which refuses it without reading. A client that `waits`
/// sends its body only after an interim response, so it has to get none. `memory` is for the whole request, whose head has
/// `head` bytes.
///
/// # Errors
/// 408 for a body that comes too slowly, 503 without memory, 400 for one that breaks off or is malformed.
pub(super) async fn receive<B>(
    mut body: B,
    waits: bool,
    limits: &BodyLimits,
    head: usize,
    mut memory: Reserved,
) -> Result<ReceivedBody<B>, &'static ErrorSpec>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    if !memory.grow(head) {
        return Err(&host::OVERLOADED);
    }
    let mut received = ReceivedBody {
        start: Bytes::new(),
        rest: None,
        drains: true,
        memory,
    };
    if body.is_end_stream() {
        return Ok(received);
    }
    if body.size_hint().lower() > limits.bytes as u64 {
        received.rest = Some(body);
        received.drains = !waits;
        return Ok(received);
    }
    let mut start = BytesMut::new();
    let mut pace = Pace::begin(limits.rate);
    loop {
        let frame = timeout_at(pace.deadline().into(), body.frame()).await;
        match frame.map_err(|_| &host::REQUEST_TIMEOUT)? {
            None => break,
            // Trailers say nothing that the component reads.
            Some(Ok(frame)) => start.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            Some(Err(_)) => return Err(&host::BAD_REQUEST),
        }
        pace.advance(start.len() - pace.bytes());
        if !received.memory.grow(head + start.len()) {
            return Err(&host::OVERLOADED);
        }
        if start.len() > limits.bytes {
            received.rest = Some(body);
            break;
        }
    }
    received.start = start.freeze();
    Ok(received)
}

/// The body of a request: what was received of it, and the rest, which is read to its end even if it is dropped before.
///
/// A client may still be sending a body that is too long when it is refused. Without this its connection would be reset,
/// and it could never read the response.
pub(super) struct ReceivedBody<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    start: Bytes,
    rest: Option<B>,
    drains: bool,
    memory: Reserved,
}

impl<B> Body for ReceivedBody<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if !self.start.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.start)))));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.start.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let start = self.start.len() as u64;
        let rest = self
            .rest
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let mut both = SizeHint::new();
        both.set_lower(start + rest.lower());
        if let Some(upper) = rest.upper() {
            both.set_upper(start + upper);
        }
        both
    }
}

impl<B> Drop for ReceivedBody<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    fn drop(&mut self) {
        let drains = self.drains;
        let Some(mut body) = self.rest.take().filter(|body| drains && !body.is_end_stream()) else {
            return;
        };
        let drain = async move {
            let mut taken = 0;
            while let Some(Ok(frame)) = body.frame().await {
                taken += frame.data_ref().map_or(0, Bytes::len);
                if taken > DRAIN_BYTES {
                    break;
                }
            }
        };
        // Without a runtime the connection is gone as well.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(timeout(DRAIN_TIMEOUT, drain));
        }
    }
}
