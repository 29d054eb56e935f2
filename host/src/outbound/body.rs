//! The body of a response, with its limits.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep},
};
use wasmtime_wasi_http::Error;

/// The body of a response, which ends with an error if it is too long or stands still.
pub(super) struct LimitedBody {
    body: Incoming,
    bytes_left: usize,
    pause: Duration,
    timer: Pin<Box<Sleep>>,
    /// Given back with the body.
    _place: OwnedSemaphorePermit,
}

impl LimitedBody {
    /// Limits a body to `bytes`, and to `pause` between two parts of it.
    pub(super) fn new(body: Incoming, bytes: usize, pause: Duration, place: OwnedSemaphorePermit) -> Self {
        Self {
            body,
            bytes_left: bytes,
            pause,
            timer: Box::pin(sleep(pause)),
            _place: place,
        }
    }
}

impl Body for LimitedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            ready!(self.timer.as_mut().poll(context));
            return Poll::Ready(Some(Err(Error::ConnectionReadTimeout)));
        };
        let Some(Ok(frame)) = frame else {
            return Poll::Ready(frame.map(|frame| frame.map_err(|_| Error::HttpResponseIncomplete)));
        };
        let pause = self.pause;
        self.timer.as_mut().reset(Instant::now() + pause);
        match self.bytes_left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(left) => {
                self.bytes_left = left;
                Poll::Ready(Some(Ok(frame)))
            }
            None => Poll::Ready(Some(Err(Error::HttpResponseBodySize(None)))),
        }
    }
}
