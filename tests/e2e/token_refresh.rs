use std::collections::BTreeSet;

use serde_json::{Value, json};
use sugang_tests::{App, Builder, assert_answer, token};

#[tokio::test]
async fn a_refresh_token_gets_a_new_access_token() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let refresh = token::sign(&minsu.claims("refresh"));
    let answer = app.post("/token/refresh/").json(&json!({"refresh": refresh})).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_answer!(answer.clone(), @r#"
    {
      "status": "200 OK",
      "body": {
        "access": "[1 minsu@example.com minsu for 86400 s]"
      }
    }
    "#);
    let access = answer.json()["access"].as_str().unwrap();
    assert_eq!(app.get("/tests/").bearer(access).await.status, 200);
    // Existing clients use one refresh token until it expires.
    assert_eq!(
        app.post("/token/refresh/")
            .json(&json!({"refresh": refresh}))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn the_refresh_token_of_a_login_is_accepted() {
    let app = App::start().await;
    app.user("minsu").await;
    let login = app
        .post("/login/")
        .json(&json!({"email": "minsu@example.com", "password": "correct1"}))
        .await;
    let answer = app
        .post("/token/refresh/")
        .json(&json!({"refresh": login.json()["refresh"]}))
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn the_new_token_has_the_current_account() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let refresh = token::sign(&minsu.claims("refresh"));
    app.run("update users set email = 'new@example.com', username = '새이름'", &[])
        .await;
    assert_answer!(app.post("/token/refresh/").json(&json!({"refresh": refresh})).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "access": "[1 new@example.com 새이름 for 86400 s]"
      }
    }
    "#);
}

#[tokio::test]
async fn a_missing_field_is_named() {
    let app = App::start().await;
    assert_answer!(app.post("/token/refresh/").json(&json!({})).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "refresh": [
          "이 필드는 필수 항목입니다."
        ],
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(app.post("/token/refresh/").in_english().json(&json!({"refresh": ""})).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "refresh": [
          "This field may not be blank."
        ],
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(app.post("/token/refresh/").json(&json!({"refresh": null})).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "refresh": [
          "이 필드는 null일 수 없습니다."
        ],
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(app.post("/token/refresh/").json(&json!({"refresh": 1})).await, @r#"
    {
      "status": "401 Unauthorized",
      "www-authenticate": "Bearer",
      "body": {
        "code": "token_not_valid",
        "detail": "Token is invalid or expired",
        "request_id": "[request id]"
      }
    }
    "#);
}

#[tokio::test]
async fn an_invalid_refresh_token_is_refused() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let good = minsu.claims("refresh");
    let but = |claim: &str, value: Value| {
        let mut claims = good.clone();
        claims[claim] = value;
        token::sign(&claims)
    };
    let header = |alg: &str| json!({"alg": alg, "typ": "JWT"});
    for (what, refresh) in [
        ("an access token", minsu.access.clone()),
        ("of no type", but("token_type", Value::Null)),
        ("of another type", but("token_type", "sliding".into())),
        ("expired", but("exp", (chrono::Utc::now().timestamp() - 1).into())),
        ("without an id", but("jti", Value::Null)),
        ("without a user", but("user_id", Value::Null)),
        ("unsigned", token::sign_with(&header("none"), &good, b"")),
        (
            "HS512",
            token::sign_with(&header("HS512"), &good, token::SECRET.as_bytes()),
        ),
        (
            "signed with another secret",
            token::sign_with(&header("HS256"), &good, b"another secret of 32 bytes or so"),
        ),
        ("no token at all", "refresh".to_owned()),
        ("a very long one", "a".repeat(50_000)),
    ] {
        let answer = app.post("/token/refresh/").json(&json!({"refresh": refresh})).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (401, "token_not_valid"),
            "{what}: {answer:?}"
        );
        assert_eq!(answer.json()["detail"], "Token is invalid or expired", "{what}");
    }
    assert_answer!(app.post("/token/refresh/").json(&json!({"refresh": "x"})).await, @r#"
    {
      "status": "401 Unauthorized",
      "www-authenticate": "Bearer",
      "body": {
        "code": "token_not_valid",
        "detail": "Token is invalid or expired",
        "request_id": "[request id]"
      }
    }
    "#);
}

#[tokio::test]
async fn a_deleted_or_inactive_account_gets_no_token() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let body = json!({"refresh": token::sign(&minsu.claims("refresh"))});
    app.run("update users set is_active = false", &[]).await;
    assert_answer!(app.post("/token/refresh/").json(&body).await, @r#"
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
    assert_answer!(app.post("/token/refresh/").json(&body).await, @r#"
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

/// Rotation with a grace of this many seconds.
fn rotating(grace: u32) -> Builder {
    App::with("rotate_refresh_tokens", true).with("refresh_reuse_grace_seconds", grace)
}

/// With rotation, a refresh token is valid once. Reuse ends its family, because one of the two users has stolen it.
#[tokio::test]
async fn with_rotation_a_token_is_used_once_and_reuse_ends_its_family() {
    let app = rotating(0).start().await;
    let minsu = app.user("minsu").await;
    let refresh = async |token: &Value| app.post("/token/refresh/").json(&json!({"refresh": token})).await;
    let first = Value::from(token::sign(&minsu.claims("refresh")));
    let answer = refresh(&first).await;
    assert_answer!(answer.clone(), @r#"
    {
      "status": "200 OK",
      "body": {
        "access": "[1 minsu@example.com minsu for 86400 s]",
        "refresh": "[1 minsu@example.com minsu for 604800 s]"
      }
    }
    "#);
    let second = answer.json()["refresh"].clone();
    assert_ne!(first, second);
    let third = refresh(&second).await.json()["refresh"].clone();

    assert_eq!(refresh(&first).await.code(), "token_not_valid", "used again");
    for token in [&second, &third] {
        assert_eq!(refresh(token).await.code(), "token_not_valid", "the family is ended");
    }
    let login = app
        .post("/login/")
        .json(&json!({"email": "minsu@example.com", "password": "correct1"}))
        .await;
    assert_eq!(
        refresh(&login.json()["refresh"]).await.status,
        200,
        "another login is another family"
    );
}

#[tokio::test]
async fn without_a_grace_one_of_equal_refreshes_succeeds() {
    let app = rotating(0).start().await;
    let minsu = app.user("minsu").await;
    let body = json!({"refresh": token::sign(&minsu.claims("refresh"))});
    let statuses =
        futures::future::join_all((0..10).map(async |_| app.post("/token/refresh/").json(&body).await.status.as_u16()))
            .await;
    assert_eq!(
        statuses.iter().filter(|status| **status == 200).count(),
        1,
        "{statuses:?}"
    );
    assert!(
        statuses.iter().all(|status| [200, 401].contains(status)),
        "{statuses:?}"
    );
}

/// Two tabs refresh at the same moment, or an answer is lost: the same token gets the same successor.
#[tokio::test]
async fn within_the_grace_equal_refreshes_get_one_successor() {
    let app = App::with("rotate_refresh_tokens", true).start().await;
    let minsu = app.user("minsu").await;
    let first = Value::from(token::sign(&minsu.claims("refresh")));
    let refresh = async |host: &App, token: &Value| host.post("/token/refresh/").json(&json!({"refresh": token})).await;
    let other = app.second_host().await;
    let answers = futures::future::join_all((0..10).map(|n| {
        let host = if n % 2 == 0 { &app } else { &other };
        refresh(host, &first)
    }))
    .await;
    let successors: BTreeSet<_> = answers
        .iter()
        .map(|answer| {
            assert_eq!(answer.status, 200, "{answer:?}");
            answer.json()["refresh"].to_string()
        })
        .collect();
    assert_eq!(successors.len(), 1, "{successors:?}");
    let second = answers[0].json()["refresh"].clone();
    let third = refresh(&app, &second).await.json()["refresh"].clone();
    assert_ne!(second, third);
    assert_eq!(refresh(&app, &first).await.json()["refresh"], second, "still the same");

    // The database's clock decides. After the grace, reuse ends the family.
    app.run(
        "update sugang.revoked_tokens set used_at = used_at - interval '31 s'",
        &[],
    )
    .await;
    assert_eq!(refresh(&app, &first).await.code(), "token_not_valid");
    assert_eq!(
        refresh(&app, &third).await.code(),
        "token_not_valid",
        "the family is ended"
    );
}

#[tokio::test]
async fn a_logout_ends_the_grace() {
    let app = rotating(30).start().await;
    let minsu = app.user("minsu").await;
    let body = json!({"refresh": token::sign(&minsu.claims("refresh"))});
    let second = app.post("/token/refresh/").json(&body).await.json()["refresh"].clone();
    let ended = app.post("/logout/").json(&json!({"refresh": second})).await;
    assert_eq!(ended.status, 204);
    for body in [body, json!({"refresh": second})] {
        let answer = app.post("/token/refresh/").json(&body).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (401, "token_not_valid"));
    }
}

/// A token that is valid for longer than the setting, since the setting was lowered, stays used or logged out.
#[tokio::test]
async fn what_is_revoked_stays_so_until_its_token_has_expired() {
    let app = rotating(0).with("refresh_token_lifetime_seconds", 60).start().await;
    let minsu = app.user("minsu").await;
    let day = 86_400;
    let expires = chrono::Utc::now().timestamp() + 30 * day;
    let with_expiry = |expires: Value| {
        let mut claims = minsu.claims("refresh");
        claims["exp"] = expires;
        claims["jti"] = format!("jti-{}", claims["exp"]).into();
        json!({"refresh": token::sign(&claims)})
    };
    assert_eq!(
        app.post("/token/refresh/")
            .json(&with_expiry(expires.into()))
            .await
            .status,
        200
    );
    let kept = "select count(*) from sugang.revoked_tokens where expires_at < to_timestamp($1::text::bigint)";
    assert_eq!(app.one::<i64>(kept, &[&expires.to_string()]).await, 0);
    // Reuse revokes the family, as long as the token and its successors may live.
    app.run(
        "update sugang.revoked_tokens set successor_expires_at = $1::text::bigint",
        &[&(expires + day).to_string()],
    )
    .await;
    assert_eq!(
        app.post("/token/refresh/")
            .json(&with_expiry(expires.into()))
            .await
            .status,
        401
    );
    let family = "select count(*) from sugang.revoked_tokens
                  where name like 'family %' and expires_at >= to_timestamp($1::text::bigint)";
    assert_eq!(app.one::<i64>(family, &[&(expires + day).to_string()]).await, 1);
    // A token that never expires is stored as well as one can.
    for far in [json!(1e18), json!(u64::MAX)] {
        assert_eq!(
            app.post("/token/refresh/").json(&with_expiry(far.clone())).await.status,
            200
        );
        assert_eq!(
            app.post("/logout/").json(&with_expiry(far.clone())).await.status,
            204,
            "{far}"
        );
    }
}

/// A family is revoked until its first token has expired as well, whatever the lifetimes were in between.
#[tokio::test]
async fn a_logout_with_a_short_token_ends_the_long_one_that_it_replaced() {
    let mut app = rotating(0).with("refresh_token_lifetime_seconds", 60).start().await;
    let minsu = app.user("minsu").await;
    let expires = chrono::Utc::now().timestamp() + 30 * 86_400;
    let mut claims = minsu.claims("refresh");
    claims["exp"] = expires.into();
    let long = json!({"refresh": token::sign(&claims)});
    let short = app.post("/token/refresh/").json(&long).await.json()["refresh"].clone();
    let ended = app.post("/logout/").json(&json!({"refresh": short})).await;
    assert_eq!(ended.status, 204);
    let kept = "select bool_and(expires_at >= to_timestamp($1::text::bigint)) from sugang.revoked_tokens";
    assert!(app.one::<bool>(kept, &[&expires.to_string()]).await);

    app.set("rotate_refresh_tokens", false);
    app.restart().await;
    assert_eq!(app.post("/token/refresh/").json(&long).await.code(), "token_not_valid");
}

/// A token that was replaced stays so when rotation is turned off; reuse ends its family then, too.
#[tokio::test]
async fn a_used_token_stays_used_without_rotation() {
    let mut app = rotating(0).start().await;
    let minsu = app.user("minsu").await;
    let first = json!({"refresh": token::sign(&minsu.claims("refresh"))});
    let second = app.post("/token/refresh/").json(&first).await.json()["refresh"].clone();
    app.set("rotate_refresh_tokens", false);
    app.restart().await;
    let refresh = async |body: &Value| app.post("/token/refresh/").json(body).await.status.as_u16();
    let second = json!({"refresh": second});
    assert_eq!(refresh(&second).await, 200);
    assert_eq!(refresh(&first).await, 401, "used again");
    assert_eq!(refresh(&second).await, 401, "the family is ended");
}
