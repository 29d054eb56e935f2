//! Users who buy, click twice, change their minds and go away; a bank that takes deposits back; and impostors who tell of
//! payments that never were.

use std::time::Duration;

use fastrand::Rng;
use futures::future::join;
use serde_json::{Value, json};
use sugang_tests::{Event, Kind, User};
use tokio::time::sleep;

use super::place::Place;

/// The price of everything.
const PRICE: i64 = 45_000;

/// With what the ids of forged events begin that have a proof, which is wrong.
pub const FORGED_PROOF: &str = "forged_proof_";

/// With what the ids of forged events begin that need no proof: they may be looked up, and change nothing.
pub const FORGED_HINT: &str = "forged_hint_";

/// What users do, and how often in a hundred times.
#[derive(Clone, Copy)]
pub struct Habits {
    /// The window shows another amount, of all payments.
    pub tampering: u8,
    /// An operator gives a part back, of all steps.
    pub refunding: u8,
    /// An impostor tells of a payment that never was, of all orders.
    pub forging: u8,
    /// With which the impostors sign, in Base64.
    pub secret: &'static str,
}

/// One user, and what they know.
pub struct Customer<'a> {
    pub place: &'a Place,
    pub user: &'a User,
    pub operator: &'a User,
    pub items: &'a [(Kind, i64)],
    pub rng: Rng,
    pub habits: Habits,
}

/// What became of an order.
#[derive(Default)]
struct Bought {
    order: i64,
    payment: Option<i64>,
    /// With which it was approved.
    key: String,
    /// Where the gateway gives a deposit back to.
    account: Option<Value>,
}

impl Customer<'_> {
    /// Does a number of things, one after the other.
    pub async fn shop(mut self, steps: usize) {
        let mut bought = Vec::new();
        for _ in 0..steps {
            if self.happens(self.habits.refunding) {
                self.refund_a_part(&bought).await;
                continue;
            }
            match self.rng.u8(..100) {
                0..65 => bought.extend(self.buy().await),
                65..80 => self.cancel_order(&bought).await,
                80..92 => self.cancel_payment(&bought).await,
                _ => self.approve_again(&bought).await,
            }
        }
    }

    fn key(&mut self) -> String {
        format!("{:032x}", self.rng.u128(..))
    }

    async fn post(&mut self, path: &str, body: &Value) -> Option<(u16, Value)> {
        let key = self.key();
        self.place.post(self.user, path, &key, body).await
    }

    /// Decides by chance, with this percentage.
    fn happens(&mut self, percent: u8) -> bool {
        self.rng.u8(..100) < percent
    }

    /// Holds a seat, agrees in the gateway's window, and approves, sometimes twice at once.
    async fn buy(&mut self) -> Option<Bought> {
        let (kind, item) = self.items[self.rng.usize(..self.items.len())];
        let method = self
            .rng
            .choice(["card", "kakaopay", "bank_transfer", "bank_transfer"])?;
        let body = json!({ "amount": format!("{PRICE}.00"), "payment_method": method });
        let (200 | 201, order) = self.post(&kind.preorder(item), &body).await? else {
            return None;
        };
        let mut bought = Bought {
            order: order["id"].as_i64()?,
            ..Bought::default()
        };
        let (gateway, reference) = (order["gateway"].as_str()?, order["reference"].as_str()?);
        if self.happens(self.habits.forging) {
            self.forge(gateway, reference).await;
        }
        if self.happens(10) {
            // They close the window.
            return Some(bought);
        }
        let amount = if self.happens(self.habits.tampering) {
            100
        } else {
            PRICE
        };
        let is_deposit = method == "bank_transfer";
        let way = if is_deposit { "virtual_account" } else { "card" };
        bought.key = self.place.agree(gateway, reference, amount, way).await?;
        let path = format!("/orders/{}/approve/", bought.order);
        if self.happens(10) {
            // They never come back: only an event, or the sweep, learns what has become of it.
            let (body, patience) = (json!({ "payment_key": bought.key }), self.rng.u64(..200));
            let patience = Duration::from_millis(patience);
            self.place.post_and_leave(self.user, &path, &body, patience).await;
            return None;
        }
        let approved = self.approve(&bought).await?;
        bought.payment = approved["payment_id"].as_i64();
        if is_deposit {
            let has_account = approved["status"] == "awaiting_deposit";
            return self.pay_in(bought, gateway, reference, has_account).await;
        }
        Some(bought)
    }

    /// Pays in to the account that an order waits for: at once, later, or never. The bank may take the deposit back, and the user
    /// may pay in once more. Such a user asks for no refund: what becomes of one meanwhile, a person has to find out.
    async fn pay_in(
        &mut self,
        mut bought: Bought,
        gateway: &str,
        reference: &str,
        has_account: bool,
    ) -> Option<Bought> {
        if has_account && self.happens(self.habits.forging) {
            // Toss gives a secret with the account, which its events about the deposit repeat.
            let body = json!({
                "createdAt": "2026-11-27T10:00:00", "secret": "ps_forged", "status": "DONE", "orderId": reference,
                "transactionKey": "forged",
            });
            self.tell(gateway, FORGED_PROOF, &body, None).await;
        }
        match self.rng.u8(..4) {
            0 => return None,
            1 => sleep(Duration::from_millis(self.rng.u64(..800))).await,
            _ => {}
        }
        self.place.pay_in(gateway, reference).await;
        for _ in 0..10 {
            let order = self.place.order(self.user, bought.order).await?;
            if order["status"] == "paid" {
                bought.payment = order["payment_id"].as_i64();
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        // What came for nothing is owed back, and not taken.
        if bought.payment.is_some() && self.happens(50) {
            self.place.take_back(gateway, reference).await;
            if self.happens(50) {
                sleep(Duration::from_millis(self.rng.u64(..300))).await;
                self.place.pay_in(gateway, reference).await;
            }
            return None;
        }
        bought.account = Some(json!({ "bank": "20", "account_number": "1002123456789", "holder": "김민수" }));
        Some(bought)
    }

    /// An impostor tells that an order was paid. KakaoPay sends no events.
    async fn forge(&mut self, gateway: &str, reference: &str) {
        let secret = Some(self.habits.secret.to_owned());
        match gateway {
            "portone" => {
                let body = json!({ "type": "Transaction.Paid", "data": { "paymentId": reference } });
                self.tell(gateway, FORGED_PROOF, &body, secret).await;
            }
            "stripe" => {
                let id = format!("{FORGED_PROOF}{}", self.key());
                let object = json!({ "id": "pi_forged" });
                let body = json!({ "id": id, "type": "payment_intent.succeeded", "data": { "object": object } });
                self.tell(gateway, FORGED_PROOF, &body, secret).await;
            }
            "toss" => {
                let status = self.rng.choice(["DONE", "CANCELED", "EXPIRED", "WAITING_FOR_DEPOSIT"]);
                let body = json!({
                    "eventType": "PAYMENT_STATUS_CHANGED", "createdAt": "2026-11-27T10:00:00.000000",
                    "data": { "paymentKey": "tgen_forged", "orderId": reference, "status": status, "secret": null },
                });
                self.tell(gateway, FORGED_HINT, &body, None).await;
            }
            _ => {}
        }
    }

    async fn tell(&mut self, gateway: &str, id: &str, body: &Value, secret: Option<String>) {
        let event = Event {
            gateway: gateway.to_owned(),
            id: format!("{id}{}", self.key()),
            body: body.to_string(),
            secret,
            tries: 0,
        };
        self.place.impersonate(&event).await;
    }

    /// Approves once or twice at the same time, and returns the order as it is answered.
    async fn approve(&mut self, bought: &Bought) -> Option<Value> {
        let path = format!("/orders/{}/approve/", bought.order);
        let body = json!({ "payment_key": bought.key });
        let keys = [self.key(), self.key()];
        let first = self.place.post(self.user, &path, &keys[0], &body);
        let answer = match self.rng.u8(..3) {
            0 => join(first, self.place.post(self.user, &path, &keys[1], &body)).await.0,
            _ => first.await,
        };
        Some(answer?.1)
    }

    async fn approve_again(&mut self, bought: &[Bought]) {
        if let Some(bought) = self.rng.choice(bought).filter(|bought| !bought.key.is_empty()) {
            self.approve(bought).await;
        }
    }

    async fn cancel_order(&mut self, bought: &[Bought]) {
        if let Some(bought) = self.rng.choice(bought) {
            self.post(&format!("/orders/{}/cancel/", bought.order), &json!({}))
                .await;
        }
    }

    async fn cancel_payment(&mut self, bought: &[Bought]) {
        let chosen = self.rng.choice(bought);
        if let Some((payment, bought)) = chosen.and_then(|bought| Some((bought.payment?, bought))) {
            let body = json!({ "refund_account": bought.account });
            self.post(&format!("/payments/{payment}/cancel/"), &body).await;
        }
    }

    /// An operator gives a part back, and the user keeps the seat.
    async fn refund_a_part(&mut self, bought: &[Bought]) {
        let chosen = self.rng.choice(bought);
        if let Some((payment, bought)) = chosen.and_then(|bought| Some((bought.payment?, bought))) {
            let part = if self.rng.bool() { 15_000 } else { 20_000 };
            let body = json!({
                "amount": format!("{part}.00"), "reason": "…", "keep_registration": true,
                "refund_account": bought.account,
            });
            let (path, key) = (format!("/api/operator/payments/{payment}/refund/"), self.key());
            self.place.post(self.operator, &path, &key, &body).await;
        }
    }
}
