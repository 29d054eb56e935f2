//! What the tests of refunds share: a paid order at Toss's stand-in, and the clock of the sweep.

use serde_json::{Value, json};
use sugang_tests::{Answer, App, Item, Kind, TOSS_SECRET, TossServer, User};

use crate::{storm::assert_audit, toss};

/// A service with one item, which minsu has paid for over Toss.
pub struct Shop {
    pub toss: TossServer,
    pub app: App,
    pub minsu: User,
    pub kind: Kind,
    pub item: i64,
    pub payment: i64,
    /// By which Toss knows the payment.
    pub key: String,
}

impl Shop {
    pub async fn open(kind: Kind) -> Self {
        let (toss, app) = toss::start().await;
        let minsu = app.user("minsu").await;
        let one_seat = Item {
            capacity: Some(1),
            ..Item::default()
        };
        let item = app.add(kind, one_seat).await;
        let (order, key) = toss::agree(&app, &toss, kind, item, &minsu).await;
        let paid = toss::approve(&app, order, &key, &minsu).await;
        let payment = paid.json()["payment_id"].as_i64().expect("it is paid");
        toss.calls();
        Self {
            toss,
            app,
            minsu,
            kind,
            item,
            payment,
            key,
        }
    }

    /// Method and path by which Toss gives the payment back.
    pub fn line(&self) -> String {
        format!("POST /v1/payments/{}/cancel", self.key)
    }

    /// How often Toss was asked to give it back since the last look.
    pub fn asked(&self) -> usize {
        let line = self.line();
        self.toss.calls().iter().filter(|call| **call == line).count()
    }

    /// Sweeps, once the time has come to look after what no request has settled.
    pub async fn sweep(&self) -> Value {
        let due = "update sugang.refunds set due_at = clock_timestamp() where due_at is not null";
        self.app.run(due, &[]).await;
        toss::sweep(&self.app).await.json().clone()
    }

    /// Sweeps on the day after.
    pub async fn reconcile(&self) -> Value {
        let due = "update sugang.payment_attempts set reconcile_at = clock_timestamp() where reconcile_at is not null";
        self.app.run(due, &[]).await;
        self.sweep().await
    }

    /// A person gives this much back in Toss's own console.
    pub async fn give_back_in_console(&self, amount: i64) {
        let url = format!("{}/v1/payments/{}/cancel", self.toss.url(), self.key);
        let request = reqwest::Client::new()
            .post(url)
            .basic_auth(TOSS_SECRET, Some(""))
            .body(json!({ "cancelReason": "고객 변심", "cancelAmount": amount }).to_string());
        let answer = request.send().await.expect("Toss answers");
        assert_eq!(answer.status(), 200);
        // It was not the service that has asked.
        self.asked();
    }

    /// The payment's status, and its refunds as `status amount`.
    pub async fn books(&self) -> (String, Vec<String>) {
        let status = "select status from payments where id = $1";
        let refunds = "select coalesce(array_agg(status || ' ' || amount order by id), '{}') from sugang.refunds
                       where payment_id = $1";
        (
            self.app.one(status, &[&self.payment]).await,
            self.app.one(refunds, &[&self.payment]).await,
        )
    }

    /// Expects that Toss has given back what the ledger has, that the seats are counted, and that everything adds up.
    pub async fn assert_books(&self, given: i64, seats: i32) {
        let booked = "select coalesce(sum(amount), 0)::bigint from sugang.ledger where credit = 'cash'";
        let booked: i64 = self.app.one(booked, &[]).await;
        assert_eq!((booked, self.toss.given()), (given, given));
        let taken = format!("select registration_count + held_count from {}", self.kind.items);
        assert_eq!(self.app.one::<i32>(&taken, &[]).await, seats);
        assert_audit(&self.app).await;
    }
}

/// The status of an answer, and the code of its error.
pub fn status(answer: &Answer) -> (u16, &str) {
    let code = if answer.status.is_success() { "" } else { answer.code() };
    (answer.status.as_u16(), code)
}
