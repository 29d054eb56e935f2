//! `GET /api/operator/payments/{id}/` and `POST /api/operator/payments/{id}/refund/`.

use rstest::rstest;
use serde_json::{Value, json};
use sugang_tests::{App, COURSE, Call, EXAM, Item, Kind, User, assert_answer};

use crate::{
    storm::assert_audit,
    support::{cancel, operator, paid, refund, register},
};

fn get<'a>(app: &'a App, payment: i64, user: &User) -> Call<'a> {
    app.get(format!("/api/operator/payments/{payment}/")).by(user)
}

/// What the user sees: the payment's status and amount, and whether the user is registered.
async fn seen(app: &App, kind: Kind, payment: i64, user: &User) -> Value {
    let payment = app.get(format!("/me/payments/{payment}/")).by(user).await;
    let payment = payment.json();
    let item = app.get(kind.item(1)).by(user).await;
    json!([payment["status"], payment["amount"], item.json()["is_registered"]])
}

#[rstest]
#[tokio::test]
async fn a_payment_is_given_back_in_parts(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let (operator, minsu) = (operator(&app).await, app.user("minsu").await);
    let id = app.add(kind, Item::default()).await;
    let payment = paid(&register(&app, kind, id, &minsu).await);

    let part = json!({"amount": "10000.00", "reason": "교재 불량"});
    assert_answer!(refund(&app, payment, &operator, &part).await, @r#"
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
    assert_eq!(
        seen(&app, kind, payment, &minsu).await,
        json!(["paid", "45000.00", true])
    );
    assert_audit(&app).await;

    let rest = json!({"reason": "폐강"});
    assert_answer!(refund(&app, payment, &operator, &rest).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "amount": "35000.00",
        "left": "0.00",
        "payment_id": 1,
        "refund_id": 2
      }
    }
    "#);
    assert_eq!(
        seen(&app, kind, payment, &minsu).await,
        json!(["cancelled", "45000.00", false])
    );
    let answer = get(&app, payment, &operator).await;
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
        "left": "0.00",
        "paid_at": "[now]",
        "payment_method": "card",
        "payment_type": "[text]",
        "refund_reason": "폐강",
        "refunds": [
          {
            "amount": "10000.00",
            "code": null,
            "id": 1,
            "keeps_registration": false,
            "reason": "교재 불량",
            "reference": null,
            "requested_at": "[now]",
            "requested_by": 1,
            "status": "done"
          },
          {
            "amount": "35000.00",
            "code": null,
            "id": 2,
            "keeps_registration": false,
            "reason": "폐강",
            "reference": null,
            "requested_at": "[now]",
            "requested_by": 1,
            "status": "done"
          }
        ],
        "registration_time": "[now]",
        "status": "cancelled",
        "target_id": 1,
        "target_title": "정보처리기사 실기",
        "target_type": "[text]",
        "user_id": 2
      }
    }
    "#);
    assert_ne!(paid(&register(&app, kind, id, &minsu).await), payment);
    assert_audit(&app).await;
}

#[tokio::test]
async fn no_more_is_given_back_than_is_left() {
    let app = App::start().await;
    let (operator, minsu) = (operator(&app).await, app.user("minsu").await);
    let id = app.add(EXAM, Item::default()).await;
    let payment = paid(&register(&app, EXAM, id, &minsu).await);
    let part = json!({"amount": 10_000, "reason": "교재 불량"});
    assert_eq!(refund(&app, payment, &operator, &part).await.status, 200);
    let before = app.state().await;

    let more = json!({"amount": "35000.01", "reason": "교재 불량"});
    assert_answer!(refund(&app, payment, &operator, &more).await, @r#"
    {
      "status": "409 Conflict",
      "body": {
        "code": "refund_too_large",
        "error": "환불 금액이 환불 가능한 금액보다 큽니다",
        "left": "35000.00",
        "request_id": "[request id]"
      }
    }
    "#);
    let wrong = json!({"amount": 0, "keep_registration": "perhaps"});
    assert_answer!(refund(&app, payment, &operator, &wrong).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "amount": [
          "0보다 커야 합니다."
        ],
        "code": "invalid",
        "keep_registration": [
          "유효한 불리언이 아닙니다."
        ],
        "reason": [
          "이 필드는 필수 항목입니다."
        ],
        "request_id": "[request id]"
      }
    }
    "#);
    let why = json!({"reason": "폐강"});
    for id in [404, 0, i64::MAX] {
        let missing = refund(&app, id, &operator, &why).await;
        assert_eq!((missing.status.as_u16(), missing.code()), (404, "not_found"));
        assert_eq!(get(&app, id, &operator).await.code(), "not_found");
    }
    assert_eq!(app.state().await, before);

    // The rest, by the user.
    assert_eq!(cancel(&app, payment, &minsu).await.status, 200);
    let amounts = app
        .rows("select amount::text, requested_by from sugang.refunds order by id")
        .await;
    assert_eq!(
        amounts,
        json!([{"amount": "10000.00", "requested_by": 1}, {"amount": "35000.00", "requested_by": 2}])
    );
    let again = refund(&app, payment, &operator, &why).await;
    assert_eq!((again.status.as_u16(), again.code()), (400, "already_cancelled"));
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn a_registration_is_kept_that_is_completed_or_left_to_the_user(
    #[values(EXAM, COURSE)] kind: Kind,
    #[values(false, true)] completed: bool,
) {
    let app = App::start().await;
    let (operator, minsu) = (operator(&app).await, app.user("minsu").await);
    let id = app.add(kind, Item::default()).await;
    let payment = paid(&register(&app, kind, id, &minsu).await);
    if completed {
        assert_eq!(app.post(kind.complete(id)).by(&minsu).await.status, 200);
    }

    let whole = json!({"reason": "폐강", "keep_registration": !completed});
    assert_eq!(refund(&app, payment, &operator, &whole).await.status, 200);

    assert_eq!(
        seen(&app, kind, payment, &minsu).await,
        json!(["cancelled", "45000.00", true])
    );
    assert_audit(&app).await;
}

/// There is no money to give back, and still something to cancel.
#[rstest]
#[tokio::test]
async fn a_free_payment_is_cancelled(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let (operator, minsu) = (operator(&app).await, app.user("minsu").await);
    let free = Item {
        price: "0.00",
        ..Item::default()
    };
    let id = app.add(kind, free).await;
    let payment = paid(&app.post(kind.register(id)).by(&minsu).json(&json!({})).await);

    let answer = refund(&app, payment, &operator, &json!({"reason": "폐강"})).await;

    assert_eq!(
        *answer.json(),
        json!({"payment_id": payment, "refund_id": null, "amount": "0.00", "left": "0.00"})
    );
    assert_eq!(
        seen(&app, kind, payment, &minsu).await,
        json!(["cancelled", "0.00", false])
    );
    let moved: i64 = app.one("select count(*) from sugang.ledger", &[]).await;
    assert_eq!(moved, 0);
    assert_audit(&app).await;
}

#[tokio::test]
async fn an_inactive_user_gets_the_money_back() {
    let app = App::start().await;
    let (operator, minsu) = (operator(&app).await, app.user("minsu").await);
    let id = app.add(EXAM, Item::default()).await;
    let payment = paid(&register(&app, EXAM, id, &minsu).await);
    app.run("update users set is_active = false where id = $1", &[&minsu.id])
        .await;

    assert_eq!(
        refund(&app, payment, &operator, &json!({"reason": "탈퇴"}))
            .await
            .status,
        200
    );

    let seats: i32 = app.one("select registration_count from tests", &[]).await;
    assert_eq!(seats, 0);
    assert_audit(&app).await;
}

#[tokio::test]
async fn a_refund_with_a_key_is_made_once() {
    let app = App::start().await;
    let (operator, minsu) = (operator(&app).await, app.user("minsu").await);
    let id = app.add(EXAM, Item::default()).await;
    let payment = paid(&register(&app, EXAM, id, &minsu).await);
    let part = json!({"amount": "10000.00", "reason": "교재 불량"});

    let first = refund(&app, payment, &operator, &part)
        .header("idempotency-key", "key-1")
        .await;
    let second = refund(&app, payment, &operator, &part)
        .header("idempotency-key", "key-1")
        .await;

    assert_eq!((first.status.as_u16(), first.json()), (200, second.json()));
    assert_eq!(second.headers["idempotency-replayed"], "true");
    let refunds: i64 = app.one("select count(*) from sugang.refunds", &[]).await;
    assert_eq!(refunds, 1);
    assert_audit(&app).await;
}

/// Neither a user nor a broken body learns that these paths exist.
#[tokio::test]
async fn only_operators_find_them() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    let payment = paid(&register(&app, EXAM, id, &minsu).await);
    let before = app.state().await;
    for body in [json!({"reason": "환불"}), json!({}), json!([])] {
        let answer = refund(&app, payment, &minsu, &body).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (404, "not_found"), "{body}");
    }
    assert_eq!(get(&app, payment, &minsu).await.status, 404);
    assert_eq!(app.state().await, before);
}
