//! Stripe: a payment intent that we capture, once the user has confirmed it in the browser.

use form_urlencoded::Serializer;
use http::{
    Request,
    header::{AUTHORIZATION, CONTENT_TYPE},
    request::Builder,
};
use serde::Deserialize;
use serde_json::json;

use super::{
    adapter::{Adapter, Found, Opened, Outgoing, Reading, RefundReading, is_refusal, parse},
    attempt::{Attempt, Outcome, Payment},
    codes::{Codes, Meaning},
    event::{Delivery, Event, NoEvent, bounded},
    refund::{Refund, RefundState, ShownRefund},
    signature,
};
use crate::{config::Credentials, http::outgoing::Received};

/// What Stripe's codes mean for a refund. Most of its refusals have none, such as that of too large an amount.
const REFUND_CODES: Codes = Codes(&[(Meaning::Declined, &["charge_already_refunded"])]);

/// The most refunds of a payment that one look-up shows, which is the most that Stripe lists at once.
const MAX_REFUNDS: u8 = 100;

pub(super) struct Stripe<'a>(pub(super) &'a Credentials);

#[derive(Deserialize)]
struct Created {
    id: String,
    client_secret: String,
}

#[derive(Deserialize)]
struct Intent {
    id: String,
    status: String,
    currency: String,
    amount_received: Option<i64>,
    metadata: Metadata,
    latest_charge: Option<Charge>,
}

#[derive(Deserialize)]
struct Metadata {
    reference: Option<String>,
}

#[derive(Deserialize)]
struct Charge {
    amount: i64,
    amount_refunded: i64,
}

/// Money that was given back, or is to be.
#[derive(Deserialize)]
struct StripeRefund {
    id: String,
    amount: i64,
    payment_intent: Option<String>,
    metadata: Metadata,
    status: Option<String>,
}

#[derive(Deserialize)]
struct Refunds {
    data: Vec<StripeRefund>,
    has_more: bool,
}

/// What Stripe tells by itself: of an intent, or of what belongs to one.
#[derive(Deserialize)]
struct Told {
    id: String,
    data: Subject,
}

#[derive(Deserialize)]
struct Subject {
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    id: Option<String>,
    payment_intent: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    error: StripeError,
}

#[derive(Deserialize)]
struct StripeError {
    #[serde(rename = "type")]
    kind: String,
    code: Option<String>,
}

impl Stripe<'_> {
    fn request(&self, method: &str, path: &str) -> Builder {
        Request::builder()
            .method(method)
            .uri(format!("{}/v1/{path}", self.0.url))
            .header(AUTHORIZATION, format!("Bearer {}", self.0.secret))
    }

    fn form(request: Builder, key: &str, fields: &[(&str, &str)]) -> Outgoing {
        let body = Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = request.header("idempotency-key", key);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        request.body(body.into_bytes()).ok()
    }
}

impl Adapter for Stripe<'_> {
    /// Stripe compares the body of what is sent again with the same key: it has nothing that can change meanwhile.
    fn open(&self, attempt: &Attempt, won: i64) -> Outgoing {
        let fields = [
            // Won have no decimals: their smallest unit is one.
            ("amount", &*won.to_string()),
            ("currency", &attempt.currency.to_ascii_lowercase()),
            ("capture_method", "manual"),
            ("metadata[reference]", &attempt.reference),
        ];
        Self::form(self.request("POST", "payment_intents"), &attempt.reference, &fields)
    }

    fn opened(&self, response: &Received) -> Option<Opened> {
        let created: Created = (response.status == 200).then(|| parse(response))??;
        Some(Opened {
            gateway_key: created.id,
            window: json!({ "client_secret": created.client_secret }),
        })
    }

    fn approve(&self, attempt: &Attempt, won: i64) -> Outgoing {
        let path = format!("payment_intents/{}/capture", attempt.gateway_key.as_deref()?);
        let fields = [("amount_to_capture", &*won.to_string()), ("expand[]", "latest_charge")];
        // Stripe replays a 500 under its key for a day, and captures an intent once, whatever the key is.
        let key = format!("{}-{}", attempt.idempotency_key.as_deref()?, attempt.tries);
        Self::form(self.request("POST", &path), &key, &fields)
    }

    fn approved(&self, attempt: &Attempt, response: &Received) -> Reading {
        match response.status {
            200 => match self.found(attempt, response) {
                Found::Settled(outcome) => Reading::Settled(outcome),
                Found::NotAgreed | Found::NotExecuted | Found::Unclear => Reading::LookUp,
            },
            status if is_refusal(status) => match parse::<Refusal>(response) {
                Some(Refusal { error }) => error.reading(status),
                None => Reading::LookUp,
            },
            _ => Reading::LookUp,
        }
    }

    /// A card stays blocked for 7 days otherwise, and a user could still confirm what no order waits for. As a capture, it
    /// takes effect once, whatever the key is.
    fn close(&self, attempt: &Attempt) -> Outgoing {
        let path = format!("payment_intents/{}/cancel", attempt.gateway_key.as_deref()?);
        let key = format!("{}-cancel-{}", attempt.reference, attempt.tries);
        Self::form(self.request("POST", &path), &key, &[("expand[]", "latest_charge")])
    }

    fn find(&self, attempt: &Attempt) -> Outgoing {
        let path = format!(
            "payment_intents/{}?expand%5B%5D=latest_charge",
            attempt.gateway_key.as_deref()?
        );
        self.request("GET", &path).body(Vec::new()).ok()
    }

    fn found(&self, attempt: &Attempt, response: &Received) -> Found {
        let intent: Intent = match (response.status, parse(response)) {
            (200, Some(intent)) => intent,
            _ => return Found::Unclear,
        };
        let is_ours = intent.metadata.reference.as_deref() == Some(&*attempt.reference);
        match (intent.status.as_str(), intent.taken()) {
            ("succeeded", Some((amount, given_back))) if amount > given_back => {
                Found::Settled(attempt.paid_by(Payment {
                    reference: intent.metadata.reference.unwrap_or_default(),
                    amount,
                    given_back,
                    currency: intent.currency.to_ascii_uppercase(),
                    external_id: intent.id,
                    is_deposit: false,
                }))
            }
            _ if !is_ours => Found::Unclear,
            ("succeeded", Some(_)) => Found::Settled(Outcome::Declined {
                code: "refunded".to_owned(),
            }),
            ("canceled", _) => Found::Settled(Outcome::Declined { code: intent.status }),
            ("requires_payment_method" | "requires_confirmation" | "requires_action", _) => Found::NotAgreed,
            ("requires_capture", _) => Found::NotExecuted,
            _ => Found::Unclear,
        }
    }

    fn verify(&self, delivery: &Delivery<'_>) -> Result<Event, NoEvent> {
        if self.0.webhook_secrets.is_empty() {
            return Err(NoEvent::NotExpected);
        }
        if !signature::stripe(&self.0.webhook_secrets, delivery) {
            return Err(NoEvent::Forged);
        }
        let Told { id, data } = delivery.parse()?;
        let Object {
            id: object,
            payment_intent,
        } = data.object;
        Ok(Event {
            key: bounded(id).ok_or(NoEvent::Malformed)?,
            gateway_key: payment_intent.or(object).and_then(bounded),
            is_signed: true,
            ..Event::default()
        })
    }

    /// It has nothing that differs from try to try, as the request that opens the payment. The reference is that of the refund.
    /// Stripe replays a 500 under its key for a day, and may still make the refund meanwhile. Unlike a capture, it waits that
    /// long: under another key, Stripe could make a part twice, and its refusal of the whole would say nothing of ours.
    fn refund(&self, refund: &Refund, won: i64) -> Outgoing {
        let key = refund.idempotency_key.as_deref()?;
        let fields = [
            ("payment_intent", refund.attempt.gateway_key.as_deref()?),
            ("amount", &won.to_string()),
            ("metadata[reference]", key),
        ];
        Self::form(self.request("POST", "refunds"), key, &fields)
    }

    fn refunded(&self, refund: &Refund, response: &Received) -> RefundReading {
        match response.status {
            200 => match parse::<StripeRefund>(response) {
                Some(shown) if shown.payment_intent == refund.attempt.gateway_key => {
                    RefundReading::Shown(vec![shown.shown()])
                }
                _ => RefundReading::LookUp,
            },
            status if is_refusal(status) => match parse::<Refusal>(response) {
                Some(Refusal { error }) => error.refund_reading(),
                None => RefundReading::LookUp,
            },
            _ => RefundReading::LookUp,
        }
    }

    fn find_refunds(&self, attempt: &Attempt) -> Outgoing {
        let intent = attempt.gateway_key.as_deref()?;
        let path = format!("refunds?payment_intent={intent}&limit={MAX_REFUNDS}");
        self.request("GET", &path).body(Vec::new()).ok()
    }

    fn refunds(&self, attempt: &Attempt, response: &Received) -> Option<Vec<ShownRefund>> {
        let Refunds { data, has_more } = (response.status == 200).then(|| parse(response))??;
        let is_whole = !has_more && data.iter().all(|refund| refund.payment_intent == attempt.gateway_key);
        is_whole.then(|| data.into_iter().map(StripeRefund::shown).collect())
    }
}

impl StripeRefund {
    fn shown(self) -> ShownRefund {
        ShownRefund {
            id: self.id,
            amount: self.amount,
            key: Some(self.metadata.reference.unwrap_or_default()),
            state: match self.status.as_deref() {
                Some("succeeded") => RefundState::Done,
                Some("failed" | "canceled") => RefundState::Failed,
                _ => RefundState::Pending,
            },
        }
    }
}

impl Intent {
    /// What has been captured, and what of it was refunded.
    fn taken(&self) -> Option<(i64, i64)> {
        let charge = self.latest_charge.as_ref()?;
        Some((self.amount_received.unwrap_or(charge.amount), charge.amount_refunded))
    }
}

impl StripeError {
    fn reading(self, status: u16) -> Reading {
        match (status, self.kind.as_str(), self.code) {
            (402, "card_error", code) => Reading::Settled(Outcome::Declined {
                code: code.unwrap_or(self.kind),
            }),
            (_, _, code) => Reading::Doubtful(code.unwrap_or(self.kind)),
        }
    }
    fn refund_reading(self) -> RefundReading {
        match (self.kind.as_str(), self.code) {
            (_, Some(code)) if REFUND_CODES.meaning(&code) == Meaning::Declined => RefundReading::Refused(code),
            ("invalid_request_error" | "card_error", code) => RefundReading::Doubtful(code.unwrap_or(self.kind)),
            _ => RefundReading::LookUp,
        }
    }
}
