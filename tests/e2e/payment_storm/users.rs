//! Users who buy, click twice and change their minds.

use fastrand::Rng;
use futures::future::join;
use serde_json::{Value, json};
use sugang_tests::{Kind, User};

use super::place::Place;

/// The price of everything.
const PRICE: i64 = 45_000;

/// One user, and what they know.
pub struct Customer<'a> {
    pub place: &'a Place,
    pub user: &'a User,
    pub operator: &'a User,
    pub items: &'a [(Kind, i64)],
    pub rng: Rng,
    /// Of a hundred payments, those for which the user has the window show another amount.
    pub tampering: u8,
}

/// What became of an order.
#[derive(Default)]
struct Bought {
    order: i64,
    payment: Option<i64>,
    /// With which it was approved.
    key: String,
}

impl Customer<'_> {
    /// Does a number of things, one after the other.
    pub async fn shop(mut self, steps: usize) {
        let mut bought = Vec::new();
        for _ in 0..steps {
            match self.rng.u8(..100) {
                0..60 => bought.extend(self.buy().await),
                60..75 => self.cancel_order(&bought).await,
                75..85 => self.cancel_payment(&bought).await,
                85..93 => self.refund_a_part(&bought).await,
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

    /// Holds a seat, agrees in the gateway's window, and approves, sometimes twice at once.
    async fn buy(&mut self) -> Option<Bought> {
        let (kind, item) = self.items[self.rng.usize(..self.items.len())];
        let method = if self.rng.bool() { "card" } else { "kakaopay" };
        let body = json!({ "amount": format!("{PRICE}.00"), "payment_method": method });
        let (200 | 201, order) = self.post(&kind.preorder(item), &body).await? else {
            return None;
        };
        let mut bought = Bought {
            order: order["id"].as_i64()?,
            ..Bought::default()
        };
        if self.rng.u8(..10) == 0 {
            // They close the window.
            return Some(bought);
        }
        let amount = if self.rng.u8(..100) < self.tampering {
            100
        } else {
            PRICE
        };
        let (gateway, reference) = (order["gateway"].as_str()?, order["reference"].as_str()?);
        bought.key = self.place.agree(gateway, reference, amount).await?;
        bought.payment = self.approve(&bought).await;
        Some(bought)
    }

    /// Approves once or twice at the same time, and returns the payment if it is known.
    async fn approve(&mut self, bought: &Bought) -> Option<i64> {
        let path = format!("/orders/{}/approve/", bought.order);
        let body = json!({ "payment_key": bought.key });
        let keys = [self.key(), self.key()];
        let first = self.place.post(self.user, &path, &keys[0], &body);
        let answer = match self.rng.u8(..3) {
            0 => join(first, self.place.post(self.user, &path, &keys[1], &body)).await.0,
            _ => first.await,
        };
        answer?.1["payment_id"].as_i64()
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
        if let Some(payment) = self.rng.choice(bought).and_then(|bought| bought.payment) {
            self.post(&format!("/payments/{payment}/cancel/"), &json!({})).await;
        }
    }

    /// An operator gives a third back, and the user keeps the seat.
    async fn refund_a_part(&mut self, bought: &[Bought]) {
        if let Some(payment) = self.rng.choice(bought).and_then(|bought| bought.payment) {
            let body = json!({ "amount": format!("{}.00", PRICE / 3), "reason": "…", "keep_registration": true });
            let (path, key) = (format!("/api/operator/payments/{payment}/refund/"), self.key());
            self.place.post(self.operator, &path, &key, &body).await;
        }
    }
}
