//! Another program keeps something locked, an operator's forgotten transaction for one: only the requests that need it
//! wait, a few at a time and not for long.

use std::{
    future::IntoFuture,
    time::{Duration, Instant},
};

use futures::future::{join, join_all};
use rstest::rstest;
use serde_json::json;
use sugang_tests::{Answer, App, Builder, COURSE, Call, EXAM, Item, Kind, Link, PASSWORD, User, assert_answer, token};
use tokio::time::timeout;

use crate::{
    storm::assert_audit,
    support::{Hold, cancel, paid, register, tally},
};

/// Longer than these tests hold their locks.
const LONG_MS: u64 = 20_000;
/// Long enough for a few requests on a busy machine.
const PATIENCE: Duration = Duration::from_secs(4);

fn patient() -> Builder {
    App::with("lock_timeout_ms", LONG_MS).with("database_timeout_ms", LONG_MS)
}

async fn users(app: &App, n: usize) -> Vec<User> {
    let mut users = Vec::new();
    for number in 0..n {
        users.push(app.user(&format!("user{number}")).await);
    }
    users
}

/// What others do meanwhile.
async fn others(app: &App, user: &User, free: &[(Kind, i64)]) -> Vec<(String, u16)> {
    let mut seen = Vec::new();
    let mut note = |what: String, answer: Answer| seen.push((what, answer.status.as_u16()));
    let login = json!({"email": user.email, "password": PASSWORD});
    note("login".to_owned(), app.post("/login/").json(&login).await);
    for path in [
        "/tests/",
        "/courses/?search=정보",
        "/tests/?status=available",
        "/me/payments/",
        "/tests/1/",
    ] {
        note(path.to_owned(), app.get(path).by(user).await);
    }
    for (kind, id) in free {
        let registered = register(app, *kind, *id, user).await;
        let payment = paid(&registered);
        note(kind.register(*id), registered);
        note(format!("/payments/{payment}/cancel/"), cancel(app, payment, user).await);
    }
    seen
}

#[rstest]
#[case::shared(true)]
/// The negative control: without shares, those that wait hold all connections.
#[case::not_shared(false)]
#[tokio::test]
async fn a_locked_item_slows_no_other_request(#[case] shares: bool, #[values(EXAM, COURSE)] kind: Kind) {
    let app = patient().limits(|limits| limits.postgres.shares = shares).start().await;
    let (users, minsu) = (users(&app, 80).await, app.user("minsu").await);
    let locked = app.add(kind, Item::default()).await;
    let free = [
        (kind, app.add(kind, Item::default()).await),
        (EXAM, app.add(EXAM, Item::default()).await),
    ];
    let hold = Hold::new(
        &app,
        &format!("update {} set title = title where id = {locked}", kind.items),
    )
    .await;

    let rush = join_all(
        users
            .iter()
            .map(|user| register(&app, kind, locked, user).into_future()),
    );
    let (rush, ()) = join(rush, async {
        hold.is_waited_for().await;
        // Those that come later find all connections waiting.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let others = timeout(PATIENCE, others(&app, &minsu, &free)).await;
        match shares {
            true => {
                let others = others.expect("others are answered while the item is locked");
                assert!(
                    others.iter().all(|(_, status)| [200, 201].contains(status)),
                    "{others:?}"
                );
                let waiting = "select count(*) from pg_stat_activity where datname = current_database()
                               and wait_event_type = 'Lock'";
                let waiting: i64 = app.one(waiting, &[]).await;
                assert!((1..=5).contains(&waiting), "{waiting} of 20 connections wait");
            }
            false => assert!(others.is_err(), "the test shows nothing: {others:?}"),
        }
        hold.release().await;
    })
    .await;
    assert_eq!(tally(&rush), [(201, 80)]);
    assert_audit(&app).await;
}

/// Each locked thing with the request that needs it. `{…}` are those of [`Kind`]. The last column says what is answered.
const LOCKS: &[(&str, &str, u16)] = &[
    ("select from {items} where id = 1 for update", "register", 503),
    ("select from users where id = 1 for update", "register", 503),
    (
        "select pg_advisory_xact_lock(hashtextextended('{kind} 1', 1))",
        "register",
        503,
    ),
    (
        "insert into {registrations} (user_id, {item_id}) values (1, 1)",
        "register",
        503,
    ),
    ("lock table payments", "register", 503),
    ("lock table {items}", "register", 503),
    ("lock table users", "register", 503),
    ("lock table sugang.audit_log in share mode", "register", 503),
    ("lock table django_content_type", "register", 503),
    ("select from {items} for update", "cancel", 503),
    ("select from payments for update", "cancel", 503),
    ("select from {registrations} for update", "cancel", 503),
    ("select from {registrations} for update", "complete", 503),
    ("select from users for update", "cancel", 503),
    ("lock table {items}", "list", 503),
    ("lock table {items}", "detail", 503),
    ("lock table payments", "payments", 503),
    ("lock table users", "list", 503),
    (
        "insert into users (email, username, password) values ('new@example.com', 'other', '')",
        "signup",
        503,
    ),
    (
        "insert into users (email, username, password) values ('other@example.com', 'new', '')",
        "signup",
        503,
    ),
    ("lock table users in share mode", "signup", 503),
    ("select from users for update", "refresh", 503),
    ("select from users for update", "logout", 503),
    // What these need is not what is locked.
    ("select from {items} for update", "list", 200),
    ("select from {items} for update", "detail", 200),
    ("select from users for update", "list", 200),
    ("select from payments for update", "payments", 200),
    ("select from {registrations} for update", "list", 200),
    ("select from sugang.available_counts for update", "available", 200),
    ("select from {items} for update", "complete", 200),
    // A login only keeps its time.
    ("select from users for update", "login", 200),
    ("update users set email = 'else@example.com'", "login", 200),
];

fn request<'a>(app: &'a App, kind: Kind, what: &str, user: &User) -> Call<'a> {
    let refresh = json!({"refresh": token::sign(&user.claims("refresh"))});
    match what {
        "register" => register(app, kind, 1, user),
        "complete" => app.post(kind.complete(1)).by(user),
        "cancel" => cancel(app, 1, user),
        "list" => app.get(kind.path).by(user),
        "available" => app.get(format!("{}?status=available", kind.path)).by(user),
        "detail" => app.get(kind.item(1)).by(user),
        "payments" => app.get("/me/payments/").by(user),
        "signup" => app
            .post("/signup/")
            .json(&json!({"email": "new@example.com", "username": "new", "password": PASSWORD})),
        "login" => app
            .post("/login/")
            .json(&json!({"email": user.email, "password": PASSWORD})),
        "refresh" => app.post("/token/refresh/").json(&refresh),
        "logout" => app.post("/logout/").json(&refresh),
        other => unreachable!("{other}"),
    }
}

#[rstest]
#[tokio::test]
async fn what_needs_it_waits_for_a_bounded_time(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::with("lock_timeout_ms", 150)
        .with("rotate_refresh_tokens", true)
        .start()
        .await;
    let minsu = app.user("minsu").await;
    let (id, other) = (
        app.add(kind, Item::default()).await,
        app.add(kind, Item::default()).await,
    );
    for (lock, what, status) in LOCKS {
        app.run(
            "truncate payments, test_registrations, course_registrations restart identity",
            &[],
        )
        .await;
        let registered = ["cancel", "complete", "payments"].contains(what);
        if registered {
            app.register(kind, &minsu, id, kind.active).await;
        }
        let lock = lock
            .replace("{items}", kind.items)
            .replace("{registrations}", kind.registrations)
            .replace("{item_id}", kind.item_id)
            .replace("{kind}", kind.payment_type);
        let before = app.state().await;
        let hold = Hold::new(&app, &lock).await;
        let begun = Instant::now();
        let answer = request(&app, kind, what, &minsu).await;
        let took = begun.elapsed();
        hold.release().await;
        assert_eq!(answer.status, *status, "{lock}, {what}: {answer:?}");
        if *status == 503 {
            assert_eq!(
                (answer.code(), answer.header("retry-after")),
                ("locked", "1"),
                "{lock}, {what}"
            );
            assert!(took < Duration::from_secs(4), "{lock}, {what}: {took:?}");
            assert_eq!(app.state().await, before, "{lock}, {what}");
        }
        // Nothing is left of it.
        let again = request(&app, kind, what, &minsu).await;
        assert!(again.status.is_success() || *status == 200, "{lock}, {what}: {again:?}");
        app.run("delete from users where email = 'new@example.com'", &[]).await;
        app.run("delete from sugang.revoked_tokens", &[]).await;
        paid(&register(&app, kind, other, &minsu).await);
    }
}

#[tokio::test]
async fn a_locked_row_has_its_own_answer() {
    let app = App::with("lock_timeout_ms", 50).start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    let hold = Hold::item(&app, id).await;
    let with_key = || register(&app, EXAM, id, &minsu).header("idempotency-key", "one");
    assert_answer!(with_key().await, @r#"
    {
      "status": "503 Service Unavailable",
      "retry-after": "1",
      "body": {
        "code": "locked",
        "detail": "다른 작업이 끝나기를 기다리는 중입니다. 잠시 후 다시 시도해주세요.",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_answer!(with_key().in_english().await, @r#"
    {
      "status": "503 Service Unavailable",
      "retry-after": "1",
      "body": {
        "code": "locked",
        "detail": "This is being changed at the moment. Please try again in a moment.",
        "request_id": "[request id]"
      }
    }
    "#);
    hold.release().await;
    let registered = with_key().await;
    paid(&registered);
    assert_eq!(registered.header("idempotency-replayed"), "");
    // The key's own row: what it has stored is answered, and what has expired waits before it holds the item.
    let hold = Hold::new(&app, "select from sugang.idempotency_keys for update").await;
    assert_eq!(with_key().await.header("idempotency-replayed"), "true");
    hold.release().await;
    app.run(
        "update sugang.idempotency_keys set created_at = now() - interval '2 days'",
        &[],
    )
    .await;
    let hold = Hold::new(&app, "select from sugang.idempotency_keys for update").await;
    assert_eq!(with_key().await.code(), "locked");
    hold.release().await;
    assert_eq!(with_key().await.code(), "already_registered");
    assert_audit(&app).await;
}

#[rstest]
#[case::user_first("")]
/// The negative control: where the foreign keys lock the user at the end, as before, the item is locked meanwhile.
#[case::user_last("create or replace function sugang.lock_user(p_user bigint) returns void language sql as 'select'")]
#[tokio::test]
async fn a_locked_user_keeps_no_item_from_the_others(
    #[case] instead: &str,
    #[values(EXAM, COURSE)] kind: Kind,
    #[values(Link::Up, Link::Cut)] redis: Link,
) {
    let app = App::proxied()
        .with("lock_timeout_ms", LONG_MS)
        .with("database_timeout_ms", LONG_MS)
        .start()
        .await;
    // As the Django service makes them: checked at the commit, when the item is locked.
    let deferred = [kind.registrations, "payments"].map(|table| {
        format!("alter table {table} alter constraint {table}_user_id_fkey deferrable initially deferred")
    });
    let function = "select pg_get_functiondef('sugang.lock_user(bigint)'::regprocedure)";
    let function: String = app.one(function, &[]).await;
    let change = format!("{}; {instead}", deferred.join("; "));
    app.database().batch_execute(&change).await.unwrap();
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    let id = app.add(kind, Item::default()).await;
    app.redis().set(redis);
    let hold = Hold::new(&app, &format!("select from users where id = {} for update", minsu.id)).await;

    let waiting = join_all((0..12).map(|_| register(&app, kind, id, &minsu).into_future()));
    let (waited, ()) = join(waiting, async {
        hold.is_waited_for().await;
        let other = timeout(PATIENCE, register(&app, kind, id, &jiyoung).into_future()).await;
        match instead {
            "" => assert_eq!(other.expect("the item is not locked").status, 201),
            _ => assert!(other.is_err(), "the test shows nothing: {other:?}"),
        }
        hold.release().await;
    })
    .await;
    assert_eq!(tally(&waited)[0], (201, 1));
    // The audit would find the control's.
    app.database().batch_execute(&function).await.unwrap();
    assert_audit(&app).await;
}

/// Requests that wait in vain do not occupy all places of the host.
#[tokio::test]
async fn a_crowd_before_a_locked_item_is_told_to_come_back() {
    let app = App::with("lock_timeout_ms", 1000)
        .limits(|limits| limits.requests = 60)
        .start()
        .await;
    let (users, minsu) = (users(&app, 120).await, app.user("minsu").await);
    let locked = app.add(EXAM, Item::default()).await;
    let hold = Hold::item(&app, locked).await;
    let rush = join_all(
        users
            .iter()
            .map(|user| register(&app, EXAM, locked, user).into_future()),
    );
    let (rush, lists) = join(rush, async {
        hold.is_waited_for().await;
        let mut lists = Vec::new();
        for _ in 0..20 {
            lists.push(app.get("/tests/").by(&minsu).await);
        }
        lists
    })
    .await;
    hold.release().await;
    assert_eq!(tally(&lists), [(200, 20)]);
    assert_eq!(tally(&rush), [(503, 120)]);
    assert!(rush.iter().all(|answer| answer.code() == "locked"), "{rush:?}");
    paid(&register(&app, EXAM, locked, &minsu).await);
    assert_audit(&app).await;
}
