//! A database that the Django service made, taken over as it stands.

use serde_json::{Value, json};
use sugang_tests::{App, COURSE, EXAM, Kind, User, assert_answer, assert_rows};

use crate::{
    storm::assert_audit,
    support::{cancel, paid, payment, register},
};

const DATABASE: &str = include_str!("../fixtures/django.sql");

/// The secret with which the Django service signed.
const SECRET: &str = "an-end-to-end-secret-of-32-bytes-or-more";

/// Our service on the Django service's database.
struct Django {
    app: App,
    minsu: User,
}

impl Django {
    async fn taken_over() -> Self {
        let mut app = App::with("jwt_secret", SECRET).start().await;
        let empty = "drop schema sugang cascade; drop schema public cascade; create schema public;";
        for statements in [empty, DATABASE] {
            app.database()
                .batch_execute(statements)
                .await
                .unwrap_or_else(|error| panic!("{error:?}"));
        }
        app.migrate().await;
        // So that the ids of the tests go on behind those of the fixture: a rehearsal draws some.
        let go_on = "select count(setval(pg_get_serial_sequence(t, 'id'), m)) from (
                         values ('users', (select max(id) from users)), ('payments', (select max(id) from payments)),
                                ('tests', (select max(id) from tests)), ('courses', (select max(id) from courses)),
                                ('test_registrations', (select max(id) from test_registrations)),
                                ('course_registrations', (select max(id) from course_registrations))) s (t, m)";
        app.one::<i64>(go_on, &[]).await;
        // Pooled connections have prepared their statements for the previous database.
        app.restart().await;
        let minsu = User {
            id: 1,
            email: "django@example.com".to_owned(),
            username: "장고".to_owned(),
            access: token("access").to_owned(),
        };
        Self { app, minsu }
    }
}

/// A token that the Django service signed, from the head of the fixture.
fn token(token_type: &str) -> &'static str {
    let line = DATABASE
        .lines()
        .find_map(|line| line.strip_prefix(&format!("--   {token_type}: ")));
    line.expect("the head has one of each")
}

#[tokio::test]
async fn a_second_migration_changes_nothing() {
    let Django { app, .. } = Django::taken_over().await;
    let before = app.state().await;

    assert_eq!(
        sugang_migrations::run(app.database_url())
            .await
            .expect("it can be migrated"),
        [] as [String; 0]
    );

    assert_eq!(app.state().await, before);
    assert_audit(&app).await;
}

#[tokio::test]
async fn its_passwords_log_in_and_are_rehashed() {
    let Django { app, .. } = Django::taken_over().await;
    let stored = async |id: i64| {
        app.one::<String>("select password from users where id = $1", &[&id])
            .await
    };
    let login = async |email: &str, password: &str| {
        app.post("/login/")
            .json(&json!({"email": email, "password": password}))
            .await
    };
    for (id, email, password) in [
        (1, "django@example.com", "django-pass-1"),
        (2, "OTHER@example.com", "other-pass-1"),
    ] {
        let django = stored(id).await;
        assert!(django.starts_with("pbkdf2_sha256$1000000$"), "{django}");
        assert_eq!(login(email, "another-pass-1").await.code(), "invalid_credentials");
        assert_eq!(stored(id).await, django);

        let answer = login(email, password).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["user"]["id"]),
            (200, &json!(id))
        );
        let ours = stored(id).await;
        assert!(ours.starts_with("$argon2id$"), "{ours}");

        assert_eq!(login(email, password).await.status, 200);
        assert_eq!(login(email, "another-pass-1").await.status, 401);
        assert_eq!(stored(id).await, ours);
    }
    let logged_in: i64 = app
        .one(
            "select count(*) from users where last_login > now() - interval '1 minute'",
            &[],
        )
        .await;
    assert_eq!(logged_in, 2);
}

#[tokio::test]
async fn its_tokens_are_accepted() {
    let Django { app, .. } = Django::taken_over().await;

    let refreshed = app
        .post("/token/refresh/")
        .json(&json!({"refresh": token("refresh")}))
        .await;
    assert_eq!(refreshed.status, 200);
    let ours = refreshed.json()["access"].as_str().expect("an access token");
    for access in [token("access"), ours] {
        assert_eq!(app.get("/me/payments/").bearer(access).await.json()["count"], 3);
    }
    assert_eq!(
        app.get("/me/payments/").bearer(token("refresh")).await.code(),
        "token_not_valid"
    );
    let swapped = app
        .post("/token/refresh/")
        .json(&json!({"refresh": token("access")}))
        .await;
    assert_eq!(swapped.code(), "token_not_valid");
}

#[tokio::test]
async fn its_rows_are_shown() {
    let Django { app, minsu } = Django::taken_over().await;

    assert_answer!(app.get("/tests/").by(&minsu).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "count": 2,
        "next": null,
        "previous": null,
        "results": [
          {
            "capacity": null,
            "created_at": "2026-11-23T03:34:06.395435Z",
            "description": null,
            "end_at": "2036-11-20T03:34:06.387182Z",
            "id": 2,
            "is_registered": false,
            "price": "20000.00",
            "registration_count": 0,
            "remaining": null,
            "start_at": "2026-11-22T03:34:06.387182Z",
            "title": "한국사능력검정"
          },
          {
            "capacity": null,
            "created_at": "2026-11-23T03:34:06.388171Z",
            "description": "필기 시험",
            "end_at": "2036-11-20T03:34:06.387182Z",
            "id": 1,
            "is_registered": true,
            "price": "45000.00",
            "registration_count": 1,
            "remaining": null,
            "start_at": "2026-11-22T03:34:06.387182Z",
            "title": "정보처리기사 필기"
          }
        ]
      }
    }
    "#);
    assert_answer!(app.get("/courses/").by(&minsu).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "count": 1,
        "next": null,
        "previous": null,
        "results": [
          {
            "capacity": null,
            "created_at": "2026-11-23T03:34:06.399425Z",
            "description": "온라인 수업",
            "end_at": "2036-11-20T03:34:06.387182Z",
            "id": 1,
            "is_registered": true,
            "price": "99000.00",
            "registration_count": 1,
            "remaining": null,
            "start_at": "2026-11-22T03:34:06.387182Z",
            "title": "러스트 입문"
          }
        ]
      }
    }
    "#);
    assert_answer!(app.get("/me/payments/").by(&minsu).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "count": 3,
        "next": null,
        "previous": null,
        "results": [
          {
            "amount": "20000.00",
            "cancelled_at": "2026-11-23T03:34:06.387182Z",
            "id": 3,
            "paid_at": "2026-11-23T03:34:06.429153Z",
            "payment_method": "card",
            "payment_type": "test",
            "registration_time": "2026-11-23T03:34:06.426974Z",
            "status": "refunded",
            "target_id": 2,
            "target_title": "한국사능력검정",
            "target_type": "test"
          },
          {
            "amount": "99000.00",
            "cancelled_at": null,
            "id": 2,
            "paid_at": "2026-11-23T03:34:06.423875Z",
            "payment_method": "card",
            "payment_type": "course",
            "registration_time": "2026-11-23T03:34:06.411178Z",
            "status": "paid",
            "target_id": 1,
            "target_title": "러스트 입문",
            "target_type": "course"
          },
          {
            "amount": "45000.00",
            "cancelled_at": null,
            "id": 1,
            "paid_at": "2026-11-23T03:34:06.416620Z",
            "payment_method": "kakaopay",
            "payment_type": "test",
            "registration_time": "2026-11-23T03:34:06.403374Z",
            "status": "paid",
            "target_id": 1,
            "target_title": "정보처리기사 필기",
            "target_type": "test"
          }
        ]
      }
    }
    "#);
    for (path, count) in [
        ("/tests/?status=available", 2),
        ("/tests/?search=필기", 1),
        ("/tests/?search=처리", 1),
        ("/tests/?search=정보처리기사필기", 1),
        ("/courses/?status=available&sort=popular", 1),
        ("/me/payments/?search=정보처리기사", 1),
        ("/me/payments/?search=보처리", 1),
        ("/me/payments/?status=refunded", 1),
    ] {
        assert_eq!(app.get(path).by(&minsu).await.json()["count"], count, "{path}");
    }
    assert_audit(&app).await;
}

#[tokio::test]
async fn its_payments_are_cancelled_and_made_again() {
    let Django { app, minsu } = Django::taken_over().await;
    let exam = async || {
        let exam = app.get(EXAM.item(1)).by(&minsu).await;
        (
            exam.json()["registration_count"].clone(),
            exam.json()["is_registered"].clone(),
        )
    };
    assert_eq!(register(&app, EXAM, 1, &minsu).await.code(), "already_registered");
    assert_eq!(exam().await, (json!(1), json!(true)));

    assert_eq!(cancel(&app, 1, &minsu).await.status, 200);
    assert_eq!(exam().await, (json!(0), json!(false)));

    let again = register(&app, EXAM, 1, &minsu).await;
    assert_eq!((paid(&again), &again.json()["registration_id"]), (4, &json!(1)));
    assert_eq!(exam().await, (json!(1), json!(true)));

    assert_eq!(app.post(EXAM.complete(1)).by(&minsu).await.status, 200);
    assert_eq!(cancel(&app, 4, &minsu).await.code(), "item_completed");
    assert_eq!(cancel(&app, 2, &minsu).await.code(), "item_completed");
    assert_eq!(cancel(&app, 3, &minsu).await.code(), "already_cancelled");
    assert_audit(&app).await;
}

#[tokio::test]
async fn new_users_sign_up() {
    let Django { app, .. } = Django::taken_over().await;

    let body = json!({"email": "new@example.com", "username": "새사람", "password": "correct1"});
    assert_eq!(app.post("/signup/").json(&body).await.json()["user"]["id"], 3);
    let row = app
        .rows(
            "select username, first_name, last_name, is_staff, is_superuser, is_active,
                    date_joined between now() - interval '1 minute' and now() as joined_now from users where id = 3",
        )
        .await;
    assert_rows!(row[0].clone(), @r#"
    {
      "first_name": "",
      "is_active": true,
      "is_staff": false,
      "is_superuser": false,
      "joined_now": true,
      "last_name": "",
      "username": "새사람"
    }
    "#);
    let taken = json!({"email": "DJANGO@example.com", "username": "other", "password": "correct1"});
    assert_answer!(app.post("/signup/").json(&taken).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "errors": {
          "email": [
            "이미 사용 중인 이메일입니다."
          ],
          "username": [
            "이미 사용 중인 사용자 이름입니다."
          ]
        },
        "message": "회원가입에 실패했습니다.",
        "request_id": "[request id]"
      }
    }
    "#);

    let login = app.post("/login/").json(&body).await;
    let access = login.json()["access"].as_str().expect("an access token").to_owned();
    let new = User {
        id: 3,
        email: String::new(),
        username: String::new(),
        access,
    };
    assert_eq!(register(&app, EXAM, 1, &new).await.status, 201);
    assert_audit(&app).await;
}

/// The Django service may keep writing beside ours: it sets every column that it knows, and none of ours.
#[tokio::test]
async fn rows_that_it_writes_later_are_shown() {
    let Django { app, minsu } = Django::taken_over().await;
    for kind in [EXAM, COURSE] {
        let Kind {
            items,
            registrations,
            item_id,
            registered_at,
            active,
            payment_type,
            ..
        } = kind;
        let item: i64 = app
            .one(
                &format!(
                    "insert into {items} (title, description, price, start_at, end_at, created_at, updated_at,
                                          search_vector, registration_count)
                     values ('새로 나온 과정', '설명', 12000, now() - interval '1 day', now() + interval '1 day',
                             now(), now(), null, 0) returning id"
                ),
                &[],
            )
            .await;
        let registration: i64 = app
            .one(
                &format!(
                    "insert into {registrations} (status, {registered_at}, completed_at, cancelled_at, {item_id}, user_id)
                     values ('{active}', now(), null, null, $1, $2) returning id"
                ),
                &[&item, &minsu.id],
            )
            .await;
        app.run(
            &format!("update {items} set registration_count = registration_count + 1 where id = $1"),
            &[&item],
        )
        .await;
        let written: i64 = app
            .one(
                "insert into payments (payment_type, object_id, amount, payment_method, external_transaction_id, status,
                                       refund_reason, paid_at, cancelled_at, search_vector, content_type_id, user_id)
                 select $1::text, $2::bigint::integer, 12000, 'card', 'TXN_1_1', 'paid', null, now(), null, null, c.id, $3
                 from django_content_type c where c.model = $1::text returning payments.id",
                &[&payment_type, &item, &minsu.id],
            )
            .await;

        let list = app
            .get(format!("{}?search=나온&status=available", kind.path))
            .by(&minsu)
            .await;
        assert_eq!(list.json()["count"], 1);
        let shown = &list.json()["results"][0];
        assert_eq!((&shown["id"], &shown["is_registered"]), (&json!(item), &json!(true)));
        assert_eq!(
            (&shown["registration_count"], &shown["remaining"]),
            (&json!(1), &Value::Null)
        );
        let list = app.get("/me/payments/?search=나온&status=paid").by(&minsu).await;
        let shown = &list.json()["results"][0];
        assert_eq!(
            (&shown["id"], &shown["target_title"]),
            (&json!(written), &json!("새로 나온 과정"))
        );
        let registered: String = app
            .one(
                &format!("select sugang.iso({registered_at}) from {registrations} where id = $1"),
                &[&registration],
            )
            .await;
        assert_eq!(shown["registration_time"], registered);
        assert_audit(&app).await;

        // The Django service saves a change by writing all columns again.
        app.run(
            &format!(
                "update {items} set title = '고친 과정', description = '설명', search_vector = null where id = $1"
            ),
            &[&item],
        )
        .await;
        assert_eq!(
            app.get(format!("{}?search=고친", kind.path)).by(&minsu).await.json()["count"],
            1
        );

        assert_eq!(cancel(&app, written, &minsu).await.status, 200);
        let again = app
            .post(kind.register(item))
            .by(&minsu)
            .json(&payment("12000", "card"))
            .await;
        assert_eq!(again.json()[kind.registration_key], registration);
        assert_eq!(cancel(&app, paid(&again), &minsu).await.status, 200);
        assert_audit(&app).await;
    }
}
