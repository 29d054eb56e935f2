//! What only Stripe does: a refund may be under way for days, and fail after it was done.

use serde_json::{Value, json};
use sugang_tests::{EXAM, Return};

use super::shop::{At, Shop, status};
use crate::{
    storm::audit,
    support::{cancel, operator, refund},
};

/// Delivers what Stripe tells, and has the sweep look it up.
async fn deliver(shop: &Shop) {
    let events = shop.gateway.events();
    assert!(!events.is_empty());
    for event in events {
        assert_eq!(event.deliver(&shop.app.base).await, Some(200));
    }
    let looked_up = "select not exists (select from sugang.gateway_events where status = 'due')";
    while !shop.app.one::<bool>(looked_up, &[]).await {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    crate::toss::sweep(&shop.app).await;
}

/// A refund of the whole that is pending at Stripe.
async fn pending() -> Shop {
    let shop = Shop::open(At::Stripe, EXAM).await;
    shop.gateway.return_at_stripe(Return::Pending);
    assert_eq!(cancel(&shop.app, shop.payment, &shop.minsu).await.status, 202);
    for _ in 0..2 {
        shop.sweep().await;
        assert_eq!(
            shop.books().await,
            ("paid".to_owned(), vec!["sent 45000.00".to_owned()])
        );
    }
    assert_eq!(shop.asked(), 1, "what is pending is not sent again");
    shop.assert_books(0, 1).await;
    shop
}

#[tokio::test]
async fn what_is_pending_is_done_later() {
    let shop = pending().await;
    shop.gateway.end_refund_at_stripe(&shop.reference, Return::Done);
    deliver(&shop).await;
    assert_eq!(
        shop.books().await,
        ("cancelled".to_owned(), vec!["done 45000.00".to_owned()])
    );
    shop.assert_books(45_000, 0).await;
}

#[tokio::test]
async fn what_is_pending_may_fail() {
    let shop = pending().await;
    shop.gateway.end_refund_at_stripe(&shop.reference, Return::Failed);
    shop.sweep().await;
    assert_eq!(
        shop.books().await,
        ("paid".to_owned(), vec!["refused 45000.00".to_owned()])
    );
    shop.assert_books(0, 1).await;
}

/// The bank returns a part: the user has as much to get back as before.
#[tokio::test]
async fn a_part_that_fails_after_it_was_done_was_not_given_back() {
    let shop = Shop::open(At::Stripe, EXAM).await;
    let operator = operator(&shop.app).await;
    let part = json!({"amount": "10000", "reason": "교재 불량"});
    assert_eq!(refund(&shop.app, shop.payment, &operator, &part).await.status, 200);
    shop.assert_books(10_000, 1).await;
    shop.gateway.end_refund_at_stripe(&shop.reference, Return::Failed);
    deliver(&shop).await;
    assert_eq!(
        shop.books().await,
        ("paid".to_owned(), vec!["refused 10000.00".to_owned()])
    );
    shop.assert_books(0, 1).await;
    let whole = refund(&shop.app, shop.payment, &operator, &json!({"reason": "폐강"})).await;
    assert_eq!(
        (whole.status.as_u16(), &whole.json()["amount"]),
        (200, &json!("45000.00")),
        "{whole:?}"
    );
    shop.assert_books(45_000, 0).await;
}

/// The payment has ended: what comes back is owed again, and a person decides how it is given back.
#[tokio::test]
async fn a_refund_that_fails_after_the_payment_has_ended_is_owed_again() {
    let shop = Shop::open(At::Stripe, EXAM).await;
    let operator = operator(&shop.app).await;
    assert_eq!(cancel(&shop.app, shop.payment, &shop.minsu).await.status, 200);
    shop.gateway.end_refund_at_stripe(&shop.reference, Return::Failed);
    for _ in 0..2 {
        deliver_again(&shop).await;
        assert_eq!(
            shop.books().await,
            (
                "cancelled".to_owned(),
                vec!["refused 45000.00".to_owned(), "requested 45000.00".to_owned()]
            )
        );
        shop.assert_money(0, 0).await;
    }
    let findings: Vec<_> = audit(&shop.app).await.into_iter().map(|found| found.check).collect();
    assert_eq!(findings, ["refund_waits_for_a_person"]);
    let order = shop.app.get("/orders/1/").by(&shop.minsu).await;
    let expected = json!({"amount": "45000.00", "status": "requested", "code": "FAILED"});
    assert_eq!(order.json()["refund"], expected, "{order:?}");
    let swept: Value = shop.sweep().await;
    assert_eq!(
        (&swept["refunds"], &swept["refunds_waiting"]),
        (&json!(0), &json!(1)),
        "it is not sent by itself"
    );
    let again = refund(&shop.app, shop.payment, &operator, &json!({"reason": "다시"})).await;
    assert_eq!(status(&again), (200, ""), "{again:?}");
    assert_eq!(
        shop.books().await.1,
        ["refused 45000.00", "done 45000.00"],
        "it is sent with another key"
    );
    shop.assert_books(45_000, 0).await;
}

/// Delivers what Stripe tells; or has the sweep look it up once more, if that was delivered before.
async fn deliver_again(shop: &Shop) {
    let events = shop.gateway.events();
    for event in &events {
        assert_eq!(event.deliver(&shop.app.base).await, Some(200));
    }
    shop.reconcile().await;
}
