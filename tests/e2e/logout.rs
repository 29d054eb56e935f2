use serde_json::{Value, json};
use sugang_tests::{App, assert_answer, token};

async fn login(app: &App) -> Value {
    let body = json!({"email": "minsu@example.com", "password": "correct1"});
    app.post("/login/").json(&body).await.json().clone()
}

#[tokio::test]
async fn a_logout_ends_only_its_own_login() {
    let app = App::start().await;
    app.user("minsu").await;
    let (this, other) = (login(&app).await, login(&app).await);
    let refresh = async |login: &Value| {
        app.post("/token/refresh/")
            .json(&json!({"refresh": login["refresh"]}))
            .await
    };
    let answer = app.post("/logout/").json(&json!({"refresh": this["refresh"]})).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_answer!(answer, @r#"
    {
      "status": "204 No Content"
    }
    "#);
    assert_answer!(refresh(&this).await, @r#"
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
    assert_eq!(refresh(&other).await.status, 200);
    // Access tokens are verified without the database, so this one lasts until it expires.
    let access = this["access"].as_str().unwrap();
    assert_eq!(app.get("/tests/").bearer(access).await.status, 200);
    let again = app.post("/logout/").json(&json!({"refresh": this["refresh"]})).await;
    assert_eq!(again.status, 204, "it is ended, which is what was asked for");
}

#[tokio::test]
async fn only_a_valid_refresh_token_ends_a_login() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let good = token::sign(&minsu.claims("refresh"));
    let (message, _) = good.rsplit_once('.').unwrap();
    for refresh in [minsu.access.as_str(), "", "x", message, &format!("{message}.AAAA")] {
        let answer = app.post("/logout/").json(&json!({"refresh": refresh})).await;
        let expected = if refresh.is_empty() {
            (400, "invalid")
        } else {
            (401, "token_not_valid")
        };
        assert_eq!((answer.status.as_u16(), answer.code()), expected, "{refresh}");
    }
    assert_answer!(app.post("/logout/").json(&json!({})).await, @r#"
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
    assert_eq!(
        app.post("/token/refresh/").json(&json!({"refresh": good})).await.status,
        200
    );
}
