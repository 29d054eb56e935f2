//! CORS: what pages of other origins may send and read, from the component and from the host.

use std::time::Duration;

use sugang_tests::{App, Call, assert_answer};

use crate::support::while_registering;

/// The preflight that a browser sends before a request with `method`.
fn preflight<'a>(app: &'a App, method: &str, path: &str, origin: &str) -> Call<'a> {
    app.call("OPTIONS", path)
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header(
            "access-control-request-headers",
            "authorization,content-type,idempotency-key,x-csrftoken,x-requested-with",
        )
}

const OURS: &str = "https://sugang.example";
const THEIRS: &str = "https://evil.example";

#[tokio::test]
async fn other_origins_are_refused_by_default() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    for origin in [OURS, THEIRS, "null", &app.base] {
        for answer in [
            preflight(&app, "POST", "/login/", origin).await,
            app.get("/tests/").by(&minsu).header("origin", origin).await,
            app.get("/tests/").header("origin", origin).await,
        ] {
            assert_eq!(answer.header("access-control-allow-origin"), "", "{answer:?}");
        }
    }
}

#[tokio::test]
async fn configured_origins_may_call() {
    let app = App::with("cors_allowed_origins", format!("{OURS}, http://localhost:3000"))
        .start()
        .await;
    let minsu = app.user("minsu").await;
    assert_answer!(preflight(&app, "POST", "/tests/1/apply/", OURS).await, @r#"
    {
      "status": "204 No Content",
      "allow": "POST, OPTIONS",
      "access-control-allow-origin": "https://sugang.example",
      "access-control-allow-methods": "POST, OPTIONS",
      "access-control-allow-headers": "Accept, Authorization, Content-Type, Idempotency-Key, User-Agent, X-CSRFToken, X-Requested-With, X-Request-Id",
      "access-control-max-age": "600"
    }
    "#);
    assert_answer!(preflight(&app, "POST", "/tests/1/apply/", THEIRS).await, @r#"
    {
      "status": "204 No Content",
      "allow": "POST, OPTIONS",
      "access-control-allow-methods": "POST, OPTIONS",
      "access-control-allow-headers": "Accept, Authorization, Content-Type, Idempotency-Key, User-Agent, X-CSRFToken, X-Requested-With, X-Request-Id",
      "access-control-max-age": "600"
    }
    "#);
    for answer in [
        app.get("/tests/").by(&minsu).header("origin", OURS).await,
        app.get("/tests/").header("origin", OURS).await,
        app.get("/nope/").header("origin", OURS).await,
    ] {
        assert_eq!(
            answer.header("access-control-allow-origin"),
            OURS,
            "an error must be readable too: {answer:?}"
        );
        assert!(answer.varies_by("origin"), "{answer:?}");
        assert!(
            answer
                .header("access-control-expose-headers")
                .to_lowercase()
                .contains("x-request-id"),
            "{answer:?}"
        );
        assert_eq!(
            answer.header("access-control-allow-credentials"),
            "",
            "tokens are no cookies"
        );
    }
    for origin in [
        THEIRS,
        "https://sugang.example.evil.example",
        "http://sugang.example",
        "https://sugang.example:8443",
        "null",
        "",
    ] {
        let answer = app.get("/tests/").by(&minsu).header("origin", origin).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("access-control-allow-origin")),
            (200, ""),
            "{origin}"
        );
    }
}

#[tokio::test]
async fn all_origins_may_call_if_configured() {
    let app = App::with("cors_allowed_origins", "*").start().await;
    assert_answer!(preflight(&app, "GET", "/me/payments/", THEIRS).await, @r#"
    {
      "status": "204 No Content",
      "allow": "GET, HEAD, OPTIONS",
      "access-control-allow-origin": "*",
      "access-control-allow-methods": "GET, HEAD, OPTIONS",
      "access-control-allow-headers": "Accept, Authorization, Content-Type, Idempotency-Key, User-Agent, X-CSRFToken, X-Requested-With, X-Request-Id",
      "access-control-max-age": "600"
    }
    "#);
    assert_eq!(
        app.get("/nope/")
            .header("origin", THEIRS)
            .await
            .header("access-control-allow-origin"),
        "*"
    );
}

/// The Django service admitted these, so its pages send them. A browser compares the names without regard to case.
#[tokio::test]
async fn pages_of_the_django_service_may_send_their_headers() {
    let app = App::with("cors_allowed_origins", OURS).start().await;
    let answer = preflight(&app, "POST", "/login/", OURS).await;
    let accepted = answer.header("access-control-allow-headers").to_lowercase();
    let accepted: Vec<&str> = accepted.split(", ").collect();
    for name in [
        "accept",
        "authorization",
        "content-type",
        "user-agent",
        "x-csrftoken",
        "x-requested-with",
        "idempotency-key",
        "x-request-id",
    ] {
        assert!(accepted.contains(&name), "{name}: {accepted:?}");
    }
}

/// A page that may not read an error sees a failure of the network, and cannot tell its user to wait.
#[tokio::test]
async fn a_page_can_read_the_hosts_own_errors() {
    let app = App::with("cors_allowed_origins", OURS)
        .limits(|limits| {
            limits.requests = 1;
            limits.request_wait_timeout = Duration::from_millis(100);
        })
        .start()
        .await;
    let minsu = app.user("minsu").await;
    while_registering(&app, &minsu, async {
        let overloaded = app.get("/tests/").by(&minsu).header("origin", OURS).await;
        assert_eq!((overloaded.status.as_u16(), overloaded.code()), (503, "overloaded"));
        assert_eq!(overloaded.header("access-control-allow-origin"), OURS);
        let exposed = overloaded.header("access-control-expose-headers");
        assert!(
            exposed.contains("Retry-After") && exposed.contains("X-Request-Id"),
            "{exposed}"
        );
        assert!(overloaded.varies_by("origin") && overloaded.header("cache-control") == "no-store");

        let theirs = app.get("/tests/").by(&minsu).header("origin", THEIRS).await;
        assert_eq!(
            (theirs.status.as_u16(), theirs.header("access-control-allow-origin")),
            (503, "")
        );
        // A preflight that were refused would keep the page from sending the request at all.
        assert_eq!(preflight(&app, "POST", "/tests/1/apply/", OURS).await.status, 204);
    })
    .await;

    for (request, status, code) in [
        ("GET /tests/ HTTP/1.1\r\n", 400, "bad_request"),
        (
            "GET /tests/ HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n",
            417,
            "expectation_failed",
        ),
        ("GET /tests/ HTTP/2.0\r\nHost: x\r\n", 505, "http_version_not_supported"),
    ] {
        let mut client = app.connection().await;
        client.send(format!("{request}Origin: {OURS}\r\n\r\n")).await;
        let response = client.response().await.unwrap();
        assert_eq!((response.status, response.code().as_str()), (status, code));
        assert_eq!(response.header("access-control-allow-origin"), OURS, "{response:?}");
    }
}

#[tokio::test]
async fn a_cache_is_told_that_responses_differ_by_origin() {
    let app = App::with("cors_allowed_origins", OURS).start().await;
    for path in ["/api/docs/", "/nope/", "/healthz"] {
        assert!(app.get(path).await.varies_by("origin"), "{path}");
    }
}
