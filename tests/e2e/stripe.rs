//! Orders that are paid over Stripe. localstripe takes Stripe's place; it knows no idempotency keys, and refuses parameters
//! that it does not know. What it cannot do wrong is tested in `api/src/gateways/`.

use rstest::rstest;
use serde_json::{Value, json};
use sugang_tests::{Answer, App, Builder, COURSE, EXAM, Item, Kind, LocalStripe, STRIPE_SECRET, User};

use crate::{storm::assert_audit, support::payment};

fn with(url: &str) -> Builder {
    App::with("payment_gateways", "card=stripe")
        .with("stripe_url", url)
        .with("stripe_secret", STRIPE_SECRET)
        .with("stripe_publishable_key", "pk_test_1")
        .with("gateway_timeout_ms", 4000)
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
