//! Toss Payments, as far as a card payment goes.

use std::{collections::HashMap, io};

use serde_json::{Value, json};

use super::server::{Asked, Books, Plan, Server};

/// The secret key of the contract.
pub const TOSS_SECRET: &str = "test_sk_0123456789";

/// [`TOSS_SECRET`] and a colon, in Base64.
const LOGIN: &str = "Basic dGVzdF9za18wMTIzNDU2Nzg5Og==";

const CONFIRM: &str = "POST /v1/payments/confirm";
const ORDERS: &str = "GET /v1/payments/orders/";

/// A stand-in for Toss Payments.
pub struct TossServer(Server<Toss>);

#[derive(Default)]
struct Toss {
    /// By order id.
    payments: HashMap<String, Payment>,
    /// What was answered to each key, which is answered again: refusals too, as Toss does it.
    answered: HashMap<String, (u16, Value)>,
    /// Refuses the next confirmation with this status and code.
    refusal: Option<(u16, &'static str)>,
}

struct Payment {
    key: String,
    amount: i64,
    status: &'static str,
}

impl TossServer {
    /// Starts a stand-in without payments.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start() -> io::Result<Self> {
        Server::start(Toss::default()).await.map(Self)
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// What the payment window does: the user agrees to pay. Returns the `paymentKey` that it hands over.
    pub fn authenticate(&self, order_id: &str, amount: i64) -> String {
        let key = format!("tgen_{order_id}");
        let payment = Payment {
            key: key.clone(),
            amount,
            status: "IN_PROGRESS",
        };
        self.0.with(|toss| toss.payments.insert(order_id.to_owned(), payment));
        key
    }

    /// Plans the next confirmation that is not planned yet.
    pub fn plan_confirmation(&self, plan: Plan) {
        self.0.plan(CONFIRM, plan);
    }

    /// Plans the next look-up that is not planned yet.
    pub fn plan_look_up(&self, plan: Plan) {
        self.0.plan(ORDERS, plan);
    }

    /// Has the next confirmation that gets through refused with this status and code.
    pub fn refuse(&self, status: u16, code: &'static str) {
        self.0.with(|toss| toss.refusal = Some((status, code)));
    }

    /// The money that it has taken, by its own books.
    pub fn taken(&self) -> i64 {
        self.0.with(|toss| {
            let done = toss.payments.values().filter(|payment| payment.status == "DONE");
            done.map(|payment| payment.amount).sum()
        })
    }

    /// Takes the calls that have come: method and path of each.
    pub fn calls(&self) -> Vec<String> {
        self.0.calls()
    }
}

impl Books for Toss {
    fn answer(&mut self, asked: &Asked) -> (u16, Value) {
        if asked.authorization != LOGIN {
            return refusal(401, "UNAUTHORIZED_KEY");
        }
        if let Some(order) = asked.line.strip_prefix(ORDERS) {
            return match self.payments.get(order) {
                Some(payment) => (200, payment.shown(order)),
                None => refusal(404, "NOT_FOUND_PAYMENT"),
            };
        }
        let key = asked.idempotency_key.clone().unwrap_or_default();
        if let Some(answered) = self.answered.get(&key) {
            return answered.clone();
        }
        let answer = match asked.line.as_str() {
            CONFIRM => self.confirm(&asked.body),
            _ => refusal(404, "NOT_FOUND"),
        };
        self.answered.insert(key, answer.clone());
        answer
    }
}

impl Toss {
    fn confirm(&mut self, body: &Value) -> (u16, Value) {
        if let Some((status, code)) = self.refusal.take() {
            return refusal(status, code);
        }
        let order = body["orderId"].as_str().unwrap_or_default();
        let payment = self.payments.get_mut(order);
        let Some(payment) = payment.filter(|payment| body["paymentKey"] == *payment.key) else {
            return refusal(404, "NOT_FOUND_PAYMENT_SESSION");
        };
        if body["amount"] != payment.amount {
            return refusal(400, "INVALID_REQUEST");
        }
        if payment.status != "IN_PROGRESS" {
            return refusal(400, "ALREADY_PROCESSED_PAYMENT");
        }
        payment.status = "DONE";
        (200, payment.shown(order))
    }
}

impl Payment {
    fn shown(&self, order: &str) -> Value {
        json!({
            "paymentKey": self.key, "orderId": order, "status": self.status, "totalAmount": self.amount,
            "balanceAmount": self.amount, "currency": "KRW", "method": "카드", "secret": null, "cancels": null,
            "virtualAccount": null,
        })
    }
}

fn refusal(status: u16, code: &str) -> (u16, Value) {
    (status, json!({ "code": code, "message": "…" }))
}
