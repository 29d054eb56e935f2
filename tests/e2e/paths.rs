//! Rules for every path: spellings, methods, `HEAD`, `OPTIONS`, and unknown paths.

use std::collections::HashMap;

use sugang_tests::{App, Call, ENDPOINTS, Endpoint, Item, OWN_METHODS, User, assert_answer, spellings};

/// Public paths with GET, which have no second spelling except the one without the slash.
const PAGES: &[&str] = &["/api/schema/", "/api/docs/", "/api/redoc/", "/healthz/", "/readyz/"];

fn call<'a>(app: &'a App, endpoint: &Endpoint, path: &str, user: &User) -> Call<'a> {
    let call = app.call(endpoint.method, path).by(user);
    if endpoint.body.is_empty() {
        call
    } else {
        call.json_text(endpoint.body)
    }
}

#[tokio::test]
async fn every_path_works_in_every_spelling() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    for kind in [sugang_tests::EXAM, sugang_tests::COURSE] {
        app.add(kind, Item::default()).await;
    }
    let mut answers: HashMap<&str, Vec<String>> = HashMap::new();
    for endpoint in ENDPOINTS {
        for path in spellings(endpoint.path) {
            let answer = call(&app, endpoint, &path, &minsu).await;
            answers.entry(endpoint.path).or_default().push(answer.brief());
        }
    }
    let mut table: Vec<String> = ENDPOINTS
        .iter()
        .map(|Endpoint { method, path, .. }| format!("{method} {path}\n  {}", answers[path].join("\n  ")))
        .collect();
    for path in PAGES {
        for path in [path, path.trim_end_matches('/')] {
            let answer = app.get(path).await;
            table.push(format!("GET {path} {}", answer.brief()));
        }
    }
    insta::assert_snapshot!(table.join("\n"), @"
    POST /signup/
      201
      400 invalid | 회원가입에 실패했습니다.; email: 이미 사용 중인 이메일입니다.; username: 이미 사용 중인 사용자 이름입니다.
      400 invalid | 회원가입에 실패했습니다.; email: 이미 사용 중인 이메일입니다.; username: 이미 사용 중인 사용자 이름입니다.
      400 invalid | 회원가입에 실패했습니다.; email: 이미 사용 중인 이메일입니다.; username: 이미 사용 중인 사용자 이름입니다.
    POST /login/
      200
      200
      200
      200
    POST /token/refresh/
      401 token_not_valid | Token is invalid or expired
      401 token_not_valid | Token is invalid or expired
      401 token_not_valid | Token is invalid or expired
      401 token_not_valid | Token is invalid or expired
    POST /logout/
      401 token_not_valid | Token is invalid or expired
      401 token_not_valid | Token is invalid or expired
      401 token_not_valid | Token is invalid or expired
      401 token_not_valid | Token is invalid or expired
    GET /tests/
      200
      200
      200
      200
    GET /tests/1/
      200
      200
      200
      200
    POST /tests/1/apply/
      201
      400 already_registered | 이미 응시 신청한 시험입니다
      400 already_registered | 이미 응시 신청한 시험입니다
      400 already_registered | 이미 응시 신청한 시험입니다
    POST /tests/1/complete/
      200
      400 already_completed | 이미 완료된 시험입니다
      400 already_completed | 이미 완료된 시험입니다
      400 already_completed | 이미 완료된 시험입니다
    POST /tests/1/preorder/
      409 payment_method_unavailable | 지금은 사용할 수 없는 결제 수단입니다
      409 payment_method_unavailable | 지금은 사용할 수 없는 결제 수단입니다
      409 payment_method_unavailable | 지금은 사용할 수 없는 결제 수단입니다
      409 payment_method_unavailable | 지금은 사용할 수 없는 결제 수단입니다
    GET /courses/
      200
      200
      200
      200
    GET /courses/1/
      200
      200
      200
      200
    POST /courses/1/enroll/
      201
      400 already_registered | 이미 수강 신청한 수업입니다
      400 already_registered | 이미 수강 신청한 수업입니다
      400 already_registered | 이미 수강 신청한 수업입니다
    POST /courses/1/complete/
      200
      400 already_completed | 이미 완료된 수업입니다
      400 already_completed | 이미 완료된 수업입니다
      400 already_completed | 이미 완료된 수업입니다
    POST /courses/1/preorder/
      409 payment_method_unavailable | 지금은 사용할 수 없는 결제 수단입니다
      409 payment_method_unavailable | 지금은 사용할 수 없는 결제 수단입니다
      409 payment_method_unavailable | 지금은 사용할 수 없는 결제 수단입니다
      409 payment_method_unavailable | 지금은 사용할 수 없는 결제 수단입니다
    GET /me/payments/
      200
      200
      200
      200
    GET /me/payments/1/
      200
      200
      200
      200
    POST /payments/1/cancel/
      400 item_completed | 완료된 시험의 결제는 취소할 수 없습니다
      400 item_completed | 완료된 시험의 결제는 취소할 수 없습니다
      400 item_completed | 완료된 시험의 결제는 취소할 수 없습니다
      400 item_completed | 완료된 시험의 결제는 취소할 수 없습니다
    GET /me/orders/
      200
      200
      200
      200
    GET /orders/1/
      404 not_found | 찾을 수 없습니다.
      404 not_found | 찾을 수 없습니다.
      404 not_found | 찾을 수 없습니다.
      404 not_found | 찾을 수 없습니다.
    POST /orders/1/approve/
      404 not_found | 찾을 수 없습니다.
      404 not_found | 찾을 수 없습니다.
      404 not_found | 찾을 수 없습니다.
      404 not_found | 찾을 수 없습니다.
    POST /orders/1/cancel/
      404 not_found | 찾을 수 없습니다.
      404 not_found | 찾을 수 없습니다.
      404 not_found | 찾을 수 없습니다.
      404 not_found | 찾을 수 없습니다.
    POST /logout/all/
      204
      401 token_not_valid | Given token not valid for any token type
      401 token_not_valid | Given token not valid for any token type
      401 token_not_valid | Given token not valid for any token type
    GET /api/schema/ 200
    GET /api/schema 200
    GET /api/docs/ 200
    GET /api/docs 200
    GET /api/redoc/ 200
    GET /api/redoc 200
    GET /healthz/ 200
    GET /healthz 200
    GET /readyz/ 200
    GET /readyz 200
    ");
}

#[tokio::test]
async fn an_unsupported_method_is_refused() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let contract = ENDPOINTS
        .iter()
        .flat_map(|endpoint| spellings(endpoint.path).map(|path| (endpoint.method, path)));
    let pages = PAGES.iter().map(|path| ("GET", (*path).to_owned()));
    for (own, path) in contract.chain(pages) {
        let (_, taken) = OWN_METHODS.iter().find(|(method, _)| *method == own).unwrap();
        for method in [
            "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "QUERY", "get", "X",
        ] {
            if taken.contains(&method) {
                continue;
            }
            // The result is the same with and without a token.
            for answer in [
                app.call(method, &path).await,
                app.call(method, &path).by(&minsu).json_text("{}").await,
            ] {
                assert_eq!(answer.status, 405, "{answer:?}");
                assert_eq!(answer.header("allow"), taken.join(", "), "{answer:?}");
                assert!(method == "HEAD" || answer.code() == "method_not_allowed", "{answer:?}");
            }
        }
    }
    assert_answer!(app.call("DELETE", "/tests/").await, @r#"
    {
      "status": "405 Method Not Allowed",
      "allow": "GET, HEAD, OPTIONS",
      "body": {
        "code": "method_not_allowed",
        "detail": "허용되지 않는 메소드입니다.",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(app.call("GET", "/tests/1/apply").in_english().await, @r#"
    {
      "status": "405 Method Not Allowed",
      "allow": "POST, OPTIONS",
      "body": {
        "code": "method_not_allowed",
        "detail": "Method not allowed.",
        "request_id": "[request id]"
      }
    }
    "#);
}

#[tokio::test]
async fn unknown_paths_are_not_found() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    for path in [
        "/",
        "/nope/",
        "/api",
        "/api/",
        "/api/auth/",
        "/auth/login/",
        "/api/login/",
        "/api/auth/tests/",
        "/api/api/tests/",
        "/tests/1/enroll/",
        "/courses/1/apply/",
        "/tests/1/apply/2/",
        "/tests/1/cancel/",
        "/tests//",
        "/tests//1/",
        "//tests/",
        "/TESTS/",
        "/Tests/",
        "/test/",
        "/exams/",
        "/me/",
        "/me/payments/1/cancel/",
        "/payments/",
        "/payments/1/",
        "/schema/",
        "/docs/",
        "/redoc/",
        "/api/schema.json",
        "/api/healthz",
        "/login/x",
        "/signup/1/",
        "/tests/1/apply.json",
        "/.env",
        "/index.html",
        "/favicon.ico",
        "/api/docs/../../spin.toml",
        "/%2e%2e/spin.toml",
        "/%00",
        "/%ff%fe/",
        "/tests/1%2fapply%2fx",
        "/*",
        "/healthz/x",
    ] {
        for method in ["GET", "POST", "DELETE", "OPTIONS", "HEAD"] {
            let answer = app.call(method, path).by(&minsu).await;
            assert_eq!(answer.status, 404, "{answer:?}");
            assert!(method == "HEAD" || answer.code() == "not_found", "{answer:?}");
        }
    }
    assert_answer!(app.get("/nope/").await, @r#"
    {
      "status": "404 Not Found",
      "body": {
        "code": "not_found",
        "detail": "찾을 수 없습니다.",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(app.get("/nope/").in_english().await, @r#"
    {
      "status": "404 Not Found",
      "body": {
        "code": "not_found",
        "detail": "Not found.",
        "request_id": "[request id]"
      }
    }
    "#);
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    app.add(sugang_tests::EXAM, Item::default()).await;
    app.add(sugang_tests::COURSE, Item::default()).await;
    app.register(sugang_tests::EXAM, &minsu, 1, "applied").await;
    let gets = ENDPOINTS
        .iter()
        .filter(|endpoint| endpoint.method == "GET")
        .map(|endpoint| endpoint.path);
    for path in gets
        .chain(PAGES.iter().copied())
        .chain(["/tests/7/", "/tests/?page=9", "/nope/"])
    {
        for user in [Some(&minsu), None] {
            let ask = async |method| match user {
                Some(user) => app.call(method, path).by(user).await,
                None => app.call(method, path).await,
            };
            let (get, head) = (ask("GET").await, ask("HEAD").await);
            assert_eq!(head.status, get.status, "{path}");
            assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
            // The request's id is part of an error's body, and each has an id of its own.
            assert!(
                get.status != 200 || head.header("content-length") == get.body.len().to_string(),
                "{path}: {head:?}"
            );
            assert!(!head.header("content-length").is_empty(), "{path}: {head:?}");
        }
    }
}

#[tokio::test]
async fn options_lists_the_methods() {
    let app = App::start().await;
    assert_answer!(app.call("OPTIONS", "/tests/").await, @r#"
    {
      "status": "204 No Content",
      "allow": "GET, HEAD, OPTIONS"
    }
    "#);
    assert_answer!(app.call("OPTIONS", "/api/tests/1/apply").await, @r#"
    {
      "status": "204 No Content",
      "allow": "POST, OPTIONS"
    }
    "#);
    for endpoint in ENDPOINTS {
        for path in spellings(endpoint.path) {
            let answer = app.call("OPTIONS", &path).await;
            let (_, taken) = OWN_METHODS
                .iter()
                .find(|(method, _)| *method == endpoint.method)
                .unwrap();
            assert_eq!(
                (answer.status.as_u16(), answer.header("allow")),
                (204, taken.join(", ").as_str()),
                "{answer:?}"
            );
        }
    }
}
