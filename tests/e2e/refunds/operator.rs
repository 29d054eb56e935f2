//! What operators give back over a gateway: in whole, in part, or with a registration.

use rstest::rstest;
use serde_json::json;
use sugang_tests::{COURSE, EXAM, Kind, Plan, assert_answer};

use super::shop::{At, Shop, status};
use crate::support::{operator, refund};

#[rstest]
#[tokio::test]
async fn parts_add_up_to_the_whole(
    #[values(At::Toss, At::KakaoPay, At::Stripe)] at: At,
    #[values(EXAM, COURSE)] kind: Kind,
) {
    let shop = Shop::open(at, kind).await;
    let operator = operator(&shop.app).await;
    let part = json!({"amount": "10000", "reason": "교재 불량"});
    let first = refund(&shop.app, shop.payment, &operator, &part).await;
    assert_answer!(first, @r#"
    {
      "status": "200 OK",
      "body": {
        "amount": "10000.00",
        "left": "35000.00",
        "payment_id": 1,
        "refund_id": 1
      }
    }
    "#);
    shop.assert_books(10_000, 1).await;
    let too_much = json!({"amount": "35000.01", "reason": "교재 불량"});
    let refused = refund(&shop.app, shop.payment, &operator, &too_much).await;
    assert_eq!(status(&refused), (409, "refund_too_large"));
    let rest = refund(&shop.app, shop.payment, &operator, &json!({"reason": "폐강"})).await;
    assert_eq!(
        (rest.status.as_u16(), &rest.json()["left"]),
        (200, &json!("0.00")),
        "{rest:?}"
    );
    assert_eq!(shop.asked(), 2);
    shop.assert_books(45_000, 0).await;
}

#[rstest]
#[tokio::test]
async fn one_is_under_way_at_a_time(#[values(At::Toss, At::KakaoPay, At::Stripe)] at: At) {
    let shop = Shop::open(at, EXAM).await;
    let operator = operator(&shop.app).await;
    shop.gateway.plan(&shop.line(), Plan::LoseRequest);
    let part = json!({"amount": "10000", "reason": "교재 불량"});
    let first = refund(&shop.app, shop.payment, &operator, &part).await;
    assert_answer!(first, @r#"
    {
      "status": "202 Accepted",
      "body": {
        "amount": "10000.00",
        "message": "환불을 확인하고 있습니다",
        "payment_id": 1,
        "refund_id": 1,
        "status": "sent"
      }
    }
    "#);
    let second = refund(&shop.app, shop.payment, &operator, &part).await;
    assert_eq!(status(&second), (409, "refund_in_progress"));
    shop.sweep().await;
    assert_eq!(shop.asked(), 2);
    shop.assert_books(10_000, 1).await;
}

#[rstest]
#[tokio::test]
async fn a_registration_is_cancelled_once_the_money_is_back(
    #[values(At::Toss, At::KakaoPay, At::Stripe)] at: At,
    #[values(EXAM, COURSE)] kind: Kind,
) {
    let shop = Shop::open(at, kind).await;
    let operator = operator(&shop.app).await;
    shop.gateway.plan(&shop.line(), Plan::FailBefore);
    let path = format!("/api/operator{}registrations/1/cancel/", kind.item(shop.item));
    let body = json!({"refund": "all", "reason": "폐강"});
    let send = || {
        let call = shop.app.post(&path).by(&operator).json(&body);
        call.header("idempotency-key", "cancel-1")
    };
    assert_eq!(send().await.status, 202);
    shop.assert_books(0, 1).await;
    shop.sweep().await;
    let known = send().await;
    assert_eq!(known.status, 200, "{known:?}");
    let body = known.json();
    assert_eq!(
        [&body["registration"]["status"], &body["refunded"], &body["kept"]],
        ["cancelled", "45000.00", "0.00"]
    );
    shop.assert_books(45_000, 0).await;
}

#[rstest]
#[tokio::test]
async fn a_gateway_gives_back_whole_won(#[values(At::Toss, At::KakaoPay, At::Stripe)] at: At) {
    let shop = Shop::open(at, EXAM).await;
    let operator = operator(&shop.app).await;
    let part = json!({"amount": "100.50", "reason": "교재 불량"});
    let refused = refund(&shop.app, shop.payment, &operator, &part).await;
    assert_eq!(status(&refused), (409, "refund_declined"));
    assert_eq!(refused.json()["reason"], "fraction_of_a_won");
    assert_eq!(shop.asked(), 0);
    shop.assert_books(0, 1).await;
}

#[rstest]
#[tokio::test]
async fn the_user_may_keep_the_seat(#[values(At::Toss, At::KakaoPay, At::Stripe)] at: At) {
    let shop = Shop::open(at, EXAM).await;
    let operator = operator(&shop.app).await;
    let all = json!({"reason": "사과", "keep_registration": true});
    assert_eq!(refund(&shop.app, shop.payment, &operator, &all).await.status, 200);
    assert_eq!(shop.books().await.0, "cancelled");
    shop.assert_books(45_000, 1).await;
}
