//! Bodies of responses.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use tokio::sync::mpsc;
use wasmtime_wasi_http::{Error, WasiBody};

use super::{
    bulkhead::Place,
    memory::{Memory, Reserved},
};

/// Bytes of a body that do not count against the memory for bodies: most lists of twenty items are smaller.
const SMALL_BODY: usize = 16 << 10;

/// The body of a response. It is complete, so the place of its request is free before the client has read it, and it
/// leaves with a `Content-Length`; or it is followed by parts that are still being made.
pub(super) struct ResponseBody {
    pub(super) bytes: Bytes,
    pub(super) memory: Option<Reserved>,
    pub(super) rest: Option<Rest>,
}

/// The parts of a body that the component sends while it makes them. One waits for the client at a time, and the component
/// for the client.
pub(super) struct Rest {
    pub(super) parts: mpsc::Receiver<Result<Bytes, BrokenOff>>,
    /// Occupied until the client has everything.
    pub(super) place: Option<Place>,
}

/// The component has not sent the whole body.
#[derive(Debug, thiserror::Error)]
#[error("the response broke off")]
pub(super) struct BrokenOff;

impl From<Vec<u8>> for ResponseBody {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        Self {
            bytes,
            memory: None,
            rest: None,
        }
    }
}

/// Receives the body from the component. Returns `None` if there is no memory for it.
///
/// # Errors
/// The component crashed before the end.
pub(super) async fn receive(body: WasiBody, memory: Option<&Memory>) -> Result<Option<ResponseBody>, Error> {
    let (mut bytes, mut memory) = (BytesMut::new(), memory.map(|memory| memory.reserve(SMALL_BODY)));
    let mut body = Box::pin(body);
    while let Some(frame) = body.frame().await {
        // Trailers end the body.
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
        if memory.as_mut().is_some_and(|memory| !memory.grow(bytes.len())) {
            return Ok(None);
        }
    }
    let bytes = bytes.freeze();
    Ok(Some(ResponseBody {
        bytes,
        memory,
        rest: None,
    }))
}

/// Passes a body on while the component makes it.
pub(super) fn pass_on(body: WasiBody) -> ResponseBody {
    let (sender, parts) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut body = Box::pin(body);
        while let Some(frame) = body.frame().await {
            let part = match frame.map(Frame::into_data) {
                Ok(Ok(part)) => Ok(part),
                // Trailers end the body.
                Ok(Err(_)) => continue,
                Err(_) => Err(BrokenOff),
            };
            // The client is gone.
            if sender.send(part).await.is_err() {
                return;
            }
        }
    });
    ResponseBody {
        rest: Some(Rest { parts, place: None }),
        ..Bytes::new().into()
    }
}
