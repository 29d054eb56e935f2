//! Payment gateways: who moves the money.
//!
//! A gateway is one file, which builds requests and reads responses, and does nothing else ([`Adapter`]). What is sent when,
//! and what is believed, is here, alike for all: only a definite refusal is a refusal; whatever else goes wrong is looked up
//! at the gateway, and stays unknown until the gateway says what has happened.

mod adapter;
mod attempt;
mod codes;
mod event;
mod kakaopay;
mod portone;
mod refund;
#[cfg(test)]
mod refund_tests;
mod signature;
mod stripe;
#[cfg(test)]
mod tests;
mod toss;

use std::time::Duration;

use http::Request;

use crate::{
    config::{Contracts, Gateway},
    http::outgoing::{self, Received, SendError},
    store::within,
};
pub(crate) use adapter::Opened;
use adapter::{Adapter, Found, Reading, RefundReading};
pub(crate) use attempt::{Attempt, Outcome};
pub(crate) use event::{Delivery, Event, NoEvent};
use kakaopay::KakaoPay;
use portone::PortOne;
pub(crate) use refund::{Refund, RefundOutcome, ShownRefund};
use stripe::Stripe;
use toss::Toss;

/// Bytes of a gateway's response. A payment has a few thousand.
const MAX_RESPONSE_BYTES: usize = 256 << 10;

/// Opens the payment window of an attempt, at a gateway that is to be asked for one. Without an answer the window can be
/// opened again: what the gateway has opened in vain takes no money, since nothing approves it.
pub(crate) async fn open(contracts: &Contracts, attempt: &Attempt, limit: Duration) -> Option<Opened> {
    let adapter = adapter(contracts, &attempt.gateway)?;
    let sender = Sender { limit };
    within(limit, open_by(&*adapter, attempt, &sender)).await?
}

/// Approves an attempt at its gateway. What this does not learn within `limit`, a later look-up does.
pub(crate) async fn approve(contracts: &Contracts, attempt: &Attempt, limit: Duration) -> Outcome {
    match adapter(contracts, &attempt.gateway) {
        Some(adapter) => {
            let sender = Sender::new(limit);
            let outcome = within(limit, approve_by(&*adapter, attempt, &sender, Try::First)).await;
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

/// Looks an attempt up, because of an event. Nothing is sent again: what the gateway has not executed may be on its way to
/// it.
pub(crate) async fn find_out(contracts: &Contracts, attempt: &Attempt, limit: Duration) -> Outcome {
    let Some(adapter) = adapter(contracts, &attempt.gateway) else {
        return Outcome::Unknown {};
    };
    let sender = Sender { limit };
    match within(limit, find(&*adapter, attempt, &sender)).await {
        Some(Found::Settled(outcome)) => outcome,
        Some(Found::NotAgreed | Found::NotExecuted) => Outcome::NotExecuted {},
        Some(Found::Unclear) | None => Outcome::Unknown {},
    }
}

/// Has a gateway release what it has reserved for an attempt that nothing approves any more. `Declined` says that it has;
/// `Captured`, that the money was taken before.
pub(crate) async fn close(contracts: &Contracts, attempt: &Attempt, limit: Duration) -> Outcome {
    let Some(adapter) = adapter(contracts, &attempt.gateway) else {
        return Outcome::Unknown {};
    };
    let sender = Sender::new(limit);
    let outcome = within(limit, close_by(&*adapter, attempt, &sender)).await;
    outcome.unwrap_or(Outcome::Unknown {})
}

/// Whether the settings know a gateway.
pub(crate) fn is_known(contracts: &Contracts, gateway: Gateway) -> bool {
    adapter(contracts, gateway.as_str()).is_some()
}

/// Verifies what a gateway tells by itself.
///
/// # Errors
/// Why it is no event.
pub(crate) fn verify(contracts: &Contracts, gateway: Gateway, delivery: &Delivery<'_>) -> Result<Event, NoEvent> {
    let adapter = adapter(contracts, gateway.as_str()).ok_or(NoEvent::NotExpected)?;
    adapter.verify(delivery)
}

/// Has the gateway give money back. What this does not learn within `limit`, a later look-up does.
pub(crate) async fn refund(contracts: &Contracts, refund: &Refund, limit: Duration) -> RefundOutcome {
    let Some(adapter) = adapter(contracts, &refund.attempt.gateway) else {
        // An operator has removed the gateway. What was never sent is decided by a person.
        return match refund.tries <= 1 {
            true => RefundOutcome::Refused {
                code: "gateway_not_configured".to_owned(),
                refunds: Vec::new(),
            },
            false => RefundOutcome::Unknown {},
        };
    };
    let sender = Sender::new(limit);
    let outcome = within(limit, refund_by(&*adapter, refund, &sender)).await;
    outcome.unwrap_or(RefundOutcome::Unknown {})
}

/// Looks up what the gateway has given back of an attempt; `None` if that is not clear.
pub(crate) async fn refunds(contracts: &Contracts, attempt: &Attempt, limit: Duration) -> Option<Vec<ShownRefund>> {
    let adapter = adapter(contracts, &attempt.gateway)?;
    let sender = Sender::new(limit);
    within(limit, shown_refunds(&*adapter, attempt, &sender)).await?
}

/// The adapter of a gateway that the settings know.
fn adapter<'a>(contracts: &'a Contracts, name: &str) -> Option<Box<dyn Adapter + 'a>> {
    match name {
        "toss" => Some(Box::new(Toss(contracts.toss.as_ref()?))),
        "portone" => Some(Box::new(PortOne(contracts.portone.as_ref()?))),
        "kakaopay" => Some(Box::new(KakaoPay(contracts.kakaopay.as_ref()?))),
        "stripe" => Some(Box::new(Stripe(contracts.stripe.as_ref()?))),
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

/// Whether an approval was sent before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Try {
    First,
    /// A look-up has shown meanwhile that the gateway has not executed it.
    Again,
}

async fn open_by(adapter: &dyn Adapter, attempt: &Attempt, sender: &impl Transport) -> Option<Opened> {
    let request = adapter.open(attempt, attempt.won()?)?;
    adapter.opened(&sender.send(request).await.ok()?)
}

async fn approve_by(adapter: &dyn Adapter, attempt: &Attempt, sender: &impl Transport, time: Try) -> Outcome {
    let Some(won) = attempt.won() else {
        return Outcome::Declined {
            code: "fraction_of_a_won".to_owned(),
        };
    };
    let Some(request) = adapter.approve(attempt, won) else {
        return Outcome::NotSent {};
    };
    match sender.send(request).await {
        Err(SendError::NotSent | SendError::Denied) => Outcome::NotSent {},
        Err(SendError::Unknown) => look_up(adapter, attempt, sender).await,
        Ok(response) => match (adapter.approved(attempt, &response), time) {
            // What was sent before may have been executed meanwhile, which can be the very reason of a refusal.
            (Reading::Settled(Outcome::Declined { code }), Try::Again)
            | (Reading::Refused(code), _)
            | (Reading::Doubtful(code), Try::Again) => confirm_refusal(adapter, attempt, sender, code).await,
            (Reading::Doubtful(code), Try::First) => match find(adapter, attempt, sender).await {
                Found::NotAgreed | Found::Settled(Outcome::Declined { .. }) => Outcome::Declined { code },
                Found::Settled(outcome) => outcome,
                Found::NotExecuted | Found::Unclear => Outcome::Unknown {},
            },
            (Reading::Settled(outcome), _) => outcome,
            (Reading::LookUp, _) => look_up(adapter, attempt, sender).await,
        },
    }
}

async fn close_by(adapter: &dyn Adapter, attempt: &Attempt, sender: &impl Transport) -> Outcome {
    let Some(request) = adapter.close(attempt) else {
        return Outcome::Unknown {};
    };
    let closed = match sender.send(request).await {
        Ok(response) => adapter.found(attempt, &response),
        Err(_) => Found::Unclear,
    };
    match closed {
        Found::Settled(outcome) => outcome,
        // What was captured or cancelled before is refused.
        Found::NotAgreed | Found::NotExecuted | Found::Unclear => look_up(adapter, attempt, sender).await,
    }
}

/// Looks up an attempt that has just been sent. The gateway may still be working on it, so what is not executed yet is
/// unknown.
async fn look_up(adapter: &dyn Adapter, attempt: &Attempt, sender: &impl Transport) -> Outcome {
    match find(adapter, attempt, sender).await {
        Found::Settled(outcome) => outcome,
        Found::NotAgreed | Found::NotExecuted | Found::Unclear => Outcome::Unknown {},
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
        Found::NotAgreed | Found::NotExecuted => match approve_by(adapter, attempt, sender, Try::Again).await {
            // An earlier try may still be on its way.
            Outcome::NotSent {} => Outcome::Unknown {},
            outcome => outcome,
        },
        Found::Unclear => Outcome::Unknown {},
    }
}

/// Looks up an attempt that was refused: only where no money was taken is it declined.
async fn confirm_refusal(adapter: &dyn Adapter, attempt: &Attempt, sender: &impl Transport, code: String) -> Outcome {
    match find(adapter, attempt, sender).await {
        Found::NotAgreed | Found::NotExecuted | Found::Settled(Outcome::Declined { .. }) => Outcome::Declined { code },
        Found::Settled(outcome) => outcome,
        Found::Unclear => Outcome::Unknown {},
    }
}

async fn refund_by(adapter: &dyn Adapter, refund: &Refund, sender: &impl Transport) -> RefundOutcome {
    let Some(won) = refund.won() else {
        return RefundOutcome::Refused {
            code: "fraction_of_a_won".to_owned(),
            refunds: Vec::new(),
        };
    };
    let Some(request) = adapter.refund(refund, won) else {
        return RefundOutcome::Unknown {};
    };
    let reading = match sender.send(request).await {
        Ok(response) => adapter.refunded(refund, &response),
        Err(SendError::NotSent | SendError::Denied) => return RefundOutcome::Unknown {},
        Err(SendError::Unknown) => RefundReading::LookUp,
    };
    let reading = match reading {
        RefundReading::Shown(refunds) if are_possible(&refunds) => return RefundOutcome::Shown { refunds },
        reading => reading,
    };
    // What was given back at the gateway's console, or by an earlier try, may be the very reason of a refusal.
    let shown = shown_refunds(adapter, &refund.attempt, sender).await;
    match (reading, shown) {
        (RefundReading::Refused(code), Some(refunds)) => RefundOutcome::Refused { code, refunds },
        (RefundReading::Refused(code), None) if refund.tries <= 1 => RefundOutcome::Refused {
            code,
            refunds: Vec::new(),
        },
        (RefundReading::Doubtful(code), Some(refunds)) if refund.tries > 1 || refund.exceeds_what_is_left(&refunds) => {
            RefundOutcome::Refused { code, refunds }
        }
        (_, Some(refunds)) => RefundOutcome::Shown { refunds },
        (_, None) => RefundOutcome::Unknown {},
    }
}

async fn shown_refunds(adapter: &dyn Adapter, attempt: &Attempt, sender: &impl Transport) -> Option<Vec<ShownRefund>> {
    let response = sender.send(adapter.find_refunds(attempt)?).await.ok()?;
    adapter
        .refunds(attempt, &response)
        .filter(|refunds| are_possible(refunds))
}

/// Whether each amount is one that may have been given back. An answer with another one tells nothing.
fn are_possible(refunds: &[ShownRefund]) -> bool {
    refunds.iter().all(|refund| attempt::is_possible(refund.amount))
}
