//! Every path below `/api/operator/` with every kind of caller. The paths are those of the OpenAPI document, which is made
//! from the list of routes, so that a new path cannot be forgotten.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::{Value, json};
use sugang_tests::{Answer, App, COURSE, EXAM, Item, User, token};

/// What the paths take and what they do not.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PATCH", "DELETE", "PUT", "OPTIONS", "QUERY"];
/// No body, one that names its wrong fields, and one that is not JSON.
const BODIES: [&str; 3] = ["", "{}", "{"];

/// Method and path of each operation, with 1 for each id.
fn operations() -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(include_str!("../../../docs/openapi.json")).expect("it is JSON");
    let paths = document["paths"].as_object().expect("an object").iter();
    let operations = paths
        .filter(|(path, _)| path.starts_with("/api/operator/"))
        .flat_map(|(path, methods)| {
            let path = path.replace("{id}", "1").replace("{registration}", "1");
            let methods = methods.as_object().expect("an object").keys();
            methods.map(move |method| (method.to_uppercase(), path.clone()))
        });
    let mut operations: Vec<_> = operations.collect();
    operations.sort_by(|(a, at), (b, bt)| (at, a).cmp(&(bt, b)));
    assert!(operations.len() >= 12, "{operations:?}");
    operations
}

struct Callers {
    operator: User,
    superuser: User,
    /// Those to whom no path exists, with what they send.
    others: Vec<(&'static str, Option<String>)>,
}

/// The user has an application and an enrolment. The exam and the course have the id 1, and so has the user.
async fn arrange(app: &App) -> Callers {
    let mut users = Vec::new();
    for name in ["minsu", "jisu", "operator", "superuser", "inactive", "ended"] {
        users.push(app.user(name).await);
    }
    for kind in [EXAM, COURSE] {
        let id = app.add(kind, Item::default()).await;
        app.register(kind, &users[0], id, kind.active).await;
    }
    for change in [
        "is_staff = true where username in ('operator', 'inactive', 'ended')",
        "is_superuser = true where username = 'superuser'",
        "is_active = false where username = 'inactive'",
        "token_epoch = 0 where username = 'ended'",
    ] {
        app.run(&format!("update users set {change}"), &[]).await;
    }
    let [minsu, jisu, operator, superuser, inactive, ended]: [User; 6] = users.try_into().expect("six");
    let expired = {
        let mut claims = operator.claims("access");
        claims["exp"] = json!(chrono::Utc::now().timestamp() - 1);
        token::sign(&claims)
    };
    let bearer = |token: &str| Some(format!("Bearer {token}"));
    let others = vec![
        ("no token", None),
        ("not a token", bearer("undefined")),
        ("a password", Some("Basic bWluc3U6Y29ycmVjdDE=".to_owned())),
        ("a user", bearer(&minsu.access)),
        ("another user", bearer(&jisu.access)),
        (
            "an operator's refresh token",
            bearer(&token::sign(&operator.claims("refresh"))),
        ),
        ("an operator's expired token", bearer(&expired)),
        ("an inactive operator", bearer(&inactive.access)),
        ("an operator whose logins have ended", bearer(&ended.access)),
    ];
    Callers {
        operator,
        superuser,
        others,
    }
}

/// Status, headers and body, without what differs from request to request.
fn shown(answer: &Answer) -> (u16, BTreeMap<String, String>, Value) {
    let headers = answer
        .headers
        .iter()
        .filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()));
    let headers =
        headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let body = if answer.body.is_empty() {
        Value::Null
    } else {
        answer.json().clone()
    };
    let body = serde_json::to_string(&body)
        .expect("JSON")
        .replace(answer.header("x-request-id"), "");
    (
        answer.status.as_u16(),
        headers.collect(),
        serde_json::from_str(&body).expect("JSON"),
    )
}

async fn ask(app: &App, method: &str, path: &str, body: &str, authorization: Option<&String>) -> Answer {
    let mut call = app.call(method, path).header("x-request-id", "the-same");
    if let Some(authorization) = authorization {
        call = call.header("authorization", authorization.as_str());
    }
    match body {
        "" => call.await,
        body => call.json_text(body).await,
    }
}

#[tokio::test]
async fn to_other_callers_no_path_exists() {
    let app = App::start().await;
    let callers = arrange(&app).await;
    let before = app.state().await;
    let mut paths: Vec<_> = operations().into_iter().map(|(_, path)| path).collect();
    paths.dedup();
    paths.extend(
        [
            "/api/operator/nope/",
            "/api/operator/tests/999/",
            "/api/operator/",
            "/api/operator",
        ]
        .map(str::to_owned),
    );
    for (caller, authorization) in &callers.others {
        for method in METHODS {
            for body in BODIES {
                let unknown = shown(&ask(&app, method, "/nope/", body, authorization.as_ref()).await);
                assert_eq!(unknown.0, 404);
                for path in &paths {
                    let answer = ask(&app, method, path, body, authorization.as_ref()).await;
                    assert_eq!(shown(&answer), unknown, "{caller}: {method} {path} {body}");
                }
            }
        }
    }
    assert_eq!(app.state().await, before);
}

/// Each operation is one statement, also where the request is refused for its form. The audit has one more for each check.
#[tokio::test]
async fn to_operators_they_do() {
    let app = App::proxied().start().await;
    app.prepare_sessions().await;
    let callers = arrange(&app).await;
    let mut table = String::new();
    for (name, user) in [("operator", &callers.operator), ("superuser", &callers.superuser)] {
        writeln!(table, "{name}").unwrap();
        for (method, path) in operations() {
            let before = app.postgres().statements();
            let call = app.call(&method, &path).by(user).in_english();
            let answer = match method.as_str() {
                "GET" => call.await,
                _ => call.json_text("{}").await,
            };
            let statements: u64 = match path.as_str() {
                "/api/operator/audit/" => 1 + answer.body.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>(),
                _ => 1,
            };
            assert_eq!(app.postgres().statements(), before + statements, "{method} {path}");
            writeln!(table, "  {method} {path} {}", answer.brief()).unwrap();
        }
    }
    insta::assert_snapshot!(table, @"
    operator
      GET /api/operator/audit/ 200
      GET /api/operator/courses.csv 200
      GET /api/operator/courses.jsonl 200
      GET /api/operator/courses/ 200
      POST /api/operator/courses/ 400 invalid | end_at: This field is required.; price: This field is required.; start_at: This field is required.; title: This field is required.
      DELETE /api/operator/courses/1/ 428 precondition_required | Send the ETag that you have read in If-Match.
      GET /api/operator/courses/1/ 200
      PATCH /api/operator/courses/1/ 428 precondition_required | Send the ETag that you have read in If-Match.
      GET /api/operator/courses/1/figures/ 200
      GET /api/operator/courses/1/registrations.csv 200
      GET /api/operator/courses/1/registrations/ 200
      POST /api/operator/courses/1/registrations/ 400 invalid | email: This field is required.; payment_method: This field is required.
      POST /api/operator/courses/1/registrations/1/cancel/ 400 invalid | reason: This field is required.; refund: This field is required.
      POST /api/operator/courses/1/registrations/1/complete/ 200
      POST /api/operator/courses/1/registrations/complete/ 400 invalid | ids: This field is required.
      POST /api/operator/courses/1/repeat/ 400 invalid | count: This field is required.; every: This field is required.; time_zone: This field is required.
      POST /api/operator/courses/import/ 415 unsupported_media_type | Unsupported file. Send text/csv or application/x-ndjson, in UTF-8.
      GET /api/operator/figures/ 400 invalid | from: This field is required.; to: This field is required.
      GET /api/operator/orders/ 200
      POST /api/operator/orders/1/cancel/ 400 invalid | reason: This field is required.
      POST /api/operator/orders/1/confirm/ 400 invalid | amount: This field is required.; reason: This field is required.; reference: This field is required.
      POST /api/operator/orders/1/refund/ 400 invalid | reference: This field is required.
      GET /api/operator/payments.csv 200
      GET /api/operator/payments/ 200
      GET /api/operator/payments/1/ 200
      POST /api/operator/payments/1/refund/ 400 invalid | reason: This field is required.
      GET /api/operator/tests.csv 200
      GET /api/operator/tests.jsonl 200
      GET /api/operator/tests/ 200
      POST /api/operator/tests/ 400 invalid | end_at: This field is required.; price: This field is required.; start_at: This field is required.; title: This field is required.
      DELETE /api/operator/tests/1/ 428 precondition_required | Send the ETag that you have read in If-Match.
      GET /api/operator/tests/1/ 200
      PATCH /api/operator/tests/1/ 428 precondition_required | Send the ETag that you have read in If-Match.
      GET /api/operator/tests/1/figures/ 200
      GET /api/operator/tests/1/registrations.csv 200
      GET /api/operator/tests/1/registrations/ 200
      POST /api/operator/tests/1/registrations/ 400 invalid | email: This field is required.; payment_method: This field is required.
      POST /api/operator/tests/1/registrations/1/cancel/ 400 invalid | reason: This field is required.; refund: This field is required.
      POST /api/operator/tests/1/registrations/1/complete/ 200
      POST /api/operator/tests/1/registrations/complete/ 400 invalid | ids: This field is required.
      POST /api/operator/tests/1/repeat/ 400 invalid | count: This field is required.; every: This field is required.; time_zone: This field is required.
      POST /api/operator/tests/import/ 415 unsupported_media_type | Unsupported file. Send text/csv or application/x-ndjson, in UTF-8.
      GET /api/operator/users.csv 200
      GET /api/operator/users/ 200
      GET /api/operator/users/1/ 200
      POST /api/operator/users/1/activate/ 200
      POST /api/operator/users/1/deactivate/ 200
      POST /api/operator/users/1/logout/ 200
      DELETE /api/operator/users/1/operator/ 403 not_superuser | Only a superuser makes operators, or changes them.
      POST /api/operator/users/1/operator/ 403 not_superuser | Only a superuser makes operators, or changes them.
      GET /api/operator/users/1/registrations/ 200
      GET /api/operator/webhooks/ 200
      POST /api/operator/webhooks/ 400 invalid | url: This field is required.
      DELETE /api/operator/webhooks/1/ 403 not_superuser | Only a superuser changes webhooks.
      GET /api/operator/webhooks/1/ 404 not_found | Not found.
      PATCH /api/operator/webhooks/1/ 403 not_superuser | Only a superuser changes webhooks.
      GET /api/operator/webhooks/1/deliveries/ 404 not_found | Not found.
      POST /api/operator/webhooks/1/ping/ 404 not_found | Not found.
      POST /api/operator/webhooks/1/redeliver/ 400 invalid | delivery: This field is required.
      POST /api/operator/webhooks/1/rotate/ 403 not_superuser | Only a superuser changes webhooks.
    superuser
      GET /api/operator/audit/ 200
      GET /api/operator/courses.csv 200
      GET /api/operator/courses.jsonl 200
      GET /api/operator/courses/ 200
      POST /api/operator/courses/ 400 invalid | end_at: This field is required.; price: This field is required.; start_at: This field is required.; title: This field is required.
      DELETE /api/operator/courses/1/ 428 precondition_required | Send the ETag that you have read in If-Match.
      GET /api/operator/courses/1/ 200
      PATCH /api/operator/courses/1/ 428 precondition_required | Send the ETag that you have read in If-Match.
      GET /api/operator/courses/1/figures/ 200
      GET /api/operator/courses/1/registrations.csv 200
      GET /api/operator/courses/1/registrations/ 200
      POST /api/operator/courses/1/registrations/ 400 invalid | email: This field is required.; payment_method: This field is required.
      POST /api/operator/courses/1/registrations/1/cancel/ 400 invalid | reason: This field is required.; refund: This field is required.
      POST /api/operator/courses/1/registrations/1/complete/ 400 already_completed | This course is completed already
      POST /api/operator/courses/1/registrations/complete/ 400 invalid | ids: This field is required.
      POST /api/operator/courses/1/repeat/ 400 invalid | count: This field is required.; every: This field is required.; time_zone: This field is required.
      POST /api/operator/courses/import/ 415 unsupported_media_type | Unsupported file. Send text/csv or application/x-ndjson, in UTF-8.
      GET /api/operator/figures/ 400 invalid | from: This field is required.; to: This field is required.
      GET /api/operator/orders/ 200
      POST /api/operator/orders/1/cancel/ 400 invalid | reason: This field is required.
      POST /api/operator/orders/1/confirm/ 400 invalid | amount: This field is required.; reason: This field is required.; reference: This field is required.
      POST /api/operator/orders/1/refund/ 400 invalid | reference: This field is required.
      GET /api/operator/payments.csv 200
      GET /api/operator/payments/ 200
      GET /api/operator/payments/1/ 200
      POST /api/operator/payments/1/refund/ 400 invalid | reason: This field is required.
      GET /api/operator/tests.csv 200
      GET /api/operator/tests.jsonl 200
      GET /api/operator/tests/ 200
      POST /api/operator/tests/ 400 invalid | end_at: This field is required.; price: This field is required.; start_at: This field is required.; title: This field is required.
      DELETE /api/operator/tests/1/ 428 precondition_required | Send the ETag that you have read in If-Match.
      GET /api/operator/tests/1/ 200
      PATCH /api/operator/tests/1/ 428 precondition_required | Send the ETag that you have read in If-Match.
      GET /api/operator/tests/1/figures/ 200
      GET /api/operator/tests/1/registrations.csv 200
      GET /api/operator/tests/1/registrations/ 200
      POST /api/operator/tests/1/registrations/ 400 invalid | email: This field is required.; payment_method: This field is required.
      POST /api/operator/tests/1/registrations/1/cancel/ 400 invalid | reason: This field is required.; refund: This field is required.
      POST /api/operator/tests/1/registrations/1/complete/ 400 already_completed | This exam is completed already
      POST /api/operator/tests/1/registrations/complete/ 400 invalid | ids: This field is required.
      POST /api/operator/tests/1/repeat/ 400 invalid | count: This field is required.; every: This field is required.; time_zone: This field is required.
      POST /api/operator/tests/import/ 415 unsupported_media_type | Unsupported file. Send text/csv or application/x-ndjson, in UTF-8.
      GET /api/operator/users.csv 200
      GET /api/operator/users/ 200
      GET /api/operator/users/1/ 200
      POST /api/operator/users/1/activate/ 200
      POST /api/operator/users/1/deactivate/ 200
      POST /api/operator/users/1/logout/ 200
      DELETE /api/operator/users/1/operator/ 200
      POST /api/operator/users/1/operator/ 200
      GET /api/operator/users/1/registrations/ 200
      GET /api/operator/webhooks/ 200
      POST /api/operator/webhooks/ 400 invalid | url: This field is required.
      DELETE /api/operator/webhooks/1/ 404 not_found | Not found.
      GET /api/operator/webhooks/1/ 404 not_found | Not found.
      PATCH /api/operator/webhooks/1/ 404 not_found | Not found.
      GET /api/operator/webhooks/1/deliveries/ 404 not_found | Not found.
      POST /api/operator/webhooks/1/ping/ 404 not_found | Not found.
      POST /api/operator/webhooks/1/redeliver/ 400 invalid | delivery: This field is required.
      POST /api/operator/webhooks/1/rotate/ 404 not_found | Not found.
    ");

    let authorization = Some(format!("Bearer {}", callers.operator.access));
    for (method, path) in operations() {
        let options = ask(&app, "OPTIONS", &path, "", authorization.as_ref()).await;
        assert_eq!(options.status, 204);
        let allow = options.header("allow").to_owned();
        assert!(
            allow.split(", ").any(|allowed| allowed == method),
            "{method} {path}: {allow}"
        );
        let put = ask(&app, "PUT", &path, "{}", authorization.as_ref()).await;
        assert_eq!(
            (put.code(), put.header("allow")),
            ("method_not_allowed", allow.as_str())
        );
    }
    let unknown = ask(&app, "GET", "/api/operator/nope/", "", authorization.as_ref()).await;
    assert_eq!(unknown.code(), "not_found");
}

#[tokio::test]
async fn a_right_ends_at_once() {
    let app = App::start().await;
    let callers = arrange(&app).await;
    let list = || app.get("/api/operator/tests/").by(&callers.operator);
    assert_eq!(list().await.status, 200);
    for (take, give) in [
        ("is_staff = false", "is_staff = true"),
        ("is_active = false", "is_active = true"),
        // No token is left.
        ("token_epoch = 0", "token_epoch = 0"),
    ] {
        app.run(&format!("update users set {take} where username = 'operator'"), &[])
            .await;
        assert_eq!(list().await.code(), "not_found", "{take}");
        app.run(&format!("update users set {give} where username = 'operator'"), &[])
            .await;
    }
}
