//! Toss Payments.

use chrono::{DateTime, FixedOffset, Utc};
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

/// The secret key of the contract.
pub const SECRET: &str = "test_sk_0123456789";

/// [`SECRET`] and a colon, in Base64.
const LOGIN: &str = "Basic dGVzdF9za18wMTIzNDU2Nzg5Og==";

/// For which an answer is kept under its key: 15 days.
const KEY_HOURS: i64 = 360;

/// The books of Toss.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Toss {
    payments: Payments,
    /// Refuses the next confirmation with this status and code.
    pub(crate) refusal: Option<(u16, String)>,
    /// Takes the money that a user has agreed to, whatever amount is confirmed, and gives back whatever it is asked for.
    pub(crate) is_careless: bool,
}

impl Gateway for Toss {
    fn name(&self) -> &'static str {
        "toss"
    }

    fn has(&self, path: &str) -> bool {
        path.starts_with("/v1/")
    }

    fn answer(&mut self, asked: &Asked, desk: &mut Desk) -> Answer {
        if asked.header("authorization") != Some(LOGIN) {
            return refusal(401, "UNAUTHORIZED_KEY");
        }
        let path: Vec<&str> = asked.path.trim_start_matches("/v1/").split('/').collect();
        match (asked.method.as_str(), path.as_slice()) {
            ("GET", ["payments", "orders", order]) => found(self.payments.get(order)),
            ("GET", ["payments", key]) => found(self.payments.of_key(key)),
            ("GET", ["transactions"]) => self.transactions(asked),
            ("POST", _) => match desk.replay(asked) {
                Some(answer) => answer,
                None => {
                    let answer = self.post(&path, &asked.json(), desk);
                    desk.keep(asked, KEY_HOURS, &answer);
                    answer
                }
            },
            _ => refusal(404, "NOT_FOUND"),
        }
    }

    fn trouble(&self, plan: Plan) -> Answer {
        match plan {
            Plan::Conflict => refusal(409, "IDEMPOTENT_REQUEST_PROCESSING"),
            _ => refusal(500, "FAILED_INTERNAL_SYSTEM_PROCESSING"),
        }
    }

    fn payments(&mut self) -> &mut Payments {
        &mut self.payments
    }

    fn confirmation(&self, _: &str) -> String {
        "POST /v1/payments/confirm".to_owned()
    }

    fn refuse(&mut self) {
        self.refusal = Some((403, "REJECT_CARD_PAYMENT".to_owned()));
    }

    fn key(&self) -> &'static str {
        "tgen_"
    }

    /// A merchant that has subscribed to both kinds of events gets both.
    fn notify(&self, payment: &Payment, desk: &mut Desk) {
        let at = in_korea(desk.now()).format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
        let changed = json!({ "eventType": "PAYMENT_STATUS_CHANGED", "createdAt": at, "data": shown(payment) });
        let id = desk.id("transmission_");
        desk.events.push(Event::new("toss", id, &changed, None));
        if payment.way == Way::VirtualAccount && payment.due_at.is_some() {
            let deposit = json!({
                "createdAt": at, "secret": secret(payment), "status": status(payment), "orderId": payment.reference,
                "transactionKey": transaction_key(payment),
            });
            let id = desk.id("transmission_");
            desk.events.push(Event::new("toss", id, &deposit, None));
        }
    }
}

impl Toss {
    fn post(&mut self, path: &[&str], body: &Value, desk: &mut Desk) -> Answer {
        match path {
            ["payments", "confirm"] => self.confirm(body, desk),
            ["payments", key, "cancel"] => self.cancel(key, body, desk),
            _ => refusal(404, "NOT_FOUND"),
        }
    }

    fn confirm(&mut self, body: &Value, desk: &mut Desk) -> Answer {
        if let Some((status, code)) = self.refusal.take() {
            return refusal(status, &code);
        }
        let is_careless = self.is_careless;
        let payment = self.payments.get(body["orderId"].as_str().unwrap_or_default());
        let Some(payment) = payment.filter(|payment| body["paymentKey"] == *payment.key) else {
            return refusal(404, "NOT_FOUND_PAYMENT_SESSION");
        };
        match payment.state {
            State::Agreed if is_careless || body["amount"] == payment.amount => payment.confirm(desk.now()),
            State::Agreed => return refusal(400, "INVALID_REQUEST"),
            State::Expired => return refusal(404, "NOT_FOUND_PAYMENT_SESSION"),
            _ => return refusal(400, "ALREADY_PROCESSED_PAYMENT"),
        }
        let payment = payment.clone();
        self.notify(&payment, desk);
        (200, shown(&payment))
    }

    fn cancel(&mut self, key: &str, body: &Value, desk: &mut Desk) -> Answer {
        let is_careless = self.is_careless;
        let Some(payment) = self.payments.of_key(key) else {
            return refusal(404, "NOT_FOUND_PAYMENT");
        };
        let Some(reason) = body["cancelReason"].as_str().filter(|reason| !reason.is_empty()) else {
            return refusal(400, "INVALID_REQUEST");
        };
        let amount = match &body["cancelAmount"] {
            Value::Null => Some(payment.balance()),
            amount => amount.as_i64().filter(|amount| *amount > 0),
        };
        let Some(amount) = amount else {
            return refusal(400, "INVALID_REQUEST");
        };
        match payment.state {
            State::Taken if is_careless || payment.cancels.is_empty() || payment.cancels[0].amount < payment.amount => {
            }
            State::Taken | State::Cancelled => return refusal(400, "ALREADY_CANCELED_PAYMENT"),
            State::Waiting => {}
            State::Agreed | State::Expired => return refusal(403, "NOT_CANCELABLE_PAYMENT"),
        }
        if !is_careless && (amount > payment.balance() || payment.balance() == 0) {
            return refusal(403, "NOT_CANCELABLE_AMOUNT");
        }
        let needs_account = payment.way == Way::VirtualAccount && payment.state == State::Taken;
        if needs_account && !is_account(&body["refundReceiveAccount"]) {
            return refusal(400, "INVALID_REFUND_ACCOUNT_INFO");
        }
        payment.cancel(desk.id("txrd_"), amount, reason.to_owned(), desk.now());
        let payment = payment.clone();
        self.notify(&payment, desk);
        (200, shown(&payment))
    }

    fn transactions(&self, asked: &Asked) -> Answer {
        let bound = |name: &str| asked.query.get(name).cloned().unwrap_or_default();
        let (start, end) = (bound("startDate"), bound("endDate"));
        let mut transactions: Vec<(DateTime<Utc>, Value)> = self.payments.all().flat_map(transactions_of).collect();
        transactions.sort_by_key(|(at, _)| *at);
        let within = transactions.into_iter().filter(|(at, _)| {
            let at = in_korea(*at).format("%Y-%m-%dT%H:%M:%S").to_string();
            start <= at && (end.is_empty() || at <= end)
        });
        let after = bound("startingAfter");
        let within: Vec<Value> = within.map(|(_, transaction)| transaction).collect();
        let begin = within
            .iter()
            .position(|transaction| transaction["transactionKey"] == after);
        let limit = bound("limit").parse().unwrap_or(100);
        let page = within.into_iter().skip(begin.map_or(0, |index| index + 1)).take(limit);
        (200, page.collect())
    }
}

fn transactions_of(payment: &Payment) -> Vec<(DateTime<Utc>, Value)> {
    let transaction = |key: String, status: &str, at: DateTime<Utc>, amount: i64| {
        let shown = json!({
            "mId": "tosspayments", "transactionKey": key, "paymentKey": payment.key, "orderId": payment.reference,
            "method": method(payment), "status": status, "transactionAt": shown_at(at), "currency": "KRW",
            "amount": amount,
        });
        (at, shown)
    };
    let taken = payment
        .taken_at
        .map(|at| transaction(format!("tx_{}", payment.key), "DONE", at, payment.amount));
    let cancels = payment.cancels.iter();
    let given = cancels.map(|cancel| transaction(cancel.id.clone(), status(payment), cancel.at, -cancel.amount));
    taken.into_iter().chain(given).collect()
}

fn found(payment: Option<&mut Payment>) -> Answer {
    match payment {
        Some(payment) => (200, shown(payment)),
        None => refusal(404, "NOT_FOUND_PAYMENT"),
    }
}

/// A payment whose rest was given back stays `PARTIAL_CANCELED`.
fn status(payment: &Payment) -> &'static str {
    match payment.state {
        State::Agreed => "IN_PROGRESS",
        State::Waiting => "WAITING_FOR_DEPOSIT",
        State::Taken if payment.cancels.is_empty() => "DONE",
        State::Taken if payment.cancels[0].amount == payment.amount => "CANCELED",
        State::Taken => "PARTIAL_CANCELED",
        State::Cancelled => "CANCELED",
        State::Expired => "EXPIRED",
    }
}

fn method(payment: &Payment) -> &'static str {
    match payment.way {
        Way::Card => "카드",
        Way::Transfer => "계좌이체",
        Way::VirtualAccount => "가상계좌",
    }
}

/// Proves the messages about a deposit.
fn secret(payment: &Payment) -> String {
    format!("ps_{}", payment.key)
}

fn transaction_key(payment: &Payment) -> String {
    match payment.cancels.last() {
        Some(cancel) => cancel.id.clone(),
        None => format!("tx_{}", payment.key),
    }
}

fn shown(payment: &Payment) -> Value {
    let cancel = |cancel: &Cancel, left: i64| {
        json!({
            "transactionKey": cancel.id, "cancelReason": cancel.reason, "cancelAmount": cancel.amount,
            "canceledAt": shown_at(cancel.at), "refundableAmount": left, "taxAmount": 0, "taxFreeAmount": 0,
            "taxExemptionAmount": 0,
            "easyPayDiscountAmount": 0, "cancelStatus": "DONE", "cancelRequestId": null, "receiptKey": null,
        })
    };
    let mut left = payment.amount;
    let cancels: Vec<Value> = payment
        .cancels
        .iter()
        .map(|given| {
            left -= given.amount;
            cancel(given, left)
        })
        .collect();
    let balance = if payment.state == State::Cancelled {
        0
    } else {
        payment.balance()
    };
    let account = payment.due_at.map(|due_at| {
        json!({
            "accountType": "일반", "accountNumber": format!("X{}", payment.key), "bankCode": "20",
            "bank": "우리",
            "customerName": "김토스", "dueDate": shown_at(due_at), "refundStatus": "NONE",
            "expired": payment.state == State::Expired, "settlementStatus": "INCOMPLETED",
        })
    });
    let card = json!({
        "company": "국민", "number": "1234560000007890", "cardType": "신용", "ownerType": "개인", "acquireStatus": "READY",
        "approveNo": "00000000", "installmentPlanMonths": 0, "isInterestFree": false, "useCardPoint": false,
        "receiptUrl": "https://receipt.example/", "amount": payment.amount,
    });
    let transfer = json!({ "bankCode": "20", "settlementStatus": "INCOMPLETED" });
    json!({
        "version": "2022-11-16", "mId": "tosspayments", "type": "NORMAL", "paymentKey": payment.key,
        "orderId": payment.reference, "orderName": payment.reference, "status": status(payment),
        "method": method(payment), "currency": "KRW", "totalAmount": payment.amount, "balanceAmount": balance,
        "requestedAt": shown_at(payment.agreed_at), "approvedAt": payment.taken_at.map(shown_at),
        "lastTransactionKey": transaction_key(payment), "isPartialCancelable": true, "useEscrow": false,
        "transactionKey": transaction_key(payment), "suppliedAmount": payment.amount - payment.amount / 11,
        "vat": payment.amount / 11, "taxFreeAmount": 0, "taxExemptionAmount": 0, "cultureExpense": false,
        "card": (payment.way == Way::Card).then_some(card), "easyPay": null, "discount": null, "giftCertificate": null,
        "mobilePhone": null, "transfer": (payment.way == Way::Transfer).then_some(transfer), "cashReceipt": null,
        "failure": null,
        "secret": account.as_ref().map(|_| secret(payment)), "virtualAccount": account,
        "cancels": (!cancels.is_empty()).then_some(cancels),
    })
}

/// Whether it may be an account. One whose number is all zeros exists at no bank.
fn is_account(account: &Value) -> bool {
    let is_complete = ["bank", "accountNumber", "holderName"]
        .iter()
        .all(|name| account[name].is_string());
    let number = account["accountNumber"].as_str().unwrap_or_default();
    is_complete && !number.trim_matches('0').is_empty()
}

fn in_korea(at: DateTime<Utc>) -> DateTime<FixedOffset> {
    at.with_timezone(&FixedOffset::east_opt(9 * 3600).expect("within a day"))
}

fn shown_at(at: DateTime<Utc>) -> String {
    in_korea(at).format("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

fn refusal(status: u16, code: &str) -> Answer {
    (status, json!({ "code": code, "message": "…" }))
}
