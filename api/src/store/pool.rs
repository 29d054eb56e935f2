//! The idle connections of an instance.

use std::{
    cell::{Cell, RefCell},
    time::{Duration, Instant},
};

/// Connections that wait for the next request of the instance.
///
/// With no idle connection, a request opens one without waiting for another request of the instance: the host limits the
/// open connections, and queues for them. (To wake another request would need wit-bindgen's `inter-task-wakeup`, which
/// traps on wasmtime 48: it cancels the read of a stream that is still in a waitable set.)
///
/// A connection that one instance keeps is missing to the others, and a host starts as many instances as it likes. So a
/// connection goes back to the host after some statements, and at once while opening one takes long.
pub(super) struct Pool<C> {
    idle: RefCell<Vec<PooledConnection<C>>>,
    max_idle: usize,
    scarce_until: Cell<Option<Instant>>,
}

/// A connection, with the number of statements that it may still serve.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PooledConnection<C> {
    pub(super) connection: C,
    statements_left: u32,
}

/// The statements of one connection. Opening costs a fraction of what this many statements do.
const MAX_STATEMENTS: u32 = 16;
/// An opening that takes longer has queued for a connection, or waited for a new one to be established.
const QUEUED_AFTER: Duration = Duration::from_millis(10);
/// For this long after such an opening, no connection is kept.
const SCARCITY: Duration = Duration::from_secs(1);

impl<C> Pool<C> {
    pub(super) fn new(max_idle: usize) -> Self {
        Self {
            idle: RefCell::default(),
            max_idle,
            scarce_until: Cell::default(),
        }
    }

    /// Removes the connection that was used last.
    pub(super) fn take(&self) -> Option<PooledConnection<C>> {
        self.idle.borrow_mut().pop()
    }

    /// Wraps a connection that was opened just now. `took` is the time of its opening.
    pub(super) fn opened(&self, connection: C, took: Duration, now: Instant) -> PooledConnection<C> {
        if took > QUEUED_AFTER {
            self.scarce_until.set(now.checked_add(SCARCITY));
        }
        PooledConnection {
            connection,
            statements_left: MAX_STATEMENTS,
        }
    }

    /// Keeps a connection that served a statement, or drops it, which gives it back to the host.
    pub(super) fn put_back(&self, mut pooled: PooledConnection<C>, now: Instant) {
        pooled.statements_left = pooled.statements_left.saturating_sub(1);
        let scarce = self.scarce_until.get().is_some_and(|until| now < until);
        let mut idle = self.idle.borrow_mut();
        if !scarce && pooled.statements_left > 0 && idle.len() < self.max_idle {
            idle.push(pooled);
        }
    }

    /// Drops all idle connections: when one is lost, the others are too.
    pub(super) fn clear(&self) {
        // Taken out first: dropping a connection may run code that looks into the pool.
        let idle = self.idle.take();
        drop(idle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_keeps_a_limited_number_and_returns_the_last_first() {
        let (pool, now) = (Pool::<u8>::new(2), Instant::now());
        assert_eq!(pool.take(), None);
        for connection in [1, 2, 3] {
            pool.put_back(pool.opened(connection, Duration::ZERO, now), now);
        }
        let next = || pool.take().map(|pooled| pooled.connection);
        assert_eq!((next(), next(), next()), (Some(2), Some(1), None));
        pool.put_back(pool.opened(4, Duration::ZERO, now), now);
        pool.clear();
        assert_eq!(pool.take(), None);
    }

    #[test]
    fn a_connection_goes_back_after_its_statements_and_while_connections_are_scarce() {
        let (pool, now) = (Pool::<u8>::new(1), Instant::now());
        let mut next = Some(pool.opened(1, QUEUED_AFTER, now));
        let mut statements = 0;
        while let Some(used) = next {
            statements += 1;
            pool.put_back(used, now);
            next = pool.take();
        }
        assert_eq!(statements, MAX_STATEMENTS);

        pool.put_back(pool.opened(2, QUEUED_AFTER * 2, now), now);
        assert_eq!(pool.take(), None);
        pool.put_back(pool.opened(3, Duration::ZERO, now), now + SCARCITY);
        assert!(pool.take().is_some());
    }
}
