//! Bodies of responses.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{Error, WasiBody};

use super::memory::{Memory, Reserved};

/// Bytes of a body that do not count against the memory for bodies: most lists of twenty items are smaller.
const SMALL_BODY: usize = 16 << 10;

/// The body of a response, which is complete: so the place of its request is free before the client has read it, and it
/// leaves with a `Content-Length`.
pub(super) struct ResponseBody {
    pub(super) bytes: Bytes,
    pub(super) memory: Option<Reserved>,
}

impl From<Vec<u8>> for ResponseBody {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, memory: None }
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
    Ok(Some(ResponseBody { bytes, memory }))
}
