//! What the tests of refunds share: a paid order at the stand-in of a gateway, and the clock of the sweep.

use std::ops::Deref;

use serde_json::{Value, json};
use sugang_tests::{
    Answer, App, Builder, Item, KAKAOPAY_CID, KAKAOPAY_SECRET, KakaoPayServer, Kind, Plan, STAND_IN_STRIPE_SECRET,
    STAND_IN_STRIPE_WEBHOOK_SECRET, StandIn, StripeServer, User, Way,
};

use crate::{
    storm::assert_audit,
    support::payment,
    toss::{self, SWEEP_SECRET},
};

/// The gateway of a shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    Toss,
    KakaoPay,
    Stripe,
}

impl At {
    pub fn name(self) -> &'static str {
        match self {
            Self::Toss => "toss",
            Self::KakaoPay => "kakaopay",
            Self::Stripe => "stripe",
        }
    }

    pub fn method(self) -> &'static str {
        match self {
            Self::KakaoPay => "kakaopay",
            Self::Toss | Self::Stripe => "card",
        }
    }

    /// The beginning of method and path of a look-up of refunds.
    pub fn look_up(self) -> &'static str {
        match self {
            Self::Toss => "GET /v1/payments/orders/",
            Self::KakaoPay => "POST /online/v1/payment/order",
            Self::Stripe => "GET /v1/refunds",
        }
    }

    async fn start(self) -> (Box<dyn Deref<Target = StandIn>>, App) {
        let with = |stand_in: &StandIn| -> Builder {
            let name = self.name();
            App::with("payment_gateways", format!("{}={name}", self.method()))
                .with(&format!("{name}_url"), stand_in.url())
                .with("gateway_timeout_ms", 4000)
                .with("sweep_secret", SWEEP_SECRET)
        };
        match self {
            Self::Toss => {
                let (server, app) = toss::start().await;
                (Box::new(server), app)
            }
            Self::KakaoPay => {
                let server = KakaoPayServer::start().await.expect("there is a free port");
                let app = with(&server)
                    .with("kakaopay_secret", KAKAOPAY_SECRET)
                    .with("kakaopay_cid", KAKAOPAY_CID)
                    .with("kakaopay_return_url", "https://app.example/paid");
                let app = app.start().await;
                (Box::new(server), app)
            }
            Self::Stripe => {
                let server = StripeServer::start().await.expect("there is a free port");
                let app = with(&server)
                    .with("stripe_secret", STAND_IN_STRIPE_SECRET)
                    .with("stripe_webhook_secret", STAND_IN_STRIPE_WEBHOOK_SECRET);
                let app = app.start().await;
                (Box::new(server), app)
            }
        }
    }
}

/// A service with one item, which minsu has paid for over a gateway.
pub struct Shop {
    pub at: At,
    pub gateway: Box<dyn Deref<Target = StandIn>>,
    pub app: App,
    pub minsu: User,
    pub kind: Kind,
    pub item: i64,
    pub payment: i64,
    /// By which the service names the payment to the gateway.
    pub reference: String,
    /// What the payment window has handed over.
    key: String,
}

impl Shop {
    pub async fn open(at: At, kind: Kind) -> Self {
        let (gateway, app) = at.start().await;
        let minsu = app.user("minsu").await;
        let one_seat = Item {
            capacity: Some(1),
            ..Item::default()
        };
        let item = app.add(kind, one_seat).await;
        let preorder = app.post(format!("{}preorder/", kind.item(item))).by(&minsu);
        let order = preorder.json(&payment("45000.00", at.method())).await;
        let reference = order.json()["reference"].as_str().expect("it is held").to_owned();
        let key = gateway.agree(at.name(), &reference, 45_000, Way::Card);
        let approve = app.post(format!("/orders/{}/approve/", order.json()["id"])).by(&minsu);
        let paid = match at {
            At::Stripe => approve.await,
            At::Toss | At::KakaoPay => approve.json(&json!({ "payment_key": key })).await,
        };
        let payment = paid.json()["payment_id"].as_i64().expect("it is paid");
        gateway.calls();
        gateway.events();
        Self {
            at,
            gateway,
            app,
            minsu,
            kind,
            item,
            payment,
            reference,
            key,
        }
    }

    /// Method and path by which the gateway gives the payment back.
    pub fn line(&self) -> String {
        match self.at {
            At::Toss => format!("POST /v1/payments/{}/cancel", self.key),
            At::KakaoPay => "POST /online/v1/payment/cancel".to_owned(),
            At::Stripe => "POST /v1/refunds".to_owned(),
        }
    }

    /// Plans the next look-up after the refund is sent. KakaoPay is looked up before as well.
    pub fn plan_look_up(&self, plan: Plan) {
        if self.at == At::KakaoPay {
            self.gateway.plan(self.at.look_up(), Plan::AnswerLate(0));
        }
        self.gateway.plan(self.at.look_up(), plan);
    }

    /// How often the gateway was asked to give it back since the last look.
    pub fn asked(&self) -> usize {
        let line = self.line();
        self.gateway.calls().iter().filter(|call| **call == line).count()
    }

    /// What the gateway has given back, by its own books.
    pub fn given(&self) -> i64 {
        self.gateway.given(self.at.name())
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

    /// A person gives this much back in the gateway's own console.
    pub fn give_back_in_console(&self, amount: i64) {
        self.gateway.give_back(self.at.name(), &self.reference, amount);
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

    /// Expects that the gateway has given back what the ledger has, that the seats are counted, and that everything adds
    /// up.
    pub async fn assert_books(&self, given: i64, seats: i32) {
        self.assert_money(given, seats).await;
        assert_audit(&self.app).await;
    }

    /// The same while a refund waits for a person, which the audit names.
    pub async fn assert_money(&self, given: i64, seats: i32) {
        let booked = "select coalesce(sum(case 'cash' when credit then amount else -amount end), 0)::bigint
                      from sugang.ledger where source = 'refund'";
        let booked: i64 = self.app.one(booked, &[]).await;
        assert_eq!((booked, self.given()), (given, given));
        let taken = format!("select registration_count + held_count from {}", self.kind.items);
        assert_eq!(self.app.one::<i32>(&taken, &[]).await, seats);
    }

    /// Replaces a part of an SQL function, for a negative control.
    pub async fn without(&self, function: &str, rule: &str, instead: &str) {
        let find = format!("select pg_get_functiondef('sugang.{function}'::regproc)");
        let function: String = self.app.one(&find, &[]).await;
        let without = function.replace(rule, instead);
        assert_ne!(without, function);
        self.app.run(&without, &[]).await;
    }
}

/// The status of an answer, and the code of its error.
pub fn status(answer: &Answer) -> (u16, &str) {
    let code = if answer.status.is_success() { "" } else { answer.code() };
    (answer.status.as_u16(), code)
}
