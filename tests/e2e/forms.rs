//! Bodies as HTML forms send them, on every endpoint like JSON.

use serde_json::{Value, json};
use sugang_tests::{Answer, App, COURSE, Call, ENDPOINTS, EXAM, Item, assert_answer};

const URL_ENCODED: &str = "application/x-www-form-urlencoded";

/// How a body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum As {
    Json,
    UrlEncoded,
    Multipart,
}

impl As {
    const ALL: [Self; 3] = [Self::Json, Self::UrlEncoded, Self::Multipart];

    fn body<'a>(self, call: Call<'a>, fields: &[(&str, &str)]) -> Call<'a> {
        match self {
            Self::Json => {
                let object: serde_json::Map<_, _> = fields
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), Value::from(*value)))
                    .collect();
                call.json(&object.into())
            }
            Self::UrlEncoded => {
                let text = url::form_urlencoded::Serializer::new(String::new())
                    .extend_pairs(fields)
                    .finish();
                call.header("content-type", URL_ENCODED).body(text)
            }
            Self::Multipart => multipart(call, "boundary", fields),
        }
    }
}

fn multipart<'a>(call: Call<'a>, boundary: &str, fields: &[(&str, &str)]) -> Call<'a> {
    let parts: String = fields
        .iter()
        .map(|(name, value)| {
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        })
        .collect();
    call.header("content-type", format!("multipart/form-data; boundary={boundary}"))
        .body(format!("{parts}--{boundary}--\r\n"))
}

#[tokio::test]
async fn every_operation_takes_all_three() {
    for sent in As::ALL {
        let app = App::start().await;
        for kind in [EXAM, COURSE] {
            app.add(kind, Item::default()).await;
        }
        let signup = [
            ("email", "minsu@example.com"),
            ("username", "민수"),
            ("password", "correct 1+%&="),
        ];
        let answer = sent.body(app.post("/signup/"), &signup).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["user"]["username"]),
            (201, &json!("민수")),
            "{sent:?}"
        );
        let login = sent.body(app.post("/login/"), &[signup[0], signup[2]]).await;
        assert_eq!(login.status, 200, "{sent:?}");
        let token = |name: &str| login.json()[name].as_str().expect("a token").to_owned();
        let (access, refresh) = (token("access"), token("refresh"));
        let refreshed = sent.body(app.post("/token/refresh/"), &[("refresh", &refresh)]).await;
        assert_eq!(refreshed.status, 200, "{sent:?}");

        for kind in [EXAM, COURSE] {
            let pay = [("amount", "45000.00"), ("payment_method", "card")];
            let answer = sent.body(app.post(kind.register(1)).bearer(&access), &pay).await;
            assert_eq!(answer.status, 201, "{sent:?}: {answer:?}");
        }
        let reason = [("refund_reason", "단순 변심 & 그 외")];
        let cancelled = sent
            .body(app.post("/payments/1/cancel/").bearer(&access), &reason)
            .await;
        assert_eq!(cancelled.status, 200, "{sent:?}: {cancelled:?}");
        let stored: String = app.one("select refund_reason from payments where id = 1", &[]).await;
        assert_eq!(stored, reason[0].1);
        let completed = sent
            .body(app.post(COURSE.complete(1)).bearer(&access), &[("any", "thing")])
            .await;
        assert_eq!(completed.status, 200, "{sent:?}: {completed:?}");
        let ended = sent.body(app.post("/logout/"), &[("refresh", &refresh)]).await;
        assert_eq!(ended.status, 204, "{sent:?}");
    }
}

/// Wrong fields get the same answer, however they were sent.
#[tokio::test]
async fn wrong_fields_are_answered_alike() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    for endpoint in ENDPOINTS.iter().filter(|endpoint| !endpoint.body.is_empty()) {
        let cases: [&[(&str, &str)]; 5] = [
            &[],
            &[
                ("email", "x"),
                ("username", "a b"),
                ("password", "!"),
                ("amount", "x"),
                ("payment_method", "cash"),
            ],
            &[
                ("email", ""),
                ("username", " "),
                ("password", ""),
                ("refresh", ""),
                ("amount", ""),
                ("payment_method", ""),
            ],
            &[
                ("email", "a\0"),
                ("username", "a\0"),
                ("password", "a\0"),
                ("refresh", "a\0"),
                ("amount", "1\0"),
                ("payment_method", "card\0"),
            ],
            &[("amount", "45000.001"), ("payment_method", "카드")],
        ];
        for fields in cases {
            let mut answers = Vec::new();
            for sent in As::ALL {
                let mut call = app.post(endpoint.path);
                if endpoint.token {
                    call = call.by(&minsu);
                }
                let answer = sent.body(call, fields).await;
                let mut body = answer.json().clone();
                body["request_id"] = Value::Null;
                answers.push((answer.status.as_u16(), body));
            }
            // A login looks up any text.
            let refused = [400, 401].contains(&answers[0].0);
            assert!(refused, "{} {fields:?}: {}", endpoint.path, answers[0].1);
            assert_eq!(answers[1], answers[0], "{} {fields:?}", endpoint.path);
            assert_eq!(answers[2], answers[0], "{} {fields:?}", endpoint.path);
        }
    }
}

#[tokio::test]
async fn of_equal_names_the_last_counts() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    app.add(EXAM, Item::default()).await;
    let fields = [
        ("amount", "1"),
        ("payment_method", "cash"),
        ("amount", "45000.00"),
        ("payment_method", "card"),
    ];
    let answer = multipart(app.post(EXAM.register(1)).by(&minsu), "x", &fields).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let answer = As::UrlEncoded
        .body(
            app.post("/payments/1/cancel/").by(&minsu),
            &[("refund_reason", "가"), ("refund_reason", "나")],
        )
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(app.one::<String>("select refund_reason from payments", &[]).await, "나");
}

#[tokio::test]
async fn a_file_is_no_text() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    app.add(EXAM, Item::default()).await;
    let file = |name: &str, file: &str| {
        format!(
            "--x\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{file}\"\r\nContent-Type: text/plain\r\n\r\ncard\r\n"
        )
    };
    let text =
        |name: &str, value: &str| format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let post = async |parts: &[String]| -> Answer {
        app.post(EXAM.register(1))
            .by(&minsu)
            .header("content-type", "multipart/form-data; boundary=x")
            .body(parts.concat() + "--x--\r\n")
            .await
    };
    assert_answer!(post(&[file("amount", "a.txt"), file("payment_method", "b.txt")]).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "amount": [
          "유효한 숫자를 입력하십시오."
        ],
        "code": "invalid",
        "payment_method": [
          "유효한 문자열이 아닙니다."
        ],
        "request_id": "[request id]"
      }
    }
    "#);
    // A file that no field asks for is ignored, and so is a file input without a file.
    let parts = [
        text("amount", "45000"),
        text("payment_method", "card"),
        file("photo", "a.jpg"),
        file("amount", ""),
    ];
    let answer = post(&parts).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[tokio::test]
async fn malformed_forms_are_refused() {
    let app = App::start().await;
    let many = "a=1&".repeat(1_001);
    let cases: &[(&str, &[u8])] = &[
        (URL_ENCODED, b"email=\xff"),
        (URL_ENCODED, b"email=%ff"),
        (URL_ENCODED, b"%ed%a0%80=1"),
        (URL_ENCODED, many.as_bytes()),
        ("multipart/form-data", b"--x--\r\n"),
        ("multipart/form-data; boundary=", b"----\r\n"),
        ("multipart/form-data; boundary=x", b"{}"),
        ("multipart/form-data; boundary=x", b"email=a"),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; name=\"email\"\r\n\r\na\r\n",
        ),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n",
        ),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; name=\"email\"\r\n\r\n\xff\r\n--x--\r\n",
        ),
        (
            "multipart/form-data; boundary=y",
            b"--x\r\nContent-Disposition: form-data; name=\"email\"\r\n\r\na\r\n--x--\r\n",
        ),
    ];
    for endpoint in ENDPOINTS
        .iter()
        .filter(|endpoint| !endpoint.token && !endpoint.body.is_empty())
    {
        for (media_type, body) in cases {
            let answer = app
                .post(endpoint.path)
                .header("content-type", *media_type)
                .body(*body)
                .await;
            let shown = String::from_utf8_lossy(body).chars().take(60).collect::<String>();
            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                (400, "malformed_form"),
                "{media_type} {shown}"
            );
        }
    }
    assert_answer!(app.post("/login/").header("content-type", URL_ENCODED).body("email=%ff").await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "malformed_form",
        "detail": "요청 본문이 올바른 폼이 아닙니다.",
        "request_id": "[request id]"
      }
    }
    "#);
}

#[tokio::test]
async fn a_form_has_the_limit_of_every_body() {
    let app = App::with("max_body_bytes", 1000).start().await;
    for sent in As::ALL {
        let answer = sent.body(app.post("/login/"), &[("email", &"a".repeat(1_000))]).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (413, "payload_too_large"),
            "{sent:?}"
        );
    }
    // Percent signs make a body three times as long: what was sent is counted.
    let text = format!("email=minsu%40example.com&password={}", "%61".repeat(300));
    let answer = app.post("/login/").header("content-type", URL_ENCODED).body(text).await;
    assert_eq!(answer.status, 401, "{answer:?}");
}

/// The body `null` is no body.
#[tokio::test]
async fn null_is_no_body() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    for kind in [EXAM, COURSE] {
        let item = app.add(kind, Item::default()).await;
        app.register(kind, &minsu, item, kind.active).await;
    }
    assert_eq!(
        app.post(EXAM.complete(1)).by(&minsu).json_text("null").await.status,
        200
    );
    assert_eq!(
        app.post("/payments/2/cancel/")
            .by(&minsu)
            .json_text(" null\n")
            .await
            .status,
        200
    );
    assert_answer!(app.post("/token/refresh/").json_text("null").await, @r#"
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
}

/// No media type is needed for no body.
#[tokio::test]
async fn an_empty_body_may_be_of_any_type() {
    let app = App::start().await;
    for media_type in ["text/plain", URL_ENCODED, "multipart/form-data", "application/json", ""] {
        let answer = app.post("/login/").header("content-type", media_type).body("").await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (400, "invalid"),
            "{media_type}"
        );
    }
}

/// A browser writes another boundary each time: it is not part of the request.
#[tokio::test]
async fn a_repeated_form_is_the_same_request() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    app.add(EXAM, Item::default()).await;
    let pay = [("amount", "45000.00"), ("payment_method", "card")];
    let post = async |boundary: &str, fields: &[(&str, &str)]| {
        let call = app.post(EXAM.register(1)).by(&minsu).header("idempotency-key", "key-1");
        multipart(call, boundary, fields).await
    };
    let first = post("first", &pay).await;
    assert_eq!(first.status, 201, "{first:?}");
    let again = post("second", &pay).await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotency-replayed")),
        (201, "true")
    );
    assert_eq!(again.json()["payment_id"], first.json()["payment_id"]);
    let other = post("third", &[("amount", "45000.00"), ("payment_method", "kakaopay")]).await;
    assert_eq!(other.code(), "idempotency_key_reused");
}
