//! `POST /orders/{id}/approve/`, with the gateway `manual`.

use rstest::rstest;
use serde_json::json;
use sugang_tests::{COURSE, EXAM, Item, Kind, assert_answer};

use crate::{
    storm::assert_audit,
    support::{approve, let_expire, operator, ordered, paid, preorder, register, shop},
};

#[rstest]
#[tokio::test]
async fn tells_what_to_pay_in_where_and_by_when(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let order = ordered(&preorder(&app, kind, id, &minsu).await);

    let answer = approve(&app, order, &minsu).await;

    assert_answer!(answer.says("item_type", kind.payment_type), @r#"
    {
      "status": "202 Accepted",
      "body": {
        "amount": "45000.00",
        "created_at": "[now]",
        "declined_code": null,
        "deposit": {
          "account": "국민은행 123456-01-123456",
          "amount": "45000.00",
          "due_at": "[in 4320 min]"
        },
        "ended_at": null,
        "expires_at": "[in 4320 min]",
        "gateway": "manual",
        "id": 1,
        "item_id": 1,
        "item_type": "[text]",
        "now": "[now]",
        "payment_id": null,
        "payment_method": "bank_transfer",
        "reference": "[reference]",
        "refund": null,
        "registration_id": null,
        "status": "awaiting_deposit",
        "title": "정보처리기사 실기",
        "window": null
      }
    }
    "#);
    let again = approve(&app, order, &minsu).await;
    assert_eq!(
        (again.status.as_u16(), &again.json()["status"]),
        (202, &json!("awaiting_deposit"))
    );
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn another_amount_is_refused(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let order = ordered(&preorder(&app, kind, id, &minsu).await);
    let answer = approve(&app, order, &minsu).json(&json!({"amount": "44999.00"})).await;
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
    assert_eq!(
        approve(&app, order, &minsu)
            .json(&json!({"amount": 45000}))
            .await
            .status,
        202
    );
}

#[rstest]
#[tokio::test]
async fn only_an_order_of_ones_own(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    let id = app.add(kind, Item::default()).await;
    let order = ordered(&preorder(&app, kind, id, &minsu).await);
    for order in [order, 99] {
        assert_eq!(approve(&app, order, &jiyoung).await.code(), "not_found");
        assert_eq!(
            app.get(format!("/orders/{order}/")).by(&jiyoung).await.code(),
            "not_found"
        );
    }
}

/// A hold that has expired is good until another user needs the seat, or the period ends.
#[rstest]
#[tokio::test]
async fn an_expired_hold_may_be_approved_until_it_is_released(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    let id = app.add(kind, Item::default()).await;
    let first = ordered(&preorder(&app, kind, id, &minsu).await);
    let second = ordered(&preorder(&app, kind, id, &jiyoung).await);
    let_expire(&app, first).await;
    assert_eq!(approve(&app, first, &minsu).await.status, 202);
    app.run(
        &format!("update {} set end_at = now() - interval '1 s'", kind.items),
        &[],
    )
    .await;
    assert_eq!(approve(&app, second, &jiyoung).await.code(), "order_ended");
    assert_audit(&app).await;
}

/// The order is snapshot and promise: neither a new price nor a hidden item changes it.
#[rstest]
#[tokio::test]
async fn an_edit_of_the_item_changes_no_order(
    #[values(EXAM, COURSE)] kind: Kind,
    #[values("price = 50000", "hidden = true", "capacity = 0", "title = '새 이름'")] edit: &str,
) {
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
    app.run(&format!("update {} set {edit}", kind.items), &[]).await;
    assert_eq!(approve(&app, order, &minsu).await.status, 202);
    let confirmed = crate::support::confirm(&app, order, &operator).await;
    assert_eq!(
        (&confirmed.json()["status"], &confirmed.json()["amount"]),
        (&json!("paid"), &json!("45000.00"))
    );
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn a_user_who_is_registered_meanwhile_pays_nothing(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let order = ordered(&preorder(&app, kind, id, &minsu).await);
    app.register(kind, &minsu, id, kind.active).await;
    assert_eq!(approve(&app, order, &minsu).await.code(), "already_registered");
    let order = app.get(format!("/orders/{order}/")).by(&minsu).await;
    assert_eq!(order.json()["status"], "cancelled");
}

#[rstest]
#[tokio::test]
async fn a_paid_order_is_answered_as_it_is(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let (operator, minsu) = (operator(&app).await, app.user("minsu").await);
    let id = app.add(kind, Item::default()).await;
    let order = ordered(&preorder(&app, kind, id, &minsu).await);
    crate::support::confirm(&app, order, &operator).await;
    let answer = approve(&app, order, &minsu).await;
    assert_answer!(answer.says("item_type", kind.payment_type), @r#"
    {
      "status": "200 OK",
      "body": {
        "amount": "45000.00",
        "created_at": "[now]",
        "declined_code": null,
        "deposit": null,
        "ended_at": "[now]",
        "expires_at": "[in 10 min]",
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
        "window": null
      }
    }
    "#);
    let again = register(&app, kind, id, &minsu).await;
    assert_eq!(again.code(), "already_registered");
    let other = app.add(kind, Item::default()).await;
    paid(&register(&app, kind, other, &minsu).await);
    assert_audit(&app).await;
}
