//! `GET /api/operator/orders/`, and what operators do with an order.

use std::future::IntoFuture;

use futures::future::join;
use rstest::rstest;
use serde_json::{Value, json};
use sugang_tests::{COURSE, EXAM, Item, Kind, assert_answer};

use crate::{
    storm::assert_audit,
    support::{approve, cancel_order, confirm, operator, ordered, paid, preorder, register, shop, tally},
};

#[rstest]
#[tokio::test]
async fn confirms_what_has_arrived(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let (operator, minsu) = (operator(&app).await, app.user("minsu").await);
    let id = app.add(kind, Item::default()).await;
    let order = ordered(&preorder(&app, kind, id, &minsu).await);
    approve(&app, order, &minsu).await;

    let answer = confirm(&app, order, &operator).header("idempotency-key", "key").await;

    assert_answer!(answer.says("item_type", kind.payment_type), @r#"
    {
      "status": "200 OK",
      "body": {
        "amount": "45000.00",
        "attempts": [
          {
            "captured": "45000.00",
            "code": null,
            "created_at": "[now]",
            "ended_at": "[now]",
            "gateway": "manual",
            "gateway_key": "bank-1",
            "id": 1,
            "payment_id": 1,
            "reference": "[reference]",
            "refunds": [],
            "status": "captured"
          }
        ],
        "created_at": "[now]",
        "declined_code": null,
        "deposit": {
          "account": "국민은행 123456-01-123456",
          "amount": "45000.00",
          "due_at": "[in 4320 min]"
        },
        "email": "minsu@example.com",
        "ended_at": "[now]",
        "expires_at": "[in 4320 min]",
        "gateway": "manual",
        "id": 1,
        "item_id": 1,
        "item_type": "[text]",
        "now": "[now]",
        "payment_id": 1,
        "payment_method": "bank_transfer",
        "reference": "[reference]",
        "refund": null,
        "registration_id": 1,
        "status": "paid",
        "title": "정보처리기사 실기",
        "user_id": 2,
        "window": null
      }
    }
    "#);
    let again = confirm(&app, order, &operator).header("idempotency-key", "key").await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_answer!(confirm(&app, order, &operator).await, @r#"
    {
      "status": "409 Conflict",
      "body": {
        "code": "already_paid",
        "error": "이미 결제되었습니다",
        "request_id": "[request id]"
      }
    }
    "#);
    let item = app.get(kind.item(id)).by(&minsu).await;
    assert_eq!(item.json()["is_registered"], true);
    let payment = app.get("/me/payments/1/").by(&minsu).await;
    assert_eq!(
        (&payment.json()["status"], &payment.json()["payment_method"]),
        (&json!("paid"), &json!("bank_transfer"))
    );
    let external: String = app.one("select external_transaction_id from payments", &[]).await;
    assert_eq!(external, "bank-1");
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn another_amount_is_not_confirmed(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let (operator, minsu) = (operator(&app).await, app.user("minsu").await);
    let id = app.add(kind, Item::default()).await;
    let order = ordered(&preorder(&app, kind, id, &minsu).await);
    let body = json!({"amount": "44000.00", "reference": "bank-1", "reason": "입금 확인"});
    let answer = app
        .post(format!("/api/operator/orders/{order}/confirm/"))
        .by(&operator)
        .json(&body)
        .await;
    assert_answer!(answer.says("error", kind.says.amount_mismatch[0]), @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "amount_mismatch",
        "error": "[text]",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_eq!(confirm(&app, 99, &operator).await.code(), "not_found");
}

#[rstest]
#[tokio::test]
async fn a_reference_stands_for_one_deposit(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let operator = operator(&app).await;
    let id = app.add(kind, Item::default()).await;
    let mut orders = Vec::new();
    for name in ["minsu", "jiyoung", "sora", "hana"] {
        let user = app.user(name).await;
        orders.push(ordered(&preorder(&app, kind, id, &user).await));
    }
    let confirm = |order: i64, reference: &str| {
        let body = json!({"amount": "45000.00", "reference": reference, "reason": "입금 확인"});
        app.post(format!("/api/operator/orders/{order}/confirm/"))
            .by(&operator)
            .json(&body)
    };
    assert_eq!(confirm(orders[0], "입금 1").await.json()["status"], "paid");
    let again = confirm(orders[1], "입금 1").header("idempotency-key", "key").await;
    assert_answer!(again, @r#"
    {
      "status": "409 Conflict",
      "body": {
        "code": "reference_used",
        "error": "다른 주문의 입금에 사용된 거래 번호입니다",
        "request_id": "[request id]"
      }
    }
    "#);
    let corrected = confirm(orders[1], "입금 2").header("idempotency-key", "key").await;
    assert_eq!(corrected.json()["status"], "paid", "{corrected:?}");
    // As the key of a payment window, which the gateway `manual` does not have, it means nothing.
    let path = format!("/orders/{}/approve/", orders[2]);
    let sora = app.known_user(4, "sora");
    let approved = app.post(path).by(&sora).json(&json!({"payment_key": "입금 2"})).await;
    assert_eq!(approved.status, 202, "{approved:?}");

    let both = join(
        confirm(orders[2], "입금 3").into_future(),
        confirm(orders[3], "입금 3").into_future(),
    );
    let (first, second) = both.await;
    let refused = if first.status == 200 { &second } else { &first };
    assert_eq!(tally(&[first.clone(), second.clone()]), [(200, 1), (409, 1)]);
    assert_eq!(refused.code(), "reference_used");
    assert_audit(&app).await;
}

/// A deposit that comes after the order has ended gets a free seat.
#[rstest]
#[tokio::test]
async fn late_money_gets_a_free_seat(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let (operator, minsu) = (operator(&app).await, app.user("minsu").await);
    let capacity = Some(1);
    let id = app
        .add(
            kind,
            Item {
                capacity,
                ..Item::default()
            },
        )
        .await;
    let order = ordered(&preorder(&app, kind, id, &minsu).await);
    cancel_order(&app, order, &minsu).await;
    assert_eq!(confirm(&app, order, &operator).await.json()["status"], "paid");
    assert_audit(&app).await;
}

/// Without a seat, it is owed back, in the same statement, until an operator has sent it.
#[rstest]
#[tokio::test]
async fn late_money_without_a_seat_is_owed_back(
    #[values(EXAM, COURSE)] kind: Kind,
    #[values("full", "registered", "over")] why: &str,
) {
    let app = shop().await;
    let (operator, minsu, jiyoung) = (operator(&app).await, app.user("minsu").await, app.user("jiyoung").await);
    let capacity = Some(1);
    let id = app
        .add(
            kind,
            Item {
                capacity,
                ..Item::default()
            },
        )
        .await;
    let order = ordered(&preorder(&app, kind, id, &minsu).await);
    cancel_order(&app, order, &minsu).await;
    match why {
        "full" => _ = paid(&register(&app, kind, id, &jiyoung).await),
        "registered" => _ = paid(&register(&app, kind, id, &minsu).await),
        _ => {
            let over = format!("update {} set end_at = now() - interval '1 s'", kind.items);
            app.run(&over, &[]).await;
        }
    }
    let answer = confirm(&app, order, &operator).await;
    assert_eq!(
        (&answer.json()["status"], &answer.json()["refund"]),
        (
            &json!("refund_due"),
            &json!({"amount": "45000.00", "status": "requested", "code": null})
        )
    );
    assert_audit(&app).await;
    assert_eq!(confirm(&app, order, &operator).await.code(), "order_ended");

    let back = || {
        let path = format!("/api/operator/orders/{order}/refund/");
        app.post(path).by(&operator).json(&json!({"reference": "bank-back"}))
    };
    assert_eq!(
        back().await.json()["refund"],
        json!({"amount": "45000.00", "status": "done", "code": null})
    );
    assert_answer!(back().await, @r#"
    {
      "status": "409 Conflict",
      "body": {
        "code": "no_refund_due",
        "error": "환불할 금액이 없습니다",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn cancels_the_order_of_any_user(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let (operator, minsu) = (operator(&app).await, app.user("minsu").await);
    let id = app.add(kind, Item::default()).await;
    let order = ordered(&preorder(&app, kind, id, &minsu).await);
    approve(&app, order, &minsu).await;
    let path = format!("/api/operator/orders/{order}/cancel/");
    let cancel = || app.post(&path).by(&operator).json(&json!({"reason": "전화 요청"}));
    assert_eq!(cancel().await.json()["status"], "cancelled");
    assert_eq!(cancel().await.code(), "order_ended");
    let actor: i64 = app
        .one("select actor_id from sugang.audit_log order by id desc limit 1", &[])
        .await;
    assert_eq!(actor, operator.id);
    assert_audit(&app).await;
}

#[tokio::test]
async fn lists_the_orders_of_all_users() {
    let app = shop().await;
    let operator = operator(&app).await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    for kind in [EXAM, COURSE] {
        let id = app.add(kind, Item::default()).await;
        preorder(&app, kind, id, &minsu).await;
    }
    preorder(&app, EXAM, 1, &jiyoung).await;
    cancel_order(&app, 1, &minsu).await;
    let ids = async |query: &str| {
        let answer = app.get(format!("/api/operator/orders/?{query}")).by(&operator).await;
        let orders = answer.json()["results"].as_array().expect("a list").iter();
        json!([
            answer.json()["count"],
            orders.map(|order| order["id"].clone()).collect::<Vec<Value>>()
        ])
    };
    for (query, expected) in [
        (String::new(), json!([3, [3, 2, 1]])),
        (format!("user={}", minsu.id), json!([2, [2, 1]])),
        ("email=JIYOUNG@example.com".into(), json!([1, [3]])),
        (format!("email=jiyoung@example.com&user={}", minsu.id), json!([0, []])),
        ("status=held&item_type=test".into(), json!([1, [3]])),
        ("item=1&item_type=course".into(), json!([1, [2]])),
        ("from=2020-01-01&to=2020-01-02".into(), json!([0, []])),
    ] {
        assert_eq!(ids(&query).await, expected, "{query}");
    }
    assert_answer!(app.get("/api/operator/orders/?item_type=course").by(&operator).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "count": 1,
        "next": null,
        "previous": null,
        "results": [
          {
            "amount": "45000.00",
            "attempts": [
              {
                "captured": null,
                "code": null,
                "created_at": "[now]",
                "ended_at": null,
                "gateway": "manual",
                "gateway_key": null,
                "id": 2,
                "payment_id": null,
                "reference": "[reference]",
                "refunds": [],
                "status": "open"
              }
            ],
            "created_at": "[now]",
            "declined_code": null,
            "deposit": null,
            "email": "minsu@example.com",
            "ended_at": null,
            "expires_at": "[in 10 min]",
            "gateway": "manual",
            "id": 2,
            "item_id": 1,
            "item_type": "course",
            "now": "[now]",
            "payment_id": null,
            "payment_method": "bank_transfer",
            "reference": "[reference]",
            "refund": null,
            "registration_id": null,
            "status": "held",
            "title": "정보처리기사 실기",
            "user_id": 2,
            "window": null
          }
        ]
      }
    }
    "#);
}
