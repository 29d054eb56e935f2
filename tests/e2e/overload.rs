//! More concurrent requests than the host admits.

use std::{
    future::IntoFuture,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use futures::future::{join, join_all};
use rstest::rstest;
use serde_json::json;
use sugang_tests::{App, PASSWORD, assert_answer};

use crate::support::{tally, while_registering};

#[tokio::test]
async fn requests_beyond_the_limit_queue() {
    let app = App::limited(|limits| (limits.requests, limits.cpu_bound_requests) = (2, 1)).await;
    let minsu = app.user("minsu").await;
    let login = || {
        app.post("/login/")
            .json(&json!({"email": minsu.email, "password": PASSWORD}))
    };
    let lists = join_all((0..100).map(|_| app.get("/tests/").by(&minsu).into_future()));
    let logins = join_all((0..20).map(|_| login().into_future()));
    let (lists, logins) = join(lists, logins).await;
    assert_eq!((tally(&lists), tally(&logins)), (vec![(200, 100)], vec![(200, 20)]));
}

#[tokio::test]
async fn a_request_that_queues_too_long_is_refused() {
    let app = App::limited(|limits| {
        limits.requests = 1;
        limits.request_wait_timeout = Duration::from_millis(100);
    })
    .await;
    let minsu = app.user("minsu").await;
    // A registration waits for a locked row and occupies the only place.
    while_registering(&app, &minsu, async {
        assert_answer!(app.get("/tests/").by(&minsu).await, @r#"
        {
          "status": "503 Service Unavailable",
          "retry-after": "1",
          "body": {
            "code": "overloaded",
            "detail": "요청이 많습니다. 잠시 후 다시 시도해주세요",
            "request_id": "[request id]"
          }
        }
        "#);
        for (language, detail) in [
            ("fr, en;q=0.5", "Too many requests. Try again in a moment."),
            ("en;q=0.1, ko", "요청이 많습니다. 잠시 후 다시 시도해주세요"),
        ] {
            let refused = app.get("/tests/").by(&minsu).header("accept-language", language).await;
            assert_eq!(refused.says("detail", detail).status, 503);
        }
    })
    .await;
    assert_eq!(app.get("/tests/").by(&minsu).await.status, 200);

    // The component weighs the languages in the same way.
    for (language, detail) in [("fr, en;q=0.5", "Not found."), ("en;q=0.1, ko", "찾을 수 없습니다.")] {
        let unknown = app.get("/nowhere/").header("accept-language", language).await;
        assert_eq!(unknown.says("detail", detail).status, 404);
    }
}

/// A hash would delay the lists in its instance, and logins that wait for a hash would occupy the places of other
/// requests.
#[rstest]
#[tokio::test]
async fn lists_are_answered_while_passwords_are_hashed(#[values("/signup/", "/api/auth/si%67nup")] path: &str) {
    let app = App::with("argon2_memory_kib", 19_456)
        .with("argon2_iterations", 32)
        .limits(|limits| (limits.requests, limits.cpu_bound_requests) = (2, 1))
        .start()
        .await;
    let minsu = app.user("minsu").await;
    let hashed = AtomicBool::new(false);
    let signup = async |name: String| {
        let email = format!("{name}@example.com");
        let account = json!({"email": email, "username": name, "password": PASSWORD});
        app.post(path).json(&account).await
    };
    let signups = async {
        let answers = join_all((0..4).map(|number| signup(format!("new{number}")))).await;
        hashed.store(true, Relaxed);
        answers
    };
    let lists = async {
        let mut answered = 0;
        while !hashed.load(Relaxed) {
            assert_eq!(app.get("/tests/").by(&minsu).await.status, 200);
            answered += 1;
        }
        answered
    };
    let (signups, lists) = join(signups, lists).await;
    assert_eq!(tally(&signups), [(201, 4)]);
    assert!(lists >= 20, "{lists} lists while four passwords were hashed");
}

/// The hashes of the Django service cost more than ours, and are computed in the same few places.
#[tokio::test]
async fn lists_are_answered_while_passwords_of_django_are_verified() {
    // Written by Django 5.2's `make_password("django-pass1")`.
    let hashes = [
        "bcrypt_sha256$$2b$12$kxQuZpamO8o//0EnwhvfLuEWaw.u7xplrzMFaIb6wJR2w/uajQhtW",
        "scrypt$16384$ArqSCUQfU9EBo49V7sXSXO$8$5$nFp5Dl1gtDv/KgvbVC2ktIK5bvqXKXlNOk8Rc06o/qL6EMfY38Z5b4/1cWFx6y3zQWFhxWWnC0qSYy7fAfS9CQ==",
        "argon2$argon2id$v=19$m=102400,t=2,p=8$dFV5RDhNbHZIVEtndVdmZnFHMXZ1ag$cLWHjbLoXIUTZ1vte66FkS7JdRoInsGQ3xr+b2tEwSI",
        "pbkdf2_sha1$1000000$uQIx907H88eNhqLmSketFg$L2s8pu8h3el+wNCrpbfjblsWqkM=",
    ];
    let app = App::limited(|limits| (limits.requests, limits.cpu_bound_requests) = (2, 1)).await;
    let mut users = Vec::new();
    for (number, hash) in hashes.iter().enumerate() {
        let user = app.user(&format!("user{number}")).await;
        app.run("update users set password = $1 where id = $2", &[hash, &user.id])
            .await;
        users.push(user);
    }
    let verified = AtomicBool::new(false);
    let login = async |email: &str| {
        let account = json!({"email": email, "password": "django-pass1"});
        app.post("/login/").json(&account).await
    };
    let logins = async {
        let answers = join_all(users.iter().map(|user| login(&user.email))).await;
        verified.store(true, Relaxed);
        answers
    };
    let lists = async {
        let mut answered = 0;
        while !verified.load(Relaxed) {
            assert_eq!(app.get("/tests/").by(&users[0]).await.status, 200);
            answered += 1;
        }
        answered
    };
    let (logins, lists) = join(logins, lists).await;
    assert_eq!(tally(&logins), [(200, 4)]);
    assert!(lists >= 20, "{lists} lists while four passwords were verified");
}
