//! Refunds at once, and sent again: the sum never exceeds what was paid. With negative controls.

use std::future::IntoFuture;

use futures::future::{join, join_all};
use rstest::rstest;
use serde_json::json;
use sugang_tests::{EXAM, Plan};
use tokio::time::{Duration, sleep};

use super::shop::{At, Shop};
use crate::support::{cancel, operator, refund, tally};

async fn cancel_ten_times(shop: &Shop) -> Vec<(u16, usize)> {
    shop.gateway.plan(&shop.line(), Plan::AnswerLate(300));
    let cancels = (0..10).map(|_| cancel(&shop.app, shop.payment, &shop.minsu).into_future());
    tally(&join_all(cancels).await)
}

#[rstest]
#[tokio::test]
async fn ten_equal_cancels_are_sent_once(#[values(At::Toss, At::KakaoPay, At::Stripe)] at: At) {
    let shop = Shop::open(at, EXAM).await;
    let statuses = cancel_ten_times(&shop).await;
    // 409 is the lock of the payment in Redis.
    assert!(
        statuses.iter().all(|(status, _)| [200, 202, 409].contains(status)),
        "{statuses:?}"
    );
    assert_eq!(shop.asked(), 1);
    shop.assert_books(45_000, 0).await;
}

/// Takes out what keeps two refunds of a payment apart: that the first is a row before anything is sent, which the payment
/// adds up.
async fn forget_what_is_under_way(shop: &Shop) {
    shop.app
        .database()
        .batch_execute(
            "drop index sugang.refunds_one_sent;
             alter table payments drop constraint payments_partly_refunded_known;
             alter table sugang.refunds disable trigger sugang_refund_made;
             create or replace function sugang.refund_under_way(p_payment bigint) returns sugang.refunds
             language sql stable as 'select null::sugang.refunds'",
        )
        .await
        .expect("the guards have these names");
}

/// The negative control: no request sees the row of another.
#[tokio::test]
async fn without_the_row_equal_cancels_are_sent_again() {
    let shop = Shop::open(At::Toss, EXAM).await;
    forget_what_is_under_way(&shop).await;
    shop.gateway.plan(&shop.line(), Plan::AnswerLate(2_000));
    let first = cancel(&shop.app, shop.payment, &shop.minsu).into_future();
    join(first, async {
        // The lock in Redis, which only reduces contention, is free by then.
        while shop.asked() == 0 {
            sleep(Duration::from_millis(20)).await;
        }
        cancel(&shop.app, shop.payment, &shop.minsu).await;
    })
    .await;
    assert!(shop.asked() > 0, "the test would not see a refund that is sent twice");
}

async fn refund_ten_times(shop: &Shop) -> usize {
    let operator = operator(&shop.app).await;
    let part = json!({"amount": "10000", "reason": "교재 불량"});
    for _ in 0..3 {
        join_all((0..10).map(|_| refund(&shop.app, shop.payment, &operator, &part).into_future())).await;
    }
    shop.asked()
}

#[rstest]
#[tokio::test]
async fn partial_refunds_at_once_never_exceed_the_payment(#[values(At::Toss, At::KakaoPay, At::Stripe)] at: At) {
    let shop = Shop::open(at, EXAM).await;
    let asked = refund_ten_times(&shop).await;
    assert!((1..=4).contains(&asked), "{asked}");
    shop.assert_books(asked as i64 * 10_000, 1).await;
}

/// The negative control: the gateway alone keeps the sum.
#[tokio::test]
async fn without_the_sum_the_gateway_is_asked_for_too_much() {
    let shop = Shop::open(At::Toss, EXAM).await;
    forget_what_is_under_way(&shop).await;
    assert!(
        refund_ten_times(&shop).await > 4,
        "the test would not see too large a sum"
    );
}

/// A request that arrives after its refund was sent again.
async fn send_again_while_the_first_is_under_way(shop: &Shop) {
    let operator = operator(&shop.app).await;
    shop.gateway.plan(&shop.line(), Plan::ArriveLate(6_000));
    let part = json!({"amount": "10000", "reason": "교재 불량"});
    assert_eq!(refund(&shop.app, shop.payment, &operator, &part).await.status, 202);
    shop.sweep().await;
    sleep(Duration::from_secs(6)).await;
    assert_eq!(shop.asked(), 2);
}

#[rstest]
#[tokio::test]
async fn a_refund_that_is_sent_again_has_the_same_key(#[values(At::Toss, At::Stripe)] at: At) {
    let shop = Shop::open(at, EXAM).await;
    send_again_while_the_first_is_under_way(&shop).await;
    shop.assert_books(10_000, 1).await;
}

/// The negative control: another key for each try.
#[rstest]
#[tokio::test]
async fn with_a_fresh_key_it_is_given_back_twice(#[values(At::Toss, At::Stripe)] at: At) {
    let shop = Shop::open(at, EXAM).await;
    let rule = "coalesce(idempotency_key, sugang.new_reference())";
    shop.without("do_settle_refund", rule, "sugang.new_reference()").await;
    send_again_while_the_first_is_under_way(&shop).await;
    assert_eq!(
        shop.given(),
        20_000,
        "the test would not see a refund that is made twice"
    );
}

/// KakaoPay knows no keys.
#[tokio::test]
async fn a_refund_that_is_sent_again_says_how_much_can_be_given_back() {
    let shop = Shop::open(At::KakaoPay, EXAM).await;
    send_again_while_the_first_is_under_way(&shop).await;
    shop.assert_books(10_000, 1).await;
}

/// The negative control: a gateway that does not compare that.
#[tokio::test]
async fn without_the_comparison_it_is_given_back_twice() {
    let shop = Shop::open(At::KakaoPay, EXAM).await;
    shop.gateway.be_careless_at_kakaopay();
    send_again_while_the_first_is_under_way(&shop).await;
    assert_eq!(
        shop.given(),
        20_000,
        "the test would not see a refund that is made twice"
    );
}

/// A part whose answer and look-up are lost, at a KakaoPay that refuses no second one. The sweep looks after it.
async fn lose_what_is_executed(shop: &Shop) {
    let operator = operator(&shop.app).await;
    shop.gateway.be_careless_at_kakaopay();
    shop.gateway.plan(&shop.line(), Plan::LoseAnswer);
    shop.plan_look_up(Plan::FailBefore);
    let part = json!({"amount": "10000", "reason": "교재 불량"});
    assert_eq!(refund(&shop.app, shop.payment, &operator, &part).await.status, 202);
    shop.sweep().await;
}

#[tokio::test]
async fn what_a_look_up_shows_is_not_sent_again() {
    let shop = Shop::open(At::KakaoPay, EXAM).await;
    lose_what_is_executed(&shop).await;
    assert_eq!(shop.asked(), 1);
    shop.assert_books(10_000, 1).await;
}

/// The negative control: it is sent again without a look at what was given back.
#[tokio::test]
async fn without_the_look_up_it_is_given_back_twice() {
    let shop = Shop::open(At::KakaoPay, EXAM).await;
    let rule = "own_state := sugang.note_refunds(p_payment, p_refund, coalesce(p_facts -> 'refunds', '[]'))";
    let blind = "own_state := sugang.note_refunds(p_payment, p_refund, '[]')";
    shop.without("do_settle_refund", rule, blind).await;
    lose_what_is_executed(&shop).await;
    assert_eq!(
        shop.given(),
        20_000,
        "the test would not see a refund that is made twice"
    );
}
