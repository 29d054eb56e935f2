//! A pool of connections to one address.
//!
//! A borrower may end at any point, and nothing that it left on its connection may reach the next one. So the pool tracks
//! the [`Condition`] of each borrowed connection: a clean one goes back at once, any other is cleaned in the background
//! first, still counting against the limit. A connection that cannot be cleaned quickly is abandoned.
//!
//! A network drops connections without a word, and a server that has failed over may be left with connections of the
//! wrong kind. So a connection is checked after a pause, or when another one has failed, and is replaced when it is old.

mod idle;
mod manager;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::task::TaskTracker;

use self::idle::{Aged, IdleList};
pub(crate) use self::manager::PoolError;
pub(super) use self::manager::{ConnectError, Manager, PoolLimits};
use super::{
    admission::{AdmissionQueue, Crowded, Permit},
    claim::Claim,
};
use crate::sync::lock;

/// The age at which a second-rate connection is replaced.
const SECOND_RATE: Duration = Duration::from_secs(1);

/// The first pause after the server had no room for another connection, and the longest one.
const BACK_OFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// The connections to one address: each borrowed one holds a permit, the others are `idle`.
pub(super) struct Pool<M: Manager> {
    manager: M,
    limits: PoolLimits,
    runtime: Handle,
    tasks: TaskTracker,
    permits: Arc<Semaphore>,
    admission: Arc<AdmissionQueue>,
    idle: IdleList<M::Connection>,
    /// Tells borrowers that a connection is idle while none can be opened.
    returned: Notify,
    full: Mutex<Full>,
}

/// What is known of a server without room for another connection.
#[derive(Default)]
struct Full {
    /// No connection is opened before.
    until: Option<Instant>,
    /// The last pause.
    pause: Duration,
    cause: String,
}

/// A borrowed connection. Dropped, it goes back to its pool.
pub(super) struct PooledConnection<M: Manager> {
    pool: Arc<Pool<M>>,
    connection: Arc<Aged<M::Connection>>,
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
            admission: AdmissionQueue::new(limits.statements, limits.connections),
            manager,
            limits,
            runtime,
            tasks,
            idle: IdleList::new(),
            returned: Notify::new(),
            full: Mutex::default(),
        }
    }

    /// Borrows a connection for one statement that may have to wait for what it claims.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub(super) async fn borrow(self: &Arc<Self>, claim: Claim) -> Result<PooledConnection<M>, PoolError> {
        let admitted = async {
            let admission = self
                .admission
                .admit(claim)
                .await
                .map_err(|Crowded| PoolError::Crowded)?;
            Ok((self.permit().await?, Some(admission)))
        };
        self.take(admitted, Condition::Clean).await
    }

    /// Borrows a connection for a transaction.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub(super) async fn pin(self: &Arc<Self>) -> Result<PooledConnection<M>, PoolError> {
        let permit = async { Ok((self.permit().await?, None)) };
        self.take(permit, Condition::Pinned).await
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, PoolError> {
        let permit = self.permits.clone().acquire_owned().await;
        permit.map_err(|_| PoolError::Stopping)
    }

    async fn take(
        self: &Arc<Self>,
        permit: impl Future<Output = Result<(OwnedSemaphorePermit, Option<Permit>), PoolError>>,
        condition: Condition,
    ) -> Result<PooledConnection<M>, PoolError> {
        let wait = self.limits.wait;
        let deadline = Instant::now() + wait;
        let exhausted = || PoolError::Exhausted {
            connections: self.limits.connections,
            wait,
        };
        let (permit, admission) = timeout_at(deadline, permit).await.map_err(|_| exhausted())??;
        let connection = match timeout_at(deadline, self.find()).await {
            Ok(connection) => connection?,
            Err(_) => return Err(lock(&self.full).error().unwrap_or_else(exhausted)),
        };
        Ok(PooledConnection {
            pool: self.clone(),
            connection,
            permit: Some(permit),
            condition: Mutex::new(condition),
            _admission: admission,
        })
    }

    /// Finds an idle connection that lives, or opens one. While the server has no room for another connection, waits for
    /// an idle one.
    async fn find(&self) -> Result<Arc<Aged<M::Connection>>, PoolError> {
        loop {
            while let Some((idle, is_suspect)) = self.idle.take(self.limits.pause, |idle| self.is_usable(idle)) {
                if !is_suspect || self.is_alive(&idle.connection).await {
                    return Ok(idle);
                }
                self.manager.discard(&idle.connection);
                // The others were used before it.
                self.idle.clear();
            }
            let pause = lock(&self.full).pause();
            if let Some(pause) = pause {
                tokio::select! {
                    () = self.returned.notified() => {}
                    () = sleep(pause) => {}
                }
                if self.permits.is_closed() {
                    return Err(PoolError::Stopping);
                }
                continue;
            }
            match self.manager.connect().await {
                Ok(connection) => {
                    *lock(&self.full) = Full::default();
                    return Ok(self.idle.opened(connection, self.limits.age));
                }
                Err(ConnectError::Failed(cause) | ConnectError::Refused(cause)) => {
                    return Err(PoolError::Connect(cause));
                }
                Err(ConnectError::Full(cause)) => self.back_off(cause),
            }
        }
    }

    fn is_usable(&self, connection: &M::Connection) -> bool {
        !self.manager.is_closed(connection)
    }

    async fn is_alive(&self, connection: &M::Connection) -> bool {
        let check = timeout(self.limits.check, self.manager.check(connection)).await;
        check.unwrap_or(false)
    }

    fn back_off(&self, cause: String) {
        let mut full = lock(&self.full);
        let [first, longest] = BACK_OFF;
        full.pause = (full.pause * 2).clamp(first, longest);
        full.until = Some(Instant::now() + full.pause);
        full.cause = cause;
    }

    fn put_back(&self, connection: Arc<Aged<M::Connection>>) {
        if self.tasks.is_closed() {
            return;
        }
        if connection.age() < SECOND_RATE || !self.manager.is_second_rate(&connection.connection) {
            self.idle
                .put_back(connection, self.limits.idle, |idle| self.is_usable(idle));
        }
        // Nothing waits for it unless the server is full.
        if lock(&self.full).until.is_some() {
            self.returned.notify_one();
        }
    }

    async fn recycle(
        self: Arc<Self>,
        connection: Arc<Aged<M::Connection>>,
        in_transaction: bool,
        _permit: Option<OwnedSemaphorePermit>,
    ) {
        let clean = self.manager.clean(&connection.connection, in_transaction);
        match timeout(self.limits.recycle, clean).await {
            Ok(true) => self.put_back(connection),
            Ok(false) => self.manager.discard(&connection.connection),
            Err(_) => {
                self.idle.suspect();
                self.manager.abandon(&connection.connection).await;
            }
        }
    }

    pub(super) fn manager(&self) -> &M {
        &self.manager
    }

    /// Closes the idle connections and gives out no more. Borrowed ones close when they are returned.
    pub(super) fn close(&self) {
        self.permits.close();
        self.idle.clear();
        self.returned.notify_waiters();
    }
}

impl Full {
    /// The error of a borrower that has waited in vain.
    fn error(&self) -> Option<PoolError> {
        self.until.map(|_| PoolError::Connect(self.cause.clone()))
    }

    /// The time to wait before a connection is opened; `None` lets the caller, and no other one meanwhile, try.
    fn pause(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let pause = self.until?.saturating_duration_since(now);
        if pause.is_zero() {
            self.until = Some(now + self.pause);
            return None;
        }
        Some(pause)
    }
}

impl<M: Manager> PooledConnection<M> {
    pub(super) fn get(&self) -> &M::Connection {
        &self.connection.connection
    }

    /// Notes the condition of a connection that was borrowed for one statement. A pinned one stays pinned.
    pub(super) fn set_condition(&self, condition: Condition) {
        let mut current = lock(&self.condition);
        if *current != Condition::Pinned {
            *current = condition;
        }
    }

    /// Ends this connection when it is returned, and lets the others be checked before their next use.
    pub(super) fn suspect(&self) {
        self.set_condition(Condition::Ended);
        self.pool.idle.suspect();
    }

    /// Ends this connection when it is returned, and the others as well: what it has met, they would meet too. If all are
    /// new already, it stays as it is.
    pub(super) fn renew(&self) {
        let is_renewed = self.pool.idle.renew(&self.connection);
        self.set_condition(if is_renewed { Condition::Ended } else { Condition::Clean });
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
        if self.pool.manager.is_closed(self.get()) {
            return;
        }
        let condition = *lock(&self.condition);
        match condition {
            Condition::Clean => self.pool.put_back(self.connection.clone()),
            Condition::Ended => self.pool.manager.discard(self.get()),
            Condition::Running | Condition::Pinned => {
                let (pool, connection) = (self.pool.clone(), self.connection.clone());
                let recycle = pool.recycle(connection, condition == Condition::Pinned, self.permit.take());
                self.pool.runtime.spawn(self.pool.tasks.track_future(recycle));
            }
        }
    }
}

#[cfg(test)]
mod tests;
