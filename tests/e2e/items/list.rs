use std::fmt::Write;

use rstest::rstest;
use serde_json::{Value, json};
use sugang_migrations::function_call;
use sugang_tests::{Answer, App, COURSE, EXAM, Item, Kind, User, assert_answer, spellings};

const AGES_AGO: &str = "1999-12-31T23:59:59Z";
const IN_AGES: &str = "2099-01-01T00:00:00Z";

/// Adds items named 1 to `n`; the last one is the newest.
pub(super) async fn add(app: &App, kind: Kind, n: usize) {
    app.run(
        &format!(
            "insert into {} (title, price, start_at, end_at, created_at, updated_at)
             select i::text, 45000, '2020-01-01', '2099-12-31', '2026-01-01'::timestamptz + i * interval '1 day', now()
             from generate_series(1, $1::bigint) i",
            kind.items
        ),
        &[&(n as i64)],
    )
    .await;
}

/// Titles of the results, in order.
pub(super) fn titles(answer: &Answer) -> Vec<&str> {
    let results = answer.json()["results"]
        .as_array()
        .unwrap_or_else(|| panic!("{answer:?}"));
    results.iter().map(|result| result["title"].as_str().unwrap()).collect()
}

#[rstest]
#[tokio::test]
async fn an_empty_list_has_a_first_page(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    assert_answer!(app.get(kind.path).by(&minsu).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "count": 0,
        "next": null,
        "previous": null,
        "results": []
      }
    }
    "#);
    assert_answer!(app.get(format!("{}?page=last&search=x&status=available&sort=popular", kind.path)).by(&minsu).await, @r#"
    {
      "status": "200 OK",
      "body": {
        "count": 0,
        "next": null,
        "previous": null,
        "results": []
      }
    }
    "#);
    assert_answer!(app.get(format!("{}?page=2", kind.path)).by(&minsu).await, @r#"
    {
      "status": "404 Not Found",
      "body": {
        "code": "invalid_page",
        "detail": "Invalid page.",
        "request_id": "[request id]"
      }
    }
    "#);
}

#[rstest]
#[tokio::test]
async fn a_result_is_the_same_as_its_detail(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app
        .add(
            kind,
            Item {
                description: Some("설명"),
                ..Item::default()
            },
        )
        .await;
    app.register(kind, &minsu, id, kind.active).await;
    let list = app.get(kind.path).by(&minsu).await;
    assert_answer!(list.clone(), @r#"
    {
      "status": "200 OK",
      "body": {
        "count": 1,
        "next": null,
        "previous": null,
        "results": [
          {
            "capacity": null,
            "created_at": "2026-01-02T03:04:05Z",
            "description": "설명",
            "end_at": "2099-12-31T23:59:59Z",
            "id": 1,
            "is_registered": true,
            "price": "45000.00",
            "registration_count": 1,
            "remaining": null,
            "start_at": "2020-01-01T00:00:00Z",
            "title": "정보처리기사 실기"
          }
        ]
      }
    }
    "#);
    assert_eq!(
        &list.json()["results"][0],
        app.get(kind.item(id)).by(&minsu).await.json()
    );
    let other = app.get(kind.path).by(&app.user("jisu").await).await;
    assert_eq!(other.json()["results"][0]["is_registered"], false);
}

#[rstest]
#[tokio::test]
async fn pages_are_twenty_long_and_newest_first(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    add(&app, kind, 45).await;
    let mut table = String::new();
    for query in [
        "",
        "?page=1",
        "?page=2",
        "?page=3",
        "?page=last",
        "?page=4",
        "?page=0",
        "?page=-1",
        "?page=1.0",
        "?page=abc",
        "?page=",
        "?page=%20",
        "?page=+1",
        "?page=1%20",
        "?page=LAST",
        "?page=last1",
        "?page=%EF%BC%91",
        "?page=1e1",
        "?page=0x1",
        "?page=NaN",
        "?page=9223372036854775807",
        "?page=9223372036854775808",
        "?page=1&page=3",
        "?page=2&page=x",
        "?page[]=2",
        "?page=1%00",
        "?page=1;drop%20table%20tests",
    ] {
        let answer = app.get(format!("{}{query}", kind.path)).by(&minsu).await;
        if answer.status != 200 {
            writeln!(table, "{query}: {}", answer.brief()).unwrap();
            continue;
        }
        let page = answer.json();
        let link = |name: &str| {
            page[name]
                .as_str()
                .map(|url| url.rsplit('/').next().unwrap_or_default().to_owned())
        };
        let (titles, count) = (titles(&answer), &page["count"]);
        let (first, last) = (titles.first().unwrap(), titles.last().unwrap());
        writeln!(
            table,
            "{query}: {first} to {last} of {count}, previous {:?}, next {:?}",
            link("previous"),
            link("next")
        )
        .unwrap();
        assert!(
            titles.is_sorted_by(|a, b| a.parse::<i64>().unwrap() > b.parse::<i64>().unwrap()),
            "{titles:?}"
        );
    }
    insta::allow_duplicates! { insta::assert_snapshot!(table, @r#"
    : 45 to 26 of 45, previous None, next Some("?page=2")
    ?page=1: 45 to 26 of 45, previous None, next Some("?page=2")
    ?page=2: 25 to 6 of 45, previous Some(""), next Some("?page=3")
    ?page=3: 5 to 1 of 45, previous Some("?page=2"), next None
    ?page=last: 5 to 1 of 45, previous Some("?page=2"), next None
    ?page=4: 404 invalid_page | Invalid page.
    ?page=0: 404 invalid_page | Invalid page.
    ?page=-1: 404 invalid_page | Invalid page.
    ?page=1.0: 404 invalid_page | Invalid page.
    ?page=abc: 404 invalid_page | Invalid page.
    ?page=: 45 to 26 of 45, previous None, next Some("?page=2")
    ?page=%20: 404 invalid_page | Invalid page.
    ?page=+1: 45 to 26 of 45, previous None, next Some("?page=2")
    ?page=1%20: 45 to 26 of 45, previous None, next Some("?page=2")
    ?page=LAST: 404 invalid_page | Invalid page.
    ?page=last1: 404 invalid_page | Invalid page.
    ?page=%EF%BC%91: 404 invalid_page | Invalid page.
    ?page=1e1: 404 invalid_page | Invalid page.
    ?page=0x1: 404 invalid_page | Invalid page.
    ?page=NaN: 404 invalid_page | Invalid page.
    ?page=9223372036854775807: 404 invalid_page | Invalid page.
    ?page=9223372036854775808: 404 invalid_page | Invalid page.
    ?page=1&page=3: 5 to 1 of 45, previous Some("?page=2"), next None
    ?page=2&page=x: 404 invalid_page | Invalid page.
    ?page[]=2: 45 to 26 of 45, previous None, next Some("?page%5B%5D=2&page=2")
    ?page=1%00: 404 invalid_page | Invalid page.
    ?page=1;drop%20table%20tests: 404 invalid_page | Invalid page.
    "#) }
}

#[rstest]
#[tokio::test]
async fn the_pages_add_up_to_the_list(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    add(&app, kind, 60).await;
    // With equal times, the order must still be unambiguous.
    app.run(
        &format!("update {} set created_at = '2026-01-01' where id % 3 > 0", kind.items),
        &[],
    )
    .await;
    for query in [
        "?",
        "?sort=popular",
        "?status=available",
        "?status=available&sort=popular",
    ] {
        let mut url = format!("{}{}{query}", app.base, kind.path);
        let mut seen: Vec<i64> = Vec::new();
        let mut pages = 0;
        loop {
            let answer = app.get(url.strip_prefix(&app.base).unwrap()).by(&minsu).await;
            assert_eq!(answer.json()["count"], 60);
            seen.extend(
                answer.json()["results"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|item| item["id"].as_i64().unwrap()),
            );
            pages += 1;
            match answer.json()["next"].as_str() {
                Some(next) => url = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(pages, 3, "{query}");
        let mut expected: Vec<i64> = (1..=60).collect();
        expected.sort_by_key(|id| {
            (
                std::cmp::Reverse(if id % 3 > 0 { 0 } else { *id }),
                std::cmp::Reverse(*id),
            )
        });
        assert_eq!(seen, expected, "{query}");
    }
}

#[rstest]
#[tokio::test]
async fn links_keep_the_spelling_and_the_other_parameters(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    add(&app, kind, 41).await;
    app.run(
        &format!("update {} set title = '한국어 능력 ' || title", kind.items),
        &[],
    )
    .await;
    let mut table = String::new();
    for path in spellings(kind.path) {
        for query in [
            "?page=2",
            "?page=2&status=available&sort=popular",
            "?search=%ED%95%9C%EA%B5%AD%EC%96%B4&page=2&sort=created",
            "?search=한국어+능력&page=2&x=%26%3D%23&y=",
        ] {
            let answer = app.get(format!("{path}{query}")).by(&minsu).await;
            for link in ["previous", "next"] {
                let url = answer.json()[link].as_str().unwrap_or_else(|| panic!("{answer:?}"));
                // The same parameters in the same order, except for the page.
                let url = url.strip_prefix(&app.base).unwrap();
                let (to, asked) = url.split_once('?').unwrap_or((url, ""));
                assert_eq!(to, path);
                let pairs = |query: &str| -> Vec<(String, String)> {
                    let url = url::Url::parse(&format!("http://x/?{query}")).unwrap();
                    let pairs = url.query_pairs().into_owned();
                    pairs.filter(|(name, _)| name != "page").collect()
                };
                assert_eq!(pairs(asked), pairs(query.trim_start_matches('?')), "{url}");
                let followed = app.get(url).by(&minsu).await;
                assert_eq!(followed.status, 200, "{followed:?}");
            }
            if path == kind.path {
                let asked_for = format!("{}{path}", app.base);
                let link = |name: &str| answer.json()[name].as_str().unwrap().replace(&asked_for, "");
                writeln!(table, "{query}\n  {}\n  {}", link("previous"), link("next")).unwrap();
            }
        }
    }
    insta::allow_duplicates! { insta::assert_snapshot!(table, @"
    ?page=2
      
      ?page=3
    ?page=2&status=available&sort=popular
      ?status=available&sort=popular
      ?page=3&status=available&sort=popular
    ?search=%ED%95%9C%EA%B5%AD%EC%96%B4&page=2&sort=created
      ?search=%ED%95%9C%EA%B5%AD%EC%96%B4&sort=created
      ?search=%ED%95%9C%EA%B5%AD%EC%96%B4&page=3&sort=created
    ?search=한국어+능력&page=2&x=%26%3D%23&y=
      ?search=%ED%95%9C%EA%B5%AD%EC%96%B4+%EB%8A%A5%EB%A0%A5&x=%26%3D%23&y=
      ?search=%ED%95%9C%EA%B5%AD%EC%96%B4+%EB%8A%A5%EB%A0%A5&page=3&x=%26%3D%23&y=
    ") }
}

#[rstest]
#[tokio::test]
async fn links_lead_to_the_public_url(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::with("public_url", "https://api.example.com/sugang/").start().await;
    let minsu = app.user("minsu").await;
    add(&app, kind, 21).await;
    // A client's forwarding headers do not change the links.
    let answer = app
        .get(kind.path)
        .by(&minsu)
        .header("x-forwarded-host", "evil.example")
        .await;
    assert_eq!(
        answer.json()["next"],
        format!("https://api.example.com/sugang{}?page=2", kind.path)
    );
}

#[rstest]
#[tokio::test]
async fn available_is_what_is_open_now(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let (now, hour) = (chrono::Utc::now(), chrono::TimeDelta::hours(1));
    let at = |time: chrono::DateTime<chrono::Utc>| time.to_rfc3339();
    let second = chrono::TimeDelta::seconds(1);
    for (title, start_at, end_at) in [
        ("open", "2020-01-01T00:00:00Z", IN_AGES),
        ("open for an hour", &at(now - hour), &at(now + hour)),
        ("just opened", &at(now - second), IN_AGES),
        ("just closed", AGES_AGO, &at(now - second)),
        ("about to open", &at(now + hour), IN_AGES),
        ("closed", AGES_AGO, "2020-01-01T00:00:00Z"),
        ("future", IN_AGES, "2099-12-31T00:00:00Z"),
        ("ends before it starts", IN_AGES, AGES_AGO),
    ] {
        app.add(
            kind,
            Item {
                title,
                start_at,
                end_at,
                ..Item::default()
            },
        )
        .await;
    }
    let answer = app.get(format!("{}?status=available", kind.path)).by(&minsu).await;
    assert_eq!(titles(&answer), ["just opened", "open for an hour", "open"]);
    assert_eq!(answer.json()["count"], 3);
    for status in ["", "all", "AVAILABLE", "available%20", "closed", "true", "%00", "'"] {
        let answer = app.get(format!("{}?status={status}", kind.path)).by(&minsu).await;
        assert_eq!(answer.json()["count"], 8, "status={status} filters nothing");
    }
}

/// HTTP cannot hit an exact moment. Within one transaction of PostgreSQL the time stands still.
#[rstest]
#[tokio::test]
async fn both_ends_of_a_period_belong_to_it(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    app.database()
        .batch_execute(&format!(
            "begin;
             insert into {} (title, price, start_at, end_at, created_at, updated_at) values
             ('opens now', 1, now(), '2099-01-01', now() - interval '1 s', now()),
             ('closes now', 1, '1999-01-01', now(), now() - interval '2 s', now()),
             ('opens and closes now', 1, now(), now(), now() - interval '3 s', now()),
             ('opens a microsecond from now', 1, now() + interval '1 microsecond', '2099-01-01', now(), now()),
             ('closed a microsecond ago', 1, '1999-01-01', now() - interval '1 microsecond', now(), now())",
            kind.items
        ))
        .await
        .unwrap();
    for sort_popular in [false, true] {
        for search in [None, Some("now")] {
            let call = format!("list_{}($1, 1, true, $2, $3)", kind.payment_type);
            let list = format!("select body, count from {}", function_call(&call));
            let row = app
                .database()
                .query_one(&list, &[&minsu.id, &search, &sort_popular])
                .await
                .unwrap();
            let results: Value = serde_json::from_str(row.get(0)).unwrap();
            let titles: Vec<_> = results.as_array().unwrap().iter().map(|item| &item["title"]).collect();
            assert_eq!(
                titles,
                ["opens now", "closes now", "opens and closes now"],
                "{search:?} {sort_popular}"
            );
            assert_eq!(row.get::<_, i64>(1), 3);
        }
    }
    app.database().batch_execute("rollback").await.unwrap();
}

/// The items for the searches below.
async fn add_catalogue(app: &App, kind: Kind) -> User {
    for (n, (title, description)) in [
        ("정보처리기사 실기", Some("소프트웨어 설계와 개발")),
        ("정보처리기사 필기", Some("객관식 시험")),
        ("컴퓨터활용능력 1급", Some("스프레드시트 실기 시험")),
        ("Rust programming", Some("Ownership and borrowing, the hard way")),
        ("The programming of Rust", None),
        ("C++ (2026)", Some("it's \"quoted\" 100%")),
    ]
    .into_iter()
    .enumerate()
    {
        let created_at = format!("2026-01-0{}T00:00:00Z", 9 - n);
        app.add(
            kind,
            Item {
                title,
                description,
                created_at: &created_at,
                ..Item::default()
            },
        )
        .await;
    }
    app.user("minsu").await
}

#[rstest]
#[tokio::test]
async fn a_search_is_read_like_a_web_search(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = add_catalogue(&app, kind).await;
    let mut table = String::new();
    for search in [
        "정보처리기사",
        "정보처리기사 실기",
        "실기",
        "실기 -정보처리기사",
        "필기 or 1급",
        "rust",
        "RUST Programming",
        "\"rust programming\"",
        "\"programming rust\"",
        "rust -ownership",
        "객관식",
        "정보",
        "없는말",
        "the",
        "2026",
        "c++",
        "",
        "   ",
        "-",
        "-rust",
        "\"",
        "\"\"",
        "or",
        "or or or",
        "rust or",
        "rust & programming",
        "rust | c",
        "!rust",
        "rust:*",
        "(rust)",
        "'",
        "\\",
        "%",
        "_",
        "it's",
        "100%",
        "'; drop table tests; --",
        "\u{0}",
        "rust\u{0}",
        "😀",
        "\u{200b}",
        "<->",
        "rust\nprogramming\t",
    ] {
        let query = url::form_urlencoded::byte_serialize(search.as_bytes()).collect::<String>();
        let answer = app.get(format!("{}?search={query}", kind.path)).by(&minsu).await;
        if answer.status == 200 {
            let titles = titles(&answer);
            assert_eq!(answer.json()["count"], titles.len());
            writeln!(table, "{search:?}: {}", titles.join(" / ")).unwrap();
        } else {
            writeln!(table, "{search:?}: {}", answer.brief()).unwrap();
        }
    }
    insta::allow_duplicates! { insta::assert_snapshot!(table, @r#"
    "정보처리기사": 정보처리기사 실기 / 정보처리기사 필기
    "정보처리기사 실기": 정보처리기사 실기
    "실기": 정보처리기사 실기 / 컴퓨터활용능력 1급
    "실기 -정보처리기사": 컴퓨터활용능력 1급
    "필기 or 1급": 정보처리기사 필기 / 컴퓨터활용능력 1급
    "rust": Rust programming / The programming of Rust
    "RUST Programming": Rust programming / The programming of Rust
    "\"rust programming\"": Rust programming
    "\"programming rust\"": 
    "rust -ownership": The programming of Rust
    "객관식": 정보처리기사 필기
    "정보": 정보처리기사 실기 / 정보처리기사 필기
    "없는말": 
    "the": Rust programming / The programming of Rust
    "2026": C++ (2026)
    "c++": C++ (2026)
    "": 정보처리기사 실기 / 정보처리기사 필기 / 컴퓨터활용능력 1급 / Rust programming / The programming of Rust / C++ (2026)
    "   ": 정보처리기사 실기 / 정보처리기사 필기 / 컴퓨터활용능력 1급 / Rust programming / The programming of Rust / C++ (2026)
    "-": 
    "-rust": 정보처리기사 실기 / 정보처리기사 필기 / 컴퓨터활용능력 1급 / C++ (2026)
    "\"": 
    "\"\"": 
    "or": 
    "or or or": 
    "rust or": 
    "rust & programming": Rust programming / The programming of Rust
    "rust | c": 
    "!rust": Rust programming / The programming of Rust
    "rust:*": Rust programming / The programming of Rust
    "(rust)": Rust programming / The programming of Rust
    "'": 
    "\\": 
    "%": 
    "_": 
    "it's": C++ (2026)
    "100%": C++ (2026)
    "'; drop table tests; --": 
    "\0": 400 invalid | search: null 문자는 허용되지 않습니다.
    "rust\0": 400 invalid | search: null 문자는 허용되지 않습니다.
    "😀": 
    "\u{200b}": 
    "<->": 
    "rust\nprogramming\t": Rust programming / The programming of Rust
    "#) }
}

#[rstest]
#[tokio::test]
async fn a_search_finds_changes_at_once(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = add_catalogue(&app, kind).await;
    let search = async |word: &str| {
        let answer = app.get(format!("{}?search={word}", kind.path)).by(&minsu).await;
        answer.json()["count"].clone()
    };
    assert_eq!(search("golang").await, 0);
    app.run(
        &format!("update {} set title = 'Golang' where title like 'Rust%'", kind.items),
        &[],
    )
    .await;
    assert_eq!(search("golang").await, 1);
    app.run(
        &format!(
            "update {} set description = 'golang' where title like 'The%'",
            kind.items
        ),
        &[],
    )
    .await;
    assert_eq!(search("golang").await, 2);
    app.run(&format!("delete from {} where title = 'Golang'", kind.items), &[])
        .await;
    assert_eq!(search("golang").await, 1);
}

#[rstest]
#[tokio::test]
async fn popular_is_most_registrations_first_then_newest(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let [minsu, jisu] = [app.user("minsu").await, app.user("jisu").await];
    let mut ids = Vec::new();
    for (title, created_at) in [
        ("two", "2026-01-01T00:00:00Z"),
        ("one, old", "2026-01-02T00:00:00Z"),
        ("none", "2026-01-03T00:00:00Z"),
        ("one, new", "2026-01-04T00:00:00Z"),
        ("cancelled", "2026-01-05T00:00:00Z"),
    ] {
        ids.push(
            app.add(
                kind,
                Item {
                    title,
                    created_at,
                    ..Item::default()
                },
            )
            .await,
        );
    }
    for (user, item, status) in [
        (&minsu, 0, kind.active),
        (&jisu, 0, "completed"),
        (&minsu, 1, kind.active),
        (&jisu, 3, kind.active),
        (&jisu, 4, "cancelled"),
    ] {
        app.register(kind, user, ids[item], status).await;
    }
    let list = async |query: &str| app.get(format!("{}{query}", kind.path)).by(&minsu).await;
    assert_eq!(
        titles(&list("?sort=popular").await),
        ["two", "one, new", "one, old", "cancelled", "none"]
    );
    let newest = ["cancelled", "one, new", "none", "one, old", "two"];
    for query in [
        "",
        "?sort=created",
        "?sort=",
        "?sort=POPULAR",
        "?sort=price",
        "?sort=-popular",
        "?sort=popular&sort=x",
    ] {
        assert_eq!(titles(&list(query).await), newest, "{query}");
    }
    let shown: Vec<_> = list("?sort=popular").await.json()["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["registration_count"].clone(), item["is_registered"].clone()))
        .collect();
    let expected = [(2, true), (1, false), (1, true), (0, false), (0, false)];
    assert_eq!(
        shown,
        expected.map(|(count, registered)| (json!(count), json!(registered)))
    );
}

#[rstest]
#[tokio::test]
async fn all_filters_work_together(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    // Every third is closed, every second says "실기", each has as many registrations as its number's last digit.
    let rows = format!(
        "insert into {} (title, price, start_at, end_at, created_at, updated_at)
             select i || case when i % 2 = 0 then ' 실기' else ' 필기' end, 45000, '2020-01-01',
                    case when i % 3 = 0 then '2020-01-02'::timestamptz else '2099-12-31' end,
                    '2026-01-01'::timestamptz + i * interval '1 day', now()
             from generate_series(1, 150) i;
             insert into users (email, username, password)
             select 'u' || n || '@example.com', 'u' || n, '' from generate_series(1, 9) n;
             insert into {} (user_id, {})
             select u.id, i.id from users u join {} i on substr(u.username, 2)::integer <= i.id % 10
             where u.username ~ '^u[0-9]'",
        kind.items, kind.registrations, kind.item_id, kind.items
    );
    app.database().batch_execute(&rows).await.unwrap();
    let number = |title: &str| title.split(' ').next().unwrap().parse::<i64>().unwrap();
    for search in ["", "실기", "-실기", "실기 or 필기"] {
        for available in [false, true] {
            for popular in [false, true] {
                let mut expected: Vec<i64> = (1..=150)
                    .filter(|i| !available || i % 3 != 0)
                    .filter(|i| match search {
                        "실기" => i % 2 == 0,
                        "-실기" => i % 2 == 1,
                        _ => true,
                    })
                    .collect();
                expected.sort_by_key(|i| std::cmp::Reverse((if popular { i % 10 } else { 0 }, *i)));
                let query = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("search", search)
                    .append_pair("status", if available { "available" } else { "" })
                    .append_pair("sort", if popular { "popular" } else { "created" })
                    .finish();
                for page in 1..=expected.len().div_ceil(20) {
                    let answer = app.get(format!("{}?{query}&page={page}", kind.path)).by(&minsu).await;
                    let shown: Vec<i64> = titles(&answer).into_iter().map(number).collect();
                    assert_eq!(shown, expected.chunks(20).nth(page - 1).unwrap(), "{query} page {page}");
                    assert_eq!(answer.json()["count"], expected.len(), "{query}");
                }
                let last = app.get(format!("{}?{query}&page=last", kind.path)).by(&minsu).await;
                assert_eq!(
                    titles(&last).into_iter().map(number).next_back(),
                    expected.last().copied(),
                    "{query}"
                );
                assert_eq!(last.json()["next"], Value::Null);
                let past = expected.len().div_ceil(20) + 1;
                let answer = app.get(format!("{}?{query}&page={past}", kind.path)).by(&minsu).await;
                assert_eq!(answer.code(), "invalid_page", "{query}");
            }
        }
    }
}

#[rstest]
#[tokio::test]
async fn unknown_parameters_change_nothing(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    add(&app, kind, 3).await;
    for query in [
        "?",
        "?&&&",
        "?=",
        "?=x",
        "?x",
        "?x=1&y[]=2&z=%00",
        "?limit=1",
        "?offset=2",
        "?page_size=1",
        "?format=xml",
        "?ordering=price",
        "?%FF=%FF",
        "?%=%",
        "?search",
        "?status&sort",
    ] {
        let answer = app.get(format!("{}{query}", kind.path)).by(&minsu).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(titles(&answer), ["3", "2", "1"], "{query}");
    }
}
