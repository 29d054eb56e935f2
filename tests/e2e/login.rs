use std::time::{Duration, Instant};

use serde_json::json;
use sugang_tests::{App, Call, PASSWORD, assert_answer};

/// Written by Django 5.2's `make_password("django-pass1")`, with the iterations of that version.
const DJANGO_HASH: &str = "pbkdf2_sha256$1000000$VbMkzDr1gHBQkQhXcUj1xZ$W/HVWvPU6hbWCmr5w1/MsKzI0QJTTM4qtUNtOEuNrTU=";
/// The same password with few iterations.
const QUICK_DJANGO_HASH: &str = "pbkdf2_sha256$1000$seasalt$e/zdT72tIuUUvFAzay+hpLf9iaEOjKcpx1kbmBWtho0=";

fn login<'a>(app: &'a App, email: &str, password: &str) -> Call<'a> {
    app.post("/login/").json(&json!({"email": email, "password": password}))
}

#[tokio::test]
async fn a_login_returns_tokens_and_is_recorded() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let answer = login(&app, "minsu@example.com", PASSWORD).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_answer!(answer.clone(), @r#"
    {
      "status": "200 OK",
      "body": {
        "access": "[1 minsu@example.com minsu for 86400 s]",
        "refresh": "[1 minsu@example.com minsu for 604800 s]",
        "user": {
          "email": "minsu@example.com",
          "id": 1,
          "username": "minsu"
        }
      }
    }
    "#);
    let noted: bool = app
        .one(
            "select last_login between now() - interval '1 minute' and now() from users",
            &[],
        )
        .await;
    assert!(noted);

    let access = answer.json()["access"].as_str().unwrap();
    assert_eq!(app.get("/tests/").bearer(access).await.status, 200);
    let again = login(&app, "minsu@example.com", PASSWORD).await;
    let id = |token: &str| sugang_tests::token::verify(token)["jti"].clone();
    assert_ne!(
        id(access),
        id(again.json()["access"].as_str().unwrap()),
        "every token has an id of its own"
    );
    assert_ne!(id(access), id(answer.json()["refresh"].as_str().unwrap()));
    assert_eq!(minsu.id, 1);
}

#[tokio::test]
async fn lifetimes_are_configurable() {
    let app = App::with("access_token_lifetime_seconds", 60)
        .with("refresh_token_lifetime_seconds", 120)
        .start()
        .await;
    app.user("minsu").await;
    assert_answer!(login(&app, "minsu@example.com", PASSWORD).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "access": "[1 minsu@example.com minsu for 60 s]",
        "refresh": "[1 minsu@example.com minsu for 120 s]",
        "user": {
          "email": "minsu@example.com",
          "id": 1,
          "username": "minsu"
        }
      }
    }
    "#);
}

#[tokio::test]
async fn an_email_matches_in_any_case() {
    let app = App::start().await;
    app.user("minsu").await;
    let answer = login(&app, "MinSu@EXAMPLE.com", PASSWORD).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.json()["user"]["email"]),
        (200, &json!("minsu@example.com"))
    );
}

#[tokio::test]
async fn wrong_credentials_are_refused_alike() {
    let app = App::start().await;
    app.user("minsu").await;
    app.user("gone").await;
    app.run("update users set is_active = false where username = 'gone'", &[])
        .await;
    assert_answer!(login(&app, "minsu@example.com", "wrong-pass1").await, @r#"
    {
      "status": "401 Unauthorized",
      "www-authenticate": "Bearer",
      "body": {
        "code": "invalid_credentials",
        "detail": "No active account found with the given credentials",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(login(&app, "nobody@example.com", PASSWORD).await, @r#"
    {
      "status": "401 Unauthorized",
      "www-authenticate": "Bearer",
      "body": {
        "code": "invalid_credentials",
        "detail": "No active account found with the given credentials",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(login(&app, "gone@example.com", PASSWORD).await, @r#"
    {
      "status": "401 Unauthorized",
      "www-authenticate": "Bearer",
      "body": {
        "code": "invalid_credentials",
        "detail": "No active account found with the given credentials",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(login(&app, "gone@example.com", PASSWORD).in_english().await, @r#"
    {
      "status": "401 Unauthorized",
      "www-authenticate": "Bearer",
      "body": {
        "code": "invalid_credentials",
        "detail": "No active account found with the given credentials",
        "request_id": "[request id]"
      }
    }
    "#);
    let none: i64 = app.one("select count(last_login) from users", &[]).await;
    assert_eq!(none, 0);
}

/// Otherwise the response time would reveal which e-mail addresses have an account.
#[tokio::test]
async fn wrong_credentials_are_refused_in_the_same_time() {
    let app = App::with("argon2_memory_kib", 19456)
        .with("argon2_iterations", 2)
        .start()
        .await;
    for name in ["minsu", "gone"] {
        let body = json!({"email": format!("{name}@example.com"), "username": name, "password": PASSWORD});
        assert_eq!(app.post("/signup/").json(&body).await.status, 201);
    }
    app.run("update users set is_active = false where username = 'gone'", &[])
        .await;
    // The shortest of several measurements, and more of them while other load on the machine hides it.
    let mut shortest = [Duration::MAX; 3];
    let alike =
        |[wrong, others @ ..]: [Duration; 3]| others.iter().all(|other| *other > wrong / 2 && *other < wrong * 2);
    for round in 1..=30 {
        let cases = [("minsu", "wrong-pass1"), ("nobody", PASSWORD), ("gone", PASSWORD)];
        for (shortest, (name, password)) in shortest.iter_mut().zip(cases) {
            let begun = Instant::now();
            assert_eq!(login(&app, &format!("{name}@example.com"), password).await.status, 401);
            *shortest = begun.elapsed().min(*shortest);
        }
        if round >= 5 && alike(shortest) {
            break;
        }
    }
    assert!(alike(shortest), "wrong, unknown, inactive: {shortest:?}");
}

#[tokio::test]
async fn missing_or_wrong_fields_are_named() {
    let app = App::start().await;
    app.user("minsu").await;
    assert_answer!(app.post("/login/").json(&json!({})).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "email": [
          "이 필드는 필수 항목입니다."
        ],
        "password": [
          "이 필드는 필수 항목입니다."
        ],
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(app.post("/login/").in_english().json(&json!({"email": "minsu@example.com"})).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "password": [
          "This field is required."
        ],
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(app.post("/login/").json(&json!({"password": PASSWORD})).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "email": [
          "이 필드는 필수 항목입니다."
        ],
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(app.post("/login/").json(&json!({"email": null, "password": 1})).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "email": [
          "이 필드는 null일 수 없습니다."
        ],
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(app.post("/login/").json(&json!({"email": "", "password": ""})).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "email": [
          "이 필드는 blank일 수 없습니다."
        ],
        "password": [
          "이 필드는 blank일 수 없습니다."
        ],
        "request_id": "[request id]"
      }
    }
    "#);
}

#[tokio::test]
async fn a_django_password_logs_in_and_is_rehashed() {
    let app = App::start().await;
    app.user("minsu").await;
    app.run("update users set password = $1", &[&DJANGO_HASH]).await;
    assert_eq!(login(&app, "minsu@example.com", "django-pass2").await.status, 401);
    assert_eq!(
        app.one::<String>("select password from users", &[]).await,
        DJANGO_HASH,
        "a wrong one changes nothing"
    );

    assert_answer!(login(&app, "minsu@example.com", "django-pass1").await, @r#"
    {
      "status": "200 OK",
      "body": {
        "access": "[1 minsu@example.com minsu for 86400 s]",
        "refresh": "[1 minsu@example.com minsu for 604800 s]",
        "user": {
          "email": "minsu@example.com",
          "id": 1,
          "username": "minsu"
        }
      }
    }
    "#);
    let rewritten: String = app.one("select password from users", &[]).await;
    assert!(rewritten.starts_with("$argon2id$v=19$"), "{rewritten}");
    assert_eq!(login(&app, "minsu@example.com", "django-pass1").await.status, 200);
    assert_eq!(login(&app, "minsu@example.com", "django-pass2").await.status, 401);
    assert_eq!(
        app.one::<String>("select password from users", &[]).await,
        rewritten,
        "it is rewritten once"
    );
}

#[tokio::test]
async fn a_password_with_few_iterations_is_rehashed_too() {
    let app = App::start().await;
    app.user("minsu").await;
    app.run("update users set password = $1", &[&QUICK_DJANGO_HASH]).await;
    assert_eq!(login(&app, "minsu@example.com", "django-pass1").await.status, 200);
    assert!(
        app.one::<String>("select password from users", &[])
            .await
            .starts_with("$argon2id$")
    );
}

/// Written by Django 5.2's `make_password("django-pass1")`, at its own costs.
const DJANGO_HASHES: &[&str] = &[
    "pbkdf2_sha1$1000000$uQIx907H88eNhqLmSketFg$L2s8pu8h3el+wNCrpbfjblsWqkM=",
    "argon2$argon2id$v=19$m=102400,t=2,p=8$dFV5RDhNbHZIVEtndVdmZnFHMXZ1ag$cLWHjbLoXIUTZ1vte66FkS7JdRoInsGQ3xr+b2tEwSI",
    "bcrypt_sha256$$2b$12$kxQuZpamO8o//0EnwhvfLuEWaw.u7xplrzMFaIb6wJR2w/uajQhtW",
    "bcrypt$$2b$12$1zQHZORi8LcaJntwUqenuuRNrMa6RpjLUPHbae0H7TE79xtuSEJd2",
    "scrypt$16384$ArqSCUQfU9EBo49V7sXSXO$8$5$nFp5Dl1gtDv/KgvbVC2ktIK5bvqXKXlNOk8Rc06o/qL6EMfY38Z5b4/1cWFx6y3zQWFhxWWnC0qSYy7fAfS9CQ==",
    "md5$sJkv6rf6ZnUyWjaDvCDz9i$58c68f221e7cebaf43fd581d026e15bc",
];

#[tokio::test]
async fn a_password_of_every_django_hasher_logs_in_and_is_rehashed() {
    let app = App::start().await;
    app.user("minsu").await;
    for hash in DJANGO_HASHES {
        app.run("update users set password = $1", &[hash]).await;
        assert_eq!(
            login(&app, "minsu@example.com", "django-pass2").await.code(),
            "invalid_credentials",
            "{hash}"
        );
        let stored = async || app.one::<String>("select password from users", &[]).await;
        assert_eq!(stored().await, *hash, "a wrong one changes nothing");

        assert_eq!(
            login(&app, "minsu@example.com", "django-pass1").await.status,
            200,
            "{hash}"
        );
        let rewritten = stored().await;
        assert!(rewritten.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{rewritten}");
        assert_eq!(
            login(&app, "minsu@example.com", "django-pass1").await.status,
            200,
            "{hash}"
        );
        assert_eq!(
            login(&app, "minsu@example.com", "django-pass2").await.status,
            401,
            "{hash}"
        );
        assert_eq!(stored().await, rewritten, "it is rewritten once");
    }
}

/// Whatever is stored, a refusal takes as long as for an account that does not exist.
#[tokio::test]
async fn no_stored_hash_tells_that_its_account_exists() {
    let app = App::with("argon2_memory_kib", 19456)
        .with("argon2_iterations", 2)
        .start()
        .await;
    app.user("minsu").await;
    // The last one is normalized, and so is compared in two forms.
    for password in ["wrong-pass1", "ｗrong-pass1"] {
        let time = async |email: &str| {
            let begun = Instant::now();
            assert_eq!(login(&app, email, password).await.status, 401);
            begun.elapsed()
        };
        for hash in [
            "",
            "!f80KeBinPWdHcFwE5nZN8vaCu9BFjoaNL00cYzdP",
            "correct1",
            "sha1$seasalt$f5e3c1a0",
            "md5$seasalt$d41d8cd98f00b204e9800998ecf8427e",
            "pbkdf2_sha256$",
            "pbkdf2_sha1$1$seasalt$ApSOQeck+5uxfnGZAvLEA5aKpoU=",
            "bcrypt$$2b$31$oNK2l1PWSdQWnXf4NSdrxu2rbxEVyQjBmZK/nA8YGUlD/K8kTWaFi",
            "bcrypt$$2b$04$oNK2l1PWSdQWnXf4NSdrxu2rbxEVyQjBmZK/nA8YGUlD/K8kTWaFi",
            "scrypt$1073741824$seasalt$8$1$AAAA",
            "scrypt$16$seasalt$8$1$AAAA",
            "argon2$argon2id$v=19$m=4194304,t=2,p=8$dFV5RDhNbHZIVEtndVdmZnFHMXZ1ag$cLWHjbLoXIUTZ1vte66FkS7JdRoInsGQ3xr+b2tEwSI",
            "$argon2id$v=19$m=8,t=1,p=1$PNdqudET2Fjkm76hwJcLHQ$f7YNlF4lrAM7B5skd+y4Tv3vziTmHXHAXHhhm0m20ag",
            "$argon2id$v=19$m=19456,t=2,p=1$PNdqudET2Fjkm76hwJcLHQ",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$f7YNlF4lrAM7B5skd+y4Tv3vziTmHXHAXHhhm0m20ag",
        ] {
            app.run("update users set password = $1", &[&hash]).await;
            // The shortest of several pairs, and more of them while other load on the machine hides it.
            let (mut stored, mut unknown) = (Duration::MAX, Duration::MAX);
            let alike = |stored, unknown: Duration| stored > unknown / 2 && stored < unknown * 2;
            for pairs in 1..=30 {
                stored = time("minsu@example.com").await.min(stored);
                unknown = time("nobody@example.com").await.min(unknown);
                if pairs >= 3 && alike(stored, unknown) {
                    break;
                }
            }
            assert!(alike(stored, unknown), "{hash}: {stored:?}, unknown: {unknown:?}");
        }
    }
}

#[tokio::test]
async fn an_unusable_password_never_logs_in() {
    let app = App::start().await;
    app.user("minsu").await;
    for hash in [
        "",
        "!",
        // Django's mark for a user without a password.
        "!f80KeBinPWdHcFwE5nZN8vaCu9BFjoaNL00cYzdP",
        "correct1",
        "md5$seasalt$d41d8cd98f00b204e9800998ecf8427e",
        "pbkdf2_sha256$",
        "pbkdf2_sha256$0$seasalt$",
        "pbkdf2_sha256$-1$seasalt$AAAA",
        "pbkdf2_sha256$4294967296$seasalt$AAAA",
        "pbkdf2_sha256$99999999999999999999$seasalt$AAAA",
        "pbkdf2_sha256$1000$seasalt$",
        "pbkdf2_sha256$1000$seasalt$not base64!",
        "pbkdf2_sha1$1000$seasalt$AAAA",
        "$argon2id$",
        "$argon2id$v=19$m=4294967295,t=4294967295,p=1$PNdqudET2Fjkm76hwJcLHQ$f7YNlF4lrAM7B5skd+y4Tv3vziTmHXHAXHhhm0m20ag",
        "$argon2id$v=19$m=8,t=1,p=1$PNdqudET2Fjkm76hwJcLHQ$",
        "$2b$12$abcdefghijklmnopqrstuuu",
    ] {
        app.run("update users set password = $1", &[&hash]).await;
        for password in ["correct1", "", hash] {
            let answer = login(&app, "minsu@example.com", password).await;
            let expected = if password.is_empty() { 400 } else { 401 };
            assert_eq!(answer.status, expected, "{hash}: {answer:?}");
        }
        assert_eq!(app.one::<String>("select password from users", &[]).await, hash);
    }
}
