//! Every endpoint with every kind of caller. What a caller must not do leaves no trace.

use std::fmt::Write;

use serde_json::{Value, json};
use sugang_tests::{App, COURSE, ENDPOINTS, EXAM, Endpoint, Item, User, token};

/// A caller whose logins have all ended.
const ENDED: &str = "a token that has ended";

struct Caller {
    name: &'static str,
    authorization: Option<String>,
    /// The code that every endpoint with authentication answers; empty for a valid caller.
    refused: &'static str,
}

fn callers([minsu, jisu, ended, inactive, gone]: &[User; 5]) -> Vec<Caller> {
    let secret = token::SECRET.as_bytes();
    let good = minsu.claims("access");
    let expired = {
        let mut claims = good.clone();
        claims["exp"] = json!(chrono::Utc::now().timestamp() - 1);
        token::sign(&claims)
    };
    let raised = {
        // Jisu's signature under Minsu's claims.
        let (_, signature) = jisu.access.rsplit_once('.').unwrap();
        let (message, _) = minsu.access.rsplit_once('.').unwrap();
        format!("{message}.{signature}")
    };
    let header = |alg: &str| json!({"alg": alg, "typ": "JWT"});
    let bearer = |name, token: &str, refused| Caller {
        name,
        authorization: Some(format!("Bearer {token}")),
        refused,
    };
    vec![
        Caller {
            name: "no token",
            authorization: None,
            refused: "not_authenticated",
        },
        Caller {
            name: "a password",
            authorization: Some("Basic bWluc3U6Y29ycmVjdDE=".into()),
            refused: "not_authenticated",
        },
        bearer(
            "a refresh token",
            &token::sign(&minsu.claims("refresh")),
            "token_not_valid",
        ),
        bearer("an expired token", &expired, "token_not_valid"),
        bearer("another's signature", &raised, "token_not_valid"),
        bearer(
            "a guessed secret",
            &token::sign_with(&header("HS256"), &good, b"secret"),
            "token_not_valid",
        ),
        bearer(
            "alg none",
            &token::sign_with(&header("none"), &good, secret),
            "token_not_valid",
        ),
        bearer(
            "alg HS512",
            &token::sign_with(&header("HS512"), &good, secret),
            "token_not_valid",
        ),
        bearer("not a token", "undefined", "token_not_valid"),
        bearer(ENDED, &ended.access, "token_not_valid"),
        bearer("an inactive user", &inactive.access, "user_inactive"),
        bearer("a deleted user", &gone.access, "user_not_found"),
        bearer("another user", &jisu.access, ""),
        bearer("the user", &minsu.access, ""),
    ]
}

/// Minsu holds an application and an enrolment (payments 1 and 2), Jisu nothing.
async fn arrange() -> (App, Vec<Caller>) {
    let app = App::start().await;
    let users = [
        app.user("minsu").await,
        app.user("jisu").await,
        app.user("ended").await,
        app.user("inactive").await,
        app.user("gone").await,
    ];
    for kind in [EXAM, COURSE] {
        let id = app.add(kind, Item::default()).await;
        app.register(kind, &users[0], id, kind.active).await;
    }
    app.run("update users set is_active = false where username = 'inactive'", &[])
        .await;
    app.run("delete from users where username = 'gone'", &[]).await;
    app.run("update users set token_epoch = 0 where username = 'ended'", &[])
        .await;
    let callers = callers(&users);
    (app, callers)
}

async fn ask(app: &App, endpoint: &Endpoint, caller: &Caller) -> sugang_tests::Answer {
    let mut call = app.call(endpoint.method, endpoint.path);
    if let Some(authorization) = &caller.authorization {
        call = call.header("authorization", authorization.as_str());
    }
    if endpoint.body.is_empty() {
        call.await
    } else {
        call.json_text(endpoint.body).await
    }
}

#[tokio::test]
async fn invalid_callers_are_refused_everywhere_and_change_nothing() {
    let (app, callers) = arrange().await;
    let before = app.state().await;
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.token) {
        for caller in callers.iter().filter(|caller| !caller.refused.is_empty()) {
            let answer = ask(&app, endpoint, caller).await;
            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                (401, caller.refused),
                "{}: {answer:?}",
                caller.name
            );
        }
    }
    assert_eq!(app.state().await, before);
}

/// A refusal must not reveal what exists: it comes before the path's id, the query and the body are read.
#[tokio::test]
async fn invalid_callers_learn_nothing() {
    let (app, callers) = arrange().await;
    for (method, path, body) in [
        ("GET", "/tests/999/", ""),
        ("GET", "/tests/?page=999", ""),
        ("GET", "/me/payments/999/", ""),
        ("GET", "/me/payments/?from=x", ""),
        ("POST", "/tests/999/apply/", r#"{"amount":"x"}"#),
        ("POST", "/courses/999/complete/", ""),
        ("POST", "/payments/999/cancel/", ""),
    ] {
        for caller in callers
            .iter()
            .filter(|caller| ["not_authenticated", "token_not_valid"].contains(&caller.refused))
            // Only the statement of the request finds this one.
            .filter(|caller| caller.name != ENDED)
        {
            let endpoint = Endpoint {
                method,
                path,
                body,
                token: true,
            };
            let answer = ask(&app, &endpoint, caller).await;
            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                (401, caller.refused),
                "{}: {answer:?}",
                caller.name
            );
        }
    }
}

#[tokio::test]
async fn public_endpoints_ignore_tokens() {
    let (app, callers) = arrange().await;
    let anonymous = &callers[0];
    for endpoint in ENDPOINTS.iter().filter(|endpoint| !endpoint.token) {
        let expected = ask(&app, endpoint, anonymous).await;
        app.run("delete from users where email = 'new@example.com'", &[]).await;
        for caller in &callers {
            let answer = ask(&app, endpoint, caller).await;
            app.run("delete from users where email = 'new@example.com'", &[]).await;
            assert_eq!(
                (answer.status, answer.code()),
                (expected.status, expected.code()),
                "{}: {answer:?}",
                caller.name
            );
        }
    }
}

#[tokio::test]
async fn users_act_only_for_themselves() {
    let (app, callers) = arrange().await;
    let mut table = String::new();
    for caller in callers.iter().filter(|caller| caller.refused.is_empty()) {
        writeln!(table, "{}", caller.name).unwrap();
        for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.token) {
            let answer = ask(&app, endpoint, caller).await;
            writeln!(table, "  {} {} {}", endpoint.method, endpoint.path, answer.brief()).unwrap();
        }
    }
    insta::assert_snapshot!(table, @"
    another user
      GET /tests/ 200
      GET /tests/1/ 200
      POST /tests/1/apply/ 201
      POST /tests/1/complete/ 200
      POST /tests/1/preorder/ 409 payment_method_unavailable | 지금은 사용할 수 없는 결제 수단입니다
      GET /courses/ 200
      GET /courses/1/ 200
      POST /courses/1/enroll/ 201
      POST /courses/1/complete/ 200
      POST /courses/1/preorder/ 409 payment_method_unavailable | 지금은 사용할 수 없는 결제 수단입니다
      GET /me/payments/ 200
      GET /me/payments/1/ 404 not_found | 찾을 수 없습니다.
      POST /payments/1/cancel/ 403 not_owner | 본인의 결제만 취소할 수 있습니다
      GET /me/orders/ 200
      GET /orders/1/ 404 not_found | 찾을 수 없습니다.
      POST /orders/1/approve/ 404 not_found | 찾을 수 없습니다.
      POST /orders/1/cancel/ 404 not_found | 찾을 수 없습니다.
      POST /logout/all/ 204
    the user
      GET /tests/ 200
      GET /tests/1/ 200
      POST /tests/1/apply/ 400 already_registered | 이미 응시 신청한 시험입니다
      POST /tests/1/complete/ 200
      POST /tests/1/preorder/ 409 payment_method_unavailable | 지금은 사용할 수 없는 결제 수단입니다
      GET /courses/ 200
      GET /courses/1/ 200
      POST /courses/1/enroll/ 400 already_registered | 이미 수강 신청한 수업입니다
      POST /courses/1/complete/ 200
      POST /courses/1/preorder/ 409 payment_method_unavailable | 지금은 사용할 수 없는 결제 수단입니다
      GET /me/payments/ 200
      GET /me/payments/1/ 200
      POST /payments/1/cancel/ 400 item_completed | 완료된 시험의 결제는 취소할 수 없습니다
      GET /me/orders/ 200
      GET /orders/1/ 404 not_found | 찾을 수 없습니다.
      POST /orders/1/approve/ 404 not_found | 찾을 수 없습니다.
      POST /orders/1/cancel/ 404 not_found | 찾을 수 없습니다.
      POST /logout/all/ 204
    ");
    // Jisu's attempts have not changed Minsu's payments.
    let payments = app
        .rows("select user_id, status from payments where id <= 2 order by id")
        .await;
    insta::assert_snapshot!(payments, @r#"[{"status":"paid","user_id":1},{"status":"paid","user_id":1}]"#);
}

#[tokio::test]
async fn lists_show_only_own_payments() {
    let (app, callers) = arrange().await;
    let [jisu, minsu] = &callers[callers.len() - 2..] else {
        unreachable!()
    };
    let list = Endpoint {
        method: "GET",
        path: "/me/payments/",
        body: "",
        token: true,
    };
    assert_eq!(ask(&app, &list, minsu).await.json()["count"], 2);
    assert_eq!(ask(&app, &list, jisu).await.json()["results"], Value::Array(Vec::new()));
}
