//! What only KakaoPay does: it may return nothing of ours in its look-ups, and none of its codes proves anything.

use serde_json::json;
use sugang_tests::{EXAM, Plan};

use super::shop::{At, Shop, status};
use crate::support::{cancel, operator, refund};

/// A shop whose KakaoPay shows refunds without the payload.
async fn terse() -> Shop {
    let shop = Shop::open(At::KakaoPay, EXAM).await;
    shop.gateway.be_terse_at_kakaopay();
    shop
}

#[tokio::test]
async fn without_a_payload_the_amount_tells() {
    let shop = terse().await;
    shop.gateway.plan(&shop.line(), Plan::LoseAnswer);
    let cancelled = cancel(&shop.app, shop.payment, &shop.minsu).await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    assert_eq!(shop.asked(), 1);
    shop.reconcile().await;
    assert_eq!(shop.books().await.1, ["done 45000.00"]);
    shop.assert_books(45_000, 0).await;
}

/// A part that is lost on its way, after as much was given back in the console.
async fn lose_a_part_after_an_equal_one(shop: &Shop) {
    let operator = operator(&shop.app).await;
    shop.give_back_in_console(10_000);
    shop.gateway.plan(&shop.line(), Plan::LoseRequest);
    let part = json!({"amount": "10000", "reason": "교재 불량"});
    refund(&shop.app, shop.payment, &operator, &part).await;
    shop.sweep().await;
}

#[tokio::test]
async fn what_was_shown_before_is_not_ours() {
    let shop = terse().await;
    lose_a_part_after_an_equal_one(&shop).await;
    let mut refunds = shop.books().await.1;
    refunds.sort();
    assert_eq!(refunds, ["done 10000.00", "external 10000.00"]);
    shop.assert_books(20_000, 1).await;
}

/// The negative control: it is not looked up before it is sent.
#[tokio::test]
async fn without_the_first_look_up_the_other_is_taken_for_ours() {
    let shop = terse().await;
    shop.without("may_lack_key", "= 'kakaopay'", "= ''").await;
    lose_a_part_after_an_equal_one(&shop).await;
    assert_eq!(
        shop.given(),
        10_000,
        "the test would not see a refund that is never made"
    );
}

/// Nothing is sent while it is not clear what was given back before.
#[tokio::test]
async fn it_is_not_sent_before_it_is_looked_up() {
    let shop = Shop::open(At::KakaoPay, EXAM).await;
    shop.gateway.plan(At::KakaoPay.look_up(), Plan::FailBefore);
    assert_eq!(cancel(&shop.app, shop.payment, &shop.minsu).await.status, 202);
    assert_eq!(shop.asked(), 0);
    shop.assert_books(0, 1).await;
    shop.sweep().await;
    assert_eq!(shop.asked(), 1);
    shop.assert_books(45_000, 0).await;
}

/// One refusal proves nothing. The second one, after a look-up that shows nothing, does.
#[tokio::test]
async fn a_refusal_counts_once_it_is_repeated() {
    let shop = Shop::open(At::KakaoPay, EXAM).await;
    shop.gateway.refuse_at_kakaopay("USER_LOCKED");
    let first = cancel(&shop.app, shop.payment, &shop.minsu).await;
    assert_eq!(first.status, 202, "{first:?}");
    shop.gateway.refuse_at_kakaopay("USER_LOCKED");
    shop.sweep().await;
    let code = "select code from sugang.refunds";
    assert_eq!(shop.app.one::<String>(code, &[]).await, "USER_LOCKED");
    assert_eq!(
        shop.books().await,
        ("paid".to_owned(), vec!["refused 45000.00".to_owned()])
    );
    shop.assert_books(0, 1).await;
    let again = cancel(&shop.app, shop.payment, &shop.minsu).await;
    assert_eq!(status(&again), (200, ""), "{again:?}");
    shop.assert_books(45_000, 0).await;
}
