//! `POST /orders/{id}/cancel/`.

use rstest::rstest;
use sugang_tests::{COURSE, EXAM, Item, Kind, assert_answer};

use super::preorder::counts;
use crate::{
    storm::assert_audit,
    support::{approve, cancel_order, confirm, operator, ordered, preorder, shop},
};

#[rstest]
#[tokio::test]
async fn frees_the_seat(#[values(EXAM, COURSE)] kind: Kind, #[values(false, true)] awaiting: bool) {
    let app = shop().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let order = ordered(&preorder(&app, kind, id, &minsu).await);
    if awaiting {
        approve(&app, order, &minsu).await;
    }
    let answer = cancel_order(&app, order, &minsu).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["status"]),
        (200, &"cancelled".into())
    );
    assert_eq!(counts(&app, kind, id).await, (0, 0));
    assert_answer!(cancel_order(&app, order, &minsu).await, @r#"
    {
      "status": "409 Conflict",
      "body": {
        "code": "order_ended",
        "error": "만료되었거나 취소된 주문입니다",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn only_an_order_of_ones_own_that_is_not_paid(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let (operator, minsu, jiyoung) = (operator(&app).await, app.user("minsu").await, app.user("jiyoung").await);
    let id = app.add(kind, Item::default()).await;
    let order = ordered(&preorder(&app, kind, id, &minsu).await);
    assert_eq!(cancel_order(&app, order, &jiyoung).await.code(), "not_found");
    confirm(&app, order, &operator).await;
    assert_answer!(cancel_order(&app, order, &minsu).await, @r#"
    {
      "status": "409 Conflict",
      "body": {
        "code": "already_paid",
        "error": "이미 결제되었습니다",
        "request_id": "[request id]"
      }
    }
    "#);
}

/// What the gateway has been asked, and has not answered, is never cancelled: money may have moved.
#[rstest]
#[tokio::test]
async fn an_order_with_an_unknown_outcome_stays(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let (operator, minsu) = (operator(&app).await, app.user("minsu").await);
    let id = app.add(kind, Item::default()).await;
    let order = ordered(&preorder(&app, kind, id, &minsu).await);
    app.run("update sugang.orders set status = 'approving', gateway = 'toss'", &[])
        .await;
    app.run(
        "update sugang.payment_attempts set status = 'sent', gateway = 'toss'",
        &[],
    )
    .await;
    assert_eq!(cancel_order(&app, order, &minsu).await.code(), "order_in_progress");
    let by_operator = app
        .post(format!("/api/operator/orders/{order}/cancel/"))
        .by(&operator)
        .json(&serde_json::json!({"reason": "전화"}));
    assert_eq!(by_operator.await.code(), "order_in_progress");
    assert_eq!(confirm(&app, order, &operator).await.code(), "gateway_decides");
    let refused = app
        .database()
        .batch_execute("update sugang.orders set status = 'cancelled'")
        .await;
    assert!(format!("{refused:?}").contains("orders_status_follows"), "{refused:?}");
    assert_audit(&app).await;
}
