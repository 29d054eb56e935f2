//! What was given back in the gateway's own console.

use rstest::rstest;
use serde_json::{Value, json};
use sugang_tests::{COURSE, EXAM, Item, Kind, Plan, TOSS_SECRET, TossServer};

use super::shop::{At, Shop};
use crate::{
    storm::{assert_audit, audit},
    support::{cancel, operator},
    toss::{self, SWEEP_SECRET},
};

/// What a look-up has not told is asked again soon, and not a day later.
#[tokio::test]
async fn a_look_up_that_fails_is_repeated_soon() {
    let shop = Shop::open(At::Toss, EXAM).await;
    shop.give_back_in_console(10_000);
    for _ in 0..2 {
        shop.gateway.plan(At::Toss.look_up(), Plan::FailBefore);
    }
    shop.reconcile().await;
    assert_eq!(shop.books().await.1, [""; 0], "it is not known yet");
    let soon = "select reconcile_at < clock_timestamp() + interval '1 hour' from sugang.payment_attempts";
    assert!(shop.app.one::<bool>(soon, &[]).await);
    shop.reconcile().await;
    shop.assert_books(10_000, 1).await;
    assert!(!shop.app.one::<bool>(soon, &[]).await, "then daily");
}

/// With `0` days, the sweep asks because of events alone. What fails is asked again later, and the others first.
#[tokio::test]
async fn without_days_a_look_up_that_fails_is_repeated_later() {
    let toss = TossServer::start().await.expect("there is a free port");
    let app = toss::with(&toss).with("gateway_reconcile_days", 0).start().await;
    let minsu = app.user("minsu").await;
    for _ in 0..10 {
        let item = app.add(EXAM, Item::default()).await;
        let (order, key) = toss::agree(&app, &toss, EXAM, item, &minsu).await;
        assert_eq!(toss::approve(&app, order, &key, &minsu).await.status, 200);
    }
    // What the sweep does, and whether it goes on at once.
    let sweep = async || {
        let swept = app.post("/internal/sweep/").bearer(SWEEP_SECRET).await.json().clone();
        (swept["reconciled"].as_u64(), swept["again_in_seconds"] == 0)
    };
    assert_eq!(sweep().await, (Some(0), false));
    let told = "update sugang.payment_attempts set reconcile_at = '-infinity', lease_until = null";
    app.run(told, &[]).await;
    for _ in 0..20 {
        toss.plan_look_up(Plan::FailBefore);
    }
    for expected in [(8, true), (2, false), (0, false)] {
        assert_eq!(sweep().await, (Some(expected.0), expected.1));
    }
    let later = "update sugang.payment_attempts set lease_until = lease_until - interval '11 minutes'";
    for expected in [(8, true), (2, false), (0, false)] {
        app.run(later, &[]).await;
        assert_eq!(sweep().await, (Some(expected.0), expected.1));
    }
    let due = "select count(*) from sugang.payment_attempts where reconcile_at is not null";
    assert_eq!(app.one::<i64>(due, &[]).await, 0);
}

#[rstest]
#[tokio::test]
async fn it_is_found_noted_once_and_left_to_a_person(
    #[values(At::Toss, At::KakaoPay, At::Stripe)] at: At,
    #[values(EXAM, COURSE)] kind: Kind,
) {
    let shop = Shop::open(at, kind).await;
    let operator = operator(&shop.app).await;
    shop.give_back_in_console(5_000);
    assert_eq!(shop.sweep().await["reconciled"], 0, "not before a day has passed");
    for _ in 0..2 {
        assert_eq!(shop.reconcile().await["reconciled"], 1);
        assert_eq!(
            shop.books().await,
            ("paid".to_owned(), vec!["external 5000.00".to_owned()])
        );
    }
    shop.assert_books(5_000, 1).await;
    let path = format!("/api/operator/payments/{}/", shop.payment);
    let shown = shop.app.get(path).by(&operator).await;
    let refund = &shown.json()["refunds"][0];
    assert_eq!([&refund["status"], &refund["amount"]], ["external", "5000.00"]);
    assert_eq!(
        (&shown.json()["left"], &refund["requested_by"]),
        (&json!("40000.00"), &json!(null))
    );
    // The rest goes back to the user, and not more.
    assert_eq!(cancel(&shop.app, shop.payment, &shop.minsu).await.status, 200);
    shop.assert_books(45_000, 0).await;
}

#[rstest]
#[tokio::test]
async fn a_refund_of_ours_is_no_external_one(#[values(At::Toss, At::KakaoPay, At::Stripe)] at: At) {
    let shop = Shop::open(at, EXAM).await;
    assert_eq!(cancel(&shop.app, shop.payment, &shop.minsu).await.status, 200);
    shop.reconcile().await;
    assert_eq!(shop.books().await.1, ["done 45000.00"]);
    shop.assert_books(45_000, 0).await;
}

/// A look-up that comes between the gateway and the request settles the refund.
#[rstest]
#[tokio::test]
async fn a_look_up_settles_a_refund_that_is_under_way(#[values(At::Toss, At::KakaoPay, At::Stripe)] at: At) {
    let shop = Shop::open(at, EXAM).await;
    shop.gateway.plan(&shop.line(), Plan::LoseAnswer);
    shop.plan_look_up(Plan::FailBefore);
    assert_eq!(cancel(&shop.app, shop.payment, &shop.minsu).await.status, 202);
    let due = "update sugang.payment_attempts set reconcile_at = clock_timestamp() where reconcile_at is not null";
    shop.app.run(due, &[]).await;
    assert_eq!(crate::toss::sweep(&shop.app).await.json()["refunds"], 0);
    assert_eq!(
        shop.books().await,
        ("cancelled".to_owned(), vec!["done 45000.00".to_owned()])
    );
    shop.assert_books(45_000, 0).await;
}

/// Toss's own id of what it has given back last.
async fn id_of_last_refund(shop: &Shop) -> String {
    let url = format!("{}/v1/payments/orders/{}", shop.gateway.url(), shop.reference);
    let request = reqwest::Client::new().get(url).basic_auth(TOSS_SECRET, Some(""));
    let text = request
        .send()
        .await
        .expect("Toss answers")
        .text()
        .await
        .expect("a payment");
    let shown: Value = serde_json::from_str(&text).expect("JSON");
    let last = shown["cancels"].as_array().and_then(|cancels| cancels.last());
    last.expect("a cancellation")["transactionKey"]
        .as_str()
        .expect("an id")
        .to_owned()
}

/// Our books have a refund that Toss has not made. No look-up explains it, so the audit names the payment until one does.
#[tokio::test]
async fn a_difference_that_no_refund_explains_stays_visible() {
    let shop = Shop::open(At::Toss, EXAM).await;
    let noted = "insert into sugang.refunds (payment_id, amount, status, reason, gateway_id)
                 values ($1, 5000, 'done', 'by hand', 'not known yet')";
    shop.app.run(noted, &[&shop.payment]).await;
    assert_audit(&shop.app).await;
    for _ in 0..2 {
        shop.reconcile().await;
        let found = audit(&shop.app).await;
        let found: Vec<_> = found.iter().map(|found| (found.check.as_str(), &found.ids)).collect();
        assert_eq!(found, [("gateway_books", &vec![shop.payment.to_string()])]);
    }
    // It is made in Toss's console, and its id is noted.
    shop.give_back_in_console(5_000);
    let id = id_of_last_refund(&shop).await;
    let named = "update sugang.refunds set gateway_id = $1 where reason = 'by hand'";
    shop.app.run(named, &[&id]).await;
    shop.reconcile().await;
    assert_eq!(shop.books().await.1, ["done 5000.00"]);
    shop.assert_books(5_000, 1).await;
}

/// What the gateway refuses, an operator gives back by a transfer or in the gateway's own console, and notes it. Last, the
/// negative control: the gateway has given back another sum than either.
#[rstest]
#[case::by_a_transfer(0, &[])]
#[case::in_the_console(45_000, &[])]
#[case::otherwise(5_000, &["gateway_books"])]
#[tokio::test]
async fn what_an_operator_has_noted_is_no_difference(#[case] in_console: i64, #[case] expected: &[&str]) {
    let shop = Shop::open(At::Toss, EXAM).await;
    let operator = operator(&shop.app).await;
    for statement in [
        "update payments set status = 'cancelled'",
        "update sugang.refunds set code = 'EXCEED_MAX_REFUND_DUE', due_at = null",
    ] {
        shop.app.run(statement, &[]).await;
    }
    let note = json!({"reference": "bank-1"});
    let noted = shop
        .app
        .post("/api/operator/orders/1/refund/")
        .by(&operator)
        .json(&note);
    assert_eq!(noted.await.json()["refund"]["status"], "done");
    if in_console > 0 {
        shop.give_back_in_console(in_console);
    }
    for _ in 0..2 {
        assert_eq!(shop.reconcile().await["reconciled"], 1);
        let found = audit(&shop.app).await;
        let found: Vec<_> = found.iter().map(|found| found.check.as_str()).collect();
        assert_eq!(found, expected);
    }
}

/// The answer to a look-up from before a refund does not have it, and is no difference.
#[tokio::test]
async fn an_older_answer_is_no_difference() {
    let shop = Shop::open(At::Toss, EXAM).await;
    let asked_at: String = shop.app.one("select clock_timestamp()::text", &[]).await;
    assert_eq!(cancel(&shop.app, shop.payment, &shop.minsu).await.status, 200);
    let settle =
        "select outcome::text from sugang.reconcile_payment('reconcile_payment', $1, $2, null, null, '[]', 'r')";
    shop.app.one::<String>(settle, &[&shop.payment, &asked_at]).await;
    assert_audit(&shop.app).await;
    // The negative control: an answer from after it that does not show it.
    let asked_at: String = shop.app.one("select clock_timestamp()::text", &[]).await;
    shop.app.one::<String>(settle, &[&shop.payment, &asked_at]).await;
    let found = audit(&shop.app).await;
    assert!(found.iter().any(|found| found.check == "gateway_books"), "{found:?}");
}
