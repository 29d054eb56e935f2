//! Malformed requests on every endpoint: each gets its documented response and never a 500, none changes data, and the
//! service keeps working.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sugang_tests::{App, COURSE, ENDPOINTS, EXAM, Item, User, token};

/// A request with its expected response.
struct Case {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
    status: u16,
    code: &'static str,
}

fn case(
    method: &'static str,
    path: impl Into<String>,
    body: impl Into<Vec<u8>>,
    status: u16,
    code: &'static str,
) -> Case {
    Case {
        method,
        path: path.into(),
        headers: Vec::new(),
        body: body.into(),
        status,
        code,
    }
}

impl Case {
    fn with(mut self, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

const SQL: &[&str] = &[
    "'; drop table payments; --",
    "' or '1'='1",
    "\" or 1=1 --",
    "1); delete from users; --",
    "$1",
    "{kind}",
    "\\'; select pg_sleep(60); --",
    "admin'/*",
];

/// Characters that end, begin or disguise a text.
fn odd_texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "\0",
        "a\0b",
        "\u{1}",
        "\u{7f}",
        "\r\nSet-Cookie: x=y",
        "\u{202e}",
        "\u{feff}",
        "\u{ffff}",
        "😀",
        "%00",
        "${7*7}",
        "<script>",
    ]
    .map(String::from)
    .into();
    texts.extend(SQL.iter().map(ToString::to_string));
    texts.push("가".repeat(5_000));
    texts
}

/// JSON values that are not accepted as text. (A number is: Django took it as the text of its digits.)
const NO_TEXT: &[&str] = &[
    "true",
    "false",
    "[]",
    "{}",
    "[\"a\"]",
    "[1]",
    "{\"$gt\":\"\"}",
    "{\"a\":{\"b\":null}}",
];

fn accounts(cases: &mut Vec<Case>) {
    let json = |text: &str| Value::from(text).to_string();
    for wrong in NO_TEXT.iter().chain(&["null", "\"\""]) {
        for (path, body) in [
            ("/signup/", r#"{"email":V,"username":"newcomer","password":"correct1"}"#),
            (
                "/signup/",
                r#"{"email":"new@example.com","username":V,"password":"correct1"}"#,
            ),
            (
                "/signup/",
                r#"{"email":"new@example.com","username":"newcomer","password":V}"#,
            ),
            ("/login/", r#"{"email":V,"password":"correct1"}"#),
            ("/login/", r#"{"email":"minsu@example.com","password":V}"#),
            ("/token/refresh/", r#"{"refresh":V}"#),
        ] {
            cases.push(case("POST", path, body.replace('V', wrong), 400, "invalid"));
        }
    }
    for text in odd_texts() {
        // PostgreSQL cannot store U+0000 in a text.
        let refused = |code| {
            if text.contains('\0') {
                (400, "invalid")
            } else {
                (401, code)
            }
        };
        let ((login, login_code), (refresh, refresh_code)) =
            (refused("invalid_credentials"), refused("token_not_valid"));
        let text = json(&text);
        cases.push(case(
            "POST",
            "/signup/",
            format!(r#"{{"email":{text},"username":"newcomer","password":"correct1"}}"#),
            400,
            "invalid",
        ));
        cases.push(case(
            "POST",
            "/login/",
            format!(r#"{{"email":{text},"password":"correct1"}}"#),
            login,
            login_code,
        ));
        cases.push(case(
            "POST",
            "/login/",
            format!(r#"{{"email":"minsu@example.com","password":{text}}}"#),
            login,
            login_code,
        ));
        cases.push(case(
            "POST",
            "/token/refresh/",
            format!(r#"{{"refresh":{text}}}"#),
            refresh,
            refresh_code,
        ));
    }
    for digits in ["1", "-1", "1.5", "1e308", "99999999999999999999999999999999"] {
        cases.push(case(
            "POST",
            "/login/",
            format!(r#"{{"email":{digits},"password":"correct1"}}"#),
            401,
            "invalid_credentials",
        ));
        cases.push(case(
            "POST",
            "/login/",
            format!(r#"{{"email":"minsu@example.com","password":{digits}}}"#),
            401,
            "invalid_credentials",
        ));
        cases.push(case(
            "POST",
            "/token/refresh/",
            format!(r#"{{"refresh":{digits}}}"#),
            401,
            "token_not_valid",
        ));
        cases.push(case(
            "POST",
            "/signup/",
            format!(r#"{{"email":{digits},"username":"newcomer","password":"correct1"}}"#),
            400,
            "invalid",
        ));
    }
    for name in [
        "a b",
        "a'b",
        "a;b",
        "a\"b",
        "<b>",
        "a\0b",
        "a\u{200b}b",
        "a\u{202e}b",
        "😀",
        "\u{feff}a",
    ] {
        let body = json!({"email": "new@example.com", "username": name, "password": "correct1"});
        cases.push(case("POST", "/signup/", body.to_string(), 400, "invalid"));
    }
    for path in ["/signup/", "/login/", "/token/refresh/"] {
        cases.push(case("POST", path, "", 400, "invalid"));
        cases.push(case(
            "POST",
            path,
            r#"{"Email":"minsu@example.com","PASSWORD":"correct1","Refresh":"x"}"#,
            400,
            "invalid",
        ));
        cases.push(case(
            "POST",
            path,
            r#"{"__proto__":{"email":"x"},"constructor":1,"":0}"#,
            400,
            "invalid",
        ));
    }
}

fn registrations(cases: &mut Vec<Case>) {
    let paths = [EXAM.register(1), COURSE.register(1)];
    for path in &paths {
        let mut push = |body: String, status, code| cases.push(case("POST", path, body, status, code));
        for amount in [
            "null",
            "true",
            "[]",
            "{}",
            "[45000]",
            "\"\"",
            "\" \"",
            "\"abc\"",
            "\"NaN\"",
            "\"Infinity\"",
            "\"-Infinity\"",
            "\"0x10\"",
            "\"45,000\"",
            "\"45000원\"",
            "\"٤٥٠٠٠\"",
            "\"４５０００\"",
            "\"45000.00.00\"",
            "\"1_000\"",
            "\"45000\\u0000\"",
            "\"--1\"",
            "0",
            "0.00",
            "-0",
            "-1",
            "\"-45000.00\"",
            "\"0\"",
            "45000.001",
            "\"45000.001\"",
            "0.001",
            "1e-10",
            "100000000",
            "\"100000000.00\"",
            "99999999999999999999999999999999",
            "-99999999999999999999999999999999",
            "1e308",
            "1e400",
            "\"1e400\"",
            "1e-400",
            "1E999999999999",
            "\"'; drop table payments; --\"",
        ] {
            push(
                format!(r#"{{"amount":{amount},"payment_method":"card"}}"#),
                400,
                "invalid",
            );
        }
        push(
            format!(r#"{{"amount":"{}","payment_method":"card"}}"#, "9".repeat(60_000)),
            400,
            "invalid",
        );
        push(
            format!(r#"{{"amount":{},"payment_method":"card"}}"#, "9".repeat(60_000)),
            400,
            "invalid",
        );
        for amount in ["1", "44999.99", "\"45000.01\"", "\"99999999.99\"", "4500000"] {
            push(
                format!(r#"{{"amount":{amount},"payment_method":"card"}}"#),
                400,
                "amount_mismatch",
            );
        }
        for method in [
            "null",
            "1",
            "true",
            "[]",
            "{}",
            "[\"card\"]",
            "\"\"",
            "\"CARD\"",
            "\"Card\"",
            "\"card card\"",
            "\"card\\u0000\"",
            "\"paypal\"",
            "\"cash\"",
            "\"kakao_pay\"",
            "\"'; drop table payments; --\"",
        ] {
            push(
                format!(r#"{{"amount":"45000.00","payment_method":{method}}}"#),
                400,
                "invalid",
            );
        }
        push(
            format!(
                r#"{{"amount":"45000.00","payment_method":"{}"}}"#,
                "card".repeat(10_000)
            ),
            400,
            "invalid",
        );
        push("{}".into(), 400, "invalid");
        push(String::new(), 400, "invalid");
        push(r#"{"amount":"45000.00"}"#.into(), 400, "invalid");
        push(r#"{"payment_method":"card"}"#.into(), 400, "invalid");
        push(
            r#"{"Amount":"45000.00","Payment_Method":"card"}"#.into(),
            400,
            "invalid",
        );
        push(
            r#"{"amount":"45000.00","amount":"1","payment_method":"card"}"#.into(),
            400,
            "amount_mismatch",
        );
        push(
            r#"{"amount":NaN,"payment_method":"card"}"#.into(),
            400,
            "malformed_json",
        );
        push(
            r#"{"amount":Infinity,"payment_method":"card"}"#.into(),
            400,
            "malformed_json",
        );
        push(
            r#"{"amount":"45000.00","payment_method":"card""#.into(),
            400,
            "malformed_json",
        );
        push(
            format!(
                r#"{{"amount":{}1{},"payment_method":"card"}}"#,
                "[".repeat(20_000),
                "]".repeat(20_000)
            ),
            400,
            "invalid",
        );
        push(
            format!(
                r#"{{"amount":{}1{},"payment_method":"card"}}"#,
                r#"{"a":"#.repeat(9_000),
                "}".repeat(9_000)
            ),
            400,
            "invalid",
        );
    }
    let pay = r#"{"amount":"45000.00","payment_method":"card"}"#;
    for kind in [EXAM, COURSE] {
        for id in [
            "0",
            "99",
            "2147483648",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551616",
            "1e400",
            "-1",
            "-0",
            "1.0",
            "x",
            "%00",
            "1%00",
            "1%27",
            "1;drop%20table%20tests",
            "..%2f1",
            "%F0%9F%98%80",
            "1%20or%201=1",
            "null",
            "undefined",
            "NaN",
            "{id}",
        ] {
            let path = |end: &str| format!("{}{id}/{end}", kind.path);
            cases.push(case("GET", path(""), "", 404, "not_found"));
            cases.push(case(
                "POST",
                path(&format!("{}/", kind.register)),
                pay,
                404,
                "not_found",
            ));
            // A valid id is looked up among the caller's registrations.
            let is_id = id.bytes().all(|byte| byte.is_ascii_digit()) && id.parse::<i64>().is_ok();
            cases.push(case(
                "POST",
                path("complete/"),
                "",
                404,
                if is_id { "not_registered" } else { "not_found" },
            ));
        }
        for key in ["", "a\tb", "키", &"k".repeat(256), "\u{e9}"] {
            cases.push(case("POST", kind.register(1), pay, 400, "invalid").with("idempotency-key", key));
        }
    }
}

fn payments(cases: &mut Vec<Case>) {
    for id in [
        "0",
        "99",
        "2147483648",
        "9223372036854775807",
        "9223372036854775808",
        "99999999999999999999999999",
        "-1",
        "1.0",
        "x",
        "%00",
        "1%27",
        "%2e%2e",
    ] {
        cases.push(case("GET", format!("/me/payments/{id}/"), "", 404, "not_found"));
        cases.push(case("POST", format!("/payments/{id}/cancel/"), "{}", 404, "not_found"));
    }
    // Payment 1 is another user's, payment 2 is cancelled.
    cases.push(case("GET", "/me/payments/1/", "", 404, "not_found"));
    cases.push(case("POST", "/payments/1/cancel/", "", 403, "not_owner"));
    cases.push(case(
        "POST",
        "/payments/1/cancel/",
        r#"{"user_id":1,"refund_reason":"mine"}"#,
        403,
        "not_owner",
    ));
    cases.push(case("POST", "/payments/2/cancel/", "", 400, "already_cancelled"));
    for reason in NO_TEXT {
        cases.push(case(
            "POST",
            "/payments/3/cancel/",
            format!(r#"{{"refund_reason":{reason}}}"#),
            400,
            "invalid",
        ));
    }
    cases.push(case(
        "POST",
        "/payments/3/cancel/",
        r#"{"refund_reason":"a\u0000b"}"#,
        400,
        "invalid",
    ));
    for date in [
        "2026-02-30",
        "2026-13-01",
        "2026-00-10",
        "2026-01-32",
        "20260101",
        "2026-1-1",
        "26-01-01",
        "2026/01/01",
        "01-01-2026",
        "yesterday",
        "now",
        "infinity",
        "-infinity",
        "epoch",
        "0000-00-00",
        "-2026-01-01",
        "99999-01-01",
        "2026-01-01T00:00:00Z",
        "2026-01-01%2000:00",
        "%EF%BC%92026-01-01",
        "2026-01-01%00",
        "2026-01-01'",
        "1;drop%20table%20payments",
        "%20",
        "null",
        "1e9",
        "2026-W01-1",
        "2026-001",
    ] {
        for parameter in ["from", "to"] {
            cases.push(case(
                "GET",
                format!("/me/payments/?{parameter}={date}"),
                "",
                400,
                "invalid",
            ));
        }
    }
}

fn lists(cases: &mut Vec<Case>) {
    for path in ["/tests/", "/courses/", "/me/payments/"] {
        for page in [
            "0",
            "-1",
            "2",
            "1.0",
            "1e0",
            "abc",
            "NaN",
            "null",
            "true",
            "0x1",
            "1%00",
            "1%27",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999999999999999",
            "%EF%BC%91",
            "%D9%A1",
            "last1",
            "LAST",
            "[]",
            "1,2",
            "1;2",
            "%ff",
        ] {
            cases.push(case("GET", format!("{path}?page={page}"), "", 404, "invalid_page"));
        }
        for text in odd_texts().iter().filter(|text| text.len() < 1000) {
            let null = text.contains('\0');
            let text: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
            for parameter in ["search", "status", "sort", "payment_type", &text] {
                let is_text =
                    parameter == "search" || path == "/me/payments/" && ["status", "payment_type"].contains(&parameter);
                let (status, code) = if is_text && null { (400, "invalid") } else { (200, "") };
                cases.push(case("GET", format!("{path}?{parameter}={text}"), "", status, code));
            }
        }
        for query in [
            "?%ff=%fe",
            "?search=%ff%fe",
            "?search=%",
            "?search=%zz",
            "?&&==&",
            "?search=%22%22%22",
            "?search=-----",
            "?search=or+or",
            "?search=%26%7C%21",
            "?search=a:*",
            "?search=%3C-%3E",
            "?search=((((",
            "?status[]=available",
            "?page",
            "?sort=popular&sort=%00",
        ] {
            cases.push(case("GET", format!("{path}{query}"), "", 200, ""));
        }
        let long = "a+".repeat(3_000);
        cases.push(case("GET", format!("{path}?search={long}"), "", 200, ""));
        let quoted = "%22a".repeat(1_500);
        cases.push(case("GET", format!("{path}?search={quoted}"), "", 200, ""));
        let not = "-a+or+".repeat(1_000);
        cases.push(case("GET", format!("{path}?search={not}"), "", 200, ""));
        let many = "x=1&".repeat(3_000);
        cases.push(case("GET", format!("{path}?{many}"), "", 200, ""));
    }
}

fn everywhere(cases: &mut Vec<Case>, minsu: &User) {
    let good = minsu.claims("access");
    let secret = token::SECRET.as_bytes();
    let mut raised = good.clone();
    raised["user_id"] = "2".into();
    let forged = [
        token::sign_with(&json!({"alg": "none"}), &good, secret),
        token::sign_with(&json!({"alg": "HS512"}), &good, secret),
        token::sign_with(&json!({"alg": "HS256"}), &raised, b"guess"),
        token::sign_with(&json!({"alg": "HS256", "crit": ["exp"]}), &json!([]), secret),
        token::sign_with(&json!({"alg": "HS256"}), &json!("text"), secret),
        token::sign_with(
            &json!({"alg": "HS256"}),
            &json!({"exp": 1e300, "user_id": "1", "token_type": "access", "jti": "x"}),
            b"guess",
        ),
        "a.b.c".to_owned(),
        "..".to_owned(),
        "null".to_owned(),
        "'; drop table users; --".to_owned(),
        "A".repeat(10_000),
    ];
    for endpoint in ENDPOINTS {
        if endpoint.token {
            for forged in &forged {
                cases.push(
                    case(endpoint.method, endpoint.path, endpoint.body, 401, "token_not_valid")
                        .with("authorization", format!("Bearer {forged}")),
                );
            }
        }
        for method in ["PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"] {
            cases.push(case(method, endpoint.path, "{}", 405, "method_not_allowed"));
        }
        if endpoint.method == "POST" && !endpoint.path.ends_with("/complete/") {
            let mut push = |body: Vec<u8>, status, code| cases.push(case("POST", endpoint.path, body, status, code));
            push(vec![b' '; 1 << 20], 413, "payload_too_large");
            push(
                format!("{{\"a\":\"{}\"}}", "a".repeat(1 << 20)).into(),
                413,
                "payload_too_large",
            );
            push(vec![0xff; 1 << 20], 413, "payload_too_large");
            push(b"\xff\xfe".to_vec(), 400, "malformed_json");
            push(b"{\"a\":\"\xc3\x28\"}".to_vec(), 400, "malformed_json");
            push(b"{\"\xed\xa0\x80\":1}".to_vec(), 400, "malformed_json");
            push(b"\0\0\0\0".to_vec(), 400, "malformed_json");
            push(b"{\"a\":\"\x02\"}".to_vec(), 400, "malformed_json");
            push(b"[[[[".repeat(10_000), 400, "malformed_json");
            push(b"{\"a\":".repeat(10_000), 400, "malformed_json");
            push(b"[]".to_vec(), 400, "malformed_json");
            push(b"\"text\"".to_vec(), 400, "malformed_json");
            for (media_type, body) in [
                ("multipart/form-data", "{}"),
                ("multipart/form-data; boundary=x", "--x"),
                ("application/x-www-form-urlencoded", "a=%ff"),
            ] {
                cases.push(case("POST", endpoint.path, body, 400, "malformed_form").with("content-type", media_type));
            }
            for media_type in [
                "text/plain",
                "multipart/mixed; boundary=x",
                "\u{ff}",
                "application/json; charset=utf-16",
            ] {
                cases.push(
                    case("POST", endpoint.path, "{}", 415, "unsupported_media_type").with("content-type", media_type),
                );
            }
        }
        // A client's own claims about the request's path through proxies are ignored.
        for (name, value) in [
            ("spin-path-info", "/api/docs/"),
            ("spin-full-url", "http://127.0.0.1/nope/"),
            ("spin-component-route", "/nope/"),
            ("x-http-method-override", "DELETE"),
            ("x-original-url", "/nope/"),
            ("x-forwarded-host", "evil.example"),
        ] {
            cases.push(case("DELETE", endpoint.path, "", 405, "method_not_allowed").with(name, value));
        }
    }
    for (name, value) in [
        ("accept-language", "en;q=".to_owned() + &"9".repeat(5_000)),
        ("accept-language", ",".repeat(5_000)),
        ("accept", "application/xml".to_owned()),
        ("accept-encoding", "identity;q=0, *;q=0".to_owned()),
        ("x-request-id", "x".repeat(5_000)),
        ("if-none-match", "*".to_owned()),
        ("range", "bytes=0-0".to_owned()),
        ("cookie", "sessionid=1; csrftoken=2".to_owned()),
        ("origin", "null".to_owned()),
        ("te", "trailers".to_owned()),
    ] {
        cases.push(case("GET", "/tests/", "", 200, "").with(name, value));
    }
}

#[tokio::test]
async fn malformed_requests_get_documented_responses() {
    let app = App::start().await;
    let (minsu, jisu) = (app.user("minsu").await, app.user("jisu").await);
    for kind in [EXAM, COURSE] {
        app.add(kind, Item::default()).await;
    }
    let mine = app
        .add(
            EXAM,
            Item {
                title: "Minsu's",
                ..Item::default()
            },
        )
        .await;
    let cancelled = app
        .add(
            COURSE,
            Item {
                title: "cancelled",
                ..Item::default()
            },
        )
        .await;
    app.register(EXAM, &jisu, mine, "applied").await;
    app.register(COURSE, &minsu, cancelled, "cancelled").await;
    app.register(EXAM, &minsu, mine, "applied").await;

    let mut cases = Vec::new();
    accounts(&mut cases);
    registrations(&mut cases);
    payments(&mut cases);
    lists(&mut cases);
    everywhere(&mut cases, &minsu);
    let endpoints: BTreeSet<_> = cases
        .iter()
        .map(|case| case.path.split(['?', '%']).next().unwrap().to_owned())
        .collect();
    assert!(
        cases.len() >= 150 && ENDPOINTS.iter().all(|endpoint| endpoints.contains(endpoint.path)),
        "{}",
        cases.len()
    );

    let before = app.state().await;
    let mut wrong = Vec::new();
    for case in &cases {
        let mut call = app.call(case.method, &case.path);
        if !case.headers.iter().any(|(name, _)| *name == "authorization") {
            call = call.by(&minsu);
        }
        if !case.headers.iter().any(|(name, _)| *name == "content-type") && !case.body.is_empty() {
            call = call.header("content-type", "application/json");
        }
        for (name, value) in &case.headers {
            call = call.header(name, value.as_slice());
        }
        let answer = call.body(case.body.clone()).await;
        if (answer.status.as_u16(), answer.code()) != (case.status, case.code) {
            let body: String = String::from_utf8_lossy(&case.body).chars().take(120).collect();
            let path: String = case.path.chars().take(120).collect();
            wrong.push(format!(
                "{} {path} {body}\n  expected {} {}, got {}",
                case.method,
                case.status,
                case.code,
                answer.brief()
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} requests:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    assert_eq!(app.state().await, before, "nothing was changed");

    let applied = app
        .post(EXAM.register(1))
        .by(&minsu)
        .json_text(r#"{"amount":"45000.00","payment_method":"card"}"#)
        .await;
    assert_eq!(applied.status, 201, "and the service goes on: {applied:?}");
}

/// The host refuses bytes that are not HTTP, and HTTP that two implementations could read differently.
#[tokio::test]
async fn malformed_bytes_get_documented_responses() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let long_path = format!(
        "GET /tests/?search={} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "a".repeat(100_000)
    );
    let long_header = format!(
        "GET /tests/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: {}\r\n\r\n",
        "a".repeat(100_000)
    );
    let many_headers = format!(
        "GET /tests/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n",
        "X: a\r\n".repeat(1_000)
    );
    let post = |headers: &str, body: &str| {
        format!(
            "POST /login/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n{headers}\r\n\r\n{body}"
        )
    };
    for bytes in [
        b"\0".to_vec(),
        b"\xff\xfe\xfd\r\n\r\n".to_vec(),
        b"hello\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET /\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"GET tests HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        b"GET /tests/ HTTP/1.1\r\nConnection: close\r\n\r\n".to_vec(),
        b"GET /te\x01sts/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        b"GET /\xed\x95\x9c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        b"GET http://evil.example/tests/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"GET /tests/ HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n".to_vec(),
        b"GET /tests/ HTTP/1.1\r\nHost: \"><script>\r\nConnection: close\r\n\r\n".to_vec(),
        b"GET /tests/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer \xff\r\n\r\n".to_vec(),
        b"GET /tests/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX\0Y: z\r\n\r\n".to_vec(),
        b"GET /tests/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade, close\r\n\r\n".to_vec(),
        post("Content-Length: -1", "{}").into(),
        post("Content-Length: 2\r\nContent-Length: 3", "{}").into(),
        post("Content-Length: 18446744073709551616", "{}").into(),
        post("Content-Length: 0x2", "{}").into(),
        post(
            "Content-Length: 2\r\nTransfer-Encoding: chunked",
            "2\r\n{}\r\n0\r\n\r\n",
        )
        .into(),
        post("Transfer-Encoding: chunked", "zz\r\n{}\r\n0\r\n\r\n").into(),
        post("Transfer-Encoding: chunked", "ffffffffffffffff\r\n{}").into(),
        post("Transfer-Encoding: gzip, chunked", "2\r\n{}\r\n0\r\n\r\n").into(),
        post("Transfer-Encoding: xchunked", "{}").into(),
        long_path.into(),
        long_header.into(),
        many_headers.into(),
    ] {
        let answer = app.raw(&bytes).await;
        let answer = String::from_utf8_lossy(&answer);
        let shown = String::from_utf8_lossy(&bytes).chars().take(80).collect::<String>();
        let status = answer.strip_prefix("HTTP/1.1 ").map_or("", |rest| &rest[..3]);
        // RFC 9110 names a status of its own for these: another version, a tunnel, the server as a whole.
        let documented = match shown.split(' ').next().unwrap_or_default() {
            _ if shown.contains("HTTP/9.9") => status == "505",
            "CONNECT" => status == "501",
            "OPTIONS" => status == "204",
            // The beginning of HTTP/2.
            "PRI" => !answer.starts_with("HTTP/1.1"),
            // A coding of the transfer that this server does not know.
            _ if String::from_utf8_lossy(&bytes).contains("gzip, chunked") => status == "501",
            _ => answer.is_empty() || status.starts_with('4'),
        };
        assert!(documented, "{shown:?}: {answer}");
        assert!(!answer.contains("panicked") && !answer.contains(".rs:"), "{answer}");
        assert_eq!(app.get("/tests/").by(&minsu).await.status, 200, "after {shown:?}");
    }
    // The host's own refusal has the body of every error, in the client's language.
    for (language, detail) in [("", "잘못된 요청입니다"), ("fr, en;q=0.5", "The request is malformed.")] {
        let request = format!(
            "GET /tests/ HTTP/1.1\r\nHost: a/b\r\nConnection: close\r\nX-Request-Id: r-1\r\nAccept-Language: {language}\r\n\r\n"
        );
        let answer = String::from_utf8(app.raw_unfinished(request.as_bytes()).await).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 400 ") && head.contains("x-request-id: r-1"),
            "{head}"
        );
        let expected = serde_json::json!({"detail": detail, "code": "bad_request", "request_id": "r-1"});
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap(), expected);
    }
    // A client that disconnects in the middle of its request.
    for cut in [
        "POST /login/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
        "GET /tests/ HTTP/1.1\r\nHo",
    ] {
        let address = app.base.trim_start_matches("http://");
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, cut.as_bytes())
            .await
            .unwrap();
        drop(stream);
        assert_eq!(app.get("/tests/").by(&minsu).await.status, 200, "after {cut:?}");
    }
}
