//! The lock in Redis that apply, enrol and cancel take: it spares the database those who can only wait.

use std::time::Duration;

use redis::AsyncCommands;
use rstest::rstest;
use sugang_tests::{Answer, App, Builder, COURSE, EXAM, Item, Kind, User, assert_answer};
use tokio::time::{sleep, timeout};

use crate::support::{Hold, cancel, paid, register, tally};

/// What takes the lock.
#[derive(Clone, Copy, Debug)]
enum Change {
    Register(Kind),
    Cancel(Kind),
}

use Change::{Cancel, Register};

/// One user, and a change that can be made again and again.
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
        // A Redis that a busy machine keeps waiting must not pass for one that is away.
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

    /// Keeps the change at work in the database until it is released.
    async fn hold(&self) -> Hold {
        let Self { item, payment, .. } = self;
        let rows = match self.change {
            // Whichever comes first: the registration where there is one, else the item.
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

    /// The name of the lock while somebody has it.
    async fn lock(&self) -> String {
        let mut names: Vec<String> = self.redis.clone().keys("*").await.expect("Redis answers");
        assert_eq!(names.len(), 1, "{names:?}");
        names.remove(0)
    }

    /// Whoever has the lock now, and for how many milliseconds more.
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

    /// The name that the lock has: seen while a request that is then cut off before its time has it.
    async fn find_lock(&self) -> String {
        let hold = self.hold().await;
        let asked = self.ask();
        let (answer, lock) = tokio::join!(asked, async {
            hold.is_waited_for().await;
            let lock = self.lock().await;
            // The request is to fail, so that it can be made once more.
            let ended = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                         where wait_event_type = 'Lock' and datname = current_database()";
            self.app.one::<i64>(ended, &[]).await;
            hold.release().await;
            lock
        });
        assert_eq!(answer.status, 503, "{answer:?}");
        self.is_released(&lock).await;
        lock
    }

    /// Waits until nobody has the lock; by its expiry would be too late.
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
async fn whoever_comes_while_it_is_held_is_sent_away(
    #[values(Register(EXAM), Register(COURSE), Cancel(EXAM), Cancel(COURSE))] change: Change,
) {
    let scene = Scene::new(change, Builder::default()).await;
    let lock = scene.find_lock().await;
    let before = scene.app.state().await;
    scene.set(&lock, "somebody else", 60_000).await;

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
    assert_eq!(holder.as_deref(), Some("somebody else"));
    assert!(ms > 30_000, "nobody shortens another's lock: {ms}");

    scene.redis.clone().del::<_, ()>(&lock).await.expect("Redis answers");
    assert_eq!(scene.ask().await.status, scene.success());
}

#[rstest]
#[tokio::test]
async fn it_expires(#[values(Register(EXAM), Cancel(COURSE))] change: Change) {
    let scene = Scene::new(change, Builder::default()).await;
    let lock = scene.find_lock().await;
    // Of a holder that is gone.
    scene.set(&lock, "somebody else", 1_500).await;
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
async fn it_is_taken_for_a_while_and_released_with_the_answer(
    #[values(Register(EXAM), Register(COURSE), Cancel(EXAM), Cancel(COURSE))] change: Change,
) {
    let scene = Scene::new(change, Builder::default().with("lock_ttl_ms", 60_000)).await;
    let mut tokens = Vec::new();
    // First it succeeds, then it is refused.
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
        "nobody guesses it: {tokens:?}"
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
        // As if the lock had expired and somebody else had taken it.
        let lock = scene.lock().await;
        scene.set(&lock, "somebody else", 60_000).await;
        hold.release().await;
        lock
    });
    assert_eq!(answer.status.as_u16(), scene.success());

    // A release that does not look would come with the answer or right after it.
    sleep(Duration::from_millis(200)).await;
    assert_eq!(scene.holder(&lock).await.0.as_deref(), Some("somebody else"));
}

/// Then two are at work at once, and the database decides.
#[rstest]
#[tokio::test]
async fn it_expires_while_its_holder_is_at_work(
    #[values(Register(EXAM), Register(COURSE), Cancel(EXAM), Cancel(COURSE))] change: Change,
) {
    let scene = Scene::new(change, Builder::default().with("lock_ttl_ms", 1_000)).await;
    let hold = scene.hold().await;

    let (first, second, ()) = tokio::join!(
        scene.ask(),
        async {
            hold.is_waited_for().await;
            let lock = scene.lock().await;
            scene.is_released(&lock).await;
            scene.ask().await
        },
        async {
            // Until the second has the lock and waits too.
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
    scene.set(&lock, "somebody else", 60_000).await;

    assert_eq!(scene.ask().await.code(), "busy");
    assert_eq!(register(app, kind, other, user).await.status, 201);
    assert_eq!(register(app, other_kind, same_id, user).await.status, 201);
    assert_eq!(register(app, kind, *item, &jiyoung).await.status, 201);
}
