//! `GET /api/operator/users/`, `GET /api/operator/users/{id}/`, and what changes a user.

use futures::future::join;
use serde_json::Value;
use sugang_tests::{Answer, App, COURSE, EXAM, Item, User, assert_answer, assert_rows};

use crate::support::{cancel, operator, paid, register};

fn names(answer: &Answer) -> Vec<&str> {
    let results = answer.json()["results"].as_array();
    let results = results.unwrap_or_else(|| panic!("{answer:?}")).iter();
    results
        .map(|user| user["username"].as_str().expect("a user has a name"))
        .collect()
}

fn path(user: &User, change: &str) -> String {
    format!("/api/operator/users/{}/{change}", user.id)
}

#[tokio::test]
async fn users_are_found_by_beginnings() {
    let app = App::start().await;
    let ujin = operator(&app).await;
    for name in ["minsu", "minsu.kim", "민수", "a%b"] {
        app.user(name).await;
    }
    app.run("update users set email = 'hong@한국.kr' where username = '민수'", &[])
        .await;
    app.run("update users set email = 'a_b@example.com' where username = 'a%b'", &[])
        .await;
    assert_answer!(app.get("/api/operator/users/?username=minsu.").by(&ujin).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "count": 1,
        "next": null,
        "previous": null,
        "results": [
          {
            "email": "minsu.kim@example.com",
            "id": 3,
            "is_active": true,
            "is_operator": false,
            "is_superuser": false,
            "last_login": null,
            "username": "minsu.kim"
          }
        ]
      }
    }
    "#);
    for (query, expected) in [
        ("", vec!["a%b", "민수", "minsu.kim", "minsu", "ujin"]),
        ("email=MINSU", vec!["minsu.kim", "minsu"]),
        ("email=minsu@example.com", vec!["minsu"]),
        ("email=hong@xn--3e0b707e.kr", vec!["민수"]),
        ("email=HONG@%ED%95%9C", vec!["민수"]),
        ("email=insu", vec![]),
        ("email=a_b", vec!["a%b"]),
        ("email=m_n", vec![]),
        ("username=%EB%AF%BC", vec!["민수"]),
        // Decomposed, as some keyboards write it.
        ("username=%E1%84%86%E1%85%B5%E1%86%AB", vec!["민수"]),
        ("username=a%25", vec!["a%b"]),
        ("username=%25", vec![]),
        ("username=Minsu", vec![]),
        ("username=minsu&email=minsu.", vec!["minsu.kim"]),
    ] {
        let answer = app.get(format!("/api/operator/users/?{query}")).by(&ujin).await;
        assert_eq!(names(&answer), expected, "{query}");
    }
    let beyond = app.get("/api/operator/users/?page=2").by(&ujin).await;
    assert_eq!(beyond.code(), "invalid_page");
}

#[tokio::test]
async fn a_user_has_counts() {
    let app = App::start().await;
    let (ujin, minsu) = (operator(&app).await, app.user("minsu").await);
    for _ in 0..2 {
        let id = app.add(EXAM, Item::default()).await;
        paid(&register(&app, EXAM, id, &minsu).await);
    }
    let id = app.add(COURSE, Item::default()).await;
    paid(&register(&app, COURSE, id, &minsu).await);
    assert_answer!(app.get(path(&minsu, "")).by(&ujin).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "email": "minsu@example.com",
        "id": 2,
        "is_active": true,
        "is_operator": false,
        "is_superuser": false,
        "last_login": null,
        "payments": 3,
        "registrations": {
          "course": 1,
          "test": 2
        },
        "username": "minsu"
      }
    }
    "#);
    let missing = app.get("/api/operator/users/404/").by(&ujin).await;
    assert_eq!(missing.code(), "not_found");
}

#[tokio::test]
async fn a_user_has_registrations_for_exams_and_courses() {
    let app = App::start().await;
    let (ujin, minsu, jisu) = (operator(&app).await, app.user("minsu").await, app.user("jisu").await);
    let exam = app.add(EXAM, Item::default()).await;
    let course = Item {
        title: "통계학 입문",
        ..Item::default()
    };
    let course = app.add(COURSE, course).await;
    let first = paid(&register(&app, EXAM, exam, &minsu).await);
    paid(&register(&app, EXAM, exam, &jisu).await);
    paid(&register(&app, COURSE, course, &minsu).await);
    assert_eq!(cancel(&app, first, &minsu).await.status, 200);
    assert_answer!(app.get(path(&minsu, "registrations/")).by(&ujin).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "count": 2,
        "next": null,
        "previous": null,
        "results": [
          {
            "item_id": 1,
            "kind": "course",
            "registration": {
              "amount": "45000.00",
              "cancelled_at": null,
              "completed_at": null,
              "email": "minsu@example.com",
              "id": 1,
              "payment_id": 3,
              "payment_method": "card",
              "payment_status": "paid",
              "reference": null,
              "registered_at": "[now]",
              "status": "enrolled",
              "user_id": 2,
              "username": "minsu"
            },
            "title": "통계학 입문"
          },
          {
            "item_id": 1,
            "kind": "test",
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
            },
            "title": "정보처리기사 실기"
          }
        ]
      }
    }
    "#);
    let none = app.get(path(&ujin, "registrations/")).by(&ujin).await;
    assert_eq!(none.json()["results"], Value::Array(vec![]));
    for unknown in [
        "/api/operator/users/404/registrations/".to_owned(),
        path(&minsu, "registrations/?page=2"),
    ] {
        assert_eq!(app.get(unknown).by(&ujin).await.status, 404);
    }
}

#[tokio::test]
async fn a_user_is_deactivated_activated_and_logged_out() {
    let app = App::start().await;
    let (ujin, minsu) = (operator(&app).await, app.user("minsu").await);
    let status = || async { app.get("/me/payments/").by(&minsu).await.status.as_u16() };
    let deactivate = || {
        app.post(path(&minsu, "deactivate/"))
            .by(&ujin)
            .header("idempotency-key", "key-1")
    };
    assert_eq!(status().await, 200);
    assert_answer!(deactivate().await, @r#"
    {
      "status": "200 OK",
      "body": {
        "email": "minsu@example.com",
        "id": 2,
        "is_active": false,
        "is_operator": false,
        "is_superuser": false,
        "last_login": null,
        "username": "minsu"
      }
    }
    "#);
    assert_eq!(status().await, 401);
    assert_eq!(deactivate().await.header("idempotency-replayed"), "true");
    let activated = app.post(path(&minsu, "activate/")).by(&ujin).await;
    assert_eq!(activated.json()["is_active"], true);
    assert_eq!(status().await, 200);
    assert_eq!(app.post(path(&minsu, "logout/")).by(&ujin).await.status, 200);
    assert_eq!(app.get("/me/payments/").by(&minsu).await.code(), "token_not_valid");
    let missing = app.post("/api/operator/users/404/logout/").by(&ujin).await;
    assert_eq!(missing.code(), "not_found");
    let log = "select action, before, after, actor_id from sugang.change_log where actor_id is not null order by id";
    assert_rows!(app.rows(log).await, @r#"
    [
      {
        "action": "edited",
        "actor_id": 1,
        "after": {
          "is_active": false
        },
        "before": {
          "is_active": true
        }
      },
      {
        "action": "edited",
        "actor_id": 1,
        "after": {
          "is_active": true
        },
        "before": {
          "is_active": false
        }
      }
    ]
    "#);
}

#[tokio::test]
async fn an_operator_is_changed_by_a_superuser_alone() {
    let app = App::start().await;
    let ujin = operator(&app).await;
    let [jisu, sujin] = [app.user("jisu").await, app.user("sujin").await];
    app.run("update users set is_staff = true where id = $1", &[&jisu.id])
        .await;
    app.run("update users set is_superuser = true where id = $1", &[&sujin.id])
        .await;
    for other in [&jisu, &sujin] {
        for change in ["deactivate/", "activate/", "logout/"] {
            let refused = app.post(path(other, change)).by(&ujin).await;
            assert_eq!(
                (refused.status.as_u16(), refused.code()),
                (403, "not_superuser"),
                "{change}"
            );
        }
    }
    for own in [&ujin, &sujin] {
        let refused = app.post(path(own, "deactivate/")).by(own).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (403, "own_account"));
    }
    assert_answer!(app.post(path(&ujin, "deactivate/")).by(&ujin).in_english().await, @r#"
    {
      "status": "403 Forbidden",
      "body": {
        "code": "own_account",
        "detail": "You cannot deactivate your own account.",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_eq!(app.post(path(&jisu, "deactivate/")).by(&sujin).await.status, 200);
    assert_eq!(app.get("/api/operator/users/").by(&jisu).await.status, 404);
    assert_eq!(app.post(path(&ujin, "logout/")).by(&ujin).await.status, 200);
    assert_eq!(app.get("/api/operator/users/").by(&ujin).await.status, 404);
}

/// However two superusers deactivate each other, one of them stays.
#[tokio::test]
async fn two_superusers_do_not_deactivate_each_other() {
    let app = App::start().await;
    for round in 0..20 {
        let (a, b) = (
            app.user(&format!("minsu{round}")).await,
            app.user(&format!("jisu{round}")).await,
        );
        app.run(
            "update users set is_superuser = true where id in ($1, $2)",
            &[&a.id, &b.id],
        )
        .await;
        let (one, other) = join(async { app.post(path(&b, "deactivate/")).by(&a).await }, async {
            app.post(path(&a, "deactivate/")).by(&b).await
        })
        .await;
        let mut statuses = [one.status.as_u16(), other.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 404], "round {round}");
        let active: Value = app
            .rows(&format!(
                "select count(*) as n from users where is_active and id in ({}, {})",
                a.id, b.id
            ))
            .await;
        assert_eq!(active[0]["n"], 1, "round {round}");
    }
}
