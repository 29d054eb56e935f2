//! `GET /api/operator/audit/`.

use std::future::IntoFuture;

use futures::future::join;
use serde_json::{Value, json};
use sugang_migrations::audit;
use sugang_tests::{Answer, App, COURSE, Call, Item, User};

use crate::support::{Hold, operator, paid, register};

fn run<'a>(app: &'a App, operator: &User) -> Call<'a> {
    app.get("/api/operator/audit/").by(operator)
}

fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.header("content-type"), "application/x-ndjson", "{answer:?}");
    let text = std::str::from_utf8(&answer.body).expect("UTF-8");
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    lines.collect()
}

/// A database with a course, an operator, and a user who has enrolled.
async fn arrange(app: &App) -> User {
    let (ujin, minsu) = (operator(app).await, app.user("minsu").await);
    let id = app.add(COURSE, Item::default()).await;
    paid(&register(app, COURSE, id, &minsu).await);
    ujin
}

/// What the program finds, as the API writes it. It alone compares the functions with its own.
async fn found_by_the_program(app: &App) -> Vec<Value> {
    let findings = audit(app.database()).await.expect("it can be audited");
    let findings: Vec<_> = findings
        .into_iter()
        .filter(|finding| finding.check != "functions")
        .collect();
    let checks = findings.len();
    let line = |(number, finding): (usize, sugang_migrations::Finding)| {
        json!({
            "check": finding.check,
            "kind": finding.kind,
            "number": number,
            "checks": checks,
            "count": finding.count,
            "ids": finding.ids,
            "advice": (finding.count > 0).then_some(finding.advice),
        })
    };
    (1..).zip(findings).map(line).collect()
}

#[tokio::test]
async fn it_finds_what_the_program_finds() {
    let app = App::start().await;
    let ujin = arrange(&app).await;
    let clean = lines(&run(&app, &ujin).await);
    assert_eq!(clean, found_by_the_program(&app).await);
    assert!(clean.iter().all(|line| line["count"] == 0), "{clean:?}");
    let spoil = "begin; set local session_replication_role = replica;
                 update courses set registration_count = 7;
                 update payments set amount = 1; commit";
    app.database().batch_execute(spoil).await.expect("spoiled rows");
    let spoiled = lines(&run(&app, &ujin).await);
    assert_eq!(spoiled, found_by_the_program(&app).await);
    assert!(
        spoiled.iter().filter(|line| line["count"] != 0).count() > 2,
        "{spoiled:?}"
    );
}

/// The first audit waits in the middle for a table that a migration holds.
#[tokio::test]
async fn one_begins_at_a_time_and_holds_no_request_up() {
    let app = App::start().await;
    let ujin = arrange(&app).await;
    let hold = Hold::new(&app, "lock table sugang.audit_seals in access exclusive mode").await;
    let (first, ()) = join(run(&app, &ujin).into_future(), async {
        hold.is_waited_for().await;
        assert_eq!(run(&app, &ujin).await.code(), "busy");
        let minsu = app.user("jisu").await;
        assert_eq!(register(&app, COURSE, 1, &minsu).await.status, 201);
        hold.release().await;
    })
    .await;
    let first = lines(&first);
    assert_eq!(
        first.last().map(|line| &line["number"]),
        first.last().map(|line| &line["checks"])
    );
    assert_eq!(lines(&run(&app, &ujin).await).len(), first.len());
}

#[tokio::test]
async fn one_that_cannot_be_finished_breaks_off() {
    const END: &[u8] = b"\r\n0\r\n\r\n";
    let app = App::start().await;
    let ujin = arrange(&app).await;
    let request = format!(
        "GET /api/operator/audit/ HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
        app.base.trim_start_matches("http://"),
        ujin.access
    );
    assert!(app.raw_unfinished(request.as_bytes()).await.ends_with(END));
    app.database()
        .batch_execute("alter table sugang.audit_seals rename to gone")
        .await
        .expect("it can be renamed");
    let broken = app.raw_unfinished(request.as_bytes()).await;
    assert!(broken.starts_with(b"HTTP/1.1 200 ") && !broken.ends_with(END));
}
