//! Exams and courses, as operators manage them.

use std::future::IntoFuture;

use futures::future::{join, join_all};
use rstest::rstest;
use serde_json::{Value, json};
use sugang_tests::{Answer, App, COURSE, Call, EXAM, Item, Kind, User, assert_answer, assert_rows};

use crate::{
    storm::{assert_audit, audit},
    support::{Hold, cancel, operator, paid, payment, register, tally},
};

const LOG: &str = "select subject_id, action, before, after, actor_id, request_id is not null as by_request
                   from sugang.change_log where subject <> 'user' order by id";

fn all(kind: Kind) -> String {
    format!("/api/operator{}", kind.path)
}

fn one(kind: Kind, id: i64) -> String {
    format!("/api/operator{}", kind.item(id))
}

fn fields() -> Value {
    json!({"title": "정보처리기사 실기", "price": "45000.00", "start_at": "2020-01-01T00:00:00Z",
           "end_at": "2099-12-31T23:59:59Z"})
}

fn edit<'a>(app: &'a App, kind: Kind, id: i64, user: &User, version: &str, fields: &Value) -> Call<'a> {
    app.call("PATCH", one(kind, id))
        .by(user)
        .header("if-match", version)
        .json(fields)
}

/// Its `ETag` tells whether it was edited, and not how many are registered.
#[rstest]
#[tokio::test]
async fn what_has_the_same_version_is_shown_as_it_is(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let (ujin, minsu) = (operator(&app).await, app.user("minsu").await);
    let id = app.add(kind, Item::default()).await;
    let before = app.get(one(kind, id)).by(&ujin).await;
    paid(&register(&app, kind, id, &minsu).await);
    let after = app.get(one(kind, id)).by(&ujin).await;
    assert_eq!(after.header("etag"), before.header("etag"));
    assert_eq!(
        [&before, &after].map(|shown| shown.json()["registration_count"].clone()),
        [0, 1]
    );
}

async fn etag(app: &App, kind: Kind, id: i64, user: &User) -> String {
    app.get(one(kind, id)).by(user).await.header("etag").to_owned()
}

#[rstest]
#[tokio::test]
async fn an_item_is_created(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let mut body = fields();
    body["capacity"] = json!(30);
    body["description"] = json!("  필기 합격자만 응시할 수 있습니다. ");
    body["registration_count"] = json!(7);
    let answer = app.post(all(kind)).by(&ujin).json(&body).await;
    assert_eq!(
        answer.header("etag"),
        format!("\"{}\"", answer.json()["version"].as_str().unwrap())
    );
    assert_answer!(answer.clone(), @r#"
    {
      "status": "201 Created",
      "body": {
        "capacity": 30,
        "created_at": "[now]",
        "description": "필기 합격자만 응시할 수 있습니다.",
        "end_at": "2099-12-31T23:59:59Z",
        "hidden": false,
        "id": 1,
        "over_capacity": 0,
        "price": "45000.00",
        "registration_count": 0,
        "remaining": 30,
        "start_at": "2020-01-01T00:00:00Z",
        "title": "정보처리기사 실기",
        "version": "0b4640de5a575498798cd27bba1e8266"
      }
    }
    "#);
    let read = app.get(one(kind, 1)).by(&ujin).await;
    assert_eq!(
        (read.json(), read.header("etag")),
        (answer.json(), answer.header("etag"))
    );
    let shown = app.get(kind.item(1)).by(&ujin).await;
    assert_eq!(
        (&shown.json()["title"], &shown.json()["remaining"]),
        (&json!("정보처리기사 실기"), &json!(30))
    );
    assert_rows!(app.rows(LOG).await, @r#"
    [
      {
        "action": "created",
        "actor_id": 1,
        "after": null,
        "before": null,
        "by_request": true,
        "subject_id": 1
      }
    ]
    "#);
}

#[rstest]
#[tokio::test]
async fn wrong_fields_are_named(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let wrong = json!({"title": " ", "price": "-1", "capacity": "x", "description": 5, "start_at": "2026-01-01",
                       "end_at": null});
    let answer = app.post(all(kind)).by(&ujin).json(&wrong).await;
    insta::allow_duplicates! { insta::assert_snapshot!(answer.brief().replace("; ", "\n"), @r#"
    400 invalid | capacity: 유효한 정수(integer)를 넣어주세요.
    end_at: 이 필드는 null일 수 없습니다.
    price: 이 값이 0보다 크거나 같은지 확인하십시오.
    start_at: 일시 형식이 잘못되었습니다. YYYY-MM-DDThh:mm:ss와 시간대(+09:00 또는 Z)를 사용하십시오.
    title: 이 필드는 blank일 수 없습니다.
    "#) }
    let mut reversed = fields();
    reversed["end_at"] = json!("2019-12-31T23:59:59Z");
    let answer = app.post(all(kind)).by(&ujin).json(&reversed).await;
    insta::allow_duplicates! { insta::assert_snapshot!(answer.brief(), @"400 invalid | end_at: 시작 일시보다 빠를 수 없습니다.") }
    assert_eq!(app.rows(LOG).await, json!([]));
    reversed["end_at"] = reversed["start_at"].clone();
    assert_eq!(
        app.post(all(kind)).by(&ujin).json(&reversed).await.status,
        201,
        "a period may be an instant"
    );
    // What only the row can tell.
    for (fields, problem) in [
        (
            json!({"start_at": "2020-01-01T00:00:01Z"}),
            "It may not be before the start.",
        ),
        (
            json!({"end_at": "2019-12-31T23:59:59+00:00"}),
            "It may not be before the start.",
        ),
    ] {
        let answer = edit(&app, kind, 1, &ujin, "*", &fields).in_english().await;
        assert_eq!(
            (answer.code(), &answer.json()["end_at"]),
            ("invalid", &json!([problem])),
            "{answer:?}"
        );
    }
}

#[rstest]
#[tokio::test]
async fn an_edit_changes_what_it_names(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let description = Some("필기 합격자만 응시할 수 있습니다.");
    let id = app
        .add(
            kind,
            Item {
                description,
                ..Item::default()
            },
        )
        .await;
    let before = etag(&app, kind, id, &ujin).await;
    let change = json!({"price": 0, "description": null, "capacity": 2, "end_at": "2098-12-31T23:59:59+09:00"});
    let answer = edit(&app, kind, id, &ujin, &before, &change).await;
    assert_answer!(answer.clone(), @r#"
    {
      "status": "200 OK",
      "body": {
        "capacity": 2,
        "created_at": "2026-01-02T03:04:05Z",
        "description": null,
        "end_at": "2098-12-31T14:59:59Z",
        "hidden": false,
        "id": 1,
        "over_capacity": 0,
        "price": "0.00",
        "registration_count": 0,
        "remaining": 2,
        "start_at": "2020-01-01T00:00:00Z",
        "title": "정보처리기사 실기",
        "version": "4a6b046ef12c6a7a8a73efadf0db7886"
      }
    }
    "#);
    let after = answer.header("etag").to_owned();
    assert_ne!(after, before);
    // The same again is an edit of the new version that changes nothing.
    assert_eq!(edit(&app, kind, id, &ujin, &after, &change).await.header("etag"), after);
    assert_rows!(app.rows(LOG).await, @r#"
    [
      {
        "action": "created",
        "actor_id": null,
        "after": null,
        "before": null,
        "by_request": false,
        "subject_id": 1
      },
      {
        "action": "edited",
        "actor_id": 1,
        "after": {
          "capacity": 2,
          "description": null,
          "end_at": "2098-12-31T14:59:59Z",
          "price": "0.00"
        },
        "before": {
          "capacity": null,
          "description": "필기 합격자만 응시할 수 있습니다.",
          "end_at": "2099-12-31T23:59:59Z",
          "price": "45000.00"
        },
        "by_request": true,
        "subject_id": 1
      }
    ]
    "#);
    let touched: bool = app
        .one(
            &format!("select updated_at > now() - interval '1 minute' from {}", kind.items),
            &[],
        )
        .await;
    assert!(touched);
}

/// Another program edits all items at once, and changes their ids: by itself, and within a trigger.
#[rstest]
#[tokio::test]
async fn a_statement_is_logged_item_by_item(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    for price in ["1000.00", "2000.00"] {
        let item = Item {
            price,
            ..Item::default()
        };
        app.add(kind, item).await;
    }
    let edits = "update {items} set price = price + id;
                 update {items} set price = id, id = id + 10;
                 create function move() returns trigger language plpgsql as
                     'begin update {items} set price = 7, id = id + 10; return null; end';
                 create trigger move after update on users for each statement execute function move();
                 update users set is_active = true";
    let edits = edits.replace("{items}", kind.items);
    app.database().batch_execute(&edits).await.expect("any program may");
    let log = "select concat_ws(' ', action, subject_id, before ->> 'price', after ->> 'price') as entry
               from sugang.change_log where subject <> 'user' order by id";
    let expected = [
        "created 1",
        "created 2",
        "edited 1 1000.00 1001.00",
        "edited 2 2000.00 2002.00",
        "deleted 1 1001.00",
        "deleted 2 2002.00",
        "created 11",
        "created 12",
        "deleted 11 1.00",
        "created 21",
        "deleted 12 2.00",
        "created 22",
    ];
    let expected: Vec<_> = expected.iter().map(|entry| json!({"entry": entry})).collect();
    assert_eq!(app.rows(log).await, json!(expected));
}

#[rstest]
#[tokio::test]
async fn an_outdated_version_is_refused(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let id = app.add(kind, Item::default()).await;
    let change = json!({"price": "1.00"});
    assert_answer!(app.call("PATCH", one(kind, id)).by(&ujin).json(&change).await, @r#"
    {
      "status": "428 Precondition Required",
      "body": {
        "code": "precondition_required",
        "detail": "조회한 ETag를 If-Match 헤더에 보내주세요.",
        "request_id": "[request id]"
      }
    }
    "#);
    let read = etag(&app, kind, id, &ujin).await;
    // An edit by another program, which knows of no versions.
    app.run(&format!("update {} set title = '필기'", kind.items), &[]).await;
    assert_answer!(edit(&app, kind, id, &ujin, &read, &change).await, @r#"
    {
      "status": "412 Precondition Failed",
      "body": {
        "code": "precondition_failed",
        "detail": "그 사이에 변경되었습니다. 다시 조회한 뒤 시도해주세요.",
        "request_id": "[request id]"
      }
    }
    "#);
    for foreign in ["\"0\"", "\"nope\"", "nope", ""] {
        let answer = edit(&app, kind, id, &ujin, foreign, &change).await;
        assert_eq!(answer.code(), "precondition_failed", "{foreign}");
    }
    let weak = format!("W/{}", etag(&app, kind, id, &ujin).await);
    assert_eq!(
        edit(&app, kind, id, &ujin, &weak, &change).await.code(),
        "precondition_failed"
    );
    let several = format!("{read}, {}", etag(&app, kind, id, &ujin).await);
    assert_eq!(
        edit(&app, kind, id, &ujin, &several, &change).await.json()["title"],
        "필기"
    );
    assert_eq!(edit(&app, kind, id, &ujin, "*", &change).await.status, 200);
    assert_eq!(edit(&app, kind, 999, &ujin, "*", &change).await.code(), "not_found");
    // A registration is no edit.
    let read = etag(&app, kind, id, &ujin).await;
    app.register(kind, &ujin, id, kind.active).await;
    assert_eq!(etag(&app, kind, id, &ujin).await, read);
}

#[rstest]
#[tokio::test]
async fn a_lower_capacity_takes_no_seat(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let capacity = Some(3);
    let id = app
        .add(
            kind,
            Item {
                capacity,
                ..Item::default()
            },
        )
        .await;
    let mut payments = Vec::new();
    for name in ["minsu", "jisu", "yuna"] {
        payments.push((paid(&register(&app, kind, id, &app.user(name).await).await), name));
    }
    let answer = edit(&app, kind, id, &ujin, "*", &json!({"capacity": 1})).await;
    let seats =
        |answer: &Answer| ["registration_count", "remaining", "over_capacity"].map(|key| answer.json()[key].clone());
    assert_eq!(seats(&answer), [json!(3), json!(0), json!(2)]);
    let hana = app.user("hana").await;
    assert_eq!(register(&app, kind, id, &hana).await.code(), "sold_out");
    let list = app.get(all(kind)).by(&ujin).await;
    assert_eq!(list.json()["results"][0]["over_capacity"], 2);
    let opened = edit(&app, kind, id, &ujin, "*", &json!({"capacity": null})).await;
    assert_eq!(seats(&opened), [json!(3), Value::Null, json!(0)]);
    assert_eq!(register(&app, kind, id, &hana).await.status, 201);
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn a_new_price_changes_no_payment(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let [minsu, jisu] = [app.user("minsu").await, app.user("jisu").await];
    let id = app.add(kind, Item::default()).await;
    let payment_id = paid(&register(&app, kind, id, &minsu).await);
    assert_eq!(
        edit(&app, kind, id, &ujin, "*", &json!({"price": "50000.00"}))
            .await
            .status,
        200
    );
    let shown = app.get(format!("/me/payments/{payment_id}/")).by(&minsu).await;
    assert_eq!(shown.json()["amount"], "45000.00");
    // Jisu still saw the old price.
    let stale = register(&app, kind, id, &jisu).await;
    assert_eq!((stale.status.as_u16(), stale.code()), (400, "amount_mismatch"));
    let fresh = app
        .post(kind.register(id))
        .by(&jisu)
        .json(&payment("50000.00", "card"))
        .await;
    assert_eq!(fresh.status, 201);
    assert_eq!(cancel(&app, payment_id, &minsu).await.status, 200);
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn an_unused_item_is_deleted(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let id = app.add(kind, Item::default()).await;
    let delete = || app.call("DELETE", one(kind, id)).by(&ujin);
    assert_eq!(delete().await.code(), "precondition_required");
    let read = etag(&app, kind, id, &ujin).await;
    app.run(&format!("update {} set title = '필기'", kind.items), &[]).await;
    assert_eq!(delete().header("if-match", read).await.code(), "precondition_failed");
    let read = etag(&app, kind, id, &ujin).await;
    let keyed = || {
        delete()
            .header("if-match", read.as_str())
            .header("idempotency-key", "1")
    };
    assert_answer!(keyed().await, @r#"
    {
      "status": "204 No Content"
    }
    "#);
    assert_eq!(keyed().await.header("idempotency-replayed"), "true");
    assert_eq!(delete().header("if-match", "*").await.code(), "not_found");
    assert_eq!(app.get(kind.item(id)).by(&ujin).await.code(), "not_found");
    assert_rows!(app.rows(&format!("{LOG} desc limit 1")).await, @r#"
    [
      {
        "action": "deleted",
        "actor_id": 1,
        "after": null,
        "before": {
          "capacity": null,
          "description": null,
          "end_at": "2099-12-31T23:59:59Z",
          "hidden": false,
          "price": "45000.00",
          "start_at": "2020-01-01T00:00:00Z",
          "title": "필기"
        },
        "by_request": true,
        "subject_id": 1
      }
    ]
    "#);
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn an_item_in_use_stays(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let [ujin, minsu] = [operator(&app).await, app.user("minsu").await];
    let id = app.add(kind, Item::default()).await;
    let delete = || app.call("DELETE", one(kind, id)).by(&ujin).header("if-match", "*");
    let payment_id = paid(&register(&app, kind, id, &minsu).await);
    assert_answer!(delete().await, @r#"
    {
      "status": "409 Conflict",
      "body": {
        "code": "item_in_use",
        "detail": "신청이나 결제 내역이 있어 삭제할 수 없습니다.",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_eq!(cancel(&app, payment_id, &minsu).await.status, 200);
    assert_eq!(delete().await.code(), "item_in_use", "a cancelled registration is one");
    // As another program may do it: the payment outlives its registration.
    app.run(&format!("delete from {}", kind.registrations), &[]).await;
    assert_eq!(delete().await.code(), "item_in_use");
    assert_eq!(app.get(kind.item(id)).by(&minsu).await.status, 200);
}

#[rstest]
#[tokio::test]
async fn a_repeated_change_takes_effect_once(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let create = |key: &str, body: &Value| app.post(all(kind)).by(&ujin).header("idempotency-key", key).json(body);
    let first = create("create", &fields()).await;
    let again = create("create", &fields()).await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotency-replayed")),
        (201, "true")
    );
    assert_eq!(
        (again.json(), again.header("etag")),
        (first.json(), first.header("etag"))
    );
    let mut other = fields();
    other["price"] = json!(1);
    assert_eq!(create("create", &other).await.code(), "idempotency_key_reused");
    let change = |version: &str| {
        let change = json!({"price": "1.00"});
        edit(&app, kind, 1, &ujin, version, &change).header("idempotency-key", "edit")
    };
    // An outdated version is not kept under the key: the operator reads, and sends the same edit again.
    assert_eq!(change("\"0\"").await.code(), "precondition_failed");
    let edited = change(first.header("etag")).await;
    // The version is another by now.
    let again = change(first.header("etag")).await;
    assert_eq!(
        (again.header("idempotency-replayed"), again.header("etag")),
        ("true", edited.header("etag"))
    );
    let n: i64 = app
        .one("select count(*) from sugang.change_log where subject <> 'user'", &[])
        .await;
    assert_eq!(n, 2);
}

#[rstest]
#[tokio::test]
async fn a_list_has_the_newest_first(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let ujin = operator(&app).await;
    for n in 0..25 {
        let (title, created_at) = (format!("시험 {n}"), format!("2026-01-01T00:{n:02}:00Z"));
        let end_at = if n < 3 {
            "2021-01-01T00:00:00Z"
        } else {
            "2099-12-31T23:59:59Z"
        };
        app.add(
            kind,
            Item {
                title: &title,
                created_at: &created_at,
                end_at,
                ..Item::default()
            },
        )
        .await;
    }
    let list = |query: &str| app.get(format!("{}{query}", all(kind))).by(&ujin);
    let first = list("").await;
    assert_eq!(
        (&first.json()["count"], &first.json()["results"][0]["title"]),
        (&json!(25), &json!("시험 24"))
    );
    assert_eq!(first.json()["next"], format!("{}{}?page=2", app.base, all(kind)));
    assert_eq!(
        list("?page=2").await.json()["results"].as_array().map(Vec::len),
        Some(5)
    );
    assert_eq!(list("?status=available").await.json()["count"], 22);
    let found = list("?search=7").await;
    assert_eq!(
        (&found.json()["count"], &found.json()["results"][0]["id"]),
        (&json!(1), &json!(8))
    );
    assert_eq!(list("?page=3").await.code(), "invalid_page");
    let item = &found.json()["results"][0];
    assert_eq!(app.get(one(kind, 8)).by(&ujin).await.json(), item);
}

/// A response that is kept for a repetition names what its request has changed.
#[rstest]
#[tokio::test]
async fn a_kept_response_is_audited(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let other = app.add(kind, Item::default()).await;
    let created = app
        .post(all(kind))
        .by(&ujin)
        .header("idempotency-key", "1")
        .json(&fields())
        .await;
    assert_eq!(created.json()["id"], other + 1);
    for (key, change) in [("2", json!({"price": "1.00"})), ("3", json!({}))] {
        let edited = edit(&app, kind, other, &ujin, "*", &change)
            .header("idempotency-key", key)
            .await;
        assert_eq!(edited.status, 200);
    }
    assert_audit(&app).await;
    for (key, falsified) in [
        ("1", r#"replace(body, '"id":2,', '"id":3,')"#),
        ("2", r#"replace(body, '"id":1,', '"id":3,')"#),
        ("3", r#"replace(body, '"id":1,', '"id":3,')"#),
    ] {
        let falsify = format!("update sugang.idempotency_keys set body = {falsified} where key = $1");
        let restore: String = app
            .one("select body from sugang.idempotency_keys where key = $1", &[&key])
            .await;
        app.run(&falsify, &[&key]).await;
        let found: Vec<_> = audit(&app).await.into_iter().flat_map(|finding| finding.ids).collect();
        assert_eq!(found, [format!("{} {key}", ujin.id)], "{falsified}");
        app.run(
            "update sugang.idempotency_keys set body = $2 where key = $1",
            &[&key, &restore],
        )
        .await;
    }
}

/// Ten operators have read the same version.
#[rstest]
#[tokio::test]
async fn one_of_ten_concurrent_edits_is_made(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let id = app.add(kind, Item::default()).await;
    let ten = async |version: &str| {
        let edits = (0..10).map(|n| {
            let title = format!("시험 {version} {n}");
            edit(&app, kind, id, &ujin, version, &json!({"title": title})).into_future()
        });
        tally(&join_all(edits).await)
    };
    let read = etag(&app, kind, id, &ujin).await;
    assert_eq!(ten(&read).await, [(200, 1), (412, 9)]);
    // Without a version, each of them overwrites another one.
    assert_eq!(ten("*").await, [(200, 10)]);
}

/// What was waited for is read again: the right, and the version.
#[rstest]
#[tokio::test]
async fn an_edit_that_waits_is_checked_afterwards(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let id = app.add(kind, Item::default()).await;
    for (meanwhile, code) in [
        (
            format!("update {} set title = '필기'", kind.items),
            "precondition_failed",
        ),
        (format!("delete from {}", kind.items), "not_found"),
        ("update users set is_staff = false".to_owned(), "not_found"),
        ("update users set token_epoch = 0".to_owned(), "not_found"),
    ] {
        app.run("update users set is_staff = true", &[]).await;
        let read = etag(&app, kind, id, &ujin).await;
        let lock = format!("select from {} for update", kind.items);
        let hold = Hold::new(&app, &lock).await;
        let (answer, ()) = join(
            edit(&app, kind, id, &ujin, &read, &json!({"price": 1})).into_future(),
            async {
                hold.is_waited_for().await;
                hold.run(&meanwhile).await;
                hold.commit().await;
            },
        )
        .await;
        assert_eq!(answer.code(), code, "{meanwhile}");
        if meanwhile.starts_with("delete") {
            let restore = format!(
                "insert into {} (id, title, price, start_at, end_at) values ($1, '', 2, now(), now())",
                kind.items
            );
            app.run(&restore, &[&id]).await;
        }
    }
    let price: String = app.one(&format!("select price::text from {}", kind.items), &[]).await;
    assert_eq!(price, "2.00", "that of the row that was put back");
}

/// Either the item is gone and no registration was made, or it is there with its registration.
#[rstest]
#[tokio::test]
async fn deleting_races_registering(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let [ujin, minsu] = [operator(&app).await, app.user("minsu").await];
    for _ in 0..20 {
        let id = app.add(kind, Item::default()).await;
        let delete = app.call("DELETE", one(kind, id)).by(&ujin).header("if-match", "*");
        let (registered, deleted) = join(register(&app, kind, id, &minsu).into_future(), delete.into_future()).await;
        let outcome = (registered.status.as_u16(), deleted.status.as_u16());
        assert!(
            [(201, 409), (404, 204)].contains(&outcome),
            "{registered:?} {deleted:?}"
        );
    }
    assert_audit(&app).await;
}

/// Prices, capacities and periods change while users register and cancel.
#[rstest]
#[tokio::test]
async fn edits_in_a_storm_leave_consistent_data(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let capacity = Some(15);
    let id = app
        .add(
            kind,
            Item {
                capacity,
                ..Item::default()
            },
        )
        .await;
    let mut users = Vec::new();
    for n in 0..20 {
        users.push(app.user(&format!("user{n}")).await);
    }
    let apply = users.iter().map(|user| async {
        let mut statuses = Vec::new();
        for _ in 0..3 {
            let answer = register(&app, kind, id, user).await;
            statuses.push(answer.status.as_u16());
            if answer.status == 201 {
                statuses.push(cancel(&app, paid(&answer), user).await.status.as_u16());
                statuses.push(register(&app, kind, id, user).await.status.as_u16());
            }
        }
        statuses
    });
    let edits = async {
        for n in 0..30 {
            let change = match n % 3 {
                0 => json!({"price": if n % 2 == 0 { "45000.00" } else { "1000.00" }}),
                1 => json!({"capacity": n % 20}),
                _ => json!({"title": format!("시험 {n}"), "end_at": format!("2099-01-01T00:00:{n:02}Z")}),
            };
            let answer = edit(&app, kind, id, &ujin, "*", &change).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    };
    let (statuses, ()) = join(join_all(apply), edits).await;
    for status in statuses.into_iter().flatten() {
        assert!([200, 201, 400, 409].contains(&status), "{status}");
    }
    let n: i64 = app
        .one(
            "select count(*) from sugang.change_log where action = 'edited' and actor_id = $1",
            &[&ujin.id],
        )
        .await;
    assert!((20..=30).contains(&n), "{n}");
    assert_audit(&app).await;
}
