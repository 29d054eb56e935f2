//! What gateways tell by themselves. An event is a hint: what has become of its attempt, only a look-up tells.

use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::{http::RequestHead, text::hexadecimal};

/// The longest id of an event, or of what it is about, that is looked for in the database.
const MAX_ID_BYTES: usize = 200;

/// An event as it came.
pub(crate) struct Delivery<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) body: &'a [u8],
    /// Seconds since 1970.
    pub(crate) now: i64,
}

/// An event, as far as it is needed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// The same for each delivery of the event.
    pub(crate) key: String,
    /// The attempt that it is about, by our name.
    pub(crate) reference: Option<String>,
    /// The same by the gateway's name.
    pub(crate) gateway_key: Option<String>,
    /// What the gateway has given with the approval, and gives again as a proof.
    pub(crate) secret: Option<String>,
    /// Whether a signature proves it.
    pub(crate) is_signed: bool,
}

/// Why a delivery is no event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoEvent {
    /// The gateway sends none, or the settings lack what proves them.
    NotExpected,
    Forged,
    Malformed,
}

impl Delivery<'_> {
    /// Reads the body, which is JSON in UTF-8.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, NoEvent> {
        serde_json::from_slice(self.body).map_err(|_| NoEvent::Malformed)
    }

    /// Returns the id in a header; a hash of the body if there is none.
    pub(super) fn key(&self, header: &str) -> String {
        let id = self.head.header(header).and_then(|id| bounded(id.trim().to_owned()));
        id.unwrap_or_else(|| hexadecimal(&Sha256::digest(self.body)))
    }
}

/// Returns an id if it may be one.
pub(super) fn bounded(id: String) -> Option<String> {
    let is_id = (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    is_id.then_some(id)
}
