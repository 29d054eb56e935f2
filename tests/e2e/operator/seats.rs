//! `POST /api/operator/tests/{id}/registrations/`, what is below it, and the same for courses.

use rstest::rstest;
use serde_json::{Value, json};
use sugang_tests::{App, COURSE, Call, EXAM, Item, Kind, User, assert_answer};

use crate::{
    storm::assert_audit,
    support::{cancel, operator, paid, refund, register},
};

fn post<'a>(app: &'a App, kind: Kind, path: &str, operator: &User, body: &Value) -> Call<'a> {
    app.post(format!("/api/operator{}registrations/{path}", kind.item(1)))
        .by(operator)
        .json(body)
}

fn outside(user: &User) -> Value {
    json!({"email": user.email, "payment_method": "outside", "amount": "30000.00", "reference": "무통장 3"})
}

fn free(user: &User) -> Value {
    json!({"user_id": user.id, "payment_method": "free", "reason": "장학생"})
}

#[rstest]
#[tokio::test]
async fn a_user_is_registered_by_hand(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let (ujin, minsu, jisu) = (operator(&app).await, app.user("minsu").await, app.user("jisu").await);
    let item = Item {
        capacity: Some(2),
        ..Item::default()
    };
    app.add(kind, item).await;
    let by_hand = || post(&app, kind, "", &ujin, &outside(&minsu)).header("idempotency-key", "k");
    let answer = by_hand().await;
    let shown = |key: &str| answer.json()["registration"][key].clone();
    assert_eq!(answer.status, 201);
    assert_eq!(
        json!([
            shown("user_id"),
            shown("status"),
            shown("amount"),
            shown("payment_method"),
            shown("reference")
        ]),
        json!([minsu.id, kind.active, "30000.00", "outside", "무통장 3"])
    );
    assert_eq!(by_hand().await.header("idempotency-replayed"), "true");
    assert_eq!(
        post(&app, kind, "", &ujin, &outside(&minsu)).await.code(),
        "already_registered"
    );
    let hidden = format!("update {} set hidden = true", kind.items);
    app.run(&hidden, &[]).await;
    let waived = post(&app, kind, "", &ujin, &free(&jisu)).await;
    let waived = &waived.json()["registration"];
    assert_eq!(
        (&waived["amount"], &waived["payment_method"], &waived["reference"]),
        (&json!("0.00"), &json!("free"), &json!("장학생"))
    );
    let yuna = app.user("yuna").await;
    assert_eq!(post(&app, kind, "", &ujin, &free(&yuna)).await.code(), "sold_out");
    let seen = app.get("/me/payments/1/").by(&minsu).await;
    assert_eq!(seen.json()["payment_method"], "outside");
    let by_operator = "select count(*) from sugang.audit_log where actor_id = $1 and user_id <> $1";
    assert_eq!(app.one::<i64>(by_operator, &[&ujin.id]).await, 4);
    assert_audit(&app).await;
}

#[tokio::test]
async fn the_period_is_ignored_only_if_that_is_asked_for() {
    let app = App::start().await;
    let (ujin, minsu) = (operator(&app).await, app.user("minsu").await);
    let item = Item {
        end_at: "2020-02-01T00:00:00Z",
        ..Item::default()
    };
    app.add(EXAM, item).await;
    let mut form = free(&minsu);
    assert_eq!(post(&app, EXAM, "", &ujin, &form).await.code(), "not_open");
    form["outside_period"] = true.into();
    assert_eq!(post(&app, EXAM, "", &ujin, &form).await.status, 201);
}

#[tokio::test]
async fn only_an_active_user_is_registered() {
    let app = App::start().await;
    let (ujin, minsu) = (operator(&app).await, app.user("minsu").await);
    app.add(EXAM, Item::default()).await;
    app.run("update users set is_active = false where id = $1", &[&minsu.id])
        .await;
    assert_answer!(post(&app, EXAM, "", &ujin, &outside(&minsu)).in_english().await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "email": [
          "There is no such active user."
        ],
        "request_id": "[request id]"
      }
    }
    "#);
    let unknown = json!({"user_id": 77, "payment_method": "free", "reason": "x"});
    assert_answer!(post(&app, EXAM, "", &ujin, &unknown).in_english().await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "request_id": "[request id]",
        "user_id": [
          "There is no such active user."
        ]
      }
    }
    "#);
    assert_eq!(post(&app, COURSE, "", &ujin, &free(&ujin)).await.code(), "not_found");
}

#[rstest]
#[tokio::test]
async fn registrations_are_completed_one_by_one_or_all_at_once(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let (id, other) = (
        app.add(kind, Item::default()).await,
        app.add(kind, Item::default()).await,
    );
    for (n, item) in [id, id, id, id, other].into_iter().enumerate() {
        let user = app.user(&format!("user{n}")).await;
        let payment = paid(&register(&app, kind, item, &user).await);
        if n == 3 {
            assert_eq!(cancel(&app, payment, &user).await.status, 200);
        }
    }
    let nothing = json!({});
    let one = post(&app, kind, "1/complete/", &ujin, &nothing).await;
    assert_eq!(one.json()["registration"]["status"], "completed");
    for (registration, code) in [
        (1, "already_completed"),
        (4, "registration_cancelled"),
        (5, "not_found"),
        (77, "not_found"),
    ] {
        let refused = post(&app, kind, &format!("{registration}/complete/"), &ujin, &nothing).await;
        assert_eq!(refused.code(), code, "{registration}");
    }
    let before = app.state().await;
    let many = |ids: Value| post(&app, kind, "complete/", &ujin, &json!({ "ids": ids })).in_english();
    let answer = many(json!([2, 1, 3, 4, 5, 3, 77])).await;
    assert_eq!(answer.code(), "invalid_rows");
    let rows = answer.json()["rows"].as_array().expect("rows").iter();
    assert_eq!(
        rows.map(|row| row["index"].clone()).collect::<Vec<_>>(),
        [1, 3, 4, 5, 6]
    );
    assert_eq!(app.state().await, before);
    assert_answer!(many(json!([3, 2])).header("idempotency-key", "k").await, @r#"
    {
      "status": "200 OK",
      "body": {
        "completed": 2
      }
    }
    "#);
    assert_eq!(
        many(json!([3, 2]))
            .header("idempotency-key", "k")
            .await
            .header("idempotency-replayed"),
        "true"
    );
    assert_audit(&app).await;
}

/// The export is the list, once the lines of those who failed are deleted.
#[rstest]
#[tokio::test]
async fn registrations_are_completed_by_a_file(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let id = app.add(kind, Item::default()).await;
    for n in 0..4 {
        register(&app, kind, id, &app.user(&format!("user{n}")).await).await;
    }
    let path = format!("/api/operator{}{id}/registrations", kind.path);
    let export = app.get(format!("{path}.csv")).by(&ujin).await.body;
    let export = String::from_utf8(export).expect("UTF-8");
    let send = |file: &str| {
        let call = app.post(format!("{path}/complete/")).by(&ujin).in_english();
        call.header("content-type", "text/csv").body(file)
    };
    let kept: Vec<_> = export.lines().filter(|line| !line.contains("user2@")).collect();
    let file = kept.join("\r\n");
    assert_answer!(send(&file).header("idempotency-key", "k").await, @r#"
    {
      "status": "200 OK",
      "body": {
        "completed": 3
      }
    }
    "#);
    let again = send(&file).header("idempotency-key", "k").await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    let before = app.state().await;
    let refused = send("id;note\n3;ok\n1;\n\n77;").await;
    assert_eq!(refused.code(), "invalid_rows");
    let rows = refused.json()["rows"].as_array().expect("rows").iter();
    assert_eq!(rows.map(|row| row["line"].clone()).collect::<Vec<_>>(), [3, 5]);
    assert_eq!(send("id\nx").await.json()["rows"][0]["column"], 1);
    assert_eq!(send("email\nx").await.code(), "invalid_rows");
    assert_eq!(app.state().await, before);
    let minsu = app.user("minsu").await;
    for file in ["id\n3", "id\nx", ""] {
        let call = app
            .post(format!("{path}/complete/"))
            .by(&minsu)
            .header("content-type", "text/csv");
        assert_eq!(call.body(file).await.code(), "not_found", "{file}");
    }
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn a_registration_is_cancelled_with_a_refund(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let (ujin, minsu) = (operator(&app).await, app.user("minsu").await);
    let id = app.add(kind, Item::default()).await;
    let payment = paid(&register(&app, kind, id, &minsu).await);
    let part = json!({"amount": "5000.00", "reason": "교재"});
    assert_eq!(refund(&app, payment, &ujin, &part).await.status, 200);
    let all = json!({"refund": "all", "reason": "폐강"});
    let answer = post(&app, kind, "1/cancel/", &ujin, &all)
        .header("idempotency-key", "k")
        .await;
    assert_answer!(answer, @r#"
    {
      "status": "200 OK",
      "body": {
        "kept": "0.00",
        "refunded": "40000.00",
        "registration": {
          "amount": "45000.00",
          "cancelled_at": "[now]",
          "completed_at": null,
          "email": "minsu@example.com",
          "id": 1,
          "payment_id": 1,
          "payment_method": "card",
          "payment_status": "cancelled",
          "reference": null,
          "registered_at": "[now]",
          "status": "cancelled",
          "user_id": 2,
          "username": "minsu"
        }
      }
    }
    "#);
    assert_eq!(
        post(&app, kind, "1/cancel/", &ujin, &all).await.code(),
        "registration_cancelled"
    );
    assert_ne!(paid(&register(&app, kind, id, &minsu).await), payment);
    post(&app, kind, "1/complete/", &ujin, &json!({})).await;
    assert_eq!(
        post(&app, kind, "1/cancel/", &ujin, &all).await.code(),
        "item_completed"
    );
    assert_eq!(post(&app, kind, "77/cancel/", &ujin, &all).await.code(), "not_found");
    assert_audit(&app).await;
}

/// The user has paid, so registering again costs nothing; only an operator gives the money back.
#[rstest]
#[tokio::test]
async fn a_registration_is_cancelled_without_a_refund(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let (ujin, minsu) = (operator(&app).await, app.user("minsu").await);
    let id = app.add(kind, Item::default()).await;
    let payment = paid(&register(&app, kind, id, &minsu).await);
    let none = json!({"refund": "none", "reason": "무단 결석"});
    let answer = post(&app, kind, "1/cancel/", &ujin, &none)
        .header("idempotency-key", "k")
        .await;
    assert_answer!(answer, @r#"
    {
      "status": "200 OK",
      "body": {
        "kept": "45000.00",
        "refunded": "0.00",
        "registration": {
          "amount": "45000.00",
          "cancelled_at": "[now]",
          "completed_at": null,
          "email": "minsu@example.com",
          "id": 1,
          "payment_id": 1,
          "payment_method": "card",
          "payment_status": "paid",
          "reference": null,
          "registered_at": "[now]",
          "status": "cancelled",
          "user_id": 2,
          "username": "minsu"
        }
      }
    }
    "#);
    assert_audit(&app).await;
    let own = cancel(&app, payment, &minsu).await;
    assert_eq!((own.status.as_u16(), own.code()), (400, "refund_refused"));
    assert_eq!(paid(&register(&app, kind, id, &minsu).await), payment);
    assert_audit(&app).await;
    assert_eq!(cancel(&app, payment, &minsu).await.code(), "refund_refused");
    let all = json!({"refund": "all", "reason": "협의"});
    let given_back = post(&app, kind, "1/cancel/", &ujin, &all).await;
    assert_eq!(given_back.json()["refunded"], "45000.00");
    // What is free leaves nothing to keep.
    let yuna = app.user("yuna").await;
    assert_eq!(post(&app, kind, "", &ujin, &free(&yuna)).await.status, 201);
    let nothing_kept = post(&app, kind, "2/cancel/", &ujin, &none).await;
    assert_eq!(nothing_kept.json()["registration"]["payment_status"], "cancelled");
    assert_audit(&app).await;
}
