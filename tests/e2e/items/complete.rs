//! `POST /tests/{id}/complete/` and `POST /courses/{id}/complete/`.

use rstest::rstest;
use serde_json::json;
use sugang_tests::{App, COURSE, EXAM, Item, Kind, assert_answer, assert_rows};

use crate::support::{cancel, paid, register};

#[rstest]
#[tokio::test]
async fn completes_a_registration(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    let id = app.add(kind, Item::default()).await;
    app.register(kind, &minsu, id, kind.active).await;
    app.register(kind, &jiyoung, id, kind.active).await;

    let answer = app
        .post(kind.complete(id))
        .by(&jiyoung)
        .header("x-request-id", "the-request")
        .await;

    let completed_at = answer.json()["completed_at"].clone();
    assert_eq!(
        (answer.status.as_u16(), answer.json()),
        (
            200,
            &json!({
                "message": kind.says.completed[0],
                kind.registration_key: 2,
                "completed_at": completed_at,
            })
        )
    );
    let now: String = app
        .one(
            &format!(
                "select sugang.iso(completed_at) from {} where id = 2",
                kind.registrations
            ),
            &[],
        )
        .await;
    assert_eq!(completed_at, now);
    let Kind {
        items,
        registrations,
        active,
        payment_type,
        ..
    } = kind;
    let rows = app
        .rows(&format!(
            "select id, replace(status, '{active}', '[active]') as status, completed_at is not null as completed_at,
                    cancelled_at, (select registration_count from {items}) as registration_count,
                    (select array_agg(status) from payments) as payments from {registrations} order by id"
        ))
        .await;
    assert_rows!(rows, @r#"
    [
      {
        "cancelled_at": null,
        "completed_at": false,
        "id": 1,
        "payments": [
          "paid",
          "paid"
        ],
        "registration_count": 2,
        "status": "[active]"
      },
      {
        "cancelled_at": null,
        "completed_at": true,
        "id": 2,
        "payments": [
          "paid",
          "paid"
        ],
        "registration_count": 2,
        "status": "completed"
      }
    ]
    "#);
    let history = app
        .rows(&format!(
            "select subject = '{payment_type}' as subject, subject_id, status, amount::text, seats, actor_id,
                    request_id ~ '^[0-9a-f]{{32}}-[0-9]+$' as own_request_id
             from sugang.audit_log where actor_id is not null"
        ))
        .await;
    assert_rows!(history, @r#"
    [
      {
        "actor_id": 2,
        "amount": "0.00",
        "own_request_id": true,
        "seats": 0,
        "status": "completed",
        "subject": true,
        "subject_id": 2
      }
    ]
    "#);
}

#[rstest]
#[tokio::test]
async fn a_missing_registration_is_refused(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    let id = app.add(kind, Item::default()).await;
    app.register(kind, &jiyoung, id, kind.active).await;
    let before = app.state().await;

    let answer = app.post(kind.complete(id)).by(&minsu).await;
    assert_answer!(answer.says("error", kind.says.not_registered[0]), @r#"
    {
      "status": "404 Not Found",
      "body": {
        "code": "not_registered",
        "error": "[text]",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_eq!(app.post(kind.complete(404)).by(&minsu).await.code(), "not_registered");
    assert_eq!(app.state().await, before);
}

#[rstest]
#[tokio::test]
async fn a_registration_is_completed_once(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    register(&app, kind, id, &minsu).await;
    app.post(kind.complete(id)).by(&minsu).await;
    let before = app.state().await;

    let answer = app.post(kind.complete(id)).by(&minsu).await;
    assert_answer!(answer.says("error", kind.says.already_completed[0]), @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "already_completed",
        "error": "[text]",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_eq!(app.state().await, before);
}

#[rstest]
#[tokio::test]
async fn a_cancelled_registration_is_refused(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let payment = paid(&register(&app, kind, id, &minsu).await);
    cancel(&app, payment, &minsu).await;
    let before = app.state().await;

    let answer = app.post(kind.complete(id)).by(&minsu).await;
    assert_answer!(answer.says("error", kind.says.registration_cancelled[0]), @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "registration_cancelled",
        "error": "[text]",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_eq!(app.state().await, before);

    register(&app, kind, id, &minsu).await;
    assert_eq!(app.post(kind.complete(id)).by(&minsu).await.status, 200);
}

#[rstest]
#[tokio::test]
async fn a_completed_registration_keeps_its_seat(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app
        .add(
            kind,
            Item {
                capacity: Some(1),
                ..Item::default()
            },
        )
        .await;
    register(&app, kind, id, &minsu).await;
    app.post(kind.complete(id)).by(&minsu).await;

    let item = app.get(kind.item(id)).by(&minsu).await;
    assert_eq!(item.json()["is_registered"], true);
    assert_eq!(item.json()["remaining"], 0);
    assert_eq!(register(&app, kind, id, &minsu).await.code(), "already_registered");
}

#[rstest]
#[tokio::test]
async fn answers_in_english(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let complete = async || app.post(kind.complete(id)).by(&minsu).in_english().await.json().clone();

    assert_eq!(complete().await["error"], kind.says.not_registered[1]);
    let payment = paid(&register(&app, kind, id, &minsu).await);
    cancel(&app, payment, &minsu).await;
    assert_eq!(complete().await["error"], kind.says.registration_cancelled[1]);
    register(&app, kind, id, &minsu).await;
    assert_eq!(complete().await["message"], kind.says.completed[1]);
    assert_eq!(complete().await["error"], kind.says.already_completed[1]);
}

/// The body is optional, and its content is ignored.
#[rstest]
#[tokio::test]
async fn the_content_of_a_body_is_ignored(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    register(&app, kind, id, &minsu).await;

    assert_eq!(
        app.post(kind.complete(id))
            .by(&minsu)
            .json(&json!({"status": "cancelled"}))
            .await
            .status,
        200
    );
}
