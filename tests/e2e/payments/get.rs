//! `GET /me/payments/{id}/`.

use rstest::rstest;
use sugang_tests::{App, COURSE, EXAM, Item, Kind, assert_answer};

use crate::support::{cancel, paid, register};

#[rstest]
#[tokio::test]
async fn shows_the_same_as_the_list(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let payment = paid(&register(&app, kind, id, &minsu).await);

    let answer = app.get(format!("/me/payments/{payment}/")).by(&minsu).await;

    let list = app.get("/me/payments/").by(&minsu).await;
    assert_eq!(list.json()["results"][0], *answer.json());
    let answer = answer
        .says("payment_type", kind.payment_type)
        .says("target_type", kind.payment_type);
    assert_answer!(answer, @r#"
    {
      "status": "200 OK",
      "body": {
        "amount": "45000.00",
        "cancelled_at": null,
        "id": 1,
        "paid_at": "[now]",
        "payment_method": "card",
        "payment_type": "[text]",
        "registration_time": "[now]",
        "status": "paid",
        "target_id": 1,
        "target_title": "정보처리기사 실기",
        "target_type": "[text]"
      }
    }
    "#);

    cancel(&app, payment, &minsu).await;
    let answer = app.get(format!("/me/payments/{payment}/")).by(&minsu).await;
    let answer = answer
        .says("payment_type", kind.payment_type)
        .says("target_type", kind.payment_type);
    assert_answer!(answer, @r#"
    {
      "status": "200 OK",
      "body": {
        "amount": "45000.00",
        "cancelled_at": "[now]",
        "id": 1,
        "paid_at": "[now]",
        "payment_method": "card",
        "payment_type": "[text]",
        "registration_time": "[now]",
        "status": "cancelled",
        "target_id": 1,
        "target_title": "정보처리기사 실기",
        "target_type": "[text]"
      }
    }
    "#);
}

#[tokio::test]
async fn another_users_payment_is_not_found() {
    let app = App::start().await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    let id = app.add(EXAM, Item::default()).await;
    let payment = app.register(EXAM, &jiyoung, id, "applied").await;

    let of_another = app.get(format!("/me/payments/{payment}/")).by(&minsu).await;
    assert_answer!(of_another, @r#"
    {
      "status": "404 Not Found",
      "body": {
        "code": "not_found",
        "detail": "찾을 수 없습니다.",
        "request_id": "[request id]"
      }
    }
    "#);
    for id in ["404", "0", "9223372036854775807"] {
        let missing = app.get(format!("/me/payments/{id}/")).by(&minsu).await;
        assert_eq!((missing.status.as_u16(), missing.code()), (404, "not_found"), "{id}");
    }
    assert_eq!(
        app.get(format!("/me/payments/{payment}/")).by(&jiyoung).await.status,
        200
    );
}
