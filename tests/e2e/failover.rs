//! PostgreSQL fails over, takes no changes for a while, or loses connections: reads go on, and changes as soon as they can.

use std::time::{Duration, Instant};

use futures::future::join_all;
use rstest::rstest;
use sugang_tests::{App, COURSE, EXAM, HostOptions, HostProcess, Item, PASSWORD, User, assert_answer};
use tokio::time::sleep;

use crate::{
    storm::assert_audit,
    support::{cancel, paid, register, tally},
};

/// Makes new sessions of the app's database read-only, or usual again. Those that are open stay as they are.
async fn set_read_only(app: &App, read_only: bool) {
    let change = if read_only {
        "set default_transaction_read_only = on"
    } else {
        "reset default_transaction_read_only"
    };
    app.alter_database(change).await;
}

pub async fn end_sessions(app: &App) -> i64 {
    let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity
               where datname = current_database() and pid <> pg_backend_pid()";
    app.one(end, &[]).await
}

/// Searches for a word that more items have than are counted exactly.
pub(crate) async fn add_frequent(app: &App) {
    app.run(
        "insert into tests (title, price, start_at, end_at, created_at, updated_at)
         select 'frequent ' || i, 45000, '2020-01-01', '2099-12-31', now(), now() from generate_series(1, 1100) i",
        &[],
    )
    .await;
}

#[tokio::test]
async fn a_read_only_database_answers_reads_and_takes_changes_again_at_once() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    let payment = paid(&register(&app, EXAM, id, &minsu).await);
    let course = app.add(COURSE, Item::default()).await;
    add_frequent(&app).await;
    set_read_only(&app, true).await;
    assert!(end_sessions(&app).await > 0);

    for path in [
        "/tests/",
        "/tests/?status=available",
        "/tests/?search=frequent",
        "/tests/?search=frequent&status=available&sort=popular",
        "/tests/?search=-frequent",
        "/courses/?status=available",
        "/tests/1/",
        "/me/payments/",
    ] {
        let answer = app.get(path).by(&minsu).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    let login = app
        .post("/login/")
        .json(&serde_json::json!({"email": minsu.email, "password": PASSWORD}))
        .await;
    assert_eq!(login.status, 200, "{login:?}");
    let refused = register(&app, COURSE, course, &minsu).await;
    assert_answer!(refused, @r#"
    {
      "status": "503 Service Unavailable",
      "retry-after": "1",
      "body": {
        "code": "read_only",
        "detail": "지금은 조회만 가능합니다. 잠시 후 다시 시도해주세요.",
        "request_id": "[request id]"
      }
    }
    "#);
    let refused = register(&app, COURSE, course, &minsu).in_english().await;
    assert_answer!(refused, @r#"
    {
      "status": "503 Service Unavailable",
      "retry-after": "1",
      "body": {
        "code": "read_only",
        "detail": "Changes are not possible at the moment. Please try again in a moment.",
        "request_id": "[request id]"
      }
    }
    "#);
    for refused in [
        cancel(&app, payment, &minsu).await,
        app.post(EXAM.complete(id)).by(&minsu).await,
        app.post("/logout/all/").by(&minsu).await,
        app.post("/logout/")
            .json(&serde_json::json!({"refresh": sugang_tests::token::sign(&minsu.claims("refresh"))}))
            .await,
    ] {
        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (503, "read_only"),
            "{refused:?}"
        );
    }

    set_read_only(&app, false).await;
    // So that the sessions are not the newest that there can be.
    sleep(Duration::from_millis(150)).await;
    // The sessions of before are still there, and are still read-only.
    assert_eq!(register(&app, COURSE, course, &minsu).await.status, 201);
    assert_eq!(cancel(&app, payment, &minsu).await.status, 200);
    assert_eq!(app.get("/readyz").await.json()["status"], "ok");
    assert_audit(&app).await;
}

/// Sends this many reads at once.
async fn read(app: &App, user: &User, n: usize) -> Vec<(u16, usize)> {
    let reads = (0..n).map(|n| app.get(["/tests/1/", "/tests/", "/me/payments/"][n % 3]).by(user));
    tally(&join_all(reads.map(|read| async { read.await })).await)
}

#[rstest]
#[case::checked(Duration::from_millis(100), 200)]
/// The negative control: without the check, the request waits for an answer that never comes.
#[case::unchecked(Duration::from_secs(3600), 503)]
#[tokio::test]
async fn a_connection_that_the_network_lost_costs_no_request(#[case] check_after: Duration, #[case] status: u16) {
    let app = App::proxied()
        .limits(|limits| limits.postgres.check_after = check_after)
        .start()
        .await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    assert_eq!(read(&app, &minsu, 12).await, [(200, 12)]);
    app.postgres().lose_connections();
    sleep(Duration::from_millis(150)).await;

    let begun = Instant::now();
    let answer = app.get("/tests/1/").by(&minsu).await;
    assert_eq!(answer.status, status, "{answer:?}");
    if status == 200 {
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        app.postgres().lose_connections();
        sleep(Duration::from_millis(150)).await;
        assert_eq!(register(&app, EXAM, id, &minsu).await.status, 201);
        assert_audit(&app).await;
    }
}

#[tokio::test]
async fn reads_do_not_notice_that_all_sessions_were_ended() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    app.add(EXAM, Item::default()).await;
    for _ in 0..20 {
        assert_eq!(read(&app, &minsu, 12).await, [(200, 12)]);
        assert!(end_sessions(&app).await > 0);
    }
}

#[tokio::test]
async fn a_changed_type_of_a_column_costs_no_request() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    for change in [
        "select",
        "alter table tests alter price type numeric(14, 2), add note text",
        "alter table payments alter payment_method type text, alter refund_reason type varchar(4000)",
        "alter table test_registrations add note text",
        "alter table users add note text",
    ] {
        // Every session has the plans of before.
        assert_eq!(read(&app, &minsu, 12).await, [(200, 12)], "before {change}");
        app.database().batch_execute(change).await.unwrap();
        assert_eq!(read(&app, &minsu, 12).await, [(200, 12)], "{change}");
        let payment = paid(&register(&app, EXAM, id, &minsu).await);
        assert_eq!(cancel(&app, payment, &minsu).await.status, 200, "{change}");
    }
}

/// As libpq reads them: the first host that is there and takes changes.
#[tokio::test]
async fn an_address_may_name_several_hosts() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    let (before, after) = app.service_url().split_once('@').unwrap();
    let url = format!("{before}@127.0.0.1:1,{after}?target_session_attrs=read-write");
    let options = HostOptions {
        database_url: Some(&url),
        ..HostOptions::default()
    };
    let host = HostProcess::start(&app, options);
    let registered = app
        .post(EXAM.register(id))
        .at(&host.base())
        .by(&minsu)
        .json(&crate::support::payment("45000.00", "card"))
        .await;
    assert_eq!(registered.status, 201, "{registered:?}");
}
