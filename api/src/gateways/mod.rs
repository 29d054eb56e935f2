//! Payment gateways: who moves the money.
//!
//! A gateway is one file, which builds requests and reads responses, and does nothing else ([`Adapter`]). What is sent when,
//! and what is believed, is here, alike for all: only a definite refusal is a refusal; whatever else goes wrong is looked up
//! at the gateway, and stays unknown until the gateway says what has happened.

mod adapter;
mod attempt;
mod codes;
mod portone;
#[cfg(test)]
mod tests;
mod toss;

use std::time::Duration;

use http::Request;

use crate::{
    config::Contracts,
    http::outgoing::{self, Received, SendError},
    store::within,
};
use adapter::{Adapter, Found, Reading};
pub(crate) use attempt::{Attempt, Outcome};
use portone::PortOne;
use toss::Toss;

/// Bytes of a gateway's response. A payment has a few thousand.
const MAX_RESPONSE_BYTES: usize = 256 << 10;

/// Approves an attempt at its gateway. What this does not learn within `limit`, a later look-up does.
pub(crate) async fn approve(contracts: &Contracts, attempt: &Attempt, limit: Duration) -> Outcome {
    match adapter(contracts, &attempt.gateway) {
        Some(adapter) => {
            let sender = Sender::new(limit);
            let outcome = within(limit, approve_by(&*adapter, attempt, &sender)).await;
            outcome.unwrap_or(Outcome::Unknown {})
        }
        // An operator has removed the gateway while the user was paying.
        None => Outcome::NotSent {},
    }
}

/// Finds out what has become of an attempt. What the gateway has not executed is sent again with the same key, so that it
/// is executed once at most.
pub(crate) async fn resume(contracts: &Contracts, attempt: &Attempt, limit: Duration) -> Outcome {
    match adapter(contracts, &attempt.gateway) {
        Some(adapter) => {
            let sender = Sender::new(limit);
            let outcome = within(limit, resume_by(&*adapter, attempt, &sender)).await;
            outcome.unwrap_or(Outcome::Unknown {})
        }
        None => Outcome::Unknown {},
    }
}

/// The adapter of a gateway that the settings know.
fn adapter<'a>(contracts: &'a Contracts, name: &str) -> Option<Box<dyn Adapter + 'a>> {
    match name {
        "toss" => Some(Box::new(Toss(contracts.toss.as_ref()?))),
        "portone" => Some(Box::new(PortOne(contracts.portone.as_ref()?))),
        _ => None,
    }
}

/// Sends requests. The tests have another one.
trait Transport {
    async fn send(&self, request: Request<Vec<u8>>) -> Result<Received, SendError>;
}

struct Sender {
    limit: Duration,
}

impl Sender {
    /// Makes a sender for one request and its look-up, to which a quarter of the time is left.
    fn new(limit: Duration) -> Self {
        Self {
            limit: limit - limit / 4,
        }
    }
}

impl Transport for Sender {
    async fn send(&self, request: Request<Vec<u8>>) -> Result<Received, SendError> {
        outgoing::send(request, self.limit, MAX_RESPONSE_BYTES).await
    }
}

async fn approve_by(adapter: &dyn Adapter, attempt: &Attempt, sender: &impl Transport) -> Outcome {
    let Some(won) = attempt.won() else {
        return Outcome::Declined {
            code: "fraction_of_a_won".to_owned(),
        };
    };
    let Some(request) = adapter.approve(attempt, won) else {
        return Outcome::NotSent {};
    };
    match sender.send(request).await {
        Err(SendError::NotSent) => Outcome::NotSent {},
        Err(SendError::Unknown) => look_up(adapter, attempt, sender).await,
        Ok(response) => match adapter.approved(attempt, &response) {
            Reading::Settled(outcome) => outcome,
            Reading::LookUp => look_up(adapter, attempt, sender).await,
        },
    }
}

/// Looks up an attempt that has just been sent. The gateway may still be working on it, so what is not executed yet is
/// unknown.
async fn look_up(adapter: &dyn Adapter, attempt: &Attempt, sender: &impl Transport) -> Outcome {
    match find(adapter, attempt, sender).await {
        Found::Settled(outcome) => outcome,
        Found::NotExecuted | Found::Unclear => Outcome::Unknown {},
    }
}

async fn find(adapter: &dyn Adapter, attempt: &Attempt, sender: &impl Transport) -> Found {
    let Some(request) = adapter.find(attempt) else {
        return Found::Unclear;
    };
    match sender.send(request).await {
        Ok(response) => adapter.found(attempt, &response),
        Err(_) => Found::Unclear,
    }
}

async fn resume_by(adapter: &dyn Adapter, attempt: &Attempt, sender: &impl Transport) -> Outcome {
    match find(adapter, attempt, sender).await {
        Found::Settled(outcome) => outcome,
        Found::NotExecuted => match approve_by(adapter, attempt, sender).await {
            // An earlier try may still be on its way.
            Outcome::NotSent {} => Outcome::Unknown {},
            refusal @ Outcome::Declined { .. } => confirm_refusal(adapter, attempt, sender, refusal).await,
            outcome => outcome,
        },
        Found::Unclear => Outcome::Unknown {},
    }
}

/// Looks up an attempt whose repetition was refused: an earlier try may have been executed meanwhile, which can be the very
/// reason.
async fn confirm_refusal(
    adapter: &dyn Adapter,
    attempt: &Attempt,
    sender: &impl Transport,
    refusal: Outcome,
) -> Outcome {
    match find(adapter, attempt, sender).await {
        Found::NotExecuted | Found::Settled(Outcome::Declined { .. }) => refusal,
        Found::Settled(outcome) => outcome,
        Found::Unclear => Outcome::Unknown {},
    }
}
