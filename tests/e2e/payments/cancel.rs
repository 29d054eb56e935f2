//! `POST /payments/{id}/cancel/`.

use rstest::rstest;
use serde_json::json;
use sugang_tests::{App, COURSE, EXAM, Item, Kind, assert_answer, assert_rows};

use crate::support::{cancel, paid, register};

#[rstest]
#[tokio::test]
async fn cancels_a_payment_and_its_registration(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    let id = app.add(kind, Item::default()).await;
    app.register(kind, &jiyoung, id, kind.active).await;
    let payment = paid(&register(&app, kind, id, &minsu).await);

    let answer = cancel(&app, payment, &minsu)
        .header("x-request-id", "the-request")
        .json(&json!({"refund_reason": "일정이 바뀌었습니다"}))
        .await;

    assert_answer!(answer.clone(), @r#"
    {
      "status": "200 OK",
      "body": {
        "cancelled_at": "[now]",
        "message": "결제가 취소되었습니다",
        "payment_id": 2
      }
    }
    "#);
    let Kind {
        items,
        registrations,
        payment_type,
        ..
    } = kind;
    let rows = app
        .rows(&format!(
            "select p.id, p.status, p.refund_reason, r.status as registration, p.cancelled_at = r.cancelled_at as at_once,
                    (select registration_count from {items}) as registration_count, r.completed_at
             from payments p join {registrations} r using (user_id) order by p.id"
        ))
        .await;
    assert_rows!(rows[1].clone(), @r#"
    {
      "at_once": true,
      "completed_at": null,
      "id": 2,
      "refund_reason": "일정이 바뀌었습니다",
      "registration": "cancelled",
      "registration_count": 1,
      "status": "cancelled"
    }
    "#);
    assert_eq!(rows[0]["registration"], kind.active);
    let history = app
        .rows(&format!(
            "select replace(subject, '{payment_type}', '[kind]') as subject, subject_id, status, amount::text, seats,
                    actor_id, request_id ~ '^[0-9a-f]{{32}}-[0-9]+$' as own_request_id
             from sugang.audit_log where id > (select max(id) - 2 from sugang.audit_log) order by id"
        ))
        .await;
    assert_rows!(history, @r#"
    [
      {
        "actor_id": 1,
        "amount": "0.00",
        "own_request_id": true,
        "seats": -1,
        "status": "cancelled",
        "subject": "[kind]",
        "subject_id": 2
      },
      {
        "actor_id": 1,
        "amount": "-45000.00",
        "own_request_id": true,
        "seats": 0,
        "status": "cancelled",
        "subject": "payment",
        "subject_id": 2
      }
    ]
    "#);
    let shown = app.get(format!("/me/payments/{payment}/")).by(&minsu).await;
    assert_eq!(shown.json()["cancelled_at"], answer.json()["cancelled_at"]);
    assert_eq!(shown.json()["status"], "cancelled");
}

#[tokio::test]
async fn the_body_is_optional() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    let reason = "select refund_reason from payments order by id desc limit 1";
    for (body, expected) in [
        (None, None),
        (Some(""), None),
        (Some("{}"), None),
        (Some(r#"{"refund_reason":null}"#), None),
        (Some(r#"{"refund_reason":""}"#), None),
        (Some(r#"{"reason":"다른 이름"}"#), None),
        (Some(r#"{"refund_reason":"마음이 바뀜 🙂"}"#), Some("마음이 바뀜 🙂")),
        (
            Some(r#"{"refund_reason":"'; drop table payments; --"}"#),
            Some("'; drop table payments; --"),
        ),
    ] {
        let payment = paid(&register(&app, EXAM, id, &minsu).await);
        let call = cancel(&app, payment, &minsu);
        let answer = match body {
            None => call.await,
            Some(body) => call.json_text(body).await,
        };
        assert_eq!(answer.status, 200, "{body:?}: {answer:?}");
        assert_eq!(
            app.one::<Option<String>>(reason, &[]).await.as_deref(),
            expected,
            "{body:?}"
        );
    }
}

#[tokio::test]
async fn the_reason_is_a_text() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    let payment = paid(&register(&app, EXAM, id, &minsu).await);
    let before = app.state().await;
    assert_answer!(cancel(&app, payment, &minsu).json(&json!({"refund_reason": ["a", "b"]})).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "refund_reason": [
          "유효한 문자열이 아닙니다."
        ],
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(
        cancel(&app, payment, &minsu).in_english().json(&json!({"refund_reason": "\u{0}"})).await,
        @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "refund_reason": [
          "Null characters are not allowed."
        ],
        "request_id": "[request id]"
      }
    }
    "#
    );
    assert_eq!(app.state().await, before);
}

#[rstest]
#[tokio::test]
async fn a_payment_is_cancelled_once(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let payment = paid(&register(&app, kind, id, &minsu).await);
    cancel(&app, payment, &minsu)
        .json(&json!({"refund_reason": "first"}))
        .await;
    // It is refused even if a newer payment for the item can be cancelled.
    register(&app, kind, id, &minsu).await;
    let before = app.state().await;

    assert_answer!(cancel(&app, payment, &minsu).json(&json!({"refund_reason": "second"})).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "already_cancelled",
        "error": "이미 취소된 결제입니다",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_eq!(
        cancel(&app, payment, &minsu).in_english().await.json()["error"],
        "This payment is cancelled already"
    );
    assert_eq!(app.state().await, before);
}

#[tokio::test]
async fn a_refunded_payment_is_refused() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    let payment = app.register(EXAM, &minsu, id, "cancelled").await;
    app.run("update payments set status = 'refunded'", &[]).await;
    let before = app.state().await;

    assert_eq!(cancel(&app, payment, &minsu).await.code(), "already_cancelled");
    assert_eq!(app.state().await, before);
}

#[rstest]
#[tokio::test]
async fn the_payment_of_a_completed_item_is_refused(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let payment = paid(&register(&app, kind, id, &minsu).await);
    app.post(kind.complete(id)).by(&minsu).await;
    let before = app.state().await;

    let answer = cancel(&app, payment, &minsu).await;
    assert_answer!(answer.says("error", kind.says.item_completed[0]), @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "item_completed",
        "error": "[text]",
        "request_id": "[request id]"
      }
    }
    "#);
    let answer = cancel(&app, payment, &minsu).in_english().await;
    assert_eq!(answer.json()["error"], kind.says.item_completed[1]);
    assert_eq!(app.state().await, before);
}

#[tokio::test]
async fn another_users_payment_is_refused() {
    let app = App::start().await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    let id = app.add(EXAM, Item::default()).await;
    let payment = app.register(EXAM, &jiyoung, id, "applied").await;
    let cancelled = app
        .register(COURSE, &jiyoung, app.add(COURSE, Item::default()).await, "cancelled")
        .await;
    let before = app.state().await;

    assert_answer!(cancel(&app, payment, &minsu).await, @r#"
    {
      "status": "403 Forbidden",
      "body": {
        "code": "not_owner",
        "error": "본인의 결제만 취소할 수 있습니다",
        "request_id": "[request id]"
      }
    }
    "#);
    let answer = cancel(&app, payment, &minsu).in_english().await;
    assert_eq!(answer.json()["error"], "You can cancel your own payments only");
    // Ownership is checked before the status.
    assert_eq!(cancel(&app, cancelled, &minsu).await.code(), "not_owner");
    assert_eq!(app.state().await, before);
}

#[tokio::test]
async fn an_unknown_payment_is_not_found() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    assert_answer!(cancel(&app, 404, &minsu).await, @r#"
    {
      "status": "404 Not Found",
      "body": {
        "code": "not_found",
        "detail": "찾을 수 없습니다.",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_eq!(
        app.post("/payments/9223372036854775807/cancel").by(&minsu).await.status,
        404
    );
}
