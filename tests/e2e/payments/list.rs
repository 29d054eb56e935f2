//! `GET /me/payments/`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sugang_tests::{App, COURSE, EXAM, Item, Kind, User, assert_answer, spellings};

/// The properties of a payment that the list shows and filters by.
struct Paid {
    id: i64,
    kind: Kind,
    title: &'static str,
    status: &'static str,
    at: &'static str,
}

/// Payments of one user: both kinds, every status, on both sides of three midnights (UTC).
async fn payments(app: &App, user: &User) -> Vec<Paid> {
    let mut all = Vec::new();
    let times = [
        "2026-01-31T23:59:59.999999Z",
        "2026-02-01T00:00:00Z",
        "2026-02-01T23:59:59.999999Z",
        "2026-02-02T00:00:00Z",
    ];
    let titles = ["정보처리기사 실기", "정보처리기사 필기", "요가 초급"];
    for (n, (kind, status)) in [EXAM, COURSE, EXAM, COURSE, EXAM, COURSE, EXAM, COURSE]
        .into_iter()
        .zip([
            "paid",
            "cancelled",
            "refunded",
            "paid",
            "cancelled",
            "paid",
            "paid",
            "refunded",
        ])
        .enumerate()
    {
        let (title, at) = (titles[n % titles.len()], times[n % times.len()]);
        let item = app
            .add(
                kind,
                Item {
                    title,
                    ..Item::default()
                },
            )
            .await;
        let id = app
            .register(
                kind,
                user,
                item,
                if status == "paid" { kind.active } else { "cancelled" },
            )
            .await;
        app.run(
            "update payments set status = $2, paid_at = $3::text::timestamptz where id = $1",
            &[&id, &status, &at],
        )
        .await;
        all.push(Paid {
            id,
            kind,
            title,
            status,
            at,
        });
    }
    all
}

fn ids(results: &Value) -> Vec<i64> {
    let results = results.as_array().expect("results are a list");
    results
        .iter()
        .map(|payment| payment["id"].as_i64().expect("a payment has an id"))
        .collect()
}

#[tokio::test]
async fn lists_own_payments_newest_first() {
    let app = App::start().await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    let exam = app
        .add(
            EXAM,
            Item {
                title: "정보처리기사 실기",
                ..Item::default()
            },
        )
        .await;
    let course = app
        .add(
            COURSE,
            Item {
                title: "요가 초급",
                price: "99.50",
                ..Item::default()
            },
        )
        .await;
    app.register(EXAM, &minsu, exam, "applied").await;
    app.register(EXAM, &jiyoung, exam, "applied").await;
    app.register(COURSE, &minsu, course, "cancelled").await;
    for (id, at) in [(1, "2026-03-01T00:00:00Z"), (3, "2026-02-01T12:34:56.789Z")] {
        let change = "update payments set paid_at = $2::text::timestamptz, registration_time = $2::text::timestamptz,
                      cancelled_at = case status when 'cancelled' then $2::text::timestamptz end where id = $1";
        app.run(change, &[&i64::from(id), &at]).await;
    }
    assert_answer!(app.get("/me/payments/").by(&minsu).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "count": 2,
        "next": null,
        "previous": null,
        "results": [
          {
            "amount": "45000.00",
            "cancelled_at": null,
            "id": 1,
            "paid_at": "2026-03-01T00:00:00Z",
            "payment_method": "card",
            "payment_type": "test",
            "registration_time": "2026-03-01T00:00:00Z",
            "status": "paid",
            "target_id": 1,
            "target_title": "정보처리기사 실기",
            "target_type": "test"
          },
          {
            "amount": "99.50",
            "cancelled_at": "2026-02-01T12:34:56.789000Z",
            "id": 3,
            "paid_at": "2026-02-01T12:34:56.789000Z",
            "payment_method": "card",
            "payment_type": "course",
            "registration_time": "2026-02-01T12:34:56.789000Z",
            "status": "cancelled",
            "target_id": 1,
            "target_title": "요가 초급",
            "target_type": "course"
          }
        ]
      }
    }
    "#);
}

#[tokio::test]
async fn a_user_without_payments_gets_an_empty_list() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    assert_answer!(app.get("/me/payments/").by(&minsu).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "count": 0,
        "next": null,
        "previous": null,
        "results": []
      }
    }
    "#);
}

#[tokio::test]
async fn equal_times_are_ordered_by_id() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let mut expected = Vec::new();
    for _ in 0..5 {
        let item = app.add(EXAM, Item::default()).await;
        expected.insert(0, app.register(EXAM, &minsu, item, "applied").await);
    }
    app.run("update payments set paid_at = '2026-02-01'", &[]).await;

    let answer = app.get("/me/payments/").by(&minsu).await;
    assert_eq!(ids(&answer.json()["results"]), expected);
}

/// Combines every filter with every other, and compares with the same selection made by the test.
#[tokio::test]
async fn every_combination_of_filters() {
    let app = App::start().await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    payments(&app, &jiyoung).await;
    let own = payments(&app, &minsu).await;
    let (mut asked, mut sizes) = (0, BTreeSet::new());
    for status in ["", "paid", "cancelled", "refunded"] {
        for payment_type in ["", "test", "course"] {
            for from in ["", "2026-01-31", "2026-02-01", "2026-02-03"] {
                for to in ["", "2026-01-31", "2026-02-01", "2026-02-02"] {
                    for search in ["", "정보처리기사", "실기 or 요가"] {
                        let words = search.split(" or ");
                        let mut expected: Vec<&Paid> = own
                            .iter()
                            .filter(|paid| {
                                let day = &paid.at[..10];
                                (status.is_empty() || status == paid.status)
                                    && (payment_type.is_empty() || payment_type == paid.kind.payment_type)
                                    && (from.is_empty() || from <= day)
                                    && (to.is_empty() || day <= to)
                                    && words.clone().any(|word| paid.title.contains(word))
                            })
                            .collect();
                        expected.sort_by_key(|paid| std::cmp::Reverse((paid.at, paid.id)));
                        let expected: Vec<i64> = expected.iter().map(|paid| paid.id).collect();
                        let query = format!("status={status}&payment_type={payment_type}&from={from}&to={to}");
                        let path = format!("/me/payments/?{query}&search={}", search.replace(' ', "+"));
                        let answer = app.get(&path).by(&minsu).await;
                        assert_eq!(ids(&answer.json()["results"]), expected, "{path}: {answer:?}");
                        assert_eq!(answer.json()["count"], expected.len(), "{path}");
                        asked += 1;
                        sizes.insert(expected.len());
                    }
                }
            }
        }
    }
    assert_eq!(asked, 4 * 3 * 4 * 4 * 3);
    assert!(
        sizes.contains(&0) && sizes.contains(&own.len()),
        "filters that let nothing and everything pass: {sizes:?}"
    );
}

#[tokio::test]
async fn the_search_works_as_in_the_catalogue() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    for (kind, title) in [
        (EXAM, "Rust 입문 과정"),
        (COURSE, "Rust 심화 과정"),
        (EXAM, "Go 입문 시험"),
    ] {
        let item = app
            .add(
                kind,
                Item {
                    title,
                    description: Some("설명"),
                    ..Item::default()
                },
            )
            .await;
        app.register(kind, &minsu, item, kind.active).await;
    }
    for (search, expected) in [
        ("rust", vec![2, 1]),
        ("RUST", vec![2, 1]),
        ("rust+입문", vec![1]),
        ("심화+or+go", vec![3, 2]),
        ("%22입문+과정%22", vec![1]),
        ("%22과정+입문%22", vec![]),
        ("입문+-rust", vec![3]),
        ("설명", vec![]),
        ("rus", vec![2, 1]),
        ("ust", vec![]),
        ("입문과정", vec![1]),
        ("입문시험", vec![3]),
        ("문과", vec![]),
        ("-과정", vec![3]),
        ("ｇｏ", vec![3]),
        ("%EA%B3%BC%EC%A0%95", vec![2, 1]),
        ("%E1%84%80%E1%85%AA%E1%84%8C%E1%85%A5%E1%86%BC", vec![2, 1]), // 과정, as macOS types it
        ("++", vec![3, 2, 1]),
        ("", vec![3, 2, 1]),
        ("%27%3B+drop+table+payments", vec![]),
    ] {
        let answer = app.get(format!("/me/payments/?search={search}")).by(&minsu).await;
        assert_eq!(ids(&answer.json()["results"]), expected, "{search}: {answer:?}");
    }
}

#[tokio::test]
async fn an_invalid_day_is_refused() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    assert_answer!(app.get("/me/payments/?from=2026-02-30&to=tomorrow").by(&minsu).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "from": [
          "날짜 형식이 잘못되었습니다. YYYY-MM-DD 형식을 사용하십시오."
        ],
        "request_id": "[request id]",
        "to": [
          "날짜 형식이 잘못되었습니다. YYYY-MM-DD 형식을 사용하십시오."
        ]
      }
    }
    "#);
    assert_answer!(app.get("/me/payments/?to=20260201").by(&minsu).in_english().await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "request_id": "[request id]",
        "to": [
          "Date has wrong format. Use YYYY-MM-DD."
        ]
      }
    }
    "#);
    for day in [
        "2026-13-01",
        "2026-00-01",
        "2026-01-00",
        "2025-02-29",
        "2026-1-1",
        "26-01-01",
        "01-02-2026",
        "2026/01/01",
        "2026-01-01T00:00:00Z",
        "0000-01-01",
        "10000-01-01",
        "-2026-01-01",
        "now",
        "infinity",
        "2026-01-01'--",
        "%00",
        "２０２６-01-01",
    ] {
        for name in ["from", "to"] {
            let answer = app.get(format!("/me/payments/?{name}={day}")).by(&minsu).await;
            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                (400, "invalid"),
                "{name}={day}"
            );
            assert!(answer.json()[name].is_array(), "{name}={day}");
        }
    }
    for day in ["0001-01-01", "2024-02-29", "9999-12-31"] {
        for name in ["from", "to"] {
            assert_eq!(
                app.get(format!("/me/payments/?{name}={day}")).by(&minsu).await.status,
                200,
                "{name}={day}"
            );
        }
    }
}

/// The result is empty instead of unfiltered.
#[tokio::test]
async fn an_unknown_status_or_type_finds_nothing() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    payments(&app, &minsu).await;
    for query in ["status=lost", "payment_type=books", "status=PAID", "payment_type=tests"] {
        let answer = app.get(format!("/me/payments/?{query}")).by(&minsu).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["count"]),
            (200, &json!(0)),
            "{query}"
        );
    }
}

#[tokio::test]
async fn pages_hold_twenty_and_keep_the_filters() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    app.run(
        "insert into payments (user_id, payment_type, content_type_id, object_id, amount, payment_method, status,
                               paid_at, cancelled_at, target_title, search_vector, registration_time)
         select $1, 'test', c.id, 1, 1000, 'card', 'cancelled', timestamptz '2026-02-01' + n * interval '1 hour', now(),
                '요가', to_tsvector('simple', '요가'), now()
         from generate_series(1, 45) n, django_content_type c where c.model = 'test'",
        &[&minsu.id],
    )
    .await;
    for path in spellings("/me/payments/") {
        let list = async |query: &str| app.get(format!("{path}?{query}")).by(&minsu).await;
        let filters = "status=cancelled&from=2026-01-01&search=%EC%9A%94%EA%B0%80";
        let (mut next, mut seen) = (format!("{}{path}?{filters}", app.base), Vec::new());
        for page in 1..=3 {
            let answer = app
                .get(next.strip_prefix(&app.base).expect("a link leads here"))
                .by(&minsu)
                .await;
            assert_eq!(answer.json()["count"], 45);
            assert_eq!(answer.json()["previous"].is_null(), page == 1);
            seen.extend(ids(&answer.json()["results"]));
            next = answer.json()["next"].as_str().unwrap_or_default().to_owned();
            assert!(
                page == 3 || next == format!("{}{path}?{filters}&page={}", app.base, page + 1),
                "{next}"
            );
        }
        assert_eq!(next, "");
        assert_eq!(seen, (1..=45).rev().collect::<Vec<i64>>());
        assert_eq!(ids(&list("page=last").await.json()["results"]), [5, 4, 3, 2, 1]);
        for page in ["4", "0", "-1", "x", "1.5", "99999999999999999999"] {
            assert_answer!(list(&format!("page={page}")).await, @r#"
            {
              "status": "404 Not Found",
              "body": {
                "code": "invalid_page",
                "detail": "Invalid page.",
                "request_id": "[request id]"
              }
            }
            "#);
        }
    }
}
