//! Request ids, languages and headers of all responses, and the errors of unavailable stores.
//!
//! The harness checks on every response that an error has its code, the request's id and no internal text.

use std::time::{Duration, Instant};

use sugang_tests::{App, ENDPOINTS, Endpoint, Item, Link, User, assert_answer};

async fn ask(app: &App, endpoint: &Endpoint, user: &User) -> sugang_tests::Answer {
    let call = app.call(endpoint.method, endpoint.path);
    let call = if endpoint.token { call.by(user) } else { call };
    if endpoint.body.is_empty() {
        call.await
    } else {
        call.json_text(endpoint.body).await
    }
}

#[tokio::test]
async fn a_valid_request_id_is_kept() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let longest = "a".repeat(128);
    for id in ["1", "abc-123_DEF.4", "018f6b1e-7d3a-7c21-9a54-3a1b2c3d4e5f", &longest] {
        assert_eq!(
            app.get("/tests/")
                .by(&minsu)
                .header("x-request-id", id)
                .await
                .header("x-request-id"),
            id
        );
        let refused = app.get("/nope/").header("x-request-id", id).await;
        assert_eq!(refused.json()["request_id"], id);
    }
}

#[tokio::test]
async fn an_invalid_request_id_is_replaced() {
    let app = App::start().await;
    let too_long = "a".repeat(129);
    let mut seen = std::collections::HashSet::new();
    for id in [
        "",
        " ",
        "a b",
        "a\tb",
        "<script>",
        "\"",
        "a\u{7f}",
        "아이디",
        "a,b",
        "a;b",
        "${jndi:ldap://x}",
        "../x",
        &too_long,
    ] {
        let answer = app
            .get("/nope/")
            .header("x-request-id", id.replace('\u{7f}', "!"))
            .await;
        let made = answer.header("x-request-id").to_owned();
        assert!(made != id && made.len() >= 16, "{id} -> {made}");
        assert!(seen.insert(made), "each has its own");
    }
    for _ in 0..50 {
        assert!(
            seen.insert(app.get("/healthz").await.header("x-request-id").to_owned()),
            "each has its own"
        );
    }
}

#[tokio::test]
async fn clients_that_prefer_english_get_english() {
    let app = App::start().await;
    for (accept, english) in [
        ("en", true),
        ("en-US,en;q=0.9", true),
        ("EN", true),
        ("ko;q=0.1, en;q=0.2", true),
        ("fr, en;q=0.5", true),
        ("ko", false),
        ("ko-KR,ko;q=0.9,en;q=0.8", false),
        ("*", false),
        ("fr", false),
        ("", false),
        ("en;q=0", false),
        ("english", false),
        (";;;,,,q=1", false),
        ("\u{ff}", false),
    ] {
        let answer = app.get("/nope/").header("accept-language", accept).await;
        let expected = if english {
            "Not found."
        } else {
            "찾을 수 없습니다."
        };
        assert_eq!(answer.json()["detail"], expected, "{accept}");
        assert!(answer.varies_by("accept-language"), "{answer:?}");
    }
}

#[tokio::test]
async fn private_responses_are_not_cached() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    app.add(sugang_tests::EXAM, Item::default()).await;
    app.add(sugang_tests::COURSE, Item::default()).await;
    for endpoint in ENDPOINTS {
        let answer = ask(&app, endpoint, &minsu).await;
        assert_eq!(answer.header("cache-control"), "no-store", "{answer:?}");
    }
}

#[tokio::test]
async fn without_postgresql_every_endpoint_answers_503_and_recovers_at_once() {
    let app = App::proxied().start().await;
    let minsu = app.user("minsu").await;
    app.add(sugang_tests::EXAM, Item::default()).await;
    app.add(sugang_tests::COURSE, Item::default()).await;
    assert_eq!(app.get("/tests/").by(&minsu).await.status, 200);

    app.postgres().set(Link::Cut);
    for endpoint in ENDPOINTS.iter().filter(|endpoint| !endpoint.body.contains("refresh")) {
        let begun = Instant::now();
        let answer = ask(&app, endpoint, &minsu).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (503, "unavailable"),
            "{answer:?}"
        );
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}: {answer:?}",
            begun.elapsed()
        );
    }
    assert_answer!(app.get("/tests/").by(&minsu).await, @r#"
    {
      "status": "503 Service Unavailable",
      "retry-after": "1",
      "body": {
        "code": "unavailable",
        "detail": "잠시 후 다시 시도해주세요.",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(app.get("/tests/").by(&minsu).in_english().await, @r#"
    {
      "status": "503 Service Unavailable",
      "retry-after": "1",
      "body": {
        "code": "unavailable",
        "detail": "The service is unavailable. Please try again in a moment.",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_eq!(app.get("/tests/").await.status, 401, "what needs no store is answered");
    assert_eq!(app.get("/nope/").await.status, 404);

    app.postgres().set(Link::Up);
    let begun = Instant::now();
    while app.get("/tests/").by(&minsu).await.status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(1), "full service within a second");
    }
    for endpoint in ENDPOINTS {
        assert_ne!(ask(&app, endpoint, &minsu).await.status, 503);
    }
}

#[tokio::test]
async fn a_postgresql_that_hangs_costs_a_request_the_configured_time() {
    let app = App::proxied().with("database_timeout_ms", 500).start().await;
    let minsu = app.user("minsu").await;
    assert_eq!(app.get("/tests/").by(&minsu).await.status, 200);
    app.postgres().set(Link::Hung);
    for _ in 0..3 {
        let begun = Instant::now();
        let answer = app.get("/tests/").by(&minsu).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (503, "unavailable"),
            "{answer:?}"
        );
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    }
    app.postgres().set(Link::Up);
    let begun = Instant::now();
    while app.get("/tests/").by(&minsu).await.status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(3), "full service again");
    }
}
