//! A service whose configuration is wrong does not start, and says why.

use sugang_tests::App;

#[tokio::test]
async fn invalid_values_stop_the_start_and_are_named() {
    let app = App::start().await;
    let mut table = String::new();
    for (variable, value) in [
        ("jwt_secret", ""),
        ("jwt_secret", "short"),
        ("jwt_secret", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("database_url", ""),
        ("redis_url", ""),
        ("access_token_lifetime_seconds", "0"),
        ("refresh_token_lifetime_seconds", "a week"),
        ("max_body_bytes", "64k"),
        ("lock_ttl_ms", "-1"),
        ("redis_timeout_ms", "0.5"),
        ("database_timeout_ms", "99999999999999999999"),
        ("lock_timeout_ms", "1 s"),
        ("database_connections", "many"),
        ("cors_allowed_origins", "example.com"),
        ("public_url", "api.example.com"),
        ("app_return_urls", "https://app.example.com/pay, javascript://x"),
        ("argon2_memory_kib", "1"),
        ("argon2_iterations", "0"),
        ("argon2_parallelism", "17"),
        ("no_such_variable", "1"),
    ] {
        let why = app.refuses(variable, value).await;
        assert!(
            variable != "jwt_secret" || value.is_empty() || !why.contains(value),
            "a secret is not shown: {why}"
        );
        table.push_str(&format!("{variable}={value}\n  {why}\n"));
    }
    insta::assert_snapshot!(table, @"
    jwt_secret=
      the application is misconfigured: jwt_secret must be set
    jwt_secret=short
      the application is misconfigured: jwt_secret must have at least 32 bytes in a secret, and not the same one all along
    jwt_secret=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
      the application is misconfigured: jwt_secret must have at least 32 bytes in a secret, and not the same one all along
    database_url=
      the application is misconfigured: database_url must be set
    redis_url=
      the application is misconfigured: redis_url must be set
    access_token_lifetime_seconds=0
      the application is misconfigured: access_token_lifetime_seconds must be a whole number from 1 to 3153600000
    refresh_token_lifetime_seconds=a week
      the application is misconfigured: refresh_token_lifetime_seconds must be a whole number from 1 to 3153600000
    max_body_bytes=64k
      the application is misconfigured: max_body_bytes must be a whole number from 256 to 16777216
    lock_ttl_ms=-1
      the application is misconfigured: lock_ttl_ms must be a whole number from 100 to 600000
    redis_timeout_ms=0.5
      the application is misconfigured: redis_timeout_ms must be a whole number from 1 to 60000
    database_timeout_ms=99999999999999999999
      the application is misconfigured: database_timeout_ms must be a whole number from 10 to 600000
    lock_timeout_ms=1 s
      the application is misconfigured: lock_timeout_ms must be a whole number from 10 to 600000
    database_connections=many
      the application is misconfigured: database_connections must be a whole number from 0 to 64
    cors_allowed_origins=example.com
      the application is misconfigured: cors_allowed_origins must be empty, * or a list of origins (https://example.com) with commas
    public_url=api.example.com
      the application is misconfigured: public_url must be empty, or begin with http:// or https://
    app_return_urls=https://app.example.com/pay, javascript://x
      the application is misconfigured: app_return_urls must be empty, or a list of addresses (https://app.example.com/pay) without a query, with commas; none begins with javascript:, data:, vbscript:, blob: or file:
    argon2_memory_kib=1
      the application is misconfigured: argon2_memory_kib must be a whole number from 8 to 131072
    argon2_iterations=0
      the application is misconfigured: argon2_iterations must be a whole number from 1 to 32
    argon2_parallelism=17
      the application is misconfigured: argon2_parallelism must be a whole number from 1 to 16
    no_such_variable=1
      the application has no variable `no_such_variable`
    ");
}

#[tokio::test]
async fn an_unavailable_store_does_not_stop_the_start() {
    let app = App::with("database_url", "postgres://nobody@127.0.0.1:1/nothing")
        .with("redis_url", "redis://127.0.0.1:1")
        .start()
        .await;
    assert_eq!(app.get("/healthz").await.status, 200);
    assert_eq!(app.get("/readyz").await.status, 503);
}
