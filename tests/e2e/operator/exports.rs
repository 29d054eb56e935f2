//! `GET /api/operator/tests.csv`, `GET /api/operator/tests/{id}/registrations.csv` and the same for courses;
//! `GET /api/operator/payments.csv` and `GET /api/operator/users.csv`.

use std::collections::BTreeSet;

use rstest::rstest;
use serde_json::json;
use sugang_tests::{Answer, App, COURSE, EXAM, Item, Kind, User};

use crate::support::{operator, paid, refund, register};

async fn export(app: &App, kind: Kind, query: &str, operator: &User) -> Answer {
    app.get(format!("/api/operator{}registrations.csv{query}", kind.item(1)))
        .by(operator)
        .await
}

fn text(answer: &Answer) -> &str {
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8", "{answer:?}");
    let text = std::str::from_utf8(&answer.body).expect("UTF-8");
    text.strip_prefix('\u{feff}').expect("a byte order mark")
}

#[rstest]
#[tokio::test]
async fn a_cell_that_begins_like_a_formula_is_defused(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let (ujin, minsu) = (operator(&app).await, app.user("+minsu").await);
    let item = Item {
        title: "=1+1, \"가\"",
        description: Some("'-1\r\n둘"),
        ..Item::default()
    };
    let id = app.add(kind, item).await;
    let items = app
        .get(format!("/api/operator{}.csv", kind.path.trim_end_matches('/')))
        .by(&ujin)
        .await;
    assert_eq!(
        text(&items),
        concat!(
            "id,title,description,price,capacity,start_at,end_at,hidden,registration_count\r\n",
            "1,\"'=1+1, \"\"가\"\"\",\"''-1\r\n둘\",45000.00,,2020-01-01T00:00:00Z,2099-12-31T23:59:59Z,false,0\r\n",
        )
    );
    paid(&register(&app, kind, id, &minsu).await);
    let answer = export(&app, kind, "", &ujin).await;
    let mut lines = text(&answer).lines();
    assert_eq!(
        lines.next(),
        Some(concat!(
            "id,user_id,email,username,status,registered_at,completed_at,cancelled_at,payment_id,amount,payment_method,",
            "payment_status,reference"
        ))
    );
    let line = lines.next().expect("a registration");
    let begin = format!("1,2,'+minsu@example.com,'+minsu,{},20", kind.active);
    assert!(
        line.starts_with(&begin) && line.ends_with(",,,1,45000.00,card,paid,"),
        "{line}"
    );
    assert_eq!(lines.next(), None);
    let other = format!("?status={}", kind.active);
    assert_eq!(text(&export(&app, kind, &other, &ujin).await).lines().count(), 2);
    assert_eq!(
        text(&export(&app, kind, "?status=completed", &ujin).await)
            .lines()
            .count(),
        1
    );
    assert_eq!(
        text(&export(&app, kind, "?to=2020-01-01", &ujin).await).lines().count(),
        1
    );
    assert_eq!(export(&app, kind, "?from=x", &ujin).await.code(), "invalid");
    assert_eq!(
        app.get("/api/operator/tests/77/registrations.csv")
            .by(&ujin)
            .await
            .code(),
        "not_found"
    );
}

/// Registers users 2, 3 and so on, 9,000 of them at the same time, the oldest first.
async fn add_registrations(app: &App, rows: usize) {
    let add = format!(
        "insert into users (email, username, password) select n || '@example.com', n, '' from generate_series(1, {rows}) n;
         insert into test_registrations (user_id, test_id, status, applied_at)
             select id, 1, 'applied', timestamptz '2026-02-01' + (id / 9000) * interval '1 h' from users where id > 1"
    );
    app.database().batch_execute(&add).await.expect("registrations");
}

/// Three pages, whose borders fall between registrations of the same time. The file is longer than the memory for all
/// responses.
#[tokio::test]
async fn every_registration_is_exported_once() {
    const ROWS: usize = 12_345;
    const MEMORY: usize = 512 << 10;
    let app = App::proxied()
        .limits(|limits| limits.response_memory = MEMORY)
        .start()
        .await;
    let ujin = operator(&app).await;
    app.add(EXAM, Item::default()).await;
    add_registrations(&app, ROWS).await;
    app.prepare_sessions().await;
    let before = app.postgres().statements();
    let answer = export(&app, EXAM, "", &ujin).await;
    assert_eq!(app.postgres().statements(), before + 3);
    assert_eq!(answer.header("content-length"), "");
    assert!(answer.body.len() > MEMORY, "{}", answer.body.len());
    let lines = text(&answer).lines().skip(1);
    let ids: BTreeSet<&str> = lines.filter_map(|line| line.split(',').next()).collect();
    assert_eq!((ids.len(), text(&answer).lines().count()), (ROWS, ROWS + 1));
}

#[tokio::test]
async fn payments_are_exported_with_the_filters_of_their_list() {
    let app = App::start().await;
    let (ujin, minsu, jisu) = (operator(&app).await, app.user("=minsu").await, app.user("jisu").await);
    let id = app.add(COURSE, Item::default()).await;
    let payment = paid(&register(&app, COURSE, id, &minsu).await);
    let part = json!({"amount": "10000.00", "reason": "교재 불량"});
    assert_eq!(refund(&app, payment, &ujin, &part).await.status, 200);
    paid(&register(&app, COURSE, id, &jisu).await);
    app.run(
        "update payments set paid_at = '2026-02-01T00:00:00Z', external_transaction_id = 'pg-' || id",
        &[],
    )
    .await;
    let export = async |query: &str| {
        let path = format!("/api/operator/payments.csv{query}");
        text(&app.get(path).by(&ujin).await).to_owned()
    };
    let names = "id,user_id,email,username,kind,item_id,title,amount,left,payment_method,status,paid_at,cancelled_at,\
                 refund_reason,external_id\r\n";
    let paid_at = "card,paid,2026-02-01T00:00:00Z,,";
    let first =
        format!("1,2,'=minsu@example.com,'=minsu,course,1,정보처리기사 실기,45000.00,35000.00,{paid_at},pg-1\r\n");
    let second = format!("2,3,jisu@example.com,jisu,course,1,정보처리기사 실기,45000.00,45000.00,{paid_at},pg-2\r\n");
    assert_eq!(export("").await, format!("{names}{second}{first}"));
    for query in [
        "?user=2",
        "?email=%3Dminsu@example.com",
        "?external_id=pg-1",
        "?user=2&email=%3DMINSU@example.com&amount=45000&status=paid&from=2026-02-01&to=2026-02-01",
    ] {
        assert_eq!(export(query).await, format!("{names}{first}"), "{query}");
    }
    for query in [
        "?status=cancelled",
        "?to=2026-01-31",
        "?amount=1",
        "?user=2&email=jisu@example.com",
    ] {
        assert_eq!(export(query).await, names, "{query}");
    }
    let wrong = app.get("/api/operator/payments.csv?from=x").by(&ujin).await;
    assert_eq!(wrong.code(), "invalid");
}

#[tokio::test]
async fn users_are_exported_with_the_filters_of_their_list() {
    let app = App::start().await;
    let (ujin, _) = (operator(&app).await, app.user("minsu").await);
    app.run("update users set last_login = null, is_active = id = 1", &[])
        .await;
    let export = async |query: &str| {
        let path = format!("/api/operator/users.csv{query}");
        text(&app.get(path).by(&ujin).await).to_owned()
    };
    let names = "id,email,username,is_active,is_operator,is_superuser,last_login\r\n";
    let minsu = "2,minsu@example.com,minsu,false,false,false,\r\n";
    let all = format!("{names}{minsu}1,ujin@example.com,ujin,true,true,false,\r\n");
    assert_eq!(export("").await, all);
    for query in ["?email=MIN", "?username=min", "?email=m&username=m"] {
        assert_eq!(export(query).await, format!("{names}{minsu}"), "{query}");
    }
    assert_eq!(export("?email=u&username=m").await, names);
}

/// Three pages of each. The borders of the payments fall between those of the same time.
#[tokio::test]
async fn every_payment_and_user_is_exported_once() {
    const ROWS: usize = 12_345;
    let app = App::proxied().start().await;
    let ujin = operator(&app).await;
    app.add(EXAM, Item::default()).await;
    add_registrations(&app, ROWS).await;
    let pay =
        "insert into payments (user_id, payment_type, content_type_id, object_id, amount, payment_method, paid_at)
               select user_id, 'test', content_type_id, test_id, 45000, 'card', applied_at
               from test_registrations, sugang.kinds where kind = 'test'";
    app.run(pay, &[]).await;
    app.prepare_sessions().await;
    for (file, rows) in [("payments", ROWS), ("users", ROWS + 1)] {
        let before = app.postgres().statements();
        let answer = app.get(format!("/api/operator/{file}.csv")).by(&ujin).await;
        assert_eq!(app.postgres().statements(), before + 3, "{file}");
        let lines = text(&answer).lines().skip(1);
        let ids: BTreeSet<&str> = lines.filter_map(|line| line.split(',').next()).collect();
        assert_eq!((ids.len(), text(&answer).lines().count()), (rows, rows + 1), "{file}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_to_its_end_breaks_off() {
    const END: &[u8] = b"\r\n0\r\n\r\n";
    let app = App::start().await;
    let ujin = operator(&app).await;
    app.add(EXAM, Item::default()).await;
    add_registrations(&app, 6_000).await;
    let request = format!(
        "GET /api/operator/tests/1/registrations.csv HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
         connection: close\r\n\r\n",
        app.base.trim_start_matches("http://"),
        ujin.access
    );
    assert!(app.raw_unfinished(request.as_bytes()).await.ends_with(END));
    // The second page has the oldest registration.
    let fail = "create or replace function sugang.csv_cell(p_text text) returns text language plpgsql immutable as $$
                begin
                    if p_text = '1@example.com' then raise exception 'no'; end if;
                    return p_text;
                end $$";
    app.database().batch_execute(fail).await.expect("a function");
    let broken = app.raw_unfinished(request.as_bytes()).await;
    assert!(
        broken.starts_with(b"HTTP/1.1 200 ") && !broken.ends_with(END),
        "{}",
        broken.len()
    );
}
