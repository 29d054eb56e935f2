//! PostgreSQL's standby takes over while requests run: it answers reads, and once it is promoted, changes as well. What a
//! client was told is there, and nothing happened twice.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use futures::future::{join, join_all};
use rstest::rstest;
use serde_json::json;
use sugang_tests::{App, COURSE, EXAM, Item, Kind, PASSWORD, Proxy, RedisServer, Replicated, User};
use tokio::time::sleep;

use crate::{
    failover::add_frequent,
    storm::assert_audit,
    support::{payment, register},
};

const USERS: usize = 8;

/// How the primary is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    Crashed,
    /// It lives on, but the network passes nothing on.
    Unreachable,
}

/// Registers, and sends the request again until it is answered, as the SDK does. Returns the payment.
async fn insist(app: &App, kind: Kind, id: i64, user: &User) -> i64 {
    let key = format!("{}-{}-{id}", user.id, kind.path);
    loop {
        let answer = app
            .post(kind.register(id))
            .by(user)
            .header("idempotency-key", key.as_bytes())
            .json(&payment("45000.00", "card"))
            .await;
        match (answer.status.as_u16(), answer.code()) {
            (201, _) => return answer.json()["payment_id"].as_i64().expect("a payment has an id"),
            (503, "unavailable" | "read_only" | "overloaded") | (409, "busy" | "request_in_progress") => {}
            _ => panic!("{answer:?}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// Reads until the end, and checks each answer.
async fn read(app: &App, user: &User, ended: &AtomicBool) {
    let paths = ["/tests/1/", "/courses/1/", "/tests/?search=frequent", "/me/payments/"];
    for path in paths.iter().cycle() {
        if ended.load(Relaxed) {
            return;
        }
        let answer = app.get(path).by(user).await;
        match answer.status.as_u16() {
            200 if path.ends_with("1/") => assert_eq!(answer.json()["id"], 1, "{path}: {answer:?}"),
            200 => assert!(answer.json()["results"].is_array(), "{path}: {answer:?}"),
            _ => assert_eq!(
                (answer.status.as_u16(), answer.code()),
                (503, "unavailable"),
                "{path}: {answer:?}"
            ),
        }
    }
}

/// Waits until a request is answered with this status and code.
async fn until(app: &App, path: &str, user: &User, status: u16, code: &str) {
    let begun = Instant::now();
    loop {
        let call = if path.ends_with("apply/") {
            app.post(path).by(user).json(&payment("45000.00", "card"))
        } else {
            app.get(path).by(user)
        };
        let answer = call.await;
        if answer.status == status && (status < 400 || answer.code() == code) {
            return;
        }
        assert_eq!(answer.status, 503, "{path}: {answer:?}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{path}: {answer:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[rstest]
#[tokio::test]
async fn a_standby_takes_over_while_requests_run(#[values(Loss::Crashed, Loss::Unreachable)] loss: Loss) {
    let Some(redis) = RedisServer::start("").await else {
        return;
    };
    let Some(mut postgres) = Replicated::start().await else {
        return;
    };
    let address = Proxy::in_front_of(postgres.primary()).await.unwrap();
    let mut app = App::with("database_timeout_ms", 3000)
        .on_stores(address.url(), &redis.url().parse().unwrap())
        .start()
        .await;
    app.alter_database("reset synchronous_commit").await;
    app.restart().await;
    let users = join_all((0..USERS).map(async |n| app.user(&format!("user{n}")).await)).await;
    let mut items = Vec::new();
    for n in 0..10 {
        let kind = [EXAM, COURSE][n % 2];
        items.push((kind, app.add(kind, Item::default()).await));
    }
    add_frequent(&app).await;
    let later = app.add(EXAM, Item::default()).await;
    let jisu = app.user("jisu").await;

    let (ended, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let writing = async {
        let by_user = users.iter().map(async |user| {
            let mut payments = Vec::new();
            for (kind, id) in &items {
                payments.push(insist(&app, *kind, *id, user).await);
                answered.fetch_add(1, Relaxed);
            }
            payments
        });
        let payments: Vec<i64> = join_all(by_user).await.into_iter().flatten().collect();
        ended.store(true, Relaxed);
        payments
    };
    let failing_over = async {
        while answered.load(Relaxed) < USERS * 3 {
            sleep(Duration::from_millis(5)).await;
        }
        if loss == Loss::Crashed {
            postgres.crash_primary();
        } else {
            address.lose_connections();
        }
        address.lead_to(postgres.standby());
        // Before it is promoted.
        for path in [
            "/tests/1/",
            "/tests/",
            "/tests/?status=available",
            "/tests/?search=frequent",
            "/tests/?search=frequent&status=available&sort=popular",
            "/tests/?search=-frequent",
            "/tests/?search=nothing",
            "/courses/?sort=popular",
            "/me/payments/",
            "/me/payments/?search=frequent",
        ] {
            until(&app, path, &jisu, 200, "").await;
        }
        until(&app, &EXAM.register(later), &jisu, 503, "read_only").await;
        let login = app
            .post("/login/")
            .json(&json!({"email": jisu.email, "password": PASSWORD}))
            .await;
        assert_eq!(login.status, 200, "{login:?}");
        assert_eq!(
            app.get("/readyz").await.json()["reasons"],
            json!(["database_read_only"])
        );

        postgres.promote().await;
        let begun = Instant::now();
        until(&app, &EXAM.register(later), &jisu, 201, "").await;
        begun.elapsed()
    };
    let ((payments, took), ()) = join(join(writing, failing_over), async {
        join_all(users[..2].iter().map(|user| read(&app, user, &ended))).await;
    })
    .await;
    assert!(took < Duration::from_secs(10), "changes took {took:?} to come back");

    app.reconnect().await;
    assert_eq!(payments.len(), USERS * items.len());
    let kept = "select count(distinct p.id) from payments p
                where p.id = any($1) and p.status = 'paid' and p.amount = 45000";
    assert_eq!(
        app.one::<i64>(kept, &[&payments]).await,
        i64::try_from(payments.len()).unwrap()
    );
    let all: i64 = app.one("select count(*) from payments", &[]).await;
    assert_eq!(
        all,
        i64::try_from(payments.len()).unwrap() + 1,
        "and nothing was paid twice"
    );
    assert_eq!(register(&app, EXAM, later, &jisu).await.code(), "already_registered");
    assert_eq!(app.get("/readyz").await.json()["status"], "ok");
    assert_audit(&app).await;
}
