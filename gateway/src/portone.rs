//! PortOne, version 2, with payments that the merchant confirms.

use std::collections::BTreeMap;

use chrono::SecondsFormat;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    desk::{Answer, Desk},
    event::Event,
    gateway::Gateway,
    payment::{Cancel, Payment, Payments, State, Way},
    plan::Plan,
    request::Asked,
};

/// The secret of the API.
pub const SECRET: &str = "portone_secret_0123456789";

/// The secret with which events are signed, in Base64.
pub const WEBHOOK_SECRET: &str = "c3VnYW5nLXN0YW5kLWluLXdlYmhvb2sta2V5";

/// For which an answer is kept under its key.
const KEY_HOURS: i64 = 3;

/// The books of PortOne.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct PortOne {
    payments: Payments,
    /// The amounts that were registered beforehand.
    registered: BTreeMap<String, i64>,
    /// Whether the provider behind PortOne refuses the next confirmation.
    #[serde(default)]
    refuses: bool,
}

impl Gateway for PortOne {
    fn name(&self) -> &'static str {
        "portone"
    }

    fn has(&self, path: &str) -> bool {
        path.starts_with("/payments/")
    }

    fn answer(&mut self, asked: &Asked, desk: &mut Desk) -> Answer {
        if asked.header("authorization") != Some(&format!("PortOne {SECRET}")) {
            return refusal(401, "UNAUTHORIZED");
        }
        let path: Vec<&str> = asked.path.trim_start_matches("/payments/").split('/').collect();
        match (asked.method.as_str(), path.as_slice()) {
            ("GET", [id]) => match self.payments.get(id) {
                Some(payment) => (200, shown(payment)),
                None => refusal(404, "PAYMENT_NOT_FOUND"),
            },
            ("POST", [id, operation]) => {
                if !asked.header("idempotency-key").is_none_or(is_key) {
                    return refusal(400, "INVALID_REQUEST");
                }
                desk.replay(asked).unwrap_or_else(|| {
                    let answer = self.post(id, operation, &asked.json(), desk);
                    desk.keep(asked, KEY_HOURS, &answer);
                    answer
                })
            }
            _ => refusal(404, "NOT_FOUND"),
        }
    }

    fn trouble(&self, plan: Plan) -> Answer {
        match plan {
            Plan::Conflict => refusal(409, "IDEMPOTENCY_OUTSTANDING_REQUEST"),
            _ => refusal(502, "PG_PROVIDER"),
        }
    }

    fn payments(&mut self) -> &mut Payments {
        &mut self.payments
    }

    fn confirmation(&self, reference: &str) -> String {
        format!("POST /payments/{reference}/confirm")
    }

    fn refuse(&mut self) {
        self.refuses = true;
    }

    fn key(&self) -> &'static str {
        "portone_token_"
    }

    fn notify(&self, payment: &Payment, desk: &mut Desk) {
        let kind = match (payment.state, payment.balance()) {
            (State::Waiting, _) => "VirtualAccountIssued",
            (State::Taken, _) if payment.cancels.is_empty() => "Paid",
            (State::Taken, 1..) => "PartialCancelled",
            (State::Taken | State::Cancelled, _) => "Cancelled",
            (State::Agreed | State::Expired, _) => "Ready",
        };
        let mut data = json!({
            "storeId": "store-stand-in", "paymentId": payment.reference, "transactionId": transaction(payment),
        });
        if let Some(cancel) = payment.cancels.last() {
            data["cancellationId"] = json!(cancel.id);
        }
        let at = desk.now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let body = json!({ "type": format!("Transaction.{kind}"), "timestamp": at, "data": data });
        let id = desk.id("webhook_");
        desk.events.push(Event::new("portone", id, &body, Some(WEBHOOK_SECRET)));
    }
}

impl PortOne {
    fn post(&mut self, id: &str, operation: &str, body: &Value, desk: &mut Desk) -> Answer {
        match operation {
            "pre-register" => self.register(id, body),
            "confirm" => self.confirm(id, body, desk),
            "cancel" => self.cancel(id, body, desk),
            _ => refusal(404, "NOT_FOUND"),
        }
    }

    fn register(&mut self, id: &str, body: &Value) -> Answer {
        if self
            .payments
            .get(id)
            .is_some_and(|payment| payment.state == State::Taken)
        {
            return refusal(409, "ALREADY_PAID");
        }
        if let Some(amount) = body["totalAmount"].as_i64() {
            self.registered.insert(id.to_owned(), amount);
        }
        (200, json!({}))
    }

    fn confirm(&mut self, id: &str, body: &Value, desk: &mut Desk) -> Answer {
        let registered = self.registered.get(id).copied();
        let Some(payment) = self.payments.get(id) else {
            return refusal(404, "PAYMENT_NOT_FOUND");
        };
        if payment.state != State::Agreed && payment.state != State::Expired {
            return refusal(409, "ALREADY_PAID");
        }
        if body["paymentToken"] != *payment.key || payment.state == State::Expired {
            return refusal(400, "INVALID_PAYMENT_TOKEN");
        }
        let amounts = [body["totalAmount"].as_i64(), registered];
        if amounts.into_iter().flatten().any(|amount| amount != payment.amount) {
            return refusal(409, "INFORMATION_MISMATCH");
        }
        if std::mem::take(&mut self.refuses) {
            payment.state = State::Expired;
            return refusal(502, "PG_PROVIDER");
        }
        payment.confirm(desk.now());
        let payment = payment.clone();
        self.notify(&payment, desk);
        (200, json!({ "pgTxId": payment.key, "paidAt": shown_at(desk.now()) }))
    }

    fn cancel(&mut self, id: &str, body: &Value, desk: &mut Desk) -> Answer {
        let Some(payment) = self.payments.get(id) else {
            return refusal(404, "PAYMENT_NOT_FOUND");
        };
        let Some(reason) = body["reason"].as_str() else {
            return refusal(400, "INVALID_REQUEST");
        };
        if payment.state != State::Taken {
            return refusal(409, "PAYMENT_NOT_PAID");
        }
        let left = payment.balance();
        if left == 0 {
            return refusal(409, "PAYMENT_ALREADY_CANCELLED");
        }
        if body["currentCancellableAmount"]
            .as_i64()
            .is_some_and(|expected| expected != left)
        {
            return refusal(409, "CANCELLABLE_AMOUNT_CONSISTENCY_BROKEN");
        }
        let amount = body["amount"].as_i64().unwrap_or(left);
        if amount > left {
            return refusal(409, "CANCEL_AMOUNT_EXCEEDS_CANCELLABLE_AMOUNT");
        }
        if amount < 1 || payment.way == Way::VirtualAccount && !body["refundAccount"]["number"].is_string() {
            return refusal(400, "INVALID_REQUEST");
        }
        let given = payment.cancel(desk.id("cancellation_"), amount, reason.to_owned(), desk.now());
        let payment = payment.clone();
        self.notify(&payment, desk);
        (200, json!({ "cancellation": cancellation(&given) }))
    }
}

/// Keys have 16 to 256 characters, in quotes.
fn is_key(key: &str) -> bool {
    let key = key.strip_prefix('"').and_then(|key| key.strip_suffix('"'));
    key.is_some_and(|key| (16..=256).contains(&key.len()))
}

fn transaction(payment: &Payment) -> String {
    format!("transaction_{}", payment.key)
}

fn status(payment: &Payment) -> &'static str {
    match (payment.state, payment.balance()) {
        (State::Agreed, _) => "READY",
        (State::Waiting, _) => "VIRTUAL_ACCOUNT_ISSUED",
        (State::Taken, _) if payment.cancels.is_empty() => "PAID",
        (State::Taken, 1..) => "PARTIAL_CANCELLED",
        (State::Taken | State::Cancelled, _) => "CANCELLED",
        (State::Expired, _) => "FAILED",
    }
}

fn cancellation(cancel: &Cancel) -> Value {
    json!({
        "status": "SUCCEEDED", "id": cancel.id, "totalAmount": cancel.amount, "taxFreeAmount": 0, "vatAmount": 0,
        "reason": cancel.reason, "requestedAt": shown_at(cancel.at), "cancelledAt": shown_at(cancel.at),
    })
}

fn shown(payment: &Payment) -> Value {
    let method = match (payment.way, payment.due_at) {
        (_, Some(due_at)) => json!({
            "type": "PaymentMethodVirtualAccount", "bank": "WOORI", "accountNumber": format!("X{}", payment.key),
            "expiredAt": shown_at(due_at),
        }),
        (Way::Transfer, None) => json!({
            "type": "PaymentMethodTransfer", "bank": "WOORI", "accountNumber": "1002*******89",
        }),
        (_, None) => json!({ "type": "PaymentMethodCard" }),
    };
    let changed_at = payment.cancels.last().map(|cancel| cancel.at);
    let changed_at = shown_at(changed_at.or(payment.taken_at).unwrap_or(payment.agreed_at));
    let mut shown = json!({
        "status": status(payment), "id": payment.reference, "transactionId": transaction(payment),
        "merchantId": "merchant-stand-in", "storeId": "store-stand-in", "version": "V2",
        "channel": { "type": "TEST", "pgProvider": "TOSSPAYMENTS", "pgMerchantId": "tosspayments" },
        "requestedAt": shown_at(payment.agreed_at), "updatedAt": changed_at, "statusChangedAt": changed_at,
        "orderName": payment.reference, "currency": "KRW", "customer": {}, "method": method, "disputes": [],
        "origin": { "platformType": "PC", "ipAddress": "127.0.0.1" },
        "amount": {
            "total": payment.amount, "taxFree": 0, "discount": 0, "paid": payment.taken(),
            "cancelled": payment.given(), "cancelledTaxFree": 0,
        },
    });
    if let Some(at) = payment.taken_at {
        shown["paidAt"] = json!(shown_at(at));
        shown["pgTxId"] = json!(payment.key);
    }
    if !payment.cancels.is_empty() {
        shown["cancellations"] = payment.cancels.iter().map(cancellation).collect();
        shown["cancelledAt"] = json!(changed_at);
    }
    if payment.state == State::Expired {
        shown["failedAt"] = json!(changed_at);
        shown["failure"] = json!({ "reason": "…" });
    }
    shown
}

fn shown_at(at: chrono::DateTime<chrono::Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn refusal(status: u16, kind: &str) -> Answer {
    (status, json!({ "type": kind, "message": "…" }))
}
