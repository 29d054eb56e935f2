//! The connections of a pool that nothing uses at the moment, and how far each of them is trusted.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::sync::lock;

/// A connection with the age that decides about its use.
pub(super) struct Aged<C> {
    pub(super) connection: C,
    opened: Instant,
    /// The renewals of the pool before it was opened.
    renewals: u64,
    lifetime: Duration,
}

/// The idle connections of a pool.
pub(super) struct IdleList<C>(Mutex<State<C>>);

struct State<C> {
    /// With the end of the last use. The one that was used last is at the end.
    connections: Vec<(Arc<Aged<C>>, Instant)>,
    renewals: u64,
    renewed: Option<Instant>,
    opened: u32,
    /// What was used last before this moment is checked before its next use.
    suspect: Option<Instant>,
}

/// Connections that were opened at the same moment end at different ones: their lifetimes differ in this many steps, by
/// an eighth in all.
const STEPS: u32 = 16;

/// While the server stays at fault, connections are renewed at this interval at most.
const RENEWAL_INTERVAL: Duration = Duration::from_millis(100);

impl<C> IdleList<C> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            connections: Vec::new(),
            renewals: 0,
            renewed: None,
            opened: 0,
            suspect: None,
        }))
    }

    /// Notes a connection that was opened just now, to be used for `age` at most.
    pub(super) fn opened(&self, connection: C, age: Duration) -> Arc<Aged<C>> {
        let mut state = lock(&self.0);
        state.opened = state.opened.wrapping_add(1);
        Arc::new(Aged {
            connection,
            opened: Instant::now(),
            renewals: state.renewals,
            lifetime: age - age / 8 / STEPS * (state.opened % STEPS),
        })
    }

    /// Takes the connection that was used last out of those that `is_usable`, and returns whether it is to be checked
    /// before its use: after this pause, or when others have failed since its last use.
    pub(super) fn take(&self, pause: Duration, is_usable: impl Fn(&C) -> bool) -> Option<(Arc<Aged<C>>, bool)> {
        let mut state = lock(&self.0);
        loop {
            let (aged, since) = state.connections.pop()?;
            if is_usable(&aged.connection) && !aged.is_old() {
                let is_suspect = state.suspect.is_some_and(|suspect| since <= suspect) || since.elapsed() >= pause;
                return Some((aged, is_suspect));
            }
        }
    }

    /// Puts a connection back after its use, unless it has served its time, and drops those that have idled for longer
    /// than `idle` or are not usable any more.
    pub(super) fn put_back(&self, aged: Arc<Aged<C>>, idle: Duration, is_usable: impl Fn(&C) -> bool) {
        let mut state = lock(&self.0);
        if aged.renewals == state.renewals && !aged.is_old() {
            state.connections.push((aged, Instant::now()));
        }
        let keep = |(aged, since): &(Arc<Aged<C>>, Instant)| since.elapsed() < idle && is_usable(&aged.connection);
        // The one that was used last is taken first, so the old ones gather at the front.
        if state.connections.first().is_some_and(|oldest| !keep(oldest)) {
            state.connections.retain(keep);
        }
    }

    /// Lets every idle connection be checked before its next use.
    pub(super) fn suspect(&self) {
        lock(&self.0).suspect = Some(Instant::now());
    }

    /// Drops every idle connection; borrowed ones are not put back. Those opened from now on are.
    ///
    /// Returns `false`, and does nothing, if `failed` was opened since a renewal a moment ago: its fault is the server's,
    /// and another renewal would help as little.
    pub(super) fn renew(&self, failed: &Aged<C>) -> bool {
        let mut state = lock(&self.0);
        let is_recent = state
            .renewed
            .is_some_and(|renewed| renewed.elapsed() < RENEWAL_INTERVAL);
        if is_recent && failed.renewals == state.renewals {
            return false;
        }
        state.renewals += 1;
        state.renewed = Some(Instant::now());
        state.connections.clear();
        true
    }

    /// Drops every idle connection.
    pub(super) fn clear(&self) {
        lock(&self.0).connections.clear();
    }

    #[cfg(test)]
    pub(super) fn map<T>(&self, of: impl Fn(&C) -> T) -> Vec<T> {
        lock(&self.0)
            .connections
            .iter()
            .map(|(aged, _)| of(&aged.connection))
            .collect()
    }
}

impl<C> Aged<C> {
    pub(super) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    fn is_old(&self) -> bool {
        self.age() >= self.lifetime
    }
}
