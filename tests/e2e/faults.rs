//! Stores and the host fail while customers register and cancel. Customers repeat their requests with the same keys; in
//! the end every confirmed payment exists, and the data are consistent.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use fastrand::Rng;
use futures::future::join_all;
use rstest::rstest;
use serde_json::Value;
use sugang_sdk::{
    Client, IdempotencyKey, RetryPolicy, Session,
    types::{self, Cancel, ErrorCode, Money, PaymentId, PaymentMethod, Register, Tokens},
};
use sugang_tests::{App, EXAM, HostOptions, HostProcess, Item, Kind, Link, Supervisor, User, runtime, token};
use tokio::{
    sync::{Mutex, MutexGuard},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    storm::{Storm, assert_audit},
    support::{Hold, cancel, paid, register},
};

/// An upper limit for every wait, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const CUSTOMERS: usize = 24;

/// Customers that register and cancel, one request after the other, until they are closed. Each request has a key and
/// is repeated until it is answered.
struct Customers {
    at_work: Vec<JoinHandle<Vec<Told>>>,
    open: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
}

/// A payment that was confirmed to a customer.
struct Told {
    user: i64,
    key: IdempotencyKey,
    payment: PaymentId,
    cancelled: bool,
}

impl Customers {
    fn of(storm: &Storm, base: &str) -> Self {
        let (open, answers) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let client = Client::builder(base)
            .timeout(Duration::from_secs(3))
            .retry(RetryPolicy {
                attempts: u32::MAX,
                first_wait: Duration::from_millis(20),
                longest_wait: Duration::from_secs(1),
            })
            .build()
            .expect("an address");
        let at_work = storm.users.iter().enumerate().map(|(n, user)| {
            let (items, rng) = (storm.items.clone(), Rng::with_seed(n as u64));
            runtime().spawn(shop(session(&client, user), items, rng, open.clone(), answers.clone()))
        });
        Self {
            at_work: at_work.collect(),
            open,
            answers,
        }
    }

    /// Waits until this many further requests are answered.
    async fn go_on(&self, answers: usize) {
        let wanted = self.answers.load(Ordering::Relaxed) + answers;
        let going_on = async {
            while self.answers.load(Ordering::Relaxed) < wanted {
                assert!(!self.at_work.iter().any(JoinHandle::is_finished), "a customer gave up");
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, going_on).await.expect("customers are served");
    }

    /// Lets every customer finish the current request.
    async fn close(self) -> Vec<Told> {
        self.open.store(false, Ordering::Relaxed);
        let mut told = Vec::new();
        for customer in self.at_work {
            told.extend(
                timeout(PATIENCE, customer)
                    .await
                    .expect("every request is answered")
                    .expect("no customer gave up"),
            );
        }
        told
    }
}

fn session(client: &Client, user: &User) -> Session {
    client.resume(Tokens {
        access: user.access.as_str().into(),
        refresh: token::sign(&user.claims("refresh")).into(),
        user: types::User {
            id: user.id.into(),
            email: user.email.clone(),
            username: user.username.clone(),
        },
    })
}

async fn shop(
    session: Session,
    items: Vec<(Kind, i64)>,
    mut rng: Rng,
    open: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::new();
    while open.load(Ordering::Relaxed) {
        let (kind, item) = items[rng.usize(..items.len())];
        let body = Register {
            amount: Money::won(45_000),
            payment_method: PaymentMethod::Card,
        };
        let key = IdempotencyKey::random();
        let registered = if kind == EXAM {
            session
                .exams()
                .apply(item.into(), body)
                .idempotency_key(key.clone())
                .await
        } else {
            session
                .courses()
                .enroll(item.into(), body)
                .idempotency_key(key.clone())
                .await
        };
        match registered {
            Ok(registered) => {
                let user = session.user().id.0;
                told.push(Told {
                    user,
                    key,
                    payment: registered.payment_id,
                    cancelled: false,
                });
            }
            Err(error) if matches!(error.code(), Some(ErrorCode::AlreadyRegistered | ErrorCode::SoldOut)) => {}
            Err(error) => panic!("registering: {error:?}"),
        }
        answers.fetch_add(1, Ordering::Relaxed);
        let held: Vec<usize> = (0..told.len()).filter(|n| !told[*n].cancelled).collect();
        if let Some(n) = rng.choice(held).filter(|_| rng.bool()) {
            let cancelled = session.payments().cancel(told[n].payment, Cancel::default()).await;
            cancelled.unwrap_or_else(|error| panic!("cancelling: {error:?}"));
            told[n].cancelled = true;
            answers.fetch_add(1, Ordering::Relaxed);
        }
    }
    told
}

/// Asserts that the confirmed payments exist, that no others do, and that every key took effect once.
async fn assert_told(app: &App, told: &[Told]) {
    assert_audit(app).await;
    let rows = app.rows("select id, user_id, status from payments").await;
    let payments: BTreeMap<i64, (i64, String)> = rows
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| {
            (
                number(&row["id"]),
                (
                    number(&row["user_id"]),
                    row["status"].as_str().unwrap_or_default().into(),
                ),
            )
        })
        .collect();
    let rows = app
        .rows("select user_id, key, body from sugang.idempotency_keys where outcome = 'ok'")
        .await;
    let mut registered: BTreeMap<(i64, String), i64> = BTreeMap::new();
    let mut cancelled: BTreeSet<i64> = BTreeSet::new();
    for row in rows.as_array().expect("rows") {
        let body: Value = serde_json::from_str(row["body"].as_str().unwrap_or_default()).expect("a body is JSON");
        let payment = number(&body["payment_id"]);
        if body.get("registration_id").is_some() {
            let key = row["key"].as_str().unwrap_or_default().to_owned();
            registered.insert((number(&row["user_id"]), key), payment);
        } else {
            assert!(cancelled.insert(payment), "payment {payment} was cancelled twice");
        }
    }
    for Told {
        user,
        key,
        payment,
        cancelled: gone,
    } in told
    {
        let status = if *gone { "cancelled" } else { "paid" };
        assert_eq!(
            payments.get(&payment.0),
            Some(&(*user, status.to_owned())),
            "payment {payment}"
        );
        assert_eq!(registered.get(&(*user, key.to_string())), Some(&payment.0), "key {key}");
        assert_eq!(cancelled.contains(&payment.0), *gone, "payment {payment}");
    }
    assert_eq!(
        (payments.len(), registered.len()),
        (told.len(), told.len()),
        "every payment was confirmed"
    );
    assert!(
        told.iter().filter(|told| told.cancelled).count() > 10 && told.len() > 20,
        "{} payments",
        told.len()
    );
}

fn number(value: &Value) -> i64 {
    value.as_i64().expect("a number")
}

/// The stores that may be broken, for one test at a time.
struct Stores {
    supervisor: Option<Supervisor>,
    home: MutexGuard<'static, Option<Supervisor>>,
}

impl Stores {
    async fn take() -> Self {
        static HOME: Mutex<Option<Supervisor>> = Mutex::const_new(None);
        let mut home = HOME.lock().await;
        let supervisor = match home.take() {
            Some(supervisor) => supervisor,
            None => Supervisor::of_own_stores().expect("stores that may be broken"),
        };
        Self {
            supervisor: Some(supervisor),
            home,
        }
    }

    fn supervisor(&self) -> &Supervisor {
        self.supervisor.as_ref().expect("there until it is given back")
    }

    fn command(&mut self, command: &str) {
        self.supervisor
            .as_mut()
            .expect("there until it is given back")
            .command(command);
    }

    /// Returns the stores, running. A test that fails drops them instead, since they may be broken.
    fn give_back(mut self) {
        *self.home = self.supervisor.take();
    }
}

/// Waits until `/readyz` reports this status.
async fn becomes(app: &App, status: &str) {
    let becoming = async {
        while app.get("/readyz").await.json()["status"] != status {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, becoming)
        .await
        .unwrap_or_else(|_| panic!("never {status}"));
}

/// Asserts that every endpoint that needs PostgreSQL answers 503 in bounded time, and that `/healthz` still answers
/// 200.
async fn assert_unavailable(app: &App, user: &User) {
    for path in ["/tests/", "/readyz"] {
        let begun = Instant::now();
        let answer = app.get(path).by(user).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (503, "unavailable"),
            "{path}: {answer:?}"
        );
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{path} took {:?}",
            begun.elapsed()
        );
    }
    assert_eq!(app.get("/healthz").await.status, 200);
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    RedisStopped,
    RedisRestarted,
    RedisFlushed,
    RedisFrozen,
    PostgresRestarted,
    PostgresFrozen,
    ConnectionsEnded,
}

#[rstest]
#[tokio::test]
async fn confirmed_payments_survive_failing_stores(
    #[values(
        Fault::RedisStopped,
        Fault::RedisRestarted,
        Fault::RedisFlushed,
        Fault::RedisFrozen,
        Fault::PostgresRestarted,
        Fault::PostgresFrozen,
        Fault::ConnectionsEnded
    )]
    fault: Fault,
) {
    let mut stores = Stores::take().await;
    let mut app = App::with("database_timeout_ms", 1_000)
        .on(stores.supervisor())
        .start()
        .await;
    let storm = Storm::gather(&app, CUSTOMERS).await;
    let customers = Customers::of(&storm, &app.base);
    customers.go_on(60).await;

    match fault {
        Fault::RedisStopped => {
            stores.command("redis stop");
            customers.go_on(60).await;
            becomes(&app, "degraded").await;
            stores.command("redis start");
            becomes(&app, "ok").await;
        }
        Fault::RedisRestarted => {
            for _ in 0..3 {
                stores.command("redis kill");
                stores.command("redis start");
                customers.go_on(20).await;
            }
            becomes(&app, "ok").await;
        }
        Fault::RedisFlushed => {
            let client = redis::Client::open(app.redis_url()).expect("an address");
            let mut connection = client.get_multiplexed_async_connection().await.expect("Redis answers");
            for _ in 0..20 {
                redis::cmd("FLUSHALL")
                    .exec_async(&mut connection)
                    .await
                    .expect("Redis answers");
                customers.go_on(5).await;
            }
        }
        Fault::RedisFrozen => {
            stores.command("redis freeze");
            customers.go_on(60).await;
            becomes(&app, "degraded").await;
            stores.command("redis thaw");
            becomes(&app, "ok").await;
        }
        Fault::PostgresRestarted => {
            stores.command("postgres kill");
            assert_unavailable(&app, &storm.users[0]).await;
            stores.command("postgres start");
            app.reconnect().await;
        }
        Fault::PostgresFrozen => {
            stores.command("postgres freeze");
            assert_unavailable(&app, &storm.users[0]).await;
            stores.command("postgres thaw");
        }
        Fault::ConnectionsEnded => {
            for _ in 0..5 {
                let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                           where datname = current_database() and pid <> pg_backend_pid()";
                assert!(app.one::<i64>(end, &[]).await > 0);
                customers.go_on(20).await;
            }
        }
    }

    customers.go_on(60).await;
    assert_told(&app, &customers.close().await).await;
    drop(app);
    stores.give_back();
}

#[tokio::test]
async fn confirmed_payments_survive_a_killed_host() {
    let app = App::start().await;
    let storm = Storm::gather(&app, CUSTOMERS).await;
    let mut host = HostProcess::start(&app, HostOptions::default());
    let customers = Customers::of(&storm, &host.base());
    customers.go_on(60).await;

    for _ in 0..3 {
        let port = host.port;
        // SIGKILL: the host cannot clean up.
        drop(host);
        host = HostProcess::start(
            &app,
            HostOptions {
                port,
                ..HostOptions::default()
            },
        );
        customers.go_on(40).await;
    }

    assert_told(&app, &customers.close().await).await;
}

#[tokio::test]
async fn full_service_returns_within_a_second_of_postgresql() {
    let mut stores = Stores::take().await;
    let app = App::with("database_timeout_ms", 1_000)
        .on(stores.supervisor())
        .start()
        .await;
    let minsu = app.user("minsu").await;
    assert_eq!(app.get("/tests/").by(&minsu).await.status, 200);
    // The shortest of several, so that other load on the machine does not count.
    let mut shortest = Duration::MAX;
    for _ in 0..5 {
        stores.command("postgres kill");
        assert_unavailable(&app, &minsu).await;
        stores.command("postgres start");
        let returned = Instant::now();
        while app.get("/tests/").by(&minsu).await.status != 200 {
            assert!(
                returned.elapsed() < PATIENCE,
                "no service {:?} after",
                returned.elapsed()
            );
            sleep(Duration::from_millis(10)).await;
        }
        shortest = returned.elapsed().min(shortest);
        if shortest < Duration::from_secs(1) {
            break;
        }
    }
    assert!(shortest < Duration::from_secs(1), "no service {shortest:?} after");
    drop(app);
    stores.give_back();
}

#[tokio::test]
async fn every_operation_works_without_redis() {
    let app = App::proxied().start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    for link in [Link::Cut, Link::Hung] {
        app.redis().set(link);
        for path in ["/tests/", "/tests/1/", "/courses/", "/me/payments/"] {
            assert_eq!(app.get(path).by(&minsu).await.status, 200, "{path}");
        }
        let payment = paid(&register(&app, EXAM, id, &minsu).await);
        assert_eq!(register(&app, EXAM, id, &minsu).await.status, 400);
        assert_eq!(cancel(&app, payment, &minsu).await.status, 200);
        becomes(&app, "degraded").await;
        app.redis().set(Link::Up);
        becomes(&app, "ok").await;
    }
    assert_audit(&app).await;
}

/// One request waits for the timeout; the following ones do not, at whichever instance, until Redis answers again.
#[tokio::test]
async fn a_hanging_redis_is_left_alone() {
    let app = App::proxied().with("redis_timeout_ms", 4_000).start().await;
    let a_timeout = Duration::from_millis(3_900);
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    assert_eq!(register(&app, EXAM, id, &minsu).await.status, 201);
    app.redis().set(Link::Hung);

    let mut waits = Vec::new();
    for _ in 0..10 {
        let begun = Instant::now();
        assert_eq!(register(&app, EXAM, id, &minsu).await.status, 400);
        waits.push(begun.elapsed());
    }
    let waited = waits.iter().filter(|wait| **wait >= a_timeout).count();
    assert_eq!(waited, 1, "{waits:?}");
    // Longer than an instance leaves it alone.
    sleep(Duration::from_millis(1_200)).await;
    let begun = Instant::now();
    join_all((0..4).map(|_| async { register(&app, EXAM, id, &minsu).await })).await;
    assert!(begun.elapsed() < a_timeout, "{:?}", begun.elapsed());

    app.redis().set(Link::Up);
    becomes(&app, "ok").await;
}

/// The statement continues in PostgreSQL after its request has timed out. Its key finds the effect.
#[tokio::test]
async fn a_hanging_postgresql_costs_a_request_its_timeout() {
    let app = App::proxied().with("database_timeout_ms", 300).start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    let hold = Hold::item(&app, id).await;
    let ask = || register(&app, EXAM, id, &minsu).header("idempotency-key", "a-key");

    let begun = Instant::now();
    let answer = ask().await;
    assert_eq!((answer.status.as_u16(), answer.code()), (503, "unavailable"));
    assert!(begun.elapsed() >= Duration::from_millis(300) && begun.elapsed() < Duration::from_secs(5));
    hold.release().await;

    let answered = async {
        loop {
            let answer = ask().await;
            // Under way, or not answered in the short time either.
            if ![409, 503].contains(&answer.status.as_u16()) {
                break answer;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = timeout(PATIENCE, answered).await.expect("the first request ends");
    assert_eq!(answer.status, 201);
    assert_audit(&app).await;
    assert_eq!(app.one::<i64>("select count(*) from payments", &[]).await, 1);
}
