//! What was given back in the gateway's own console.

use rstest::rstest;
use serde_json::{Value, json};
use sugang_tests::{COURSE, EXAM, Kind, Plan, TOSS_SECRET};

use super::shop::{At, Shop};
use crate::{
    storm::{assert_audit, audit},
    support::{cancel, operator},
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
    let noted = "insert into sugang.refunds (payment_id, amount, status, reason, reference)
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
    let named = "update sugang.refunds set reference = $1 where reason = 'by hand'";
    shop.app.run(named, &[&id]).await;
    shop.reconcile().await;
    assert_eq!(shop.books().await.1, ["done 5000.00"]);
    shop.assert_books(5_000, 1).await;
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
