use std::fmt::Write;

use futures::future::join_all;
use serde_json::{Value, json};
use sugang_tests::{App, assert_answer};

fn minsu() -> Value {
    json!({"email": "minsu@example.com", "username": "민수", "password": "correct1"})
}

fn minsu_but(field: &str, value: impl Into<Value>) -> Value {
    let mut body = minsu();
    body[field] = value.into();
    body
}

#[tokio::test]
async fn an_account_is_created() {
    let app = App::start().await;
    assert_answer!(app.post("/signup/").json(&minsu()).await, @r#"
    {
      "status": "201 Created",
      "body": {
        "message": "회원가입이 완료되었습니다.",
        "user": {
          "email": "minsu@example.com",
          "id": 1,
          "username": "민수"
        }
      }
    }
    "#);
    let row = app
        .rows("select email, username, is_active, last_login, password like '$argon2id$v=19$%' as argon2 from users")
        .await;
    assert_eq!(
        row,
        json!([{"email": "minsu@example.com", "username": "민수", "is_active": true, "last_login": null, "argon2": true}])
    );
    let login = app
        .post("/login/")
        .json(&json!({"email": "minsu@example.com", "password": "correct1"}))
        .await;
    assert_eq!(login.status, 200);
}

#[tokio::test]
async fn a_password_is_hashed_at_the_documented_cost_by_default() {
    let app = App::with("argon2_memory_kib", 19456)
        .with("argon2_iterations", 2)
        .start()
        .await;
    assert_eq!(app.post("/signup/").json(&minsu()).await.status, 201);
    let hash: String = app.one("select password from users", &[]).await;
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    assert!(hash.len() <= 128, "the column holds 128 characters");
}

#[tokio::test]
async fn answers_in_english() {
    let app = App::start().await;
    assert_answer!(app.post("/signup/").in_english().json(&json!({"email": "x"})).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "errors": {
          "email": [
            "Enter a valid email address."
          ],
          "password": [
            "This field is required."
          ],
          "username": [
            "This field is required."
          ]
        },
        "message": "The sign-up failed.",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(app.post("/signup/").in_english().json(&minsu()).await, @r#"
    {
      "status": "201 Created",
      "body": {
        "message": "The sign-up is complete.",
        "user": {
          "email": "minsu@example.com",
          "id": 1,
          "username": "민수"
        }
      }
    }
    "#);
}

/// As Django's `CommonPasswordValidator` and `UserAttributeSimilarityValidator` do.
#[tokio::test]
async fn weak_passwords_are_refused_if_that_is_configured() {
    let app = App::with("refuse_weak_passwords", true).start().await;
    let body = json!({"email": "minsu@example.com", "username": "minsu", "password": "minsu123"});
    assert_answer!(app.post("/signup/").json(&body).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "errors": {
          "password": [
            "비밀번호가 이메일과 너무 비슷합니다.",
            "비밀번호가 사용자 이름과 너무 비슷합니다."
          ]
        },
        "message": "회원가입에 실패했습니다.",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(app.post("/signup/").in_english().json(&minsu_but("password", "Password1")).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "errors": {
          "password": [
            "This password is too common."
          ]
        },
        "message": "The sign-up failed.",
        "request_id": "[request id]"
      }
    }
    "#);
    for weak in ["qwer1234", "１Q2W3E4R", " p@ssw0rd ", "example1", "pr\u{2170}ncess"] {
        let answer = app.post("/signup/").json(&minsu_but("password", weak)).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, "invalid"), "{weak}");
    }
    assert_eq!(app.post("/signup/").json(&minsu()).await.status, 201);
    // By default the rule is the contract's.
    let app = App::start().await;
    for admitted in ["password1", "example1"] {
        let mut body = minsu_but("password", admitted);
        body["email"] = format!("{admitted}@example.com").into();
        body["username"] = admitted.into();
        assert_eq!(app.post("/signup/").json(&body).await.status, 201, "{admitted}");
    }
}

#[tokio::test]
async fn all_wrong_fields_are_named_at_once() {
    let app = App::start().await;
    assert_answer!(app.post("/signup/").json(&json!({})).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "errors": {
          "email": [
            "이 필드는 필수 항목입니다."
          ],
          "password": [
            "이 필드는 필수 항목입니다."
          ],
          "username": [
            "이 필드는 필수 항목입니다."
          ]
        },
        "message": "회원가입에 실패했습니다.",
        "request_id": "[request id]"
      }
    }
    "#);
    let body = json!({"email": "x", "username": "a b", "password": "!"});
    assert_answer!(app.post("/signup/").json(&body).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "errors": {
          "email": [
            "유효한 이메일 주소를 입력하십시오."
          ],
          "password": [
            "이 필드의 글자 수가 적어도 8 이상인지 확인하십시오.",
            "비밀번호는 최소 하나의 문자를 포함해야 합니다.",
            "비밀번호는 최소 하나의 숫자를 포함해야 합니다."
          ],
          "username": [
            "사용자 이름은 문자, 숫자와 @.+-_ 만 포함할 수 있습니다."
          ]
        },
        "message": "회원가입에 실패했습니다.",
        "request_id": "[request id]"
      }
    }
    "#);
}

#[tokio::test]
async fn every_rule_of_every_field() {
    let app = App::start().await;
    let long = "a".repeat(151);
    let long_local_part = format!("{}@example.com", "a".repeat(65));
    let long_email = format!("a@{}.com", ["b".repeat(60).as_str(); 5].join("."));
    let cases: [(&str, Vec<Value>); 3] = [
        (
            "email",
            vec![
                Value::Null,
                json!(1),
                json!(["minsu@example.com"]),
                json!({}),
                json!(true),
                json!(""),
                json!("  "),
                json!("minsu"),
                json!("minsu@"),
                json!("@example.com"),
                json!("min su@example.com"),
                json!("minsu@example"),
                json!("minsu@@example.com"),
                json!("minsu@example..com"),
                json!("minsu@example.com\nbcc: all@example.com"),
                json!("minsu\u{0}@example.com"),
                json!("Minsu <minsu@example.com>"),
                json!(long_local_part),
                json!(long_email),
            ],
        ),
        (
            "username",
            vec![
                Value::Null,
                json!(true),
                json!([]),
                json!(""),
                json!(" "),
                json!("김 민수"),
                json!("minsu!"),
                json!("민수😀"),
                json!("a/b"),
                json!("<b>"),
                json!("a\u{0}b"),
                json!("a\nb"),
                json!("\u{202e}minsu"),
                json!(long),
                json!("가".repeat(151)),
            ],
        ),
        (
            "password",
            vec![
                Value::Null,
                json!(12345678),
                json!([]),
                json!(""),
                json!("corre1"),
                json!("correct"),
                json!("password"),
                json!("12345678"),
                json!("!!!!!!!!"),
                json!("비밀번호비밀번호"),
            ],
        ),
    ];
    let mut table = String::new();
    for (field, values) in cases {
        for value in values {
            // Escaped, because a source file should not contain characters that change the direction of text.
            let shown: String = value
                .to_string()
                .replace('\u{202e}', "\\u202e")
                .chars()
                .take(50)
                .collect();
            let korean = app.post("/signup/").json(&minsu_but(field, value.clone())).await;
            let english = app.post("/signup/").in_english().json(&minsu_but(field, value)).await;
            assert_eq!(
                (korean.status.as_u16(), english.status.as_u16()),
                (400, 400),
                "{shown}: {korean:?}"
            );
            let texts = |of: &Value| of["errors"].to_string();
            writeln!(
                table,
                "{shown}\n  {}\n  {}",
                texts(korean.json()),
                texts(english.json())
            )
            .unwrap();
            let fields: Vec<_> = korean.json()["errors"].as_object().unwrap().keys().collect();
            assert_eq!(fields, [field], "{shown}");
        }
    }
    insta::assert_snapshot!(table, @r#"
    null
      {"email":["이 필드는 null일 수 없습니다."]}
      {"email":["This field may not be null."]}
    1
      {"email":["유효한 이메일 주소를 입력하십시오."]}
      {"email":["Enter a valid email address."]}
    ["minsu@example.com"]
      {"email":["유효한 문자열이 아닙니다."]}
      {"email":["Not a valid string."]}
    {}
      {"email":["유효한 문자열이 아닙니다."]}
      {"email":["Not a valid string."]}
    true
      {"email":["유효한 문자열이 아닙니다."]}
      {"email":["Not a valid string."]}
    ""
      {"email":["이 필드는 blank일 수 없습니다."]}
      {"email":["This field may not be blank."]}
    "  "
      {"email":["이 필드는 blank일 수 없습니다."]}
      {"email":["This field may not be blank."]}
    "minsu"
      {"email":["유효한 이메일 주소를 입력하십시오."]}
      {"email":["Enter a valid email address."]}
    "minsu@"
      {"email":["유효한 이메일 주소를 입력하십시오."]}
      {"email":["Enter a valid email address."]}
    "@example.com"
      {"email":["유효한 이메일 주소를 입력하십시오."]}
      {"email":["Enter a valid email address."]}
    "min su@example.com"
      {"email":["유효한 이메일 주소를 입력하십시오."]}
      {"email":["Enter a valid email address."]}
    "minsu@example"
      {"email":["유효한 이메일 주소를 입력하십시오."]}
      {"email":["Enter a valid email address."]}
    "minsu@@example.com"
      {"email":["유효한 이메일 주소를 입력하십시오."]}
      {"email":["Enter a valid email address."]}
    "minsu@example..com"
      {"email":["유효한 이메일 주소를 입력하십시오."]}
      {"email":["Enter a valid email address."]}
    "minsu@example.com\nbcc: all@example.com"
      {"email":["유효한 이메일 주소를 입력하십시오."]}
      {"email":["Enter a valid email address."]}
    "minsu\u0000@example.com"
      {"email":["null 문자는 허용되지 않습니다."]}
      {"email":["Null characters are not allowed."]}
    "Minsu <minsu@example.com>"
      {"email":["유효한 이메일 주소를 입력하십시오."]}
      {"email":["Enter a valid email address."]}
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
      {"email":["유효한 이메일 주소를 입력하십시오."]}
      {"email":["Enter a valid email address."]}
    "a@bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
      {"email":["이 필드의 글자 수가 255 이하인지 확인하십시오.","유효한 이메일 주소를 입력하십시오."]}
      {"email":["Ensure this field has no more than 255 characters.","Enter a valid email address."]}
    null
      {"username":["이 필드는 null일 수 없습니다."]}
      {"username":["This field may not be null."]}
    true
      {"username":["유효한 문자열이 아닙니다."]}
      {"username":["Not a valid string."]}
    []
      {"username":["유효한 문자열이 아닙니다."]}
      {"username":["Not a valid string."]}
    ""
      {"username":["이 필드는 blank일 수 없습니다."]}
      {"username":["This field may not be blank."]}
    " "
      {"username":["이 필드는 blank일 수 없습니다."]}
      {"username":["This field may not be blank."]}
    "김 민수"
      {"username":["사용자 이름은 문자, 숫자와 @.+-_ 만 포함할 수 있습니다."]}
      {"username":["A username may have letters, digits and @.+-_ only."]}
    "minsu!"
      {"username":["사용자 이름은 문자, 숫자와 @.+-_ 만 포함할 수 있습니다."]}
      {"username":["A username may have letters, digits and @.+-_ only."]}
    "민수😀"
      {"username":["사용자 이름은 문자, 숫자와 @.+-_ 만 포함할 수 있습니다."]}
      {"username":["A username may have letters, digits and @.+-_ only."]}
    "a/b"
      {"username":["사용자 이름은 문자, 숫자와 @.+-_ 만 포함할 수 있습니다."]}
      {"username":["A username may have letters, digits and @.+-_ only."]}
    "<b>"
      {"username":["사용자 이름은 문자, 숫자와 @.+-_ 만 포함할 수 있습니다."]}
      {"username":["A username may have letters, digits and @.+-_ only."]}
    "a\u0000b"
      {"username":["null 문자는 허용되지 않습니다."]}
      {"username":["Null characters are not allowed."]}
    "a\nb"
      {"username":["사용자 이름은 문자, 숫자와 @.+-_ 만 포함할 수 있습니다."]}
      {"username":["A username may have letters, digits and @.+-_ only."]}
    "\u202eminsu"
      {"username":["사용자 이름은 문자, 숫자와 @.+-_ 만 포함할 수 있습니다."]}
      {"username":["A username may have letters, digits and @.+-_ only."]}
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
      {"username":["이 필드의 글자 수가 150 이하인지 확인하십시오."]}
      {"username":["Ensure this field has no more than 150 characters."]}
    "가가가가가가가가가가가가가가가가가가가가가가가가가가가가가가가가가가가가가가가가가가가가가가가가가
      {"username":["이 필드의 글자 수가 150 이하인지 확인하십시오."]}
      {"username":["Ensure this field has no more than 150 characters."]}
    null
      {"password":["이 필드는 null일 수 없습니다."]}
      {"password":["This field may not be null."]}
    12345678
      {"password":["비밀번호는 최소 하나의 문자를 포함해야 합니다."]}
      {"password":["The password must have a letter."]}
    []
      {"password":["유효한 문자열이 아닙니다."]}
      {"password":["Not a valid string."]}
    ""
      {"password":["이 필드는 blank일 수 없습니다."]}
      {"password":["This field may not be blank."]}
    "corre1"
      {"password":["이 필드의 글자 수가 적어도 8 이상인지 확인하십시오."]}
      {"password":["Ensure this field has at least 8 characters."]}
    "correct"
      {"password":["이 필드의 글자 수가 적어도 8 이상인지 확인하십시오.","비밀번호는 최소 하나의 숫자를 포함해야 합니다."]}
      {"password":["Ensure this field has at least 8 characters.","The password must have a digit."]}
    "password"
      {"password":["비밀번호는 최소 하나의 숫자를 포함해야 합니다."]}
      {"password":["The password must have a digit."]}
    "12345678"
      {"password":["비밀번호는 최소 하나의 문자를 포함해야 합니다."]}
      {"password":["The password must have a letter."]}
    "!!!!!!!!"
      {"password":["비밀번호는 최소 하나의 문자를 포함해야 합니다.","비밀번호는 최소 하나의 숫자를 포함해야 합니다."]}
      {"password":["The password must have a letter.","The password must have a digit."]}
    "비밀번호비밀번호"
      {"password":["비밀번호는 최소 하나의 숫자를 포함해야 합니다."]}
      {"password":["The password must have a digit."]}
    "#);
    assert_eq!(app.rows("select id from users").await, json!([]));
}

#[tokio::test]
async fn values_within_the_rules_are_accepted() {
    let app = App::start().await;
    let hangul = "가".repeat(150);
    let usernames = ["minsu", "민수", "a.b+c@d-e_f", "日本語", "Ünïcödé", "٣٤", "0", &hangul];
    let passwords = [
        "correct1",
        "비밀번호1234",
        "  correct1  ",
        "pass word 1",
        "p1😀😀😀😀😀😀",
        &"a1".repeat(500),
    ];
    let emails = [
        "a@example.com",
        "a+b.c_d@sub.example.co.kr",
        "A@EXAMPLE.com.kr",
        "a@xn--bb0b1z.kr",
    ];
    let mut n = 0;
    for (field, values) in [
        ("username", &usernames[..]),
        ("password", &passwords),
        ("email", &emails),
    ] {
        for value in values {
            n += 1;
            let mut body =
                json!({"email": format!("{n}@example.com"), "username": format!("user{n}"), "password": "correct1"});
            body[field] = json!(value);
            let answer = app.post("/signup/").json(&body).await;
            assert_eq!(answer.status, 201, "{answer:?}");
            let login = app
                .post("/login/")
                .json(&json!({"email": body["email"], "password": body["password"]}))
                .await;
            assert_eq!(login.status, 200, "{login:?}");
        }
    }
}

#[tokio::test]
async fn an_email_is_unique_without_regard_to_case() {
    let app = App::start().await;
    app.user("minsu").await;
    let body = json!({"email": "MinSu@Example.COM", "username": "other", "password": "correct1"});
    assert_answer!(app.post("/signup/").json(&body).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "errors": {
          "email": [
            "이미 사용 중인 이메일입니다."
          ]
        },
        "message": "회원가입에 실패했습니다.",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(app.post("/signup/").in_english().json(&body).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "errors": {
          "email": [
            "This email is in use already."
          ]
        },
        "message": "The sign-up failed.",
        "request_id": "[request id]"
      }
    }
    "#);
}

#[tokio::test]
async fn a_username_is_unique() {
    let app = App::start().await;
    app.user("minsu").await;
    let body = json!({"email": "other@example.com", "username": "minsu", "password": "correct1"});
    assert_answer!(app.post("/signup/").json(&body).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "errors": {
          "username": [
            "이미 사용 중인 사용자 이름입니다."
          ]
        },
        "message": "회원가입에 실패했습니다.",
        "request_id": "[request id]"
      }
    }
    "#);
    let body = json!({"email": "minsu@example.com", "username": "minsu", "password": "correct1"});
    assert_answer!(app.post("/signup/").json(&body).await, @r#"
    {
      "status": "400 Bad Request",
      "body": {
        "code": "invalid",
        "errors": {
          "email": [
            "이미 사용 중인 이메일입니다."
          ],
          "username": [
            "이미 사용 중인 사용자 이름입니다."
          ]
        },
        "message": "회원가입에 실패했습니다.",
        "request_id": "[request id]"
      }
    }
    "#);
}

#[tokio::test]
async fn an_inactive_account_keeps_its_email_and_username() {
    let app = App::start().await;
    app.user("minsu").await;
    app.run("update users set is_active = false", &[]).await;
    let body = json!({"email": "minsu@example.com", "username": "minsu", "password": "correct1"});
    assert_eq!(app.post("/signup/").json(&body).await.status, 400);
}

#[tokio::test]
async fn one_of_equal_concurrent_signups_succeeds() {
    let app = App::start().await;
    let body = minsu();
    let answers = join_all((0..10).map(async |_| app.post("/signup/").json(&body).await.status.as_u16())).await;
    assert_eq!(
        answers.iter().filter(|status| **status == 201).count(),
        1,
        "{answers:?}"
    );
    assert_eq!(
        answers.iter().filter(|status| **status == 400).count(),
        9,
        "{answers:?}"
    );
    assert_eq!(app.one::<i64>("select count(*) from users", &[]).await, 1);
}

#[tokio::test]
async fn other_fields_are_ignored() {
    let app = App::start().await;
    let mut body = minsu();
    for (field, value) in [
        ("id", json!(77)),
        ("is_active", json!(false)),
        ("is_superuser", json!(true)),
        ("last_login", json!("2020-01-01T00:00:00Z")),
    ] {
        body[field] = value;
    }
    let answer = app.post("/signup/").json(&body).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["user"]["id"]), (201, &json!(1)));
    assert_eq!(
        app.rows("select is_active, last_login from users").await,
        json!([{"is_active": true, "last_login": null}])
    );
}
