//! Names, addresses and passwords as people type them: one account, one limit, one hash, whatever the keyboard.

use futures::future::join;
use serde_json::{Value, json};
use sugang_tests::{Answer, App, assert_answer};

/// `민수` and `한국` as some keyboards send them, letter by letter.
const MINSU_DECOMPOSED: &str = "\u{1106}\u{1175}\u{11ab}\u{1109}\u{116e}";
const HANGUK_DECOMPOSED: &str = "\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}";

async fn signup(app: &App, email: &str, username: &str, password: &str) -> Answer {
    let body = json!({"email": email, "username": username, "password": password});
    app.post("/signup/").json(&body).await
}

async fn login(app: &App, email: &str, password: &str) -> Answer {
    let body = json!({"email": email, "password": password});
    app.post("/login/").json(&body).await
}

/// The names of the wrong fields.
fn wrong(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.status, 400, "{answer:?}");
    let errors = answer.json()["errors"].as_object().expect("wrong fields");
    errors.keys().map(String::as_str).collect()
}

/// Inserts a row as another program writes it, and returns its id. The password is `django-pass1`.
async fn row(app: &App, email: &str, username: &str) -> i64 {
    let insert = "insert into users (email, username, password)
                  values ($1, $2, 'md5$seasalt$' || md5('seasalt' || 'django-pass1')) returning id";
    app.one(insert, &[&email, &username]).await
}

#[tokio::test]
async fn a_username_is_stored_composed() {
    let app = App::start().await;
    assert_answer!(signup(&app, "minsu@example.com", MINSU_DECOMPOSED, "correct1").await, @r#"
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
    assert_eq!(app.one::<String>("select username from users", &[]).await, "민수");
}

#[tokio::test]
async fn usernames_that_look_the_same_are_one() {
    let app = App::start().await;
    for (n, (username, others)) in [
        ("민수", &[MINSU_DECOMPOSED, " 민수 ", "\u{3000}민수\u{a0}"][..]),
        ("minsu", &["ｍｉｎｓｕ", "min\u{17f}u", "\t\u{2003}minsu\u{2028}"]),
        ("ｊｉｓｕ", &["jisu"]),
        ("final", &["\u{fb01}nal"]),
        ("Kim", &["\u{212a}im"]),
        ("x2", &["x²", "x₂", "x２"]),
        ("caf\u{e9}", &["cafe\u{301}"]),
        // The jamo of the keyboard, and those that compose.
        ("ㅋㅋ", &["\u{110f}\u{110f}"]),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(
            signup(&app, &format!("a{n}@example.com"), username, "correct1")
                .await
                .status,
            201
        );
        for other in others {
            let answer = signup(&app, &format!("b{n}@example.com"), other, "correct1").await;
            assert_eq!(wrong(&answer), ["username"], "{other:?} beside {username:?}");
        }
    }
    // These can be told apart.
    for (n, username) in [
        "MINSU",
        "mınsu",
        "mínsu",
        "민 수".trim_end_matches(" 수"),
        "ΣΑΣ",
        "σας",
        "straße",
        "strasse",
        "STRAẞE",
    ]
    .into_iter()
    .enumerate()
    {
        let answer = signup(&app, &format!("c{n}@example.com"), username, "correct1").await;
        assert_eq!(answer.status, 201, "{username}: {answer:?}");
    }
}

/// The unique index decides; without it, both succeed.
#[tokio::test]
async fn one_of_two_concurrent_usernames_that_look_the_same_succeeds() {
    let app = App::start().await;
    let both = async |number: i32| {
        let emails = [format!("a{number}@example.com"), format!("b{number}@example.com")];
        let (narrow, wide) = (format!("minsu{number}"), format!("ｍｉｎｓｕ{number}"));
        let (a, b) = join(
            signup(&app, &emails[0], &narrow, "correct1"),
            signup(&app, &emails[1], &wide, "correct1"),
        )
        .await;
        let mut statuses = [a.status.as_u16(), b.status.as_u16()];
        statuses.sort_unstable();
        statuses
    };
    for number in 0..5 {
        assert_eq!(both(number).await, [201, 400]);
    }
    app.run("drop index users_username_key_unique", &[]).await;
    assert_eq!(both(5).await, [201, 201]);
}

#[tokio::test]
async fn what_cannot_be_seen_or_told_apart_names_no_account() {
    let app = App::start().await;
    let hidden = [
        '\0',
        '\u{7}',
        '\u{1b}',
        '\u{7f}',
        '\u{85}',
        '\u{a0}',
        '\u{ad}',
        '\u{34f}',
        '\u{378}',
        '\u{61c}',
        '\u{115f}',
        '\u{1160}',
        '\u{1680}',
        '\u{180b}',
        '\u{180e}',
        '\u{2000}',
        '\u{200b}',
        '\u{200c}',
        '\u{200d}',
        '\u{200e}',
        '\u{2028}',
        '\u{202e}',
        '\u{202f}',
        '\u{2060}',
        '\u{2066}',
        '\u{2800}',
        '\u{3000}',
        '\u{3164}',
        '\u{e000}',
        '\u{fe0f}',
        '\u{feff}',
        '\u{ffa0}',
        '\u{fff9}',
        '\u{fffd}',
        '\u{ffff}',
        '\u{1d173}',
        '\u{e0001}',
        '\u{e0041}',
        '\u{e0100}',
        '\u{10fffe}',
        '😀',
        ' ',
        '\'',
        '/',
        '<',
    ];
    for hidden in hidden {
        for username in [format!("min{hidden}su"), format!("민{hidden}수")] {
            let answer = signup(&app, "minsu@example.com", &username, "correct1").await;
            assert_eq!(wrong(&answer), ["username"], "{}", hidden.escape_unicode());
        }
        let mut emails = vec![format!("minsu@exam{hidden}ple.com"), format!("hong@한{hidden}국.kr")];
        if !"'/".contains(hidden) {
            emails.push(format!("min{hidden}su@example.com"));
        }
        for email in emails {
            let answer = signup(&app, &email, "minsu", "correct1").await;
            assert_eq!(wrong(&answer), ["email"], "{}", email.escape_unicode());
        }
    }
    for username in [
        "\u{301}",
        "\u{3164}",
        "\u{200b}",
        "q\u{301}",
        "аdmin",
        "pаypal",
        "ραul",
        "Ꭺnna",
        "minsu١",
        "minsu\u{feff}",
    ] {
        assert_eq!(
            wrong(&signup(&app, "minsu@example.com", username, "correct1").await),
            ["username"],
            "{username}"
        );
    }
    for email in [
        "İiii@example.com",
        "ｍｉｎｓｕ@example.com",
        "민수@example.com",
        "ſ@example.com",
        "minsu@ex\u{430}mple.com",
        "minsu@xn--exmple-4nf.com",
        "hong@한국",
        "hong@.kr",
        "hong@-한국.kr",
        "hong@한 국.kr",
        "@한국.kr",
        "hong@한국.k",
        "hong@\u{301}.kr",
    ] {
        assert_eq!(
            wrong(&signup(&app, email, "minsu", "correct1").await),
            ["email"],
            "{email}"
        );
    }
    assert_eq!(
        wrong(&signup(&app, "minsu@example.com", "minsu", "correct1\u{378}").await),
        ["password"]
    );
    assert_eq!(app.rows("select id from users").await, json!([]));

    let mixed = signup(&app, "minsu@example.com", "аdmin", "correct1").await;
    assert_eq!(
        mixed.json()["errors"],
        json!({"username": ["사용자 이름에 서로 혼동될 수 있는 문자를 섞어 쓸 수 없습니다."]})
    );
}

/// Lone surrogates are valid JSON and no text.
#[tokio::test]
async fn a_lone_surrogate_is_a_wrong_field() {
    let app = App::start().await;
    for (field, body) in [
        (
            "email",
            r#"{"email":"\ud800@example.com","username":"minsu","password":"correct1"}"#,
        ),
        (
            "username",
            r#"{"email":"a@example.com","username":"min\udfffsu","password":"correct1"}"#,
        ),
        (
            "password",
            r#"{"email":"a@example.com","username":"minsu","password":"\udc00\ud800correct1"}"#,
        ),
    ] {
        assert_eq!(wrong(&app.post("/signup/").json_text(body).await), [field]);
    }
}

#[tokio::test]
async fn lengths_are_counted_in_composed_characters() {
    let app = App::start().await;
    // 150 syllables of three letters each.
    let longest = "\u{1112}\u{1161}\u{11ab}".repeat(150);
    assert_eq!(signup(&app, "a@example.com", &longest, "correct1").await.status, 201);
    assert_eq!(
        app.one::<i32>("select char_length(username) from users", &[]).await,
        150
    );
    let too_long = "\u{1112}\u{1161}\u{11ab}".repeat(151);
    assert_eq!(
        wrong(&signup(&app, "b@example.com", &too_long, "correct1").await),
        ["username"]
    );
    // Seven characters on every keyboard.
    let too_short = format!("{HANGUK_DECOMPOSED}{HANGUK_DECOMPOSED}{HANGUK_DECOMPOSED}1");
    assert_eq!(
        wrong(&signup(&app, "b@example.com", "b", &too_short).await),
        ["password"]
    );
}

#[tokio::test]
async fn an_international_address_is_an_address() {
    let app = App::start().await;
    assert_answer!(signup(&app, "hong@한국.kr", "홍길동", "correct1").await, @r#"
    {
      "status": "201 Created",
      "body": {
        "message": "회원가입이 완료되었습니다.",
        "user": {
          "email": "hong@한국.kr",
          "id": 1,
          "username": "홍길동"
        }
      }
    }
    "#);
    for spelling in [
        "hong@한국.kr".to_owned(),
        "HONG@한국.KR".to_owned(),
        format!("hong@{HANGUK_DECOMPOSED}.kr"),
        "hong@xn--3e0b707e.kr".to_owned(),
        "Hong@XN--3E0B707E.KR".to_owned(),
        "hong@한국。kr".to_owned(),
        "hong@한국.ｋｒ".to_owned(),
    ] {
        let answer = login(&app, &spelling, "correct1").await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["user"]["id"]),
            (200, &json!(1)),
            "{spelling}"
        );
        let taken = signup(&app, &spelling, "other", "correct1").await;
        assert_eq!(wrong(&taken), ["email"], "{spelling}");
    }
    // Whichever spelling comes first, it is stored as people read it.
    assert_eq!(
        signup(&app, "lee@xn--3e0b707e.kr", "이", "correct1").await.json()["user"]["email"],
        "lee@한국.kr"
    );
    // A name in ASCII that stands for no other is stored as it is.
    assert_eq!(signup(&app, "lee@XN--.kr", "이2", "correct1").await.status, 400);
}

/// With some collations `lower('İ')` is `i`, and in Rust it is two characters.
#[tokio::test]
async fn a_letter_that_folds_to_another_is_another_account_with_a_limit_of_its_own() {
    let app = App::with("login_attempts_per_account", 3)
        .with("redis_timeout_ms", 10_000)
        .start()
        .await;
    app.user("iiii").await;
    for other in [
        "İiii@example.com",
        "ıiii@example.com",
        "i\u{307}iii@example.com",
        "ｉiii@example.com",
    ] {
        for _ in 0..3 {
            assert_eq!(
                login(&app, other, "correct1").await.code(),
                "invalid_credentials",
                "{other}"
            );
        }
        assert_eq!(login(&app, other, "correct1").await.code(), "rate_limited", "{other}");
    }
    assert_eq!(login(&app, "iiii@example.com", "correct1").await.status, 200);
}

#[tokio::test]
async fn all_spellings_of_an_account_share_one_limit() {
    let spellings = [
        [
            "minsu@example.com",
            "MINSU@example.com",
            "Minsu@EXAMPLE.com",
            " minsu@example.com\u{a0}",
        ],
        [
            "kim@example.com",
            "\u{212a}im@example.com",
            "KIM@example.com",
            "kim@ｅｘａｍｐｌｅ.com",
        ],
        ["hong@한국.kr", "hong@xn--3e0b707e.kr", "HONG@한국.KR", "hong@한국。kr"],
    ];
    let app = App::with("login_attempts_per_account", 3)
        .with("redis_timeout_ms", 10_000)
        .start()
        .await;
    for spellings in spellings {
        let id = row(&app, spellings[0], spellings[0]).await;
        let mut codes = Vec::new();
        for spelling in spellings {
            codes.push(login(&app, spelling, "wrong-pass1").await.code().to_owned());
        }
        let expected = [
            "invalid_credentials",
            "invalid_credentials",
            "invalid_credentials",
            "rate_limited",
        ];
        assert_eq!(codes, expected, "{spellings:?}");
        // That they are spellings of this account.
        let none_left = login(&app, spellings[3], "django-pass1").await;
        assert_eq!(none_left.code(), "rate_limited", "account {id}");
    }
    let app = App::start().await;
    for spellings in spellings {
        let id = row(&app, spellings[0], spellings[0]).await;
        for spelling in spellings {
            assert_eq!(
                login(&app, spelling, "django-pass1").await.json()["user"]["id"],
                id,
                "{spelling}"
            );
        }
    }
}

/// The Django service stored addresses as they were typed.
#[tokio::test]
async fn rows_of_another_spelling_log_in() {
    let app = App::start().await;
    let decomposed = format!("kim@{HANGUK_DECOMPOSED}.kr");
    for (n, (stored, typed)) in [
        ("Minsu@Example.COM", &["minsu@example.com", "Minsu@Example.COM"][..]),
        (&decomposed, &["kim@한국.kr", &decomposed]),
        ("lee@xn--3e0b707e.kr", &["lee@한국.kr", "LEE@xn--3e0b707e.kr"]),
        ("wide@ｅｘａｍｐｌｅ.com", &["wide@ｅｘａｍｐｌｅ.com"]),
        ("Ünal@example.com", &["Ünal@example.com", "U\u{308}NAL@example.com"]),
        ("not an address", &["not an address"]),
    ]
    .into_iter()
    .enumerate()
    {
        let id = row(&app, stored, &n.to_string()).await;
        for typed in typed {
            assert_eq!(
                login(&app, typed, "django-pass1").await.json()["user"]["id"],
                id,
                "{typed} for {stored}"
            );
        }
    }
    // Two rows for one mailbox: what was typed decides.
    let (ascii, hangul) = (
        row(&app, "two@xn--3e0b707e.kr", "ascii").await,
        row(&app, "two@한국.kr", "hangul").await,
    );
    assert_eq!(
        login(&app, "two@xn--3e0b707e.kr", "django-pass1").await.json()["user"]["id"],
        ascii
    );
    assert_eq!(
        login(&app, "two@한국.kr", "django-pass1").await.json()["user"]["id"],
        hangul
    );
    assert_eq!(
        login(&app, "TWO@한국.KR", "django-pass1").await.json()["user"]["id"],
        hangul
    );
}

/// Its row in the database has the key that the component computes: of all characters, 27 differ from their normal form.
/// `text::address::tests::a_key_is_the_normal_form_but_for_27_letters` shows the same in Rust.
#[tokio::test]
async fn the_database_folds_every_character_as_the_component_does() {
    let app = App::start().await;
    let changed = app
        .rows(
            "select string_agg(chr(c), '' order by c) as letters, string_agg(sugang.email_key(chr(c)), '' order by c) as keys
             from generate_series(1, 1114111) c
             where c not between 55296 and 57343 and sugang.email_key(chr(c)) <> normalize(chr(c), nfc)",
        )
        .await;
    let expected = json!([{"letters": "ABCDEFGHIJKLMNOPQRSTUVWXYZ\u{212a}", "keys": "abcdefghijklmnopqrstuvwxyzk"}]);
    assert_eq!(changed, expected);
}

/// A second row of another program that would be the same account is refused by the database.
#[tokio::test]
async fn no_program_writes_the_same_account_twice() {
    let app = App::start().await;
    row(&app, "hong@한국.kr", "민수").await;
    for (email, username, index) in [
        (
            format!("Hong@{HANGUK_DECOMPOSED}.kr"),
            "a".to_owned(),
            "users_email_key_unique",
        ),
        (
            "a@example.com".to_owned(),
            MINSU_DECOMPOSED.to_owned(),
            "users_username_key_unique",
        ),
    ] {
        let error = app
            .database()
            .execute(
                "insert into users (email, username, password) values ($1, $2, '!')",
                &[&email, &username],
            )
            .await
            .expect_err("it is there already");
        assert_eq!(error.as_db_error().and_then(|error| error.constraint()), Some(index));
    }
}

#[tokio::test]
async fn a_password_is_the_same_from_every_keyboard() {
    let app = App::start().await;
    assert_eq!(
        signup(&app, "minsu@example.com", "민수", "비밀번호들\u{e9}21")
            .await
            .status,
        201
    );
    let decomposed = "\u{1107}\u{1175}\u{1106}\u{1175}\u{11af}\u{1107}\u{1165}\u{11ab}\u{1112}\u{1169}\u{1103}\u{1173}\u{11af}e\u{301}21";
    for password in ["비밀번호들\u{e9}21", decomposed, "비밀번호들\u{e9}2１"] {
        assert_eq!(
            login(&app, "minsu@example.com", password).await.status,
            200,
            "{password}"
        );
    }
    assert_eq!(login(&app, "minsu@example.com", "비밀번호들e21").await.status, 401);

    // A hash from before passwords were normalized is of what was typed then, and is replaced.
    let before: Value = app
        .rows(&format!(
            "select 'md5$seasalt$' || md5('seasalt' || '{decomposed}') as hash"
        ))
        .await;
    let before = before[0]["hash"].as_str().expect("a text").to_owned();
    app.run("update users set password = $1", &[&before]).await;
    assert_eq!(
        login(&app, "minsu@example.com", "비밀번호들\u{e9}21").await.status,
        401,
        "it never was the password"
    );
    assert_eq!(login(&app, "minsu@example.com", decomposed).await.status, 200);
    assert_eq!(
        login(&app, "minsu@example.com", "비밀번호들\u{e9}21").await.status,
        200,
        "from now on"
    );
}

#[tokio::test]
async fn a_search_is_composed() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    app.add(
        sugang_tests::EXAM,
        sugang_tests::Item {
            title: "한국",
            ..Default::default()
        },
    )
    .await;
    let found = app.get(format!("/tests/?search={HANGUK_DECOMPOSED}")).by(&minsu).await;
    assert_eq!(found.json()["count"], 1);
}
