//! Stripe: a payment intent that the merchant captures, once the user has confirmed it in the browser, and its refunds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    desk::{Answer, Desk},
    event::Event,
    gateway::Gateway,
    payment::{Cancel, Payment, Payments, Return, State},
    plan::Plan,
    request::{Asked, pairs},
};

/// The secret key of the contract.
pub const SECRET: &str = "sk_test_stand_in_0123456789";

/// The secret with which events are signed.
pub const WEBHOOK_SECRET: &str = "whsec_stand_in_0123456789";

const INTENTS: &str = "/v1/payment_intents";
const REFUNDS: &str = "/v1/refunds";

/// For which an answer is kept under its key.
const KEY_HOURS: i64 = 24;

/// The books of Stripe.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stripe {
    payments: Payments,
    /// The references of the intents that were created.
    intents: BTreeMap<String, Intent>,
    /// How far refunds are that are made from now on.
    pub(crate) returns: Return,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Intent {
    reference: String,
    amount: i64,
    #[serde(default)]
    is_cancelled: bool,
}

type Form = BTreeMap<String, String>;

impl Gateway for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    fn has(&self, path: &str) -> bool {
        path.starts_with(INTENTS) || path.starts_with(REFUNDS)
    }

    fn answer(&mut self, asked: &Asked, desk: &mut Desk) -> Answer {
        if asked.header("authorization") != Some(&format!("Bearer {SECRET}")) {
            return refusal(401, None);
        }
        if asked.method == "GET" {
            return match asked.path.strip_prefix(&format!("{INTENTS}/")) {
                Some(id) => self.found(id, &asked.query),
                None => self.refunds(&asked.query),
            };
        }
        desk.replay(asked).unwrap_or_else(|| {
            let answer = self.post(&asked.path, &pairs(&asked.body), desk);
            desk.keep(asked, KEY_HOURS, &answer);
            answer
        })
    }

    fn trouble(&self, plan: Plan) -> Answer {
        let (status, kind) = match plan {
            Plan::Conflict => (409, "idempotency_error"),
            _ => (500, "api_error"),
        };
        (status, json!({ "error": { "type": kind, "message": "…" } }))
    }

    fn payments(&mut self) -> &mut Payments {
        &mut self.payments
    }

    fn confirmation(&self, _: &str) -> String {
        "POST /v1/payment_intents/".to_owned()
    }

    fn key(&self) -> &'static str {
        "pm_"
    }

    /// Of a refund, Stripe tells by the charge, and by the refund itself.
    fn notify(&self, payment: &Payment, desk: &mut Desk) {
        let Some(id) = self.id_of(&payment.reference) else {
            return;
        };
        let charge = json!({ "object": "charge", "id": charge(id), "payment_intent": id });
        match payment.cancels.last() {
            None => tell(
                "payment_intent.succeeded",
                &json!({ "object": "payment_intent", "id": id }),
                desk,
            ),
            Some(refund) => {
                let kind = match refund.state {
                    Return::Failed => "refund.failed",
                    Return::Done | Return::Pending => "refund.updated",
                };
                tell("charge.refunded", &charge, desk);
                tell(kind, &shown_refund(id, refund), desk);
            }
        }
    }
}

impl Stripe {
    fn id_of(&self, reference: &str) -> Option<&str> {
        let found = self.intents.iter().find(|(_, intent)| intent.reference == reference);
        found.map(|(id, _)| &**id)
    }

    fn post(&mut self, path: &str, form: &Form, desk: &mut Desk) -> Answer {
        match path.trim_start_matches(INTENTS).trim_start_matches('/').split_once('/') {
            _ if path == INTENTS => self.create(form, desk),
            _ if path == REFUNDS => self.refund(form, desk),
            Some((id, "capture")) => self.capture(id, form, desk),
            Some((id, "cancel")) => self.cancel(id, form, desk),
            _ => refusal(404, None),
        }
    }

    fn create(&mut self, form: &Form, desk: &mut Desk) -> Answer {
        let (Some(amount), Some(reference)) = (number(form, "amount"), form.get("metadata[reference]")) else {
            return refusal(400, Some("parameter_missing"));
        };
        let id = desk.id("pi_");
        let intent = Intent {
            reference: reference.clone(),
            amount,
            is_cancelled: false,
        };
        self.intents.insert(id.clone(), intent);
        self.found(&id, form)
    }

    /// Releases what the user's card has reserved. What is captured, or cancelled before, is refused.
    fn cancel(&mut self, id: &str, form: &Form, desk: &mut Desk) -> Answer {
        let Some(intent) = self.intents.get_mut(id) else {
            return refusal(404, Some("resource_missing"));
        };
        let payment = self.payments.get(&intent.reference);
        if intent.is_cancelled || payment.as_ref().is_some_and(|payment| payment.state != State::Agreed) {
            return refusal(400, Some("payment_intent_unexpected_state"));
        }
        intent.is_cancelled = true;
        if let Some(payment) = payment {
            payment.state = State::Cancelled;
        }
        tell(
            "payment_intent.canceled",
            &json!({ "object": "payment_intent", "id": id }),
            desk,
        );
        self.found(id, form)
    }

    fn capture(&mut self, id: &str, form: &Form, desk: &mut Desk) -> Answer {
        let intent = self.intents.get(id).filter(|intent| !intent.is_cancelled);
        let reference = intent.map(|intent| intent.reference.clone());
        let payment = reference.and_then(|reference| self.payments.get(&reference));
        let Some(payment) = payment.filter(|payment| payment.state == State::Agreed) else {
            return refusal(400, Some("payment_intent_unexpected_state"));
        };
        if number(form, "amount_to_capture").is_some_and(|amount| amount != payment.amount) {
            return refusal(400, Some("amount_too_large"));
        }
        payment.confirm(desk.now());
        let payment = payment.clone();
        self.notify(&payment, desk);
        self.found(id, form)
    }

    fn found(&mut self, id: &str, form: &Form) -> Answer {
        let Some(intent) = self.intents.get(id) else {
            return refusal(404, Some("resource_missing"));
        };
        let payment = self.payments.get(&intent.reference);
        let status = match payment.as_ref().map(|payment| payment.state) {
            _ if intent.is_cancelled => "canceled",
            None | Some(State::Waiting) => "requires_payment_method",
            Some(State::Agreed) => "requires_capture",
            Some(State::Taken) => "succeeded",
            Some(State::Cancelled | State::Expired) => "canceled",
        };
        let refunded = payment.as_ref().map_or(0, |payment| payment.amount - payment.balance());
        let latest = match form.get("expand[]").map(String::as_str) {
            Some("latest_charge") => {
                json!({ "object": "charge", "id": charge(id), "amount": intent.amount, "amount_refunded": refunded })
            }
            _ => json!(charge(id)),
        };
        let shown = json!({
            "object": "payment_intent", "id": id, "client_secret": format!("{id}_secret_0"), "status": status,
            "amount": intent.amount, "currency": "krw", "metadata": { "reference": intent.reference },
            "amount_received": payment.as_ref().map_or(0, |payment| payment.taken()),
            "latest_charge": payment.map(|_| latest),
        });
        (200, shown)
    }

    fn refund(&mut self, form: &Form, desk: &mut Desk) -> Answer {
        let id = form.get("payment_intent").cloned().unwrap_or_default();
        let reference = self.intents.get(&id).map(|intent| intent.reference.clone());
        let payment = reference.and_then(|reference| self.payments.get(&reference));
        let Some(payment) = payment.filter(|payment| payment.state == State::Taken) else {
            return refusal(404, Some("resource_missing"));
        };
        let left = payment.balance();
        if left == 0 {
            return refusal(400, Some("charge_already_refunded"));
        }
        // An amount beyond what is left is refused without a code.
        let Some(amount) = number(form, "amount").filter(|amount| (1..=left).contains(amount)) else {
            return refusal(400, None);
        };
        let key = form.get("metadata[reference]").cloned().unwrap_or_default();
        payment.cancel(desk.id("re_"), amount, key, desk.now());
        if let Some(refund) = payment.cancels.last_mut() {
            refund.state = self.returns;
        }
        let payment = payment.clone();
        self.notify(&payment, desk);
        let refund = payment.cancels.last().map(|refund| shown_refund(&id, refund));
        (200, refund.unwrap_or_default())
    }

    fn refunds(&mut self, query: &Form) -> Answer {
        let (Some(id), limit) = (query.get("payment_intent"), number(query, "limit").unwrap_or(10)) else {
            return refusal(400, Some("parameter_missing"));
        };
        let Some(intent) = self.intents.get(id) else {
            return refusal(404, Some("resource_missing"));
        };
        let payment = self.payments.get(&intent.reference);
        let refunds = payment.map_or(&[][..], |payment| &payment.cancels);
        let limit = usize::try_from(limit).unwrap_or_default();
        let data = refunds.iter().rev().take(limit).map(|refund| shown_refund(id, refund));
        let list = json!({
            "object": "list", "url": REFUNDS, "has_more": refunds.len() > limit, "data": data.collect::<Value>(),
        });
        (200, list)
    }

    /// What becomes of the last refund of a payment, days later.
    pub(crate) fn end_refund(&mut self, reference: &str, state: Return, desk: &mut Desk) {
        let Some(payment) = self.payments.get(reference) else {
            return;
        };
        if let Some(refund) = payment.cancels.last_mut() {
            refund.state = state;
            let payment = payment.clone();
            self.notify(&payment, desk);
        }
    }
}

fn shown_refund(intent: &str, refund: &Cancel) -> Value {
    let status = match refund.state {
        Return::Done => "succeeded",
        Return::Pending => "pending",
        Return::Failed => "failed",
    };
    // What was refunded in the dashboard has no metadata.
    let metadata = match refund.in_console() || refund.reason.is_empty() {
        true => json!({}),
        false => json!({ "reference": refund.reason }),
    };
    json!({
        "object": "refund", "id": refund.id, "amount": refund.amount, "currency": "krw", "charge": charge(intent),
        "payment_intent": intent, "metadata": metadata, "reason": null, "status": status,
        "created": refund.at.timestamp(),
    })
}

fn charge(intent: &str) -> String {
    intent.replace("pi_", "ch_")
}

fn tell(kind: &str, object: &Value, desk: &mut Desk) {
    let body = json!({
        "object": "event", "id": desk.id("evt_"), "type": kind, "created": desk.now().timestamp(),
        "data": { "object": object },
    });
    let id = body["id"].as_str().unwrap_or_default().to_owned();
    desk.events.push(Event::new("stripe", id, &body, Some(WEBHOOK_SECRET)));
}

fn number(form: &Form, name: &str) -> Option<i64> {
    form.get(name)?.parse().ok()
}

fn refusal(status: u16, code: Option<&str>) -> Answer {
    let mut error = json!({ "type": "invalid_request_error", "message": "…" });
    if let Some(code) = code {
        error["code"] = json!(code);
    }
    (status, json!({ "error": error }))
}
