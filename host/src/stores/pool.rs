//! A pool of connections to one address.
//!
//! A borrower may end at any point, and nothing that it left on its connection may reach the next one. So the pool tracks
//! the [`Condition`] of each borrowed connection: a clean one goes back at once, any other is cleaned in the background
//! first, still counting against the limit. A connection that cannot be cleaned quickly is abandoned.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::task::TaskTracker;

use super::admission::{AdmissionQueue, Permit};
use crate::sync::lock;

/// Opens, checks, cleans and ends the connections of a pool.
pub(super) trait Manager: Send + Sync + 'static {
    type Connection: Send + Sync + 'static;

    /// Opens a connection within a time limit of its own. The error is a message.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, String>> + Send;

    /// Whether the connection is known to be lost.
    fn is_closed(&self, connection: &Self::Connection) -> bool;

    /// Removes what a borrower may have left, an open transaction included if `in_transaction`. Returns whether the
    /// connection is as good as new.
    fn clean(&self, connection: &Self::Connection, in_transaction: bool) -> impl Future<Output = bool> + Send;

    /// Ends a connection on which nothing runs.
    fn discard(&self, connection: &Self::Connection);

    /// Ends a connection on which something may still run, and cancels that.
    fn abandon(&self, connection: &Self::Connection) -> impl Future<Output = ()> + Send;
}

/// Upper bounds of a pool.
#[derive(Clone)]
pub(super) struct PoolLimits {
    /// Connections.
    pub(super) connections: usize,
    /// Statements that are executed concurrently.
    pub(super) statements: usize,
    /// The wait for a connection.
    pub(super) wait: Duration,
    /// The time to clean a connection.
    pub(super) recycle: Duration,
    /// The time that an idle connection is kept.
    pub(super) idle: Duration,
}

/// Why the pool gives out no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PoolError {
    #[error("all {connections} connections stayed in use for {wait:?}")]
    Exhausted { connections: usize, wait: Duration },
    #[error("the server is stopping")]
    Stopping,
    #[error("{0}")]
    Connect(String),
}

/// The connections to one address: each borrowed one holds a permit, the others are `idle`.
pub(super) struct Pool<M: Manager> {
    manager: M,
    limits: PoolLimits,
    runtime: Handle,
    tasks: TaskTracker,
    permits: Arc<Semaphore>,
    admission: Arc<AdmissionQueue>,
    /// The one that was used last is at the end.
    idle: Mutex<Vec<(Arc<M::Connection>, Instant)>>,
}

/// A borrowed connection. Dropped, it goes back to its pool.
pub(super) struct PooledConnection<M: Manager> {
    pool: Arc<Pool<M>>,
    connection: Arc<M::Connection>,
    permit: Option<OwnedSemaphorePermit>,
    condition: Mutex<Condition>,
    /// Held for a single statement only: a borrower in a transaction does other things between its statements.
    _admission: Option<Permit>,
}

/// The state in which a borrowed connection would be returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// Nothing runs on it, and nothing is left on it.
    Clean,
    /// A statement may still run on it.
    Running,
    /// It is pinned to one borrower, and may be in a transaction.
    Pinned,
    /// The server has ended it, although its socket may close only a moment later.
    Ended,
}

impl<M: Manager> Pool<M> {
    /// Makes a pool without connecting. Its background work runs on `runtime` and is counted in `tasks`; once `tasks` is
    /// closed, returned connections are closed as well.
    pub(super) fn new(manager: M, limits: PoolLimits, runtime: Handle, tasks: TaskTracker) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(limits.connections)),
            admission: AdmissionQueue::new(limits.statements),
            manager,
            limits,
            runtime,
            tasks,
            idle: Mutex::default(),
        }
    }

    /// Borrows a connection for one statement.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub(super) async fn borrow(self: &Arc<Self>) -> Result<PooledConnection<M>, PoolError> {
        let admitted = async {
            let admission = self.admission.admit().await;
            Ok((self.permits.clone().acquire_owned().await?, Some(admission)))
        };
        self.take(admitted, Condition::Clean).await
    }

    /// Borrows a connection for a transaction.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub(super) async fn pin(self: &Arc<Self>) -> Result<PooledConnection<M>, PoolError> {
        let permit = async { Ok((self.permits.clone().acquire_owned().await?, None)) };
        self.take(permit, Condition::Pinned).await
    }

    async fn take(
        self: &Arc<Self>,
        permit: impl Future<Output = Result<(OwnedSemaphorePermit, Option<Permit>), AcquireError>>,
        condition: Condition,
    ) -> Result<PooledConnection<M>, PoolError> {
        let wait = self.limits.wait;
        let (permit, admission) = timeout(wait, permit)
            .await
            .map_err(|_| PoolError::Exhausted {
                connections: self.limits.connections,
                wait,
            })?
            .map_err(|_| PoolError::Stopping)?;
        let connection = match self.take_idle() {
            Some(connection) => connection,
            None => Arc::new(self.manager.connect().await.map_err(PoolError::Connect)?),
        };
        Ok(PooledConnection {
            pool: self.clone(),
            connection,
            permit: Some(permit),
            condition: Mutex::new(condition),
            _admission: admission,
        })
    }

    fn take_idle(&self) -> Option<Arc<M::Connection>> {
        let mut idle = lock(&self.idle);
        std::iter::from_fn(|| idle.pop())
            .map(|(connection, _)| connection)
            .find(|connection| !self.manager.is_closed(connection))
    }

    fn put_back(&self, connection: Arc<M::Connection>) {
        let mut idle = lock(&self.idle);
        if self.tasks.is_closed() {
            return;
        }
        idle.push((connection, Instant::now()));
        let keep = |(connection, since): &(Arc<M::Connection>, Instant)| {
            since.elapsed() < self.limits.idle && !self.manager.is_closed(connection)
        };
        // The one that was used last is taken first, so the old ones gather at the front.
        if idle.first().is_some_and(|oldest| !keep(oldest)) {
            idle.retain(keep);
        }
    }

    async fn recycle(
        self: Arc<Self>,
        connection: Arc<M::Connection>,
        in_transaction: bool,
        _permit: Option<OwnedSemaphorePermit>,
    ) {
        match timeout(self.limits.recycle, self.manager.clean(&connection, in_transaction)).await {
            Ok(true) => self.put_back(connection),
            Ok(false) => self.manager.discard(&connection),
            Err(_) => self.manager.abandon(&connection).await,
        }
    }

    /// Closes the idle connections and gives out no more. Borrowed ones close when they are returned.
    pub(super) fn close(&self) {
        self.permits.close();
        lock(&self.idle).clear();
    }
}

impl<M: Manager> PooledConnection<M> {
    pub(super) fn get(&self) -> &M::Connection {
        &self.connection
    }

    /// Notes the condition of a connection that was borrowed for one statement. A pinned one stays pinned.
    pub(super) fn set_condition(&self, condition: Condition) {
        let mut current = lock(&self.condition);
        if *current != Condition::Pinned {
            *current = condition;
        }
    }

    /// Marks the connection as running until `work` has ended; if `work` is dropped before, it stays marked.
    pub(super) async fn running<T>(&self, work: impl Future<Output = T>) -> T {
        self.set_condition(Condition::Running);
        let result = work.await;
        self.set_condition(Condition::Clean);
        result
    }
}

impl<M: Manager> Drop for PooledConnection<M> {
    fn drop(&mut self) {
        if self.pool.manager.is_closed(&self.connection) {
            return;
        }
        let condition = *lock(&self.condition);
        match condition {
            Condition::Clean => self.pool.put_back(self.connection.clone()),
            Condition::Ended => self.pool.manager.discard(&self.connection),
            Condition::Running | Condition::Pinned => {
                let (pool, connection) = (self.pool.clone(), self.connection.clone());
                let recycle = pool.recycle(connection, condition == Condition::Pinned, self.permit.take());
                self.pool.runtime.spawn(self.pool.tasks.track_future(recycle));
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
    }

    #[derive(Default)]
    struct FakeConnection {
        number: usize,
        closed: AtomicBool,
        cleaned: Mutex<Vec<bool>>,
        dirty_for_ever: AtomicBool,
        discarded: AtomicBool,
        abandoned: AtomicBool,
    }

    impl Manager for Arc<Fake> {
        type Connection = FakeConnection;

        async fn connect(&self) -> Result<FakeConnection, String> {
            match self.refuses.load(SeqCst) {
                true => Err("refused".to_owned()),
                false => Ok(FakeConnection {
                    number: self.opened.fetch_add(1, SeqCst),
                    ..FakeConnection::default()
                }),
            }
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
        }
    }

    fn setup(limits: PoolLimits) -> Setup {
        let (fake, tasks) = (Arc::<Fake>::default(), TaskTracker::new());
        let pool = Arc::new(Pool::new(fake.clone(), limits, Handle::current(), tasks.clone()));
        Setup { fake, tasks, pool }
    }

    impl Setup {
        async fn borrow(&self) -> PooledConnection<Arc<Fake>> {
            self.pool.borrow().await.expect("a connection")
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
        let (mut second, mut third) = (pin!(setup.pool.borrow()), pin!(setup.pool.borrow()));
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
            let mut impatient = pin!(setup.pool.borrow());
            assert!(poll!(&mut impatient).is_pending());
        }
        drop(held);
        assert!(setup.pool.borrow().now_or_never().is_some());
    }

    #[tokio::test]
    async fn admission_limits_statements_and_not_transactions() {
        let setup = setup(PoolLimits {
            statements: 1,
            wait: Duration::from_millis(5),
            ..limits(3)
        });
        let _statement = setup.borrow().await;
        assert!(matches!(setup.pool.borrow().await, Err(PoolError::Exhausted { .. })));
        assert!(setup.pool.pin().await.is_ok());
    }

    #[tokio::test]
    async fn a_lost_connection_is_never_given_out_again() {
        let setup = setup(limits(2));
        let (returned_lost, lost_while_idle) = (setup.borrow().await, setup.borrow().await);
        returned_lost.get().closed.store(true, SeqCst);
        let idle = lost_while_idle.connection.clone();
        drop((returned_lost, lost_while_idle));
        idle.closed.store(true, SeqCst);
        assert_eq!(setup.borrow().await.get().number, 2);
        assert_eq!(lock(&setup.pool.idle).len(), 1);
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
        let idle: Vec<_> = lock(&setup.pool.idle).iter().map(|(idle, _)| idle.number).collect();
        assert_eq!(idle, [1]);
    }

    #[tokio::test]
    async fn what_a_borrower_left_is_cleaned_before_the_next_one() {
        let setup = setup(limits(1));
        let running = setup.borrow().await;
        running.set_condition(Condition::Running);
        drop(running);
        assert!(
            setup.pool.borrow().now_or_never().is_none(),
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
            assert_eq!(connection.number, number);
            borrowed.set_condition(if what == "ended" {
                Condition::Ended
            } else {
                Condition::Running
            });
            connection.dirty_for_ever.store(true, SeqCst);
            setup.fake.hangs.store(what == "hanging", SeqCst);
            drop(borrowed);
            setup.settled().await;
            let ends = (connection.discarded.load(SeqCst), connection.abandoned.load(SeqCst));
            assert_eq!(ends, (what != "hanging", what == "hanging"), "{what}");
            assert!(lock(&setup.pool.idle).is_empty(), "{what}");
        }
    }

    #[tokio::test]
    async fn a_failed_connect_gives_its_place_back() {
        let setup = setup(limits(1));
        setup.fake.refuses.store(true, SeqCst);
        assert_eq!(
            setup.pool.borrow().await.err().expect("no connection").to_string(),
            "refused"
        );
        setup.fake.refuses.store(false, SeqCst);
        assert!(setup.pool.borrow().now_or_never().is_some());
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
                let waiting = pool.borrow().await;
                drop(first);
                waiting
            }
        });
        yield_now().await;
        setup.tasks.close();
        setup.pool.close();
        let waiting = waiting.await.expect("it ends");
        assert!(matches!(waiting, Err(PoolError::Stopping)));
        assert!(matches!(setup.pool.borrow().await, Err(PoolError::Stopping)));
        drop((clean, running));
        setup.settled().await;
        assert!(lock(&setup.pool.idle).is_empty());
    }
}
