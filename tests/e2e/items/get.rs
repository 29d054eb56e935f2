use rstest::rstest;
use sugang_tests::{App, COURSE, EXAM, Item, Kind, assert_answer};

#[rstest]
#[tokio::test]
async fn one_item_is_shown(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let item = Item {
        description: Some("필기 합격자만 응시할 수 있습니다."),
        ..Item::default()
    };
    let id = app.add(kind, item).await;
    assert_answer!(app.get(kind.item(id)).by(&minsu).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "capacity": null,
        "created_at": "2026-01-02T03:04:05Z",
        "description": "필기 합격자만 응시할 수 있습니다.",
        "end_at": "2099-12-31T23:59:59Z",
        "id": 1,
        "is_registered": false,
        "price": "45000.00",
        "registration_count": 0,
        "remaining": null,
        "start_at": "2020-01-01T00:00:00Z",
        "title": "정보처리기사 실기"
      }
    }
    "#);
}

#[rstest]
#[tokio::test]
async fn optional_columns_may_be_null(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let item = Item {
        title: "\"따옴표\" <b>\\ 😀\t",
        price: "0.01",
        start_at: "2026-03-01T09:00:00.123456+09:00",
        end_at: "1999-12-31T23:59:59Z",
        ..Item::default()
    };
    let id = app.add(kind, item).await;
    assert_answer!(app.get(kind.item(id)).by(&minsu).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "capacity": null,
        "created_at": "2026-01-02T03:04:05Z",
        "description": null,
        "end_at": "1999-12-31T23:59:59Z",
        "id": 1,
        "is_registered": false,
        "price": "0.01",
        "registration_count": 0,
        "remaining": null,
        "start_at": "2026-03-01T00:00:00.123456Z",
        "title": "\"따옴표\" <b>\\ 😀\t"
      }
    }
    "#);
}

#[rstest]
#[tokio::test]
async fn seats_are_shown(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app
        .add(
            kind,
            Item {
                capacity: Some(3),
                ..Item::default()
            },
        )
        .await;
    app.register(kind, &minsu, id, kind.active).await;
    assert_answer!(app.get(kind.item(id)).by(&minsu).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "capacity": 3,
        "created_at": "2026-01-02T03:04:05Z",
        "description": null,
        "end_at": "2099-12-31T23:59:59Z",
        "id": 1,
        "is_registered": true,
        "price": "45000.00",
        "registration_count": 1,
        "remaining": 2,
        "start_at": "2020-01-01T00:00:00Z",
        "title": "정보처리기사 실기"
      }
    }
    "#);
}

#[rstest]
#[tokio::test]
async fn is_registered_means_an_active_registration_of_the_caller(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let [minsu, jisu, yuna, hana] = [
        app.user("minsu").await,
        app.user("jisu").await,
        app.user("yuna").await,
        app.user("hana").await,
    ];
    let id = app.add(kind, Item::default()).await;
    app.register(kind, &minsu, id, kind.active).await;
    app.register(kind, &jisu, id, "completed").await;
    app.register(kind, &yuna, id, "cancelled").await;
    for (user, expected) in [(&minsu, true), (&jisu, true), (&yuna, false), (&hana, false)] {
        let answer = app.get(kind.item(id)).by(user).await;
        assert_eq!(answer.json()["is_registered"], expected, "{}", user.username);
        assert_eq!(answer.json()["registration_count"], 2, "of all users");
    }
}

#[rstest]
#[tokio::test]
async fn an_unknown_item_is_not_found(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    // An item of the other kind has the requested id.
    app.add(if kind == EXAM { COURSE } else { EXAM }, Item::default()).await;
    assert_answer!(app.get(kind.item(1)).by(&minsu).await, @r#"
    {
      "status": "404 Not Found",
      "body": {
        "code": "not_found",
        "detail": "찾을 수 없습니다.",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(app.get(kind.item(1)).by(&minsu).in_english().await, @r#"
    {
      "status": "404 Not Found",
      "body": {
        "code": "not_found",
        "detail": "Not found.",
        "request_id": "[request id]"
      }
    }
    "#);
    for id in [
        "0",
        "2147483648",
        "9223372036854775807",
        "9223372036854775808",
        "99999999999999999999999999",
        "-1",
        "+1",
        "1.0",
        "1e0",
        "0x1",
        "one",
        "null",
        "%31%20",
        "1;",
        "1'",
        "1%00",
        "%EF%BC%91",
        "%D9%A1",
        "1,2",
        "*",
        "..%2f1",
    ] {
        let answer = app.get(format!("{}{id}/", kind.path)).by(&minsu).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (404, "not_found"),
            "{id}: {answer:?}"
        );
    }
}
