//! What differs between gateways.

use http::{Request, header::CONTENT_TYPE};
use serde::{Serialize, de::DeserializeOwned};

use super::attempt::{Attempt, Outcome};
use crate::http::outgoing::Received;

/// A request to a gateway; `None` if the attempt or the settings cannot be put into one.
pub(super) type Outgoing = Option<Request<Vec<u8>>>;

/// What differs between gateways. Everything here is computed; nothing is sent.
pub(super) trait Adapter {
    /// The request that takes the money of this attempt.
    fn approve(&self, attempt: &Attempt, won: i64) -> Outgoing;

    /// Reads the response to it.
    fn approved(&self, attempt: &Attempt, response: &Received) -> Reading;

    /// The request that looks the attempt up. It names the attempt by what no client has chosen.
    fn find(&self, attempt: &Attempt) -> Outgoing;

    /// Reads the response to it.
    fn found(&self, attempt: &Attempt, response: &Received) -> Found;
}

/// What the response to an approval says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Settled(Outcome),
    /// The money may or may not have moved: only a look-up tells.
    LookUp,
}

/// What a look-up says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Settled(Outcome),
    /// The gateway has not taken the money, and still may.
    NotExecuted,
    Unclear,
}

/// Builds a request with a body in JSON.
pub(super) fn json(request: http::request::Builder, body: &impl Serialize) -> Outgoing {
    let body = serde_json::to_vec(body).ok()?;
    request.header(CONTENT_TYPE, "application/json").body(body).ok()
}

/// Reads a response in JSON.
pub(super) fn parse<T: DeserializeOwned>(response: &Received) -> Option<T> {
    serde_json::from_slice(&response.body).ok()
}
