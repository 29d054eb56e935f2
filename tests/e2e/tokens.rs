//! Verification of access tokens, on one endpoint. [`crate::authorization`] covers all endpoints.

use serde_json::{Value, json};
use sugang_tests::{App, PASSWORD, User, assert_answer, token};

/// Made by djangorestframework-simplejwt 5.5.1 with the tests' secret as `SIGNING_KEY`, for user 1; valid for 50 years.
const DJANGO_ACCESS: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ0b2tlbl90eXBlIjoiYWNjZXNzIiwiZXhwIjozMzcyMjA1MDA5LCJpYXQiOjE3OTU0MDUwMDksImp0aSI6ImE5YTA1NzMyNTIzMTQ0Y2ZhMjk3ZTZhYThkM2UyM2JjIiwidXNlcl9pZCI6IjEiLCJlbWFpbCI6Im1pbnN1QGV4YW1wbGUuY29tIiwidXNlcm5hbWUiOiJcdWJiZmNcdWMyMTgifQ.qCYw3ax9bbdw0wzFOBdcFP0UfP3gaAKear78YO6bWK8";
/// The same service's refresh token.
const DJANGO_REFRESH: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCIsImV4cCI6MzM3MjIwNTAwOSwiaWF0IjoxNzk1NDA1MDA5LCJqdGkiOiJkNzZjYjAwZjA4ZTI0MjA1OTA0ZWY4OWVhZWM1NDE1ZCIsInVzZXJfaWQiOiIxIiwiZW1haWwiOiJtaW5zdUBleGFtcGxlLmNvbSIsInVzZXJuYW1lIjoiXHViYmZjXHVjMjE4In0.IXpaIRT8IxyWzU0VyRkfKWzGF7fQQcHc-42hIpHlE2s";

#[tokio::test]
async fn tokens_of_the_django_service_are_accepted() {
    let app = App::start().await;
    app.user("minsu").await;
    assert_eq!(app.get("/tests/").bearer(DJANGO_ACCESS).await.status, 200);
    assert_eq!(
        app.post("/token/refresh/")
            .json(&json!({"refresh": DJANGO_REFRESH}))
            .await
            .status,
        200
    );
    assert_eq!(
        app.get("/tests/").bearer(DJANGO_REFRESH).await.code(),
        "token_not_valid"
    );
    assert_eq!(
        app.post("/token/refresh/")
            .json(&json!({"refresh": DJANGO_ACCESS}))
            .await
            .code(),
        "token_not_valid"
    );
}

#[tokio::test]
async fn without_a_token_the_scheme_is_named() {
    let app = App::start().await;
    assert_answer!(app.get("/tests/").await, @r#"
    {
      "status": "401 Unauthorized",
      "www-authenticate": "Bearer",
      "body": {
        "code": "not_authenticated",
        "detail": "Authentication credentials were not provided.",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(app.get("/tests/").in_english().await, @r#"
    {
      "status": "401 Unauthorized",
      "www-authenticate": "Bearer",
      "body": {
        "code": "not_authenticated",
        "detail": "Authentication credentials were not provided.",
        "request_id": "[request id]"
      }
    }
    "#);
}

#[tokio::test]
async fn the_header_is_bearer_and_one_token() {
    let app = App::start().await;
    let User { access, .. } = app.user("minsu").await;
    let (head, signature) = access.rsplit_once('.').unwrap();
    for (header, expected) in [
        (format!("Bearer {access}"), "200"),
        (format!("bearer {access}"), "200"),
        (String::new(), "401 not_authenticated"),
        ("Basic bWluc3U6Y29ycmVjdDE=".to_owned(), "401 not_authenticated"),
        (format!("Token {access}"), "401 not_authenticated"),
        (access.clone(), "401 not_authenticated"),
        ("Bearer".to_owned(), "401 token_not_valid"),
        (format!("Bearer {access} {access}"), "401 token_not_valid"),
        (format!("Bearer {head}"), "401 token_not_valid"),
        (format!("Bearer {head}."), "401 token_not_valid"),
        (format!("Bearer .{signature}"), "401 token_not_valid"),
        (format!("Bearer {access}="), "401 token_not_valid"),
        (format!("Bearer {access}.{signature}"), "401 token_not_valid"),
        (format!("Bearer \"{access}\""), "401 token_not_valid"),
        ("Bearer 토큰".to_owned(), "401 token_not_valid"),
    ] {
        let answer = app.get("/tests/").header("authorization", header.clone()).await;
        assert_eq!(
            format!("{} {}", answer.status.as_u16(), answer.code()).trim(),
            expected,
            "{header}"
        );
    }
}

#[tokio::test]
async fn every_claim_counts() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let now = chrono::Utc::now().timestamp();
    let ask = async |claims: &Value| {
        let answer = app.get("/tests/").bearer(&token::sign(claims)).await;
        format!("{} {}", answer.status.as_u16(), answer.code())
            .trim()
            .to_owned()
    };
    for claim in ["token_type", "exp", "jti", "user_id"] {
        let mut claims = minsu.claims("access");
        claims.as_object_mut().unwrap().remove(claim);
        assert_eq!(ask(&claims).await, "401 token_not_valid", "without {claim}");
    }
    for (claim, value, expected) in [
        ("token_type", json!("refresh"), "401 token_not_valid"),
        ("token_type", json!("ACCESS"), "401 token_not_valid"),
        ("token_type", json!(["access"]), "401 token_not_valid"),
        ("exp", json!(now + 5), "200"),
        ("exp", json!(now - 1), "401 token_not_valid"),
        ("exp", json!(0), "401 token_not_valid"),
        ("exp", json!(-1), "401 token_not_valid"),
        ("exp", json!("soon"), "401 token_not_valid"),
        ("exp", json!(null), "401 token_not_valid"),
        ("nbf", json!(now + 3600), "401 token_not_valid"),
        ("user_id", json!(1), "200"),
        ("user_id", json!("1; drop table users"), "401 token_not_valid"),
        ("user_id", json!("9223372036854775808"), "401 token_not_valid"),
        ("user_id", json!(1e300), "401 token_not_valid"),
        ("user_id", json!({"id": 1}), "401 token_not_valid"),
        ("user_id", json!("-1"), "401 user_not_found"),
        ("user_id", json!("0"), "401 user_not_found"),
        ("user_id", json!("2"), "401 user_not_found"),
        ("user_id", json!("9223372036854775807"), "401 user_not_found"),
        // Other claims are not trusted: only the id counts.
        ("email", json!("other@example.com"), "200"),
        ("username", json!("\u{0}"), "200"),
        ("is_superuser", json!(true), "200"),
    ] {
        let mut claims = minsu.claims("access");
        claims[claim] = value.clone();
        assert_eq!(ask(&claims).await, expected, "{claim} = {value}");
    }
}

#[tokio::test]
async fn only_the_configured_algorithm_and_secret_are_accepted() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let claims = minsu.claims("access");
    let secret = token::SECRET.as_bytes();
    for (header, secret, expected) in [
        (json!({"alg": "HS256", "typ": "JWT"}), secret, 200),
        (json!({"alg": "HS256"}), secret, 200),
        (
            json!({"alg": "HS256", "typ": "JWT"}),
            b"another secret, as long as the right one is".as_slice(),
            401,
        ),
        (json!({"alg": "HS256", "typ": "JWT"}), b"", 401),
        (json!({"alg": "HS384", "typ": "JWT"}), secret, 401),
        (json!({"alg": "HS512", "typ": "JWT"}), secret, 401),
        (json!({"alg": "none", "typ": "JWT"}), secret, 401),
        (json!({"alg": "None", "typ": "JWT"}), secret, 401),
        (json!({"alg": "RS256", "typ": "JWT"}), secret, 401),
        (json!({"alg": "ES256", "typ": "JWT"}), secret, 401),
        (json!({"alg": "", "typ": "JWT"}), secret, 401),
        (json!({"alg": null, "typ": "JWT"}), secret, 401),
        (json!({"typ": "JWT"}), secret, 401),
        (json!([]), secret, 401),
    ] {
        let answer = app
            .get("/tests/")
            .bearer(&token::sign_with(&header, &claims, secret))
            .await;
        assert_eq!(answer.status, expected, "{header}");
        assert!(
            expected == 200 || answer.code() == "token_not_valid",
            "{header}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn keys_rotate_without_a_login() {
    const NEXT: &str = "the next secret: as long as it has to be";
    let mut app = App::start().await;
    let minsu = app.user("minsu").await;
    let lists = async |app: &App, token: &str| app.get("/tests/").bearer(token).await.status.as_u16();
    let login = async |app: &App| {
        let credentials = json!({"email": minsu.email, "password": PASSWORD});
        let tokens = app.post("/login/").json(&credentials).await.json().clone();
        ["access", "refresh"].map(|name| tokens[name].as_str().expect("a token").to_owned())
    };
    let [old, old_refresh] = login(&app).await;

    // First every instance learns the next key, then all of them sign with it.
    app.set("jwt_verify_keys", format!("2026-12={NEXT}"));
    app.restart().await;
    assert_eq!(lists(&app, &old).await, 200);
    app.set("jwt_secret", NEXT);
    app.set("jwt_key_id", "2026-12");
    app.set("jwt_verify_keys", format!("={}", token::SECRET));
    app.restart().await;
    assert_eq!(lists(&app, &old).await, 200);
    let [new, _] = login(&app).await;
    let refreshed = app.post("/token/refresh/").json(&json!({"refresh": old_refresh})).await;
    let refreshed = refreshed.json()["access"].as_str().expect("a token").to_owned();

    // After the last refresh token of the old key has expired, the key is removed.
    app.set("jwt_verify_keys", "");
    app.restart().await;
    assert_eq!(lists(&app, &old).await, 401);
    for token in [&new, &refreshed] {
        assert_eq!(lists(&app, token).await, 200);
    }
}

#[tokio::test]
async fn a_token_is_valid_for_its_exact_bytes_only() {
    let app = App::start().await;
    let User { access, .. } = app.user("minsu").await;
    assert_eq!(app.get("/tests/").bearer(&access).await.status, 200);
    // The last character of a part may encode unused bits, so it is left out.
    let ends: Vec<usize> = access
        .match_indices('.')
        .map(|(dot, _)| dot - 1)
        .chain([access.len() - 1])
        .collect();
    for at in (0..access.len()).filter(|at| at % 7 == 0 && !ends.contains(at) && access.as_bytes()[*at] != b'.') {
        let other = if access.as_bytes()[at] == b'A' { "B" } else { "A" };
        let tampered = format!("{}{other}{}", &access[..at], &access[at + 1..]);
        let answer = app.get("/tests/").bearer(&tampered).await;
        assert_eq!(answer.code(), "token_not_valid", "character {at}: {tampered}");
    }
}

#[tokio::test]
async fn a_deleted_or_inactive_account_is_refused() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    app.run("update users set is_active = false", &[]).await;
    assert_answer!(app.get("/tests/").by(&minsu).await, @r#"
    {
      "status": "401 Unauthorized",
      "www-authenticate": "Bearer",
      "body": {
        "code": "user_inactive",
        "detail": "User is inactive",
        "request_id": "[request id]"
      }
    }
    "#);
    app.run("delete from users", &[]).await;
    assert_answer!(app.get("/tests/").by(&minsu).await, @r#"
    {
      "status": "401 Unauthorized",
      "www-authenticate": "Bearer",
      "body": {
        "code": "user_not_found",
        "detail": "User not found",
        "request_id": "[request id]"
      }
    }
    "#);
}
