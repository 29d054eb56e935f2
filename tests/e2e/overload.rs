//! More concurrent requests than the host admits.

use std::{
    future::IntoFuture,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use futures::future::{join, join_all};
use h2::client;
use http::Request;
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

/// The fewest lists that are answered while four passwords are hashed. If they waited for the hashes, there would be hardly
/// more than one for each.
const MANY: usize = 12;

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
    assert!(lists >= MANY, "{lists} lists while four passwords were hashed");
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
    // A changed password ends the logins of its user.
    let reader = app.user("reader").await;
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
            assert_eq!(app.get("/tests/").by(&reader).await.status, 200);
            answered += 1;
        }
        answered
    };
    let (logins, lists) = join(logins, lists).await;
    assert_eq!(tally(&logins), [(200, 4)]);
    assert!(lists >= MANY, "{lists} lists while four passwords were verified");
}

/// What hashes a password does so in its own places, however its path is spelled. Any other spelling is no path at all.
#[tokio::test]
async fn no_spelling_of_a_path_avoids_the_places_for_hashes() {
    let app = App::limited(|limits| {
        limits.requests = 1;
        limits.request_wait_timeout = Duration::from_millis(20);
    })
    .await;
    let minsu = app.user("minsu").await;
    let body = json!({"email": "unknown@example.com", "password": "wrong-1"}).to_string();
    let post = async |target: &str| {
        let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json");
        let mut client = app.connection().await;
        client
            .send(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
            .await;
        client.response().await.expect("an answer").status
    };
    let over_http2 = async |target: &str| {
        let (mut send, connection) = client::handshake(app.socket([127, 0, 0, 1]).await)
            .await
            .expect("HTTP/2");
        tokio::spawn(connection);
        let request = Request::post(format!("http://x{target}")).header("content-type", "application/json");
        let (response, mut stream) = send.send_request(request.body(()).unwrap(), false).expect("a stream");
        stream.send_data(body.clone().into(), true).expect("a body");
        response.await.expect("an answer").status().as_u16()
    };
    let mut targets = Vec::new();
    for path in ["/login", "/signup", "/api/auth/login", "/api/auth/signup"] {
        let (start, name) = path.rsplit_once('/').unwrap();
        let encoded: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
        targets.extend(
            [
                "",
                "/",
                "//",
                "%2F",
                "%2f/",
                "?x=1",
                "/?next=/x",
                ";v=1",
                "/;v=1/",
                "%3Fx",
                "%00",
                "%20",
                "/.",
                "/%2e",
            ]
            .map(|end| format!("{path}{end}")),
        );
        targets.extend([
            format!("{start}/{encoded}"),
            format!("{start}/{}/", encoded.to_uppercase()),
            format!("{start}/{}/", encoded.replace('%', "%25")),
            format!("{start}/{}", name.to_uppercase()),
            format!("{start}/%EF%BD%8C{}", &name[1..]),
            format!("{start}/%2F{name}/"),
            format!("/{path}/"),
            format!("/.{path}/"),
            format!("/x/..{path}/"),
            format!("/%2e{path}/"),
        ]);
    }
    let mut escaped = Vec::new();
    let mut hashed = 0;
    for target in &targets {
        let absolute = format!("http://x{target}");
        for (form, status) in [
            ("", post(target).await),
            ("http://x", post(&absolute).await),
            ("h2 ", over_http2(target).await),
        ] {
            assert!([400, 401, 404].contains(&status), "{form}{target}: {status}");
        }
    }
    while_registering(&app, &minsu, async {
        for target in &targets {
            let absolute = format!("http://x{target}");
            for status in [post(target).await, post(&absolute).await, over_http2(target).await] {
                match status {
                    400 | 401 => hashed += 1,
                    503 => escaped.push(target),
                    _ => panic!("{target}: {status}"),
                }
            }
        }
    })
    .await;
    // What waited for a usual place would not have come to a hash.
    for target in &escaped {
        assert_eq!((post(target).await, over_http2(target).await), (404, 404), "{target}");
    }
    assert!(hashed >= 4 * 3 * 7, "{hashed}");
}
