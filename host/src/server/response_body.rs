//! Bodies of responses.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};
use wasmtime_wasi_http::{Error, WasiBody};

pub(super) type ResponseBody = UnsyncBoxBody<Bytes, Error>;

/// A body of at most this size that ends within this time is buffered.
const SMALL_BODY: usize = 256 << 10;
const SMALL_BODY_WAIT: Duration = Duration::from_millis(5);

/// Buffers a body that is small and available at once, so that it leaves in one write with its head, and with a
/// `Content-Length`. Any other body is passed on as it comes, and keeps `permit` until it ends.
pub(super) async fn buffer_small_body(body: WasiBody, permit: OwnedSemaphorePermit) -> ResponseBody {
    let mut whole = BytesMut::new();
    let mut body = Box::pin(body);
    let mut broken = None;
    let read = async {
        while let Some(frame) = body.frame().await {
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => whole.extend_from_slice(&data),
                // Trailers end the body.
                Ok(Err(_)) => {}
                Err(error) => {
                    broken = Some(error);
                    return false;
                }
            }
            if whole.len() > SMALL_BODY {
                return false;
            }
        }
        true
    };
    match timeout(SMALL_BODY_WAIT, read).await {
        Ok(true) => Full::new(whole.freeze()).map_err(|never| match never {}).boxed_unsync(),
        _ => StreamedBody {
            start: whole.freeze(),
            broken,
            rest: body,
            _permit: permit,
        }
        .boxed_unsync(),
    }
}

/// A body whose start was read already. Its request counts as in flight until it ends.
struct StreamedBody {
    start: Bytes,
    broken: Option<Error>,
    rest: Pin<Box<WasiBody>>,
    _permit: OwnedSemaphorePermit,
}

impl Body for StreamedBody {
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

    // No size hint: that of wasmtime's body stays the whole length, even after a part of it was read.
}
