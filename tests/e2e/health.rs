use sugang_tests::{App, Link, assert_answer};

#[tokio::test]
async fn healthz_answers_whatever_the_stores_do() {
    let app = App::proxied().start().await;
    assert_answer!(app.get("/healthz").await, @r#"
    {
      "status": "200 OK",
      "body": {
        "status": "ok"
      }
    }
    "#);
    app.postgres().set(Link::Cut);
    app.redis().set(Link::Cut);
    assert_eq!(app.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn readyz_names_the_unavailable_store() {
    let app = App::proxied().start().await;
    assert_answer!(app.get("/readyz").await, @r#"
    {
      "status": "200 OK",
      "body": {
        "database": "ok",
        "redis": "ok",
        "status": "ok"
      }
    }
    "#);
    app.redis().set(Link::Cut);
    assert_answer!(app.get("/readyz").await, @r#"
    {
      "status": "200 OK",
      "body": {
        "attempts_counted_in": "database",
        "database": "ok",
        "reasons": [
          "redis_unreachable"
        ],
        "redis": "unavailable",
        "status": "degraded"
      }
    }
    "#);
    app.postgres().set(Link::Cut);
    assert_answer!(app.get("/readyz").await, @r#"
    {
      "status": "503 Service Unavailable",
      "retry-after": "1",
      "body": {
        "code": "unavailable",
        "detail": "잠시 후 다시 시도해주세요.",
        "reason": "database_unavailable",
        "request_id": "[request id]"
      }
    }
    "#);
    app.postgres().set(Link::Up);
    app.redis().set(Link::Up);
    let begun = std::time::Instant::now();
    while app.get("/readyz").await.json()["status"] != "ok" {
        assert!(begun.elapsed().as_secs() < 5, "both are used again without a restart");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn health_checks_ignore_tokens() {
    let app = App::start().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(app.get(path).await.status, 200);
        assert_eq!(app.get(path).bearer("forged").await.status, 200);
    }
}
