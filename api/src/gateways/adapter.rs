//! What differs between gateways.

use http::{Request, header::CONTENT_TYPE};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    attempt::{Attempt, Outcome},
    event::{Delivery, Event, NoEvent},
    refund::{Refund, ShownRefund},
};
use crate::http::outgoing::Received;

/// A request to a gateway; `None` if the attempt or the settings cannot be put into one.
pub(super) type Outgoing = Option<Request<Vec<u8>>>;

/// What differs between gateways. Everything here is computed; nothing is sent.
pub(super) trait Adapter {
    /// The request that opens a payment window. Most windows are opened by the gateway's own script in the browser.
    fn open(&self, _attempt: &Attempt, _won: i64) -> Outgoing {
        None
    }

    /// Reads the response to it.
    fn opened(&self, _response: &Received) -> Option<Opened> {
        None
    }

    /// The request that takes the money of this attempt.
    fn approve(&self, attempt: &Attempt, won: i64) -> Outgoing;

    /// Reads the response to it.
    fn approved(&self, attempt: &Attempt, response: &Received) -> Reading;

    /// The request that releases what was reserved for an attempt that nothing approves any more. Gateways that have one are
    /// listed in `sugang.reserves_money`. At the others, a user's agreement reserves nothing before the approval, and lapses
    /// by itself: at Toss after 10 minutes, at KakaoPay after 15, at PortOne as its provider has it.
    fn close(&self, _: &Attempt) -> Outgoing {
        None
    }

    /// The request that looks the attempt up. It names the attempt by what no client has chosen.
    fn find(&self, attempt: &Attempt) -> Outgoing;

    /// Reads the response to it.
    fn found(&self, attempt: &Attempt, response: &Received) -> Found;

    /// Verifies what the gateway tells by itself, and reads which attempt it is about. A gateway may tell nothing.
    fn verify(&self, _delivery: &Delivery<'_>) -> Result<Event, NoEvent> {
        Err(NoEvent::NotExpected)
    }

    /// The request that gives back money, with a reason that the gateway returns in its look-up if it can. Gateways that have
    /// one are listed in `sugang.gives_back`; of the others, a person gives it back.
    fn refund(&self, _: &Refund, _: i64) -> Outgoing {
        None
    }

    /// Reads the response to it.
    fn refunded(&self, _: &Refund, _: &Received) -> RefundReading {
        RefundReading::LookUp
    }

    /// The request that looks up what was given back of an attempt. Most gateways show it with the payment.
    fn find_refunds(&self, attempt: &Attempt) -> Outgoing {
        self.find(attempt)
    }

    /// Reads the response to it; `None` if it does not tell.
    fn refunds(&self, _: &Attempt, _: &Received) -> Option<Vec<ShownRefund>> {
        None
    }
}

/// What the response to a refund says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RefundReading {
    Shown(Vec<ShownRefund>),
    /// The gateway will not give it back, for the reason that has this code.
    Refused(String),
    /// The same with a code that proves little: it counts if a look-up explains it, or if the gateway refuses once more what
    /// a look-up has not shown.
    Doubtful(String),
    /// The money may or may not go back: only a look-up tells.
    LookUp,
}

/// A payment window that a gateway has opened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// The gateway's own id of the payment.
    pub(crate) gateway_key: String,
    /// What the client needs for the window, by the names of [`sugang_sdk::types::PaymentWindow`].
    pub(crate) window: Value,
}

/// What the response to an approval says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Settled(Outcome),
    /// The gateway refuses with this code, which counts once a look-up shows that no money was taken.
    Refused(String),
    /// The same with a code that proves little: it counts once the gateway is known to be idle as well.
    Doubtful(String),
    /// The money may or may not have moved: only a look-up tells.
    LookUp,
}

/// What a look-up says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Settled(Outcome),
    /// The user has not agreed to pay: no approval can have taken the money.
    NotAgreed,
    /// The gateway has not taken the money, and still may.
    NotExecuted,
    Unclear,
}

/// Whether a status says that the gateway has dealt with the request, and refuses it.
pub(super) fn is_refusal(status: u16) -> bool {
    (400..500).contains(&status) && ![408, 409, 425, 429].contains(&status)
}

/// Builds a request with a body in JSON.
pub(super) fn json(request: http::request::Builder, body: &impl Serialize) -> Outgoing {
    let body = serde_json::to_vec(body).ok()?;
    request.header(CONTENT_TYPE, "application/json").body(body).ok()
}

/// Reads a response in JSON.
pub(super) fn parse<T: DeserializeOwned>(response: &Received) -> Option<T> {
    serde_json::from_str(&text_of(response)?).ok()
}

/// The text of a response, in which U+FFFD replaces each NUL: PostgreSQL stores none, and what is settled has to be stored.
fn text_of(response: &Received) -> Option<String> {
    let text = std::str::from_utf8(&response.body).ok()?;
    Some(text.replace("\\u0000", "\\ufffd"))
}
