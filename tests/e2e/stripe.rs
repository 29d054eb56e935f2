//! Orders that are paid over Stripe. localstripe takes Stripe's place; it knows no idempotency keys, and refuses parameters
//! that it does not know. What it cannot do wrong is tested in `api/src/gateways/` and `refunds/`.

use rstest::rstest;
use serde_json::{Value, json};
use sugang_tests::{
    Answer, App, Builder, COURSE, EXAM, Item, Kind, LocalStripe, Plan, STAND_IN_STRIPE_SECRET, STRIPE_SECRET,
    StripeServer, User,
};

use crate::{
    storm::assert_audit,
    support::{cancel, cancel_order, let_expire, operator, payment, refund},
    toss::{SWEEP_SECRET, get, sweep},
};

fn with(url: &str) -> Builder {
    App::with("payment_gateways", "card=stripe")
        .with("stripe_url", url)
        .with("stripe_secret", STRIPE_SECRET)
        .with("stripe_publishable_key", "pk_test_1")
        .with("gateway_timeout_ms", 4000)
        .with("sweep_secret", SWEEP_SECRET)
}

async fn preorder(app: &App, kind: Kind, item: i64, user: &User) -> Answer {
    let path = format!("{}preorder/", kind.item(item));
    app.post(path).by(user).json(&payment("45000.00", "card")).await
}

async fn approve(app: &App, order: &Value, user: &User) -> Answer {
    app.post(format!("/orders/{}/approve/", order["id"])).by(user).await
}

#[rstest]
#[tokio::test]
async fn an_order_is_paid(#[values(EXAM, COURSE)] kind: Kind) {
    let Some(stripe) = LocalStripe::start().await else {
        return;
    };
    let app = with(&stripe.url).start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(kind, Item::default()).await;
    let order = preorder(&app, kind, item, &minsu).await;
    assert_eq!(order.status, 201, "{order:?}");
    let window = &order.json()["window"];
    assert_eq!(
        (&window["gateway"], &window["publishable_key"], &window["reference"]),
        (&json!("stripe"), &json!("pk_test_1"), &order.json()["reference"])
    );
    let again = preorder(&app, kind, item, &minsu).await;
    assert_eq!((again.status.as_u16(), &again.json()["window"]), (200, window));

    let client_secret = window["client_secret"].as_str().unwrap();
    stripe.confirm(client_secret).await;
    assert_eq!(stripe.books().await, (0, 0), "no money moves before the approval");
    for _ in 0..2 {
        let paid = approve(&app, order.json(), &minsu).await;
        assert_eq!(
            (paid.status.as_u16(), &paid.json()["status"], &paid.json()["window"]),
            (200, &json!("paid"), &Value::Null),
            "{paid:?}"
        );
    }
    assert_eq!(stripe.books().await, (45_000, 0));
    let (intent, _) = client_secret.split_once("_secret_").unwrap();
    assert_eq!(
        app.rows("select amount::text, external_transaction_id from payments")
            .await,
        json!([{"amount": "45000.00", "external_transaction_id": intent}])
    );
    assert_audit(&app).await;
}

/// What is given back over Stripe, in the order in which it was asked for, as `status amount`.
async fn refunds(app: &App) -> Vec<String> {
    let refunds = "select array_agg(status || ' ' || amount order by id) from sugang.refunds";
    app.one(refunds, &[]).await
}

/// Parts, what was given back in the dashboard, the rest, and what is owed.
#[tokio::test]
async fn its_money_goes_back() {
    let Some(stripe) = LocalStripe::start().await else {
        return;
    };
    let app = with(&stripe.url).start().await;
    let operator = operator(&app).await;
    let mut intents = Vec::new();
    let mut payments = Vec::new();
    for name in ["minsu", "sora"] {
        let user = app.user(name).await;
        let item = app.add(EXAM, Item::default()).await;
        let order = preorder(&app, EXAM, item, &user).await;
        let client_secret = order.json()["window"]["client_secret"].as_str().unwrap();
        stripe.confirm(client_secret).await;
        let paid = approve(&app, order.json(), &user).await;
        payments.push((paid.json()["payment_id"].as_i64().unwrap(), user));
        intents.push(client_secret.split_once("_secret_").unwrap().0.to_owned());
    }
    let [(first, minsu), (second, _)] = &payments[..] else {
        panic!("two payments");
    };
    let part = json!({"amount": "10000", "reason": "교재 불량"});
    let partly = refund(&app, *first, &operator, &part).await;
    assert_eq!(
        (partly.status.as_u16(), &partly.json()["left"]),
        (200, &json!("35000.00")),
        "{partly:?}"
    );
    stripe.refund(&intents[0], 5_000).await;
    app.run(
        "update sugang.payment_attempts set reconcile_at = clock_timestamp()",
        &[],
    )
    .await;
    assert_eq!(sweep(&app).await.json()["reconciled"], 2);
    assert_eq!(refunds(&app).await, ["done 10000.00", "external 5000.00"]);
    assert_eq!(cancel(&app, *first, minsu).await.status, 200);
    app.run("update payments set status = 'cancelled' where id = $1", &[second])
        .await;
    assert_eq!(sweep(&app).await.json()["refunds"], 1);
    assert_eq!(
        refunds(&app).await,
        ["done 10000.00", "external 5000.00", "done 30000.00", "done 45000.00"]
    );
    assert_eq!(stripe.books().await, (90_000, 90_000));
    assert_audit(&app).await;
}

/// How an order ends, or goes on with another payment.
#[derive(Debug, Clone, Copy)]
enum End {
    Expired,
    Cancelled,
    /// The price has changed, and the user has held the seat again.
    Changed,
}

/// The card is not blocked for an order that has ended, and what was not confirmed cannot be confirmed any more.
#[rstest]
#[tokio::test]
async fn what_no_order_waits_for_is_released(
    #[values(End::Expired, End::Cancelled, End::Changed)] end: End,
    #[values(false, true)] is_confirmed: bool,
) {
    let Some(stripe) = LocalStripe::start().await else {
        return;
    };
    let app = with(&stripe.url).start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let order = preorder(&app, EXAM, item, &minsu).await;
    let client_secret = order.json()["window"]["client_secret"].as_str().unwrap();
    let (intent, _) = client_secret.split_once("_secret_").unwrap();
    if is_confirmed {
        stripe.confirm(client_secret).await;
    }
    let before = stripe.status(intent).await;
    match end {
        End::Expired => {
            let_expire(&app, 1).await;
            sweep(&app).await;
        }
        End::Cancelled => assert_eq!(cancel_order(&app, 1, &minsu).await.status, 200),
        End::Changed => {
            app.run("update tests set price = 50000", &[]).await;
            let path = EXAM.preorder(item);
            let again = app.post(path).by(&minsu).json(&payment("50000.00", "card")).await;
            assert_eq!(again.status, 200, "{again:?}");
        }
    }
    assert_eq!(stripe.status(intent).await, before, "the request waits for no gateway");
    assert_eq!(sweep(&app).await.json()["closed"], 1);
    assert_eq!(stripe.status(intent).await, "canceled");
    assert_eq!(sweep(&app).await.json()["closed"], 0);
    assert_eq!(stripe.books().await, (0, 0));
    assert_audit(&app).await;
}

/// A person has captured it in the dashboard: it is late money, and there is no seat for it.
#[tokio::test]
async fn what_was_captured_before_it_is_released_goes_back() {
    let Some(stripe) = LocalStripe::start().await else {
        return;
    };
    let app = with(&stripe.url).start().await;
    let (minsu, sora) = (app.user("minsu").await, app.user("sora").await);
    let one_seat = Item {
        capacity: Some(1),
        ..Item::default()
    };
    let item = app.add(EXAM, one_seat).await;
    let order = preorder(&app, EXAM, item, &minsu).await;
    let client_secret = order.json()["window"]["client_secret"].as_str().unwrap();
    stripe.confirm(client_secret).await;
    assert_eq!(cancel_order(&app, 1, &minsu).await.status, 200);
    assert_eq!(preorder(&app, EXAM, item, &sora).await.status, 201);
    stripe.capture(client_secret.split_once("_secret_").unwrap().0).await;
    assert_eq!(sweep(&app).await.json()["closed"], 1);
    assert_eq!(get(&app, 1, &minsu).await["status"], "refund_due");
    assert_eq!(sweep(&app).await.json()["refunds"], 1);
    assert_eq!(get(&app, 1, &minsu).await["refund"]["status"], "done");
    assert_eq!(stripe.books().await, (45_000, 45_000));
    assert_audit(&app).await;
}

/// A service at the stand-in, and an order of minsu with the intent of its window.
async fn at_the_stand_in() -> (StripeServer, App, User, Answer, String) {
    let stripe = StripeServer::start().await.expect("there is a free port");
    let app = with(stripe.url()).with("stripe_secret", STAND_IN_STRIPE_SECRET);
    let app = app.start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let order = preorder(&app, EXAM, item, &minsu).await;
    let intent = app.one("select gateway_key from sugang.payment_attempts", &[]).await;
    (stripe, app, minsu, order, intent)
}

/// The user has approved before confirming: another intent pays the order.
#[tokio::test]
async fn what_was_declined_is_released() {
    let (stripe, app, minsu, order, intent) = at_the_stand_in().await;
    assert_eq!(approve(&app, order.json(), &minsu).await.code(), "payment_declined");
    stripe.calls();
    assert_eq!(sweep(&app).await.json()["closed"], 1);
    assert_eq!(stripe.calls(), [format!("POST /v1/payment_intents/{intent}/cancel")]);
    assert_eq!(get(&app, 1, &minsu).await["status"], "held");
    assert_audit(&app).await;
}

/// What goes wrong, and how often Stripe is asked to release it.
#[rstest]
#[case::answer_lost(Plan::LoseAnswer, 1)]
#[case::failed_after_executing(Plan::FailAfter, 1)]
#[case::request_lost(Plan::LoseRequest, 2)]
#[case::failed_before_executing(Plan::FailBefore, 2)]
#[case::under_way(Plan::Conflict, 2)]
#[tokio::test]
async fn whatever_is_lost_what_is_reserved_is_released(#[case] plan: Plan, #[case] expected: usize) {
    let (stripe, app, minsu, order, intent) = at_the_stand_in().await;
    stripe.authenticate(order.json()["reference"].as_str().unwrap(), 45_000);
    assert_eq!(cancel_order(&app, 1, &minsu).await.status, 200);
    let line = format!("POST /v1/payment_intents/{intent}/cancel");
    stripe.calls();
    stripe.plan(&line, plan);
    for _ in 0..3 {
        sweep(&app).await;
        let due = "update sugang.payment_attempts set reconcile_at = clock_timestamp() where reconcile_at is not null";
        app.run(due, &[]).await;
    }
    let asked = stripe.calls().iter().filter(|call| **call == line).count();
    assert_eq!(asked, expected);
    let left = "select count(*) from sugang.payment_attempts where reconcile_at is not null";
    assert_eq!(app.one::<i64>(left, &[]).await, 0);
    assert_audit(&app).await;
}

#[tokio::test]
async fn a_gateway_that_cannot_be_reached_leaves_the_order_held_without_a_window() {
    let app = with("http://127.0.0.1:1").start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    for status in [201, 200] {
        let order = preorder(&app, EXAM, item, &minsu).await;
        assert_eq!(
            (order.status.as_u16(), &order.json()["status"], &order.json()["window"]),
            (status, &json!("held"), &Value::Null),
            "{order:?}"
        );
        let early = approve(&app, order.json(), &minsu).await;
        assert_eq!(
            (early.status.as_u16(), early.json()["payment_key"].is_array()),
            (400, true)
        );
    }
    assert_audit(&app).await;
}
