//! Rules for every body: its type, its syntax, its size. Forms have more of them in `forms.rs`.

use sugang_tests::{App, Call, ENDPOINTS, Endpoint, User, assert_answer};

/// Every endpoint with a body, including the one whose body is optional.
fn posts() -> impl Iterator<Item = &'static Endpoint> {
    ENDPOINTS
        .iter()
        .filter(|endpoint| !endpoint.body.is_empty() || endpoint.path.ends_with("/cancel/"))
}

fn post<'a>(app: &'a App, endpoint: &Endpoint, user: &User) -> Call<'a> {
    let call = app.post(endpoint.path);
    if endpoint.token { call.by(user) } else { call }
}

#[tokio::test]
async fn a_body_is_declared_as_json_or_a_form() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    for endpoint in posts() {
        for media_type in [
            "text/plain",
            "application/x-www-form-urlencoded; charset=euc-kr",
            "multipart/mixed; boundary=x",
            "application/xml",
            "application/jsonp",
            "application/problem+json",
            "json",
            "",
            "*/*",
            "application/json; charset=euc-kr",
            "text/json",
            "application /json",
            "\u{ff}",
        ] {
            let answer = post(&app, endpoint, &minsu)
                .header("content-type", media_type)
                .body("{}")
                .await;
            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                (415, "unsupported_media_type"),
                "{media_type}: {answer:?}"
            );
        }
        let answer = post(&app, endpoint, &minsu).body("{}").await;
        assert_eq!(answer.status, 415, "not declared at all: {answer:?}");
        for media_type in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
        ] {
            let answer = post(&app, endpoint, &minsu)
                .header("content-type", media_type)
                .body("{}")
                .await;
            assert!(
                [400, 404].contains(&answer.status.as_u16()) && answer.code() != "malformed_json",
                "{media_type}: {answer:?}"
            );
        }
    }
    assert_answer!(app.post("/login/").header("content-type", "text/plain").body("{}").await, @r#"
    {
      "status": "415 Unsupported Media Type",
      "body": {
        "code": "unsupported_media_type",
        "detail": "지원하지 않는 미디어 타입입니다. application/json으로 보내주세요.",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(app.post("/login/").in_english().body("{}").await, @r#"
    {
      "status": "415 Unsupported Media Type",
      "body": {
        "code": "unsupported_media_type",
        "detail": "Unsupported media type. Send application/json.",
        "request_id": "[request id]"
      }
    }
    "#);
}

#[tokio::test]
async fn broken_json_is_refused() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let deep = "[".repeat(30_000);
    let bodies: &[&[u8]] = &[
        b" ",
        b"{",
        b"}",
        b"{\"email\"",
        b"{\"email\":",
        b"{\"email\":\"x\",}",
        b"{'email':'x'}",
        b"{email:1}",
        b"{}{}",
        b"{} x",
        b"[]",
        b"[{}]",
        b"nul",
        b"true",
        b"1",
        b"\"{}\"",
        b"NaN",
        b"{\"amount\":NaN}",
        b"{\"amount\":Infinity}",
        b"{\"amount\":01}",
        b"{\"amount\":.5}",
        b"{\"amount\":0x10}",
        b"{\"amount\":1e}",
        b"{\"a\":\"\x01\"}",
        b"{\"a\":\"\n\"}",
        b"{\"a\":\"\\x\"}",
        b"{\"a\":\"\\ud800\"",
        b"\xff",
        b"{\"a\":\"\xff\"}",
        b"{\"a\":\"\xed\xa0\x80\"}",
        b"\xef\xbb\xbf{}",
        b"\xfe\xff\x00{\x00}",
        b"{\"a\":/* */1}",
        b"email=x&password=y",
        b"<a/>",
        b"\0",
        deep.as_bytes(),
    ];
    for endpoint in posts() {
        for body in bodies {
            let answer = post(&app, endpoint, &minsu).json_text(*body).await;
            let shown: String = String::from_utf8_lossy(body).chars().take(40).collect();
            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                (400, "malformed_json"),
                "{shown}: {answer:?}"
            );
        }
    }
    assert_answer!(app.post("/login/").json_text("{").await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "malformed_json",
        "detail": "요청 본문이 올바른 JSON 객체가 아닙니다.",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(app.post("/login/").in_english().json_text("[]").await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "malformed_json",
        "detail": "The body is not a JSON object.",
        "request_id": "[request id]"
      }
    }
    "#);
}

#[tokio::test]
async fn a_body_has_a_limit() {
    let app = App::with("max_body_bytes", 1000).start().await;
    let minsu = app.user("minsu").await;
    let padded = |n: usize| format!("{{{}}}", " ".repeat(n - 2));
    for endpoint in posts() {
        for n in [1001, 2000, 65_537, 1 << 20, 4 << 20] {
            let answer = post(&app, endpoint, &minsu).json_text(padded(n)).await;
            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                (413, "payload_too_large"),
                "{n}: {answer:?}"
            );
        }
        let answer = post(&app, endpoint, &minsu).json_text(padded(1000)).await;
        assert!(
            [400, 404].contains(&answer.status.as_u16()),
            "what just fits is read: {answer:?}"
        );
        // Without a declared length, the limit is checked while the body arrives.
        let chunks = format!("64\r\n{}\r\n", " ".repeat(100)).repeat(20);
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nAuthorization: Bearer {}\r\n\
             Transfer-Encoding: chunked\r\n\r\n",
            endpoint.path, minsu.access
        );
        let answer =
            String::from_utf8(app.raw_unfinished(format!("{head}{chunks}0\r\n\r\n").as_bytes()).await).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 413 ") && answer.contains("payload_too_large"),
            "in chunks: {answer}"
        );
    }
    assert_answer!(app.post("/login/").json_text(padded(1001)).await, @r#"
    {
      "status": "413 Payload Too Large",
      "body": {
        "code": "payload_too_large",
        "detail": "요청 본문이 너무 큽니다.",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(app.post("/login/").in_english().json_text(padded(1001)).await, @r#"
    {
      "status": "413 Payload Too Large",
      "body": {
        "code": "payload_too_large",
        "detail": "The body is too large.",
        "request_id": "[request id]"
      }
    }
    "#);
}

#[tokio::test]
async fn the_limit_is_64_kib_by_default() {
    let app = App::start().await;
    let padded = |n: usize| format!("{{{}}}", " ".repeat(n - 2));
    assert_eq!(app.post("/login/").json_text(padded(65_536)).await.status, 400);
    assert_eq!(app.post("/login/").json_text(padded(65_537)).await.status, 413);
}

#[tokio::test]
async fn a_declared_length_over_the_limit_is_refused_before_the_body() {
    let app = App::start().await;
    let head = "POST /login/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 9999999999\r\n\r\n{";
    let answer = String::from_utf8(app.raw_unfinished(head.as_bytes()).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains(r#""code":"payload_too_large""#), "{answer}");
}

#[tokio::test]
async fn endpoints_without_a_body_ignore_one() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    for path in ["/tests/", "/me/payments/"] {
        assert_eq!(app.get(path).by(&minsu).json_text("{}").await.status, 200);
        assert_eq!(app.get(path).by(&minsu).json_text("{").await.status, 200);
    }
}
