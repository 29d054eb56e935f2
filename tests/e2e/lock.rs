//! The lock in Redis around apply, enrol and cancel. It keeps requests that could only wait away from the database.

use std::time::Duration;

use redis::AsyncCommands;
use rstest::rstest;
use sugang_tests::{Answer, App, Builder, COURSE, EXAM, Item, Kind, User, assert_answer};
use tokio::time::{sleep, timeout};

use crate::support::{Hold, cancel, paid, register, tally};

/// An operation that takes the lock.
#[derive(Clone, Copy, Debug)]
enum Change {
    Register(Kind),
    Cancel(Kind),
}

use Change::{Cancel, Register};

/// One user, and a change to repeat.
struct Scene {
    app: App,
    redis: redis::aio::MultiplexedConnection,
    user: User,
    change: Change,
    item: i64,
    payment: i64,
}

impl Scene {
    async fn new(change: Change, builder: Builder) -> Self {
        // On a busy machine, a slow Redis must not be taken for an unavailable one.
        let app = builder.with("redis_timeout_ms", 10_000).start().await;
        let client = redis::Client::open(app.redis_url()).expect("an address");
        let redis = client.get_multiplexed_async_connection().await.expect("Redis answers");
        let user = app.user("minsu").await;
        let (Register(kind) | Cancel(kind)) = change;
        let item = app.add(kind, Item::default()).await;
        let payment = match change {
            Register(_) => 0,
            Cancel(_) => paid(&register(&app, kind, item, &user).await),
        };
        Self {
            app,
            redis,
            user,
            change,
            item,
            payment,
        }
    }

    async fn ask(&self) -> Answer {
        match self.change {
            Register(kind) => register(&self.app, kind, self.item, &self.user).await,
            Cancel(_) => cancel(&self.app, self.payment, &self.user).await,
        }
    }

    fn success(&self) -> u16 {
        if matches!(self.change, Register(_)) { 201 } else { 200 }
    }

    /// Blocks the change in the database until the hold is released.
    async fn hold(&self) -> Hold {
        let Self { item, payment, .. } = self;
        let rows = match self.change {
            // The first row that the change locks: the registration if there is one, or else the item.
            Register(Kind {
                items,
                registrations,
                item_id,
                ..
            }) => format!(
                "select from {items} where id = {item} for update;
                 select from {registrations} where {item_id} = {item} for update"
            ),
            Cancel(_) => format!("select from payments where id = {payment} for update"),
        };
        Hold::new(&self.app, &rows).await
    }

    /// The name of the lock, while it is held.
    async fn lock(&self) -> String {
        let mut names: Vec<String> = self.redis.clone().keys("{sugang}:[rc]*").await.expect("Redis answers");
        assert_eq!(names.len(), 1, "{names:?}");
        names.remove(0)
    }

    /// The current holder of the lock, and the milliseconds until the lock expires.
    async fn holder(&self, lock: &str) -> (Option<String>, i64) {
        let mut redis = self.redis.clone();
        (
            redis.get(lock).await.expect("Redis answers"),
            redis.pttl(lock).await.expect("Redis answers"),
        )
    }

    async fn set(&self, lock: &str, token: &str, ms: u64) {
        self.redis
            .clone()
            .pset_ex::<_, _, ()>(lock, token, ms)
            .await
            .expect("Redis answers");
    }

    /// Finds the name of the lock while a request holds it. The request then fails, so that it can be repeated.
    async fn find_lock(&self) -> String {
        let hold = self.hold().await;
        let asked = self.ask();
        let (answer, lock) = tokio::join!(asked, async {
            hold.is_waited_for().await;
            let lock = self.lock().await;
            // Makes the request fail, so that it can be repeated.
            let ended = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                         where $1 = any (pg_blocking_pids(pid))";
            assert!(self.app.one::<i64>(ended, &[&hold.pid().await]).await > 0);
            hold.release().await;
            lock
        });
        assert_eq!(answer.status, 503, "{answer:?}");
        self.is_released(&lock).await;
        lock
    }

    /// Waits until the lock is released, for less time than its expiry takes.
    async fn is_released(&self, lock: &str) {
        let released = async {
            while self.holder(lock).await.0.is_some() {
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(Duration::from_secs(2), released)
            .await
            .expect("the lock is released");
    }
}

#[rstest]
#[tokio::test]
async fn a_request_that_meets_the_lock_is_refused(
    #[values(Register(EXAM), Register(COURSE), Cancel(EXAM), Cancel(COURSE))] change: Change,
) {
    let scene = Scene::new(change, Builder::default()).await;
    let lock = scene.find_lock().await;
    let before = scene.app.state().await;
    scene.set(&lock, "another request", 60_000).await;

    assert_answer!(scene.ask().await, @r#"
    {
      "status": "409 Conflict",
      "retry-after": "1",
      "body": {
        "code": "busy",
        "error": "잠시 후 다시 시도해주세요",
        "request_id": "[request id]"
      }
    }
    "#);

    assert_eq!(scene.app.state().await, before);
    let (holder, ms) = scene.holder(&lock).await;
    assert_eq!(holder.as_deref(), Some("another request"));
    assert!(ms > 30_000, "a refused request leaves the lock as it is: {ms}");

    scene.redis.clone().del::<_, ()>(&lock).await.expect("Redis answers");
    assert_eq!(scene.ask().await.status, scene.success());
}

#[rstest]
#[tokio::test]
async fn an_abandoned_lock_expires(#[values(Register(EXAM), Cancel(COURSE))] change: Change) {
    let scene = Scene::new(change, Builder::default()).await;
    let lock = scene.find_lock().await;
    // The lock of a holder that has died.
    scene.set(&lock, "another request", 1_500).await;
    assert_eq!(scene.ask().await.code(), "busy");

    let answered = async {
        loop {
            let answer = scene.ask().await;
            if answer.status != 409 {
                break answer;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = timeout(Duration::from_secs(5), answered)
        .await
        .expect("the lock expires");
    assert_eq!(answer.status, scene.success());
}

#[rstest]
#[tokio::test]
async fn it_is_held_until_the_response(
    #[values(Register(EXAM), Register(COURSE), Cancel(EXAM), Cancel(COURSE))] change: Change,
) {
    let scene = Scene::new(change, Builder::default().with("lock_ttl_ms", 60_000)).await;
    let mut tokens = Vec::new();
    // The first change succeeds, the second one is refused.
    for status in [scene.success(), 400] {
        let hold = scene.hold().await;
        let (answer, lock) = tokio::join!(scene.ask(), async {
            hold.is_waited_for().await;
            let lock = scene.lock().await;
            let (token, ms) = scene.holder(&lock).await;
            assert!((30_000..=60_000).contains(&ms), "{ms}");
            tokens.extend(token);
            hold.release().await;
            lock
        });
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
        assert_eq!(scene.holder(&lock).await.0, None);
    }
    assert_ne!(tokens[0], tokens[1]);
    assert!(
        tokens.iter().all(|token| token.len() >= 16),
        "a token cannot be guessed: {tokens:?}"
    );
}

#[rstest]
#[tokio::test]
async fn only_its_holder_releases_it(
    #[values(Register(EXAM), Register(COURSE), Cancel(EXAM), Cancel(COURSE))] change: Change,
) {
    let scene = Scene::new(change, Builder::default()).await;
    let hold = scene.hold().await;

    let (answer, lock) = tokio::join!(scene.ask(), async {
        hold.is_waited_for().await;
        // Simulates that the lock has expired and another request has taken it.
        let lock = scene.lock().await;
        scene.set(&lock, "another request", 60_000).await;
        hold.release().await;
        lock
    });
    assert_eq!(answer.status.as_u16(), scene.success());

    // A release that does not check the holder would happen with the response or right after it.
    sleep(Duration::from_millis(200)).await;
    assert_eq!(scene.holder(&lock).await.0.as_deref(), Some("another request"));
}

/// Two requests then run at the same time, and the database decides.
#[rstest]
#[tokio::test]
async fn the_database_decides_after_it_has_expired(
    #[values(Register(EXAM), Register(COURSE), Cancel(EXAM), Cancel(COURSE))] change: Change,
) {
    let scene = Scene::new(change, Builder::default()).await;
    let hold = scene.hold().await;

    let (first, second, ()) = tokio::join!(
        scene.ask(),
        async {
            hold.is_waited_for().await;
            let lock = scene.lock().await;
            let expired = scene.redis.clone().pexpire::<_, ()>(&lock, 1).await;
            expired.expect("Redis answers");
            scene.is_released(&lock).await;
            scene.ask().await
        },
        async {
            // Until the second request holds the lock and waits as well.
            let waiting = "select count(*) from pg_stat_activity
                           where datname = current_database() and wait_event_type = 'Lock'";
            while scene.app.one::<i64>(waiting, &[]).await < 2 {
                sleep(Duration::from_millis(2)).await;
            }
            hold.release().await;
        }
    );

    assert_eq!(
        tally(&[first, second]),
        [(scene.success(), 1), (400, 1)].into_iter().collect::<Vec<_>>()
    );
    let payments: i64 = scene.app.one("select count(*) from payments", &[]).await;
    assert_eq!(payments, 1);
}

#[rstest]
#[tokio::test]
async fn it_is_for_one_user_and_one_item(#[values(EXAM, COURSE)] kind: Kind) {
    let scene = Scene::new(Register(kind), Builder::default()).await;
    let Scene { app, user, item, .. } = &scene;
    let other_kind = if kind == EXAM { COURSE } else { EXAM };
    let (other, same_id) = (
        app.add(kind, Item::default()).await,
        app.add(other_kind, Item::default()).await,
    );
    assert_eq!(same_id, *item);
    let jiyoung = app.user("jiyoung").await;
    let lock = scene.find_lock().await;
    scene.set(&lock, "another request", 60_000).await;

    assert_eq!(scene.ask().await.code(), "busy");
    assert_eq!(register(app, kind, other, user).await.status, 201);
    assert_eq!(register(app, other_kind, same_id, user).await.status, 201);
    assert_eq!(register(app, kind, *item, &jiyoung).await.status, 201);
}
