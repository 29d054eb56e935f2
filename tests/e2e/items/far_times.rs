//! Times that ISO 8601 cannot write, and titles with anything in them: every client can read the response.

use rstest::rstest;
use serde_json::{Value, json};
use sugang_sdk::{Client, Filter, PaymentFilter};
use sugang_tests::{App, COURSE, EXAM, Item, Kind, PASSWORD, token};

use crate::{
    storm::{assert_audit, audit},
    support::{cancel, paid, register},
};

const FIRST: &str = "0001-01-01T00:00:00Z";
const LAST: &str = "9999-12-31T23:59:59.999999Z";

async fn get(app: &App, path: String, user: &sugang_tests::User) -> Value {
    let answer = app.get(&path).by(user).await;
    assert_eq!(answer.status, 200, "{path}");
    answer.json().clone()
}

/// Asserts that the audit finds the order of the times of payment 1 and its registration, or nothing.
async fn assert_audit_of_times(app: &App, out_of_order: bool) {
    let findings = audit(app).await;
    let found: Vec<_> = findings.iter().map(|finding| finding.check.as_str()).collect();
    let expected: &[&str] = match out_of_order {
        true => &["payment_times_out_of_order", "registration_times_out_of_order"],
        false => &[],
    };
    assert_eq!(found, expected, "{findings:#?}");
}

#[rstest]
#[case::infinity("infinity", LAST)]
#[case::minus_infinity("-infinity", FIRST)]
#[case::before_christ("0044-03-15 00:00:00+00 BC", FIRST)]
#[case::the_last_that_postgresql_knows("294276-12-31 23:59:59.999999+00", LAST)]
#[case::after_year_9999("10000-01-01 00:00:00+00", LAST)]
#[case::the_last_of_year_9999("9999-12-31 23:59:59.999999+00", LAST)]
#[case::the_first_of_year_1("0001-01-01 00:00:00+00", FIRST)]
#[tokio::test]
async fn a_time_is_shown_as_the_nearest_that_clients_read(
    #[case] time: &str,
    #[case] shown: &str,
    #[values(EXAM, COURSE)] kind: Kind,
) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let (start_at, end_at) = match shown {
        FIRST => (time, "2099-01-01T00:00:00Z"),
        _ => ("2020-01-01T00:00:00Z", time),
    };
    let item = Item {
        start_at,
        end_at,
        created_at: time,
        ..Item::default()
    };
    let id = app.add(kind, item).await;
    let item = get(&app, kind.item(id), &minsu).await;
    let edge = if shown == FIRST { "start_at" } else { "end_at" };
    assert_eq!((&item[edge], &item["created_at"]), (&json!(shown), &json!(shown)));
    // Counted, found and open as any other.
    for query in [
        "",
        "?status=available",
        "?status=available&sort=popular",
        "?search=정보처리기사",
    ] {
        let list = get(&app, format!("{}{query}", kind.path), &minsu).await;
        assert_eq!((&list["count"], &list["results"][0]), (&json!(1), &item), "{query}");
    }
    paid(&register(&app, kind, id, &minsu).await);

    let payment = format!("update payments set paid_at = '{time}', registration_time = '{time}'");
    app.run(&payment, &[]).await;
    let payment = get(&app, "/me/payments/1/".to_owned(), &minsu).await;
    assert_eq!(
        (&payment["paid_at"], &payment["registration_time"]),
        (&json!(shown), &json!(shown))
    );
    let day = &shown[..10];
    for (query, count) in [
        (format!("?from={day}&to={day}"), 1),
        (format!("?from={day}"), 1),
        (format!("?to={day}"), 1),
        ("?from=0001-01-01&to=9999-12-31".to_owned(), 1),
        ("?from=0001-01-02&to=9999-12-30".to_owned(), 0),
    ] {
        let list = get(&app, format!("/me/payments/{query}"), &minsu).await;
        assert_eq!(list["count"], count, "{query}");
    }

    let client = Client::new(app.base.clone()).unwrap();
    let session = client.login(&minsu.email, PASSWORD).await.unwrap();
    assert_eq!(
        session
            .payments()
            .list(&PaymentFilter::default())
            .page(1)
            .await
            .unwrap()
            .count,
        1
    );
    match kind.payment_type {
        "test" => assert_eq!(session.exams().list(&Filter::default()).page(1).await.unwrap().count, 1),
        _ => assert_eq!(
            session.courses().list(&Filter::default()).page(1).await.unwrap().count,
            1
        ),
    }
    assert_eq!(cancel(&app, 1, &minsu).await.status, 200);

    // No payment was made in the future; only infinity stands for a time that is not known.
    let out_of_order = shown == LAST && time != "infinity";
    // The kept counts follow an update and a deletion.
    let away = format!(
        "update {} set start_at = '2020-01-01', end_at = '2021-01-01', created_at = now()",
        kind.items
    );
    let back = format!("update {} set {edge} = '{time}', created_at = '{time}'", kind.items);
    for statement in [&away, &back] {
        app.run(statement, &[]).await;
        assert_audit_of_times(&app, out_of_order).await;
    }
    app.run(
        &format!(
            "insert into {0} (title, price, start_at, end_at, created_at, updated_at)
                      select title, price, start_at, end_at, created_at, updated_at from {0}",
            kind.items
        ),
        &[],
    )
    .await;
    app.run(&format!("delete from {} where id <> {id}", kind.items), &[])
        .await;
    assert_audit_of_times(&app, out_of_order).await;
    assert_eq!(get(&app, kind.path.to_owned(), &minsu).await["count"], 1);
}

/// Times beyond what clients read keep their order, and every page begins where the one before ended.
#[rstest]
#[tokio::test]
async fn pages_reach_every_item_once(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let times = [
        "-infinity",
        "0044-03-15 BC",
        "0001-01-01 00:30:00+00",
        "2026-01-01",
        "9999-12-31 23:30:00+00",
        "12345-01-01 00:00:00+00",
        "infinity",
    ];
    for time in times {
        let add = format!(
            "insert into {} (title, price, start_at, end_at, created_at, updated_at)
             select '{time} ' || n, 100, '-infinity', 'infinity', '{time}', now() from generate_series(1, 13) n",
            kind.items
        );
        app.run(&add, &[]).await;
    }
    let newest: Vec<i64> = app
        .one(
            &format!(
                "select array_agg(id order by created_at desc, id desc) from {}",
                kind.items
            ),
            &[],
        )
        .await;
    for query in ["", "&status=available", "&search=1", "&sort=popular"] {
        let mut ids = Vec::new();
        for page in 1..=if query == "&search=1" { 1 } else { 5 } {
            let list = get(&app, format!("{}?page={page}{query}", kind.path), &minsu).await;
            let results = list["results"].as_array().expect("a list");
            ids.extend(results.iter().filter_map(|item| item["id"].as_i64()));
        }
        match query {
            "&search=1" => assert!(!ids.is_empty()),
            _ => assert_eq!(ids, newest, "{query}"),
        }
    }
    assert_audit(&app).await;
}

/// Every column that has a time, of every table that a request reads.
const TIMES: &[(&str, &[&str])] = &[
    ("{items}", &["start_at", "end_at", "created_at", "updated_at"]),
    ("{registrations}", &["{registered_at}", "completed_at", "cancelled_at"]),
    ("payments", &["paid_at", "cancelled_at", "registration_time"]),
    ("users", &["last_login"]),
    ("sugang.idempotency_keys", &["created_at"]),
    ("sugang.revoked_tokens", &["expires_at", "used_at"]),
    ("sugang.available_counts", &["valid_from", "valid_until"]),
];

/// Whatever time stands where, every request has an answer that is no failure.
#[rstest]
#[tokio::test]
async fn no_time_makes_a_request_fail(
    #[values(EXAM, COURSE)] kind: Kind,
    #[values(
        "infinity",
        "-infinity",
        "4713-01-01 00:00:00+00 BC",
        "294276-12-31 23:59:59.999999+00"
    )]
    time: &str,
) {
    let app = App::with("rotate_refresh_tokens", true).start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let refresh = json!({"refresh": token::sign(&minsu.claims("refresh"))});
    for (table, columns) in TIMES {
        for column in *columns {
            app.run(
                "truncate payments, test_registrations, course_registrations restart identity",
                &[],
            )
            .await;
            app.run(
                &format!(
                    "update {} set start_at = '2020-01-01', end_at = '2099-01-01'",
                    kind.items
                ),
                &[],
            )
            .await;
            app.run("delete from sugang.idempotency_keys", &[]).await;
            let with_key = || register(&app, kind, id, &minsu).header("idempotency-key", "one");
            paid(&with_key().await);
            app.post("/token/refresh/").json(&refresh).await;
            let set = format!("update {table} set {column} = '{time}'")
                .replace("{items}", kind.items)
                .replace("{registrations}", kind.registrations)
                .replace("{registered_at}", kind.registered_at);
            app.run(&set, &[]).await;
            let login = json!({"email": minsu.email, "password": PASSWORD});
            for call in [
                app.get(kind.path).by(&minsu),
                app.get(format!("{}?status=available", kind.path)).by(&minsu),
                app.get(format!("{}?search=정보&sort=popular&status=available", kind.path))
                    .by(&minsu),
                app.get(kind.item(id)).by(&minsu),
                app.get("/me/payments/").by(&minsu),
                app.get("/me/payments/?from=0001-01-01&to=9999-12-31&status=paid")
                    .by(&minsu),
                app.get("/me/payments/1/").by(&minsu),
                with_key(),
                app.post(kind.complete(id)).by(&minsu),
                cancel(&app, 1, &minsu),
                register(&app, kind, id, &minsu),
                app.post("/login/").json(&login),
                app.post("/token/refresh/").json(&refresh),
                app.post("/logout/").json(&refresh),
            ] {
                let answer = call.await;
                assert!(answer.status.as_u16() < 500, "{set}: {answer:?}");
            }
            app.run("delete from sugang.revoked_tokens", &[]).await;
        }
    }
}

/// Days that no calendar has, or that are no days.
#[tokio::test]
async fn days_outside_the_calendar_are_refused() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    for (day, status) in [
        ("0001-01-01", 200),
        ("9999-12-31", 200),
        ("0000-01-01", 400),
        ("-0044-03-15", 400),
        ("0044-03-15 BC", 400),
        ("10000-01-01", 400),
        ("294276-12-31", 400),
        ("2026-02-29", 400),
        ("infinity", 400),
        ("-infinity", 400),
        ("now", 400),
        ("epoch", 400),
        ("J2451187", 400),
    ] {
        for parameter in ["from", "to"] {
            let path = format!("/me/payments/?{parameter}={}", day.replace(' ', "%20"));
            assert_eq!(app.get(&path).by(&minsu).await.status, status, "{path}");
        }
    }
}

/// A token may be valid for longer than PostgreSQL's times last.
#[rstest]
#[tokio::test]
async fn a_token_may_expire_beyond_all_times(
    #[values(253_402_300_800, 9_224_318_016_000, 100_000_000_000_000_000, i64::MAX)] expires: i64,
) {
    let app = App::with("rotate_refresh_tokens", true).start().await;
    let minsu = app.user("minsu").await;
    let mut claims = minsu.claims("refresh");
    claims["exp"] = json!(expires);
    let refresh = json!({"refresh": token::sign(&claims)});
    let first = app.post("/token/refresh/").json(&refresh).await;
    assert_eq!(first.status, 200);
    assert!(app.post("/logout/").json(&refresh).await.status.is_success());
    let again = app.post("/token/refresh/").json(&refresh).await;
    assert_eq!((again.status.as_u16(), again.code()), (401, "token_not_valid"));
    claims["token_type"] = json!("access");
    let listed = app.get("/tests/").bearer(&token::sign(&claims)).await;
    assert_eq!(listed.status, 200);
}

#[rstest]
#[case::control_characters("\u{1}\u{8}\t\n\r\u{1f}\u{7f}\u{9f}")]
#[case::separators("한\u{2028}줄\u{2029}둘\u{feff}\u{200b}\u{85}")]
#[case::quotes("\"'\\`${}</script><!--\\u0000\\")]
#[case::right_to_left("שלום \u{202e}עולם\u{202c} مرحبا")]
#[case::beyond_unicode_16_bits("😀👩‍👩‍👧‍👦🇰🇷\u{10ffff}\u{fffe}\u{e000}")]
#[tokio::test]
async fn a_title_is_shown_as_it_is(#[case] title: &str, #[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let description = title.repeat(5_000);
    let id = app
        .add(
            kind,
            Item {
                title,
                description: Some(&description),
                ..Item::default()
            },
        )
        .await;
    let item = get(&app, kind.item(id), &minsu).await;
    assert_eq!(
        (&item["title"], &item["description"]),
        (&json!(title), &json!(description))
    );
    assert_eq!(get(&app, kind.path.to_owned(), &minsu).await["results"][0], item);
    let payment = paid(&register(&app, kind, id, &minsu).await);
    let payment = get(&app, format!("/me/payments/{payment}/"), &minsu).await;
    assert_eq!(payment["target_title"], title);
    assert_eq!(
        get(&app, "/me/payments/".to_owned(), &minsu).await["results"][0],
        payment
    );

    let longest = "\u{1f469}".repeat(255);
    app.run(&format!("update {} set title = $1", kind.items), &[&longest])
        .await;
    assert_eq!(get(&app, kind.item(id), &minsu).await["title"], longest);
}
