//! What was given back in the gateway's own console.

use rstest::rstest;
use serde_json::json;
use sugang_tests::{COURSE, EXAM, Kind, Plan};

use super::shop::{At, Shop};
use crate::support::{cancel, operator};

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
