//! The pool, on connections that exist in memory only.

use std::{
    pin::pin,
    sync::atomic::{
        AtomicBool, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
};

use futures::{FutureExt as _, poll};
use tokio::{
    task::yield_now,
    time::{sleep, timeout},
};

use super::*;

/// Long enough for anything that happens at once on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections that exist in memory only.
#[derive(Default)]
struct Fake {
    opened: AtomicUsize,
    refuses: AtomicBool,
    /// Cleaning never ends.
    hangs: AtomicBool,
    /// The server has no room for another connection.
    is_full: AtomicBool,
    refused: AtomicUsize,
}

#[derive(Default)]
struct FakeConnection {
    number: usize,
    closed: AtomicBool,
    cleaned: Mutex<Vec<bool>>,
    dirty_for_ever: AtomicBool,
    dropped_by_network: AtomicBool,
    second_rate: AtomicBool,
    checks: AtomicUsize,
    discarded: AtomicBool,
    abandoned: AtomicBool,
}

impl Manager for Arc<Fake> {
    type Connection = FakeConnection;

    async fn connect(&self) -> Result<FakeConnection, ConnectError> {
        if self.is_full.load(SeqCst) {
            self.refused.fetch_add(1, SeqCst);
            return Err(ConnectError::Full("too many clients".to_owned()));
        }
        match self.refuses.load(SeqCst) {
            true => Err(ConnectError::Failed("refused".to_owned())),
            false => Ok(FakeConnection {
                number: self.opened.fetch_add(1, SeqCst),
                ..FakeConnection::default()
            }),
        }
    }

    fn is_second_rate(&self, connection: &FakeConnection) -> bool {
        connection.second_rate.load(SeqCst)
    }

    async fn check(&self, connection: &FakeConnection) -> bool {
        connection.checks.fetch_add(1, SeqCst);
        if connection.dropped_by_network.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        true
    }

    fn is_closed(&self, connection: &FakeConnection) -> bool {
        connection.closed.load(SeqCst)
    }

    async fn clean(&self, connection: &FakeConnection, in_transaction: bool) -> bool {
        if self.hangs.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        lock(&connection.cleaned).push(in_transaction);
        !connection.dirty_for_ever.load(SeqCst)
    }

    fn discard(&self, connection: &FakeConnection) {
        connection.discarded.store(true, SeqCst);
    }

    async fn abandon(&self, connection: &FakeConnection) {
        connection.abandoned.store(true, SeqCst);
    }
}

struct Setup {
    fake: Arc<Fake>,
    tasks: TaskTracker,
    pool: Arc<Pool<Arc<Fake>>>,
}

fn limits(connections: usize) -> PoolLimits {
    PoolLimits {
        connections,
        statements: 64,
        wait: PATIENCE,
        recycle: PATIENCE,
        idle: PATIENCE,
        age: PATIENCE,
        pause: PATIENCE,
        check: Duration::from_millis(50),
    }
}

fn setup(limits: PoolLimits) -> Setup {
    let (fake, tasks) = (Arc::<Fake>::default(), TaskTracker::new());
    let pool = Arc::new(Pool::new(fake.clone(), limits, Handle::current(), tasks.clone()));
    Setup { fake, tasks, pool }
}

impl Setup {
    async fn borrow(&self) -> PooledConnection<Arc<Fake>> {
        self.pool.borrow(Claim::default()).await.expect("a connection")
    }

    /// The numbers of the idle connections, the one that was used last at the end.
    fn idle(&self) -> Vec<usize> {
        self.pool.idle.map(|connection| connection.number)
    }

    /// Waits until all returned connections are cleaned.
    async fn settled(&self) {
        let settled = async {
            while !self.tasks.is_empty() {
                yield_now().await;
            }
        };
        timeout(PATIENCE, settled).await.expect("the background work ends");
    }
}

#[tokio::test]
async fn the_connection_that_was_used_last_is_reused_first() {
    let setup = setup(limits(3));
    let (first, second) = (setup.borrow().await, setup.borrow().await);
    drop(first);
    drop(second);
    let (again, other) = (setup.borrow().await, setup.borrow().await);
    assert_eq!((again.get().number, other.get().number), (1, 0));
    assert_eq!(setup.fake.opened.load(Relaxed), 2);
    assert!(
        lock(&again.get().cleaned).is_empty(),
        "a clean connection is not cleaned"
    );
}

#[tokio::test]
async fn at_the_limit_borrowers_wait_in_order_and_then_fail() {
    let setup = setup(PoolLimits {
        wait: Duration::from_millis(200),
        ..limits(1)
    });
    let held = setup.borrow().await;
    let (mut second, mut third) = (
        pin!(setup.pool.borrow(Claim::default())),
        pin!(setup.pool.borrow(Claim::default())),
    );
    assert!(poll!(&mut second).is_pending() && poll!(&mut third).is_pending());
    drop(held);
    let second = second.await.expect("the connection is free");
    assert!(poll!(&mut third).is_pending(), "the second borrower came first");
    let error = third.await.err().expect("the limit is reached").to_string();
    assert_eq!(error, "all 1 connections stayed in use for 200ms");
    drop(second);
    assert_eq!(setup.borrow().await.get().number, 0);
}

#[tokio::test]
async fn a_borrower_that_gives_up_waiting_takes_no_place() {
    let setup = setup(limits(1));
    let held = setup.borrow().await;
    {
        let mut impatient = pin!(setup.pool.borrow(Claim::default()));
        assert!(poll!(&mut impatient).is_pending());
    }
    drop(held);
    assert!(setup.pool.borrow(Claim::default()).now_or_never().is_some());
}

#[tokio::test]
async fn admission_limits_statements_and_not_transactions() {
    let setup = setup(PoolLimits {
        statements: 1,
        ..limits(3)
    });
    let _statement = setup.borrow().await;
    // At once: a statement that runs for long keeps no other one from its place.
    assert!(setup.pool.borrow(Claim::default()).now_or_never().is_none());
    assert!(setup.pool.pin().await.is_ok());
}

#[tokio::test]
async fn a_lost_connection_is_never_given_out_again() {
    let setup = setup(limits(2));
    let (returned_lost, lost_while_idle) = (setup.borrow().await, setup.borrow().await);
    returned_lost.get().closed.store(true, SeqCst);
    let idle = lost_while_idle.connection.clone();
    drop((returned_lost, lost_while_idle));
    idle.connection.closed.store(true, SeqCst);
    assert_eq!(setup.borrow().await.get().number, 2);
    assert_eq!(setup.idle().len(), 1);
}

#[tokio::test]
async fn an_old_connection_is_closed_when_another_is_returned() {
    let setup = setup(PoolLimits {
        idle: Duration::from_millis(30),
        ..limits(2)
    });
    let (old, recent) = (setup.borrow().await, setup.borrow().await);
    drop(old);
    sleep(Duration::from_millis(40)).await;
    drop(recent);
    assert_eq!(setup.idle(), [1]);
}

#[tokio::test]
async fn what_a_borrower_left_is_cleaned_before_the_next_one() {
    let setup = setup(limits(1));
    let running = setup.borrow().await;
    running.set_condition(Condition::Running);
    drop(running);
    assert!(
        setup.pool.borrow(Claim::default()).now_or_never().is_none(),
        "it counts while it is cleaned"
    );
    let again = setup.borrow().await;
    assert_eq!(
        (again.get().number, lock(&again.get().cleaned).clone()),
        (0, vec![false])
    );
    drop(again);

    let pinned = setup.pool.pin().await.expect("a connection");
    pinned.set_condition(Condition::Clean);
    drop(pinned);
    assert_eq!(
        *lock(&setup.borrow().await.get().cleaned),
        [false, true],
        "pinned stays pinned"
    );
}

#[tokio::test]
async fn work_that_is_dropped_leaves_its_connection_running() {
    let setup = setup(limits(1));
    let connection = setup.borrow().await;
    assert!(
        connection
            .running(std::future::pending::<()>())
            .now_or_never()
            .is_none()
    );
    assert_eq!(*lock(&connection.condition), Condition::Running);
    connection.running(async {}).await;
    assert_eq!(*lock(&connection.condition), Condition::Clean);
}

#[tokio::test]
async fn a_connection_that_cannot_be_cleaned_is_ended() {
    let setup = setup(PoolLimits {
        recycle: Duration::from_millis(20),
        ..limits(1)
    });
    for (number, what) in ["ended", "dirty", "hanging"].into_iter().enumerate() {
        let borrowed = setup.borrow().await;
        let connection = borrowed.connection.clone();
        assert_eq!(connection.connection.number, number);
        borrowed.set_condition(if what == "ended" {
            Condition::Ended
        } else {
            Condition::Running
        });
        connection.connection.dirty_for_ever.store(true, SeqCst);
        setup.fake.hangs.store(what == "hanging", SeqCst);
        drop(borrowed);
        setup.settled().await;
        let connection = &connection.connection;
        let ends = (connection.discarded.load(SeqCst), connection.abandoned.load(SeqCst));
        assert_eq!(ends, (what != "hanging", what == "hanging"), "{what}");
        assert_eq!(setup.idle(), [] as [usize; 0], "{what}");
    }
}

#[tokio::test]
async fn a_failed_connect_gives_its_place_back() {
    let setup = setup(limits(1));
    setup.fake.refuses.store(true, SeqCst);
    assert_eq!(
        setup
            .pool
            .borrow(Claim::default())
            .await
            .err()
            .expect("no connection")
            .to_string(),
        "refused"
    );
    setup.fake.refuses.store(false, SeqCst);
    assert!(setup.pool.borrow(Claim::default()).now_or_never().is_some());
}

#[tokio::test]
async fn a_closed_pool_gives_out_and_keeps_no_connection() {
    let setup = setup(limits(3));
    let (idle, clean, running) = (setup.borrow().await, setup.borrow().await, setup.borrow().await);
    running.set_condition(Condition::Running);
    drop(idle);
    let waiting = tokio::spawn({
        let (pool, first) = (setup.pool.clone(), setup.borrow().await);
        async move {
            let waiting = pool.borrow(Claim::default()).await;
            drop(first);
            waiting
        }
    });
    yield_now().await;
    setup.tasks.close();
    setup.pool.close();
    let waiting = waiting.await.expect("it ends");
    assert!(matches!(waiting, Err(PoolError::Stopping)));
    assert!(matches!(
        setup.pool.borrow(Claim::default()).await,
        Err(PoolError::Stopping)
    ));
    drop((clean, running));
    setup.settled().await;
    assert_eq!(setup.idle(), [] as [usize; 0]);
}

#[tokio::test]
async fn a_connection_is_checked_after_a_pause_and_the_others_go_with_a_dead_one() {
    let setup = setup(PoolLimits {
        pause: Duration::from_millis(30),
        ..limits(3)
    });
    let three = (setup.borrow().await, setup.borrow().await, setup.borrow().await);
    drop(three);
    let busy = setup.borrow().await;
    assert_eq!(busy.get().checks.load(SeqCst), 0, "it was used a moment ago");
    let number = busy.get().number;
    drop(busy);
    sleep(Duration::from_millis(40)).await;
    let paused = setup.borrow().await;
    assert_eq!((paused.get().number, paused.get().checks.load(SeqCst)), (number, 1));
    let dead = paused.connection.clone();
    drop(paused);

    dead.connection.dropped_by_network.store(true, SeqCst);
    sleep(Duration::from_millis(40)).await;
    assert_eq!(setup.borrow().await.get().number, 3, "a new one");
    assert!(dead.connection.discarded.load(SeqCst));
    assert_eq!(setup.idle(), [3], "the others were used before it");
}

#[tokio::test]
async fn after_a_failure_the_other_connections_are_checked_before_their_next_use() {
    let setup = setup(limits(3));
    let (failing, other) = (setup.borrow().await, setup.borrow().await);
    drop(other);
    failing.suspect();
    drop(failing);
    assert_eq!(setup.idle(), [1], "the one that failed is ended");
    for _ in 0..2 {
        assert_eq!(setup.borrow().await.get().checks.load(SeqCst), 1, "checked once");
    }
}

#[tokio::test]
async fn a_connection_serves_for_a_limited_time() {
    let setup = setup(PoolLimits {
        age: Duration::from_millis(40),
        ..limits(2)
    });
    let (idle, borrowed) = (setup.borrow().await, setup.borrow().await);
    drop(idle);
    sleep(Duration::from_millis(50)).await;
    drop(borrowed);
    assert_eq!(setup.borrow().await.get().number, 2);
    assert_eq!(setup.idle(), [2]);
}

#[tokio::test]
async fn a_renewed_pool_uses_no_connection_from_before() {
    let setup = setup(limits(3));
    let (idle, borrowed, failing) = (setup.borrow().await, setup.borrow().await, setup.borrow().await);
    drop(idle);
    failing.renew();
    drop((borrowed, failing));
    assert_eq!(setup.idle(), [] as [usize; 0]);
    let new = setup.borrow().await;
    assert_eq!(new.get().number, 3);
    new.renew();
    drop(new);
    assert_eq!(setup.idle(), [3], "the server is at fault");
    sleep(Duration::from_millis(110)).await;
    setup.borrow().await.renew();
    assert_eq!(setup.idle(), [] as [usize; 0]);
}

#[tokio::test]
async fn a_second_rate_connection_is_replaced_soon() {
    let setup = setup(limits(1));
    let young = setup.borrow().await;
    young.get().second_rate.store(true, SeqCst);
    drop(young);
    let again = setup.borrow().await;
    assert_eq!(again.get().number, 0);
    sleep(SECOND_RATE).await;
    drop(again);
    assert_eq!(setup.borrow().await.get().number, 1);
}

/// Borrowers share the connections that there are, and few of them knock at the server meanwhile.
#[tokio::test]
async fn while_the_server_is_full_borrowers_wait_for_a_connection() {
    let setup = setup(limits(32));
    let only = setup.borrow().await;
    setup.fake.is_full.store(true, SeqCst);
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let pool = setup.pool.clone();
            tokio::spawn(async move {
                let borrowed = pool.borrow(Claim::default()).await.expect("a connection");
                sleep(Duration::from_millis(5)).await;
                borrowed.get().number
            })
        })
        .collect();
    sleep(Duration::from_millis(20)).await;
    let first = setup.fake.refused.load(SeqCst);
    drop(only);
    for waiting in waiting {
        assert_eq!(waiting.await.expect("it ends"), 0);
    }
    let refused = setup.fake.refused.load(SeqCst);
    assert!(first >= 1 && refused <= first + 3, "{first}, then {refused}");

    let held = setup.borrow().await;
    setup.fake.is_full.store(false, SeqCst);
    assert_eq!(setup.borrow().await.get().number, 1, "room again");
    drop(held);
}

#[tokio::test]
async fn a_server_that_stays_full_is_named_in_the_end() {
    let setup = setup(PoolLimits {
        wait: Duration::from_millis(150),
        ..limits(1)
    });
    setup.fake.is_full.store(true, SeqCst);
    let error = setup
        .pool
        .borrow(Claim::default())
        .await
        .err()
        .expect("no connection")
        .to_string();
    assert_eq!(error, "too many clients");
}
