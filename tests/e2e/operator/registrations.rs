//! `GET /api/operator/tests/{id}/registrations/` and the same for courses.

use rstest::rstest;
use sugang_tests::{Answer, App, COURSE, EXAM, Item, Kind, assert_answer};

use crate::support::{cancel, operator, paid, payment, register};

fn path(kind: Kind, id: i64, query: &str) -> String {
    format!("/api/operator{}registrations/{query}", kind.item(id))
}

fn ids(answer: &Answer) -> Vec<i64> {
    let results = answer.json()["results"].as_array();
    let results = results.unwrap_or_else(|| panic!("{answer:?}")).iter();
    let ids = results.map(|registration| registration["id"].as_i64());
    ids.map(|id| id.expect("a registration has an id")).collect()
}

#[rstest]
#[tokio::test]
async fn each_has_its_user_and_its_latest_payment(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let [minsu, jisu, yuna] = [app.user("minsu").await, app.user("jisu").await, app.user("yuna").await];
    let (id, other) = (
        app.add(kind, Item::default()).await,
        app.add(kind, Item::default()).await,
    );
    assert_answer!(app.get(path(kind, id, "")).by(&ujin).await, @r#"
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
    // Cancelled, and taken up again in another way.
    let first = paid(&register(&app, kind, id, &minsu).await);
    assert_eq!(cancel(&app, first, &minsu).await.status, 200);
    register(&app, kind, other, &minsu).await;
    let other_way = payment("45000.00", "kakaopay");
    paid(&app.post(kind.register(id)).by(&minsu).json(&other_way).await);
    assert_eq!(app.post(kind.complete(id)).by(&minsu).await.status, 200);
    let second = paid(&register(&app, kind, id, &jisu).await);
    assert_eq!(cancel(&app, second, &jisu).await.status, 200);
    // Without a payment, as another program may write it.
    let without = format!(
        "insert into {} (user_id, {}, status, completed_at) values ($1, $2, 'completed', now())",
        kind.registrations, kind.item_id
    );
    app.run(&without, &[&yuna.id, &id]).await;
    // Hidden items have the same list.
    app.run(&format!("update {} set hidden = true", kind.items), &[]).await;
    assert_answer!(app.get(path(kind, id, "")).by(&ujin).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "count": 3,
        "next": null,
        "previous": null,
        "results": [
          {
            "amount": null,
            "cancelled_at": null,
            "completed_at": "[now]",
            "email": "yuna@example.com",
            "id": 4,
            "payment_id": null,
            "payment_method": null,
            "payment_status": null,
            "reference": null,
            "registered_at": "[now]",
            "status": "completed",
            "user_id": 4,
            "username": "yuna"
          },
          {
            "amount": "45000.00",
            "cancelled_at": "[now]",
            "completed_at": null,
            "email": "jisu@example.com",
            "id": 3,
            "payment_id": 4,
            "payment_method": "card",
            "payment_status": "cancelled",
            "reference": null,
            "registered_at": "[now]",
            "status": "cancelled",
            "user_id": 3,
            "username": "jisu"
          },
          {
            "amount": "45000.00",
            "cancelled_at": null,
            "completed_at": "[now]",
            "email": "minsu@example.com",
            "id": 1,
            "payment_id": 3,
            "payment_method": "kakaopay",
            "payment_status": "paid",
            "reference": null,
            "registered_at": "[now]",
            "status": "completed",
            "user_id": 2,
            "username": "minsu"
          }
        ]
      }
    }
    "#);
    assert_eq!(app.get(path(kind, 77, "")).by(&ujin).await.code(), "not_found");
    assert_eq!(app.get(path(kind, id, "")).by(&minsu).await.code(), "not_found");
}

/// Of 45 registrations, an hour apart, every third is completed and every fifth cancelled. The newest has the lowest id.
#[rstest]
#[tokio::test]
async fn pages_are_filtered_by_status_and_day(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let id = app.add(kind, Item::default()).await;
    app.add(kind, Item::default()).await;
    let Kind {
        registrations,
        item_id,
        registered_at,
        active,
        ..
    } = kind;
    let add = format!(
        "insert into users (email, username, password) select n || '@example.com', n, '' from generate_series(1, 45) n;
         insert into {registrations} (user_id, {item_id}, status, {registered_at})
             select id, 1, case when n % 5 = 0 then 'cancelled' when n % 3 = 0 then 'completed' else '{active}' end,
                    timestamptz '2026-02-01' + (46 - n) * interval '1 h'
             from users cross join lateral (select id - 1 as n) u where n > 0 order by n"
    );
    app.database().batch_execute(&add).await.expect("registrations");
    let list = async |query: &str| app.get(path(kind, id, query)).by(&ujin).await;
    let counted = async |query: &str| {
        let answer = list(query).await;
        (answer.json()["count"].as_i64().expect("a count"), ids(&answer))
    };
    let first = list("").await;
    assert_eq!(first.json()["results"][0]["status"], active);
    assert_eq!(counted("").await, (45, (1..=20).collect()));
    assert_eq!(counted("?page=2").await, (45, (21..=40).collect()));
    assert_eq!(counted("?page=last").await, (45, (41..=45).collect()));
    let cancelled: Vec<i64> = (1..=45).filter(|n| n % 5 == 0).collect();
    assert_eq!(counted("?status=cancelled").await, (9, cancelled));
    let completed: Vec<i64> = (1..=45).filter(|n| n % 5 != 0 && n % 3 == 0).collect();
    assert_eq!(counted("?status=completed").await, (12, completed));
    assert_eq!(
        counted(&format!("?status={active}&page=2")).await,
        (24, vec![38, 41, 43, 44])
    );
    assert_eq!(counted("?status=unknown").await, (0, vec![]));
    // 00:00 on 2 February is 22 hours before the newest.
    assert_eq!(counted("?from=2026-02-02&page=2").await, (22, vec![21, 22]));
    assert_eq!(counted("?to=2026-02-01&page=last").await, (23, vec![43, 44, 45]));
    assert_eq!(
        counted("?from=2026-02-02&to=2026-02-02&status=cancelled").await,
        (4, vec![5, 10, 15, 20])
    );
    assert_eq!(counted("?from=9999-12-31&to=9999-12-31").await, (0, vec![]));
    assert_eq!(list("?page=4").await.code(), "invalid_page");
    assert_eq!(
        list("?from=2026-02-30").await.json()["from"].as_array().map(Vec::len),
        Some(1)
    );
}

/// A time outside the years that have four digits is of the first or the last day.
#[tokio::test]
async fn far_times_are_of_the_first_and_the_last_day() {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let id = app.add(EXAM, Item::default()).await;
    for (n, at) in ["-infinity", "2026-02-01", "infinity"].into_iter().enumerate() {
        let user = app.user(&format!("user{n}")).await;
        let add =
            "insert into test_registrations (user_id, test_id, applied_at) values ($1, $2, $3::text::timestamptz)";
        app.run(add, &[&user.id, &id, &at]).await;
    }
    for (query, expected) in [
        ("", &[3, 2, 1][..]),
        ("?to=0001-01-01", &[1]),
        ("?from=9999-12-31", &[3]),
        ("?from=0001-01-01&to=9999-12-31", &[3, 2, 1]),
        ("?from=0001-01-02&to=9999-12-30", &[2]),
    ] {
        assert_eq!(
            ids(&app.get(path(EXAM, id, query)).by(&ujin).await),
            expected,
            "{query}"
        );
    }
}
