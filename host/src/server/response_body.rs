//! Bodies of responses.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use tokio::{sync::OwnedSemaphorePermit, time::timeout};
use wasmtime_wasi_http::{Error, WasiBody};

use super::memory::{Memory, Reserved};

/// Bytes of a body that do not count against the memory for bodies: most lists of twenty items are smaller.
const SMALL_BODY: usize = 16 << 10;

/// Bytes of a body that is received before it is sent. A longer one is passed on as it comes.
const LONGEST_BODY: usize = 8 << 20;

/// The time within which the component finishes such a body.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes that are handed to the connection at a time. What it has does not count against the memory for bodies.
const PART: usize = 32 << 10;

/// The body of a response.
pub(super) enum ResponseBody {
    /// One that is complete.
    Whole { bytes: Bytes, _memory: Option<Reserved> },
    /// One that comes from the component while the client reads it. Its request counts as in flight until it ends.
    Streamed {
        start: Bytes,
        rest: Pin<Box<WasiBody>>,
        /// There was no memory for it.
        is_exhausted: bool,
        _permit: OwnedSemaphorePermit,
    },
}

impl From<Vec<u8>> for ResponseBody {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        Self::Whole { bytes, _memory: None }
    }
}

/// Receives the body from the component. So the place of its request is free before the client has read the response,
/// and the response leaves with a `Content-Length`.
///
/// # Errors
/// The component crashed before the end.
pub(super) async fn receive(
    body: WasiBody,
    memory: &Memory,
    permit: OwnedSemaphorePermit,
) -> Result<ResponseBody, Error> {
    let (mut whole, mut memory) = (BytesMut::new(), memory.reserve(SMALL_BODY));
    let mut body = Box::pin(body);
    let mut is_exhausted = false;
    let read = async {
        while let Some(frame) = body.frame().await {
            // Trailers end the body.
            if let Ok(data) = frame?.into_data() {
                whole.extend_from_slice(&data);
            }
            is_exhausted = !memory.grow(whole.len());
            if is_exhausted || whole.len() > LONGEST_BODY {
                return Ok::<_, Error>(false);
            }
        }
        Ok(true)
    };
    Ok(match timeout(FINISH_TIMEOUT, read).await.unwrap_or(Ok(false))? {
        true => ResponseBody::Whole {
            bytes: whole.freeze(),
            _memory: Some(memory),
        },
        false => ResponseBody::Streamed {
            start: whole.freeze(),
            rest: body,
            is_exhausted,
            _permit: permit,
        },
    })
}

impl ResponseBody {
    /// The length, if it is known.
    pub(super) fn len(&self) -> Option<usize> {
        match self {
            Self::Whole { bytes, .. } => Some(bytes.len()),
            Self::Streamed { .. } => None,
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let start = match &mut *self {
            Self::Whole { bytes, .. } if bytes.is_empty() => return Poll::Ready(None),
            Self::Streamed { start, rest, .. } if start.is_empty() => return rest.as_mut().poll_frame(context),
            Self::Whole { bytes: start, .. } | Self::Streamed { start, .. } => start,
        };
        let part = start.split_to(start.len().min(PART));
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole { bytes, .. } => bytes.is_empty(),
            Self::Streamed { start, rest, .. } => start.is_empty() && rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole { bytes, .. } => SizeHint::with_exact(bytes.len() as u64),
            // That of wasmtime's body stays the whole length, even after a part of it was read.
            Self::Streamed { .. } => SizeHint::new(),
        }
    }
}
