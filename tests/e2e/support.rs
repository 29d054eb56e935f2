//! Steps that several tests share.

use std::{
    future::IntoFuture,
    time::{Duration, Instant},
};

use futures::future::join;
use serde_json::{Value, json};
use sugang_tests::{Answer, App, Call, EXAM, Item, Kind, Plan, User};

/// A request to register for an item of the usual price.
pub fn register<'a>(app: &'a App, kind: Kind, id: i64, user: &User) -> Call<'a> {
    app.post(kind.register(id)).by(user).json(&payment("45000.00", "card"))
}

/// A request to cancel a payment.
pub fn cancel<'a>(app: &'a App, payment: i64, user: &User) -> Call<'a> {
    app.post(format!("/payments/{payment}/cancel/")).by(user)
}

/// A request of an operator to give a payment back.
pub fn refund<'a>(app: &'a App, payment: i64, operator: &User, body: &Value) -> Call<'a> {
    app.post(format!("/api/operator/payments/{payment}/refund/"))
        .by(operator)
        .json(body)
}

/// The service with the gateway `manual` for cards and bank transfers.
pub async fn shop() -> App {
    shop_with(&[]).await
}

/// The same with further variables.
pub async fn shop_with(variables: &[(&str, &str)]) -> App {
    let builder = App::with("payment_gateways", "card=manual,bank_transfer=manual");
    let builder = builder.with("manual_account", "국민은행 123456-01-123456");
    let more = variables.iter();
    more.fold(builder, |builder, (name, value)| builder.with(name, value))
        .start()
        .await
}

/// A request to hold a seat of an item of the usual price.
pub fn preorder<'a>(app: &'a App, kind: Kind, id: i64, user: &User) -> Call<'a> {
    let body = payment("45000.00", "bank_transfer");
    app.post(kind.preorder(id)).by(user).json(&body)
}

/// The order that a pre-order made.
///
/// # Panics
/// If the response is neither 201 nor 200.
pub fn ordered(answer: &Answer) -> i64 {
    assert!([200, 201].contains(&answer.status.as_u16()), "{answer:?}");
    answer.json()["id"].as_i64().expect("an order has an id")
}

/// A request to pay an order.
pub fn approve<'a>(app: &'a App, order: i64, user: &User) -> Call<'a> {
    app.post(format!("/orders/{order}/approve/")).by(user)
}

/// A request of a user to cancel an order.
pub fn cancel_order<'a>(app: &'a App, order: i64, user: &User) -> Call<'a> {
    app.post(format!("/orders/{order}/cancel/")).by(user)
}

/// A request of an operator who has seen the price of an order on the account.
pub fn confirm<'a>(app: &'a App, order: i64, operator: &User) -> Call<'a> {
    app.post(format!("/api/operator/orders/{order}/confirm/"))
        .by(operator)
        .json(&json!({"amount": "45000.00", "reference": format!("bank-{order}"), "reason": "입금 확인"}))
}

/// Lets the time of an order pass.
pub async fn let_expire(app: &App, order: i64) {
    let past = "update sugang.orders set expires_at = clock_timestamp() - interval '1 second' where id = $1";
    app.run(past, &[&order]).await;
}

/// The status that a gateway with this plan leads to. On a busy machine, no time is left for a look-up after one that answers
/// too late, and the outcome is not known yet.
pub fn expected_status(plan: Plan, status: u16, answer: &Answer) -> u16 {
    match plan {
        Plan::AnswerLate(8_000) if answer.status == 202 => 202,
        _ => status,
    }
}

/// Adds an operator, ujin.
pub async fn operator(app: &App) -> User {
    let user = app.user("ujin").await;
    app.run("update users set is_staff = true where id = $1", &[&user.id])
        .await;
    user
}

/// Body of a registration.
pub fn payment(amount: impl Into<Value>, method: &str) -> Value {
    json!({"amount": amount.into(), "payment_method": method})
}

/// The payment that a registration made.
///
/// # Panics
/// If the response is not a 201.
pub fn paid(answer: &Answer) -> i64 {
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["payment_id"].as_i64().expect("a payment has an id")
}

/// Counts responses by status, in the order of the statuses.
pub fn tally(answers: &[Answer]) -> Vec<(u16, usize)> {
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    statuses
        .chunk_by(|a, b| a == b)
        .map(|same| (same[0], same.len()))
        .collect()
}

/// Does `work` while a registration waits for the row of its exam, and so occupies a place.
pub async fn while_registering(app: &App, user: &User, work: impl Future<Output = ()>) {
    let id = app.add(EXAM, Item::default()).await;
    let hold = Hold::item(app, id).await;
    let (registered, ()) = join(register(app, EXAM, id, user).into_future(), async {
        hold.is_waited_for().await;
        work.await;
        hold.release().await;
    })
    .await;
    assert_eq!(registered.status, 201);
}

/// A transaction that holds the locks of its statement until it is dropped.
pub struct Hold {
    session: tokio_postgres::Client,
}

impl Hold {
    /// Begins a transaction in the app's database and runs one statement in it.
    pub async fn new(app: &App, statement: &str) -> Self {
        let (session, connection) = sugang_connect::postgres::connect(app.database_url())
            .await
            .expect("a connection");
        tokio::spawn(connection);
        session
            .batch_execute(&format!("begin; {statement}"))
            .await
            .unwrap_or_else(|error| panic!("{error:?}"));
        Self { session }
    }

    /// Locks the row of an exam.
    pub async fn item(app: &App, id: i64) -> Self {
        Self::new(app, &format!("select from tests where id = {id} for update")).await
    }

    /// Waits until another session waits for one of the locks.
    pub async fn is_waited_for(&self) {
        // What `pg_stat_activity` shows stands still within a transaction.
        let waiting =
            "select count(*) from pg_locks where not granted and pg_backend_pid() = any (pg_blocking_pids(pid))";
        let begun = Instant::now();
        loop {
            let n: i64 = self
                .session
                .query_one(waiting, &[])
                .await
                .expect("a query in a transaction")
                .get(0);
            if n > 0 {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing waits for the locks");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The id of PostgreSQL's process that holds the locks.
    pub async fn pid(&self) -> i32 {
        let pid = self.session.query_one("select pg_backend_pid()", &[]).await;
        pid.expect("a query in a transaction").get(0)
    }

    /// Runs one more statement in the transaction.
    pub async fn run(&self, statement: &str) {
        self.session
            .batch_execute(statement)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }

    /// Commits the transaction.
    pub async fn commit(&self) {
        self.session
            .batch_execute("commit")
            .await
            .expect("a transaction can be committed");
    }

    /// Rolls the transaction back, which releases the locks.
    pub async fn release(&self) {
        self.session
            .batch_execute("rollback")
            .await
            .expect("a transaction can be rolled back");
    }
}

/// Drops a role and what it owns.
pub async fn drop_role(app: &App, role: &str) {
    let drop = format!("reassign owned by {role} to session_user; drop owned by {role}; drop role {role}");
    // A session may still be dropping its temporary objects.
    for _ in 0..50 {
        if app.database().batch_execute(&drop).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    app.database().batch_execute(&drop).await.expect("no session is left");
}

/// Adds a page of items whose list has more than 100 KiB.
pub async fn add_long_list(app: &App) {
    let description = "수험 안내 ".repeat(400);
    for _ in 0..20 {
        let description = Some(description.as_str());
        app.add(
            EXAM,
            Item {
                description,
                ..Item::default()
            },
        )
        .await;
    }
}
