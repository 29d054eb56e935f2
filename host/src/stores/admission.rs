//! Bounds how many statements one server executes concurrently, and how many of its connections wait for the same thing.
//!
//! A processor is busy with a few statements; further ones only delay each other, in an order that nothing controls, and
//! the unlucky ones are late. So further statements queue here, first come, first served. A statement that runs for long
//! is probably waiting, for a lock or for the disk: it keeps its connection but stops counting, so that it delays no
//! other statement.
//!
//! Statements that wait for the same row, or for the same table, would take all connections from the others. So each row
//! has a share of the connections, and each kind of statement as many as are left for the others: what is beyond that
//! waits here, without a connection, and is overtaken by what may wait for nothing.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, time::timeout};

use super::claim::{Claim, Obstacle, Row};
use crate::sync::lock;

/// After this time a statement stops counting. The statements of this service need less.
const LONG: Duration = Duration::from_millis(20);
/// This many statements wait here for one row or one kind of statement that does not move; each of them occupies a place
/// of the server.
const QUEUE: usize = 32;

/// Admits a limited number of statements, in the order of their arrival.
pub(super) struct AdmissionQueue {
    limit: usize,
    connections: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    admitted: Vec<Admitted>,
    waiting: VecDeque<Waiting>,
    last_number: u64,
}

/// A permit that is held.
struct Admitted {
    number: u64,
    since: Instant,
    claim: Arc<Claim>,
}

struct Waiting {
    claim: Arc<Claim>,
    sender: oneshot::Sender<Permit>,
    moved: Moved,
}

/// When a statement has last ended, without waiting for a lock as long as it may, for the same rows and of the same kind.
#[derive(Clone, Copy)]
struct Moved {
    row: Instant,
    kind: Instant,
}

impl Moved {
    fn at(&self, obstacle: Obstacle) -> Instant {
        match obstacle {
            Obstacle::Row => self.row,
            Obstacle::Kind => self.kind,
        }
    }
}

/// The admission of one statement, until it is dropped.
pub(super) struct Permit {
    queue: Option<Arc<AdmissionQueue>>,
    number: u64,
}

/// Too many statements wait for the same thing already, or for too long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Crowded;

impl AdmissionQueue {
    /// `limit` counts concurrent statements, `connections` those that they share.
    pub(super) fn new(limit: usize, connections: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            connections,
            state: Mutex::default(),
        })
    }

    /// Waits for admission.
    ///
    /// # Errors
    /// [`Crowded`], if the statement has waited for its share as long as it may wait for a lock, or need not begin to.
    pub(super) async fn admit(self: &Arc<Self>, claim: Claim) -> Result<Permit, Crowded> {
        let claim = Arc::new(claim);
        let mut permit = {
            let mut state = self.state();
            if state.waiting.is_empty() && self.admits(&state, &claim, Instant::now()) {
                return Ok(self.issue(&mut state, claim));
            }
            let (sender, permit) = oneshot::channel();
            let moved = state.moved(&claim, Instant::now());
            state.waiting.push_back(Waiting {
                claim: claim.clone(),
                sender,
                moved,
            });
            permit
        };
        // Those before it may all wait for their shares.
        self.admit_waiting();
        loop {
            if self.is_crowded(&claim) {
                // Admitted at the last moment, it drops its permit here.
                return permit.try_recv().map_err(|_| Crowded);
            }
            match timeout(LONG, &mut permit).await {
                Ok(Ok(permit)) => return Ok(permit),
                // An admitted statement may have become a long one.
                Err(_) => self.admit_waiting(),
                // A sender is never dropped without a permit; if one were, waiting for it would never end.
                Ok(Err(_)) => return Ok(self.issue(&mut self.state(), claim)),
            }
        }
    }

    fn issue(self: &Arc<Self>, state: &mut State, claim: Arc<Claim>) -> Permit {
        state.last_number += 1;
        state.admitted.push(Admitted {
            number: state.last_number,
            since: Instant::now(),
            claim,
        });
        Permit {
            queue: Some(self.clone()),
            number: state.last_number,
        }
    }

    /// Whether a statement may begin now.
    fn admits(&self, state: &State, claim: &Claim, now: Instant) -> bool {
        self.has_room(state, now) && self.obstacle(state, claim, now).is_none()
    }

    fn has_room(&self, state: &State, now: Instant) -> bool {
        state.admitted.len() - state.long(now).count() < self.limit
    }

    /// What already has its share of the connections. If statements of several kinds run for long, each kind leaves the
    /// others as many as it takes itself.
    fn obstacle(&self, state: &State, claim: &Claim, now: Instant) -> Option<Obstacle> {
        let is_full = |row: &Row| {
            let same = state.admitted.iter().filter(|other| other.claim.rows().contains(row));
            same.count() >= row.share(self.connections)
        };
        if claim.rows().iter().any(is_full) {
            return Some(Obstacle::Row);
        }
        let left = self.connections.saturating_sub(state.long(now).count()).max(1);
        let alike = state.long(now).filter(|long| long.claim.is_alike(claim)).count();
        (alike >= left).then_some(Obstacle::Kind)
    }

    /// Whether a statement waits in vain for its share: nothing has moved for as long as it may wait for a lock, or for a
    /// while and many others are before it.
    fn is_crowded(&self, claim: &Arc<Claim>) -> bool {
        let (Some(patience), now) = (claim.patience(), Instant::now()) else {
            return false;
        };
        let state = self.state();
        // Most have just come, and so are the last.
        let mut waiting = state.waiting.iter();
        let Some(place) = waiting.rposition(|waiting| Arc::ptr_eq(&waiting.claim, claim)) else {
            return false;
        };
        let Moved { row, kind } = state.waiting[place].moved;
        if now.duration_since(row.min(kind)) < patience / 4 {
            return false;
        }
        let Some(obstacle) = self.obstacle(&state, claim, now) else {
            return false;
        };
        let still = now.duration_since(state.waiting[place].moved.at(obstacle));
        let competes = |other: &&Waiting| !other.sender.is_closed() && other.claim.competes(claim, obstacle);
        let before = || state.waiting.range(..place).filter(competes);
        still >= patience || still >= patience / 4 && before().count() >= QUEUE
    }

    /// Admits waiting statements as far as the limits allow.
    fn admit_waiting(self: &Arc<Self>) {
        loop {
            let (waiting, permit) = {
                let mut state = self.state();
                let now = Instant::now();
                if !self.has_room(&state, now) {
                    return;
                }
                let may_leave = |waiting: &Waiting| {
                    waiting.sender.is_closed() || self.obstacle(&state, &waiting.claim, now).is_none()
                };
                let next = state.waiting.iter().position(may_leave);
                let Some(waiting) = next.and_then(|next| state.waiting.remove(next)) else {
                    return;
                };
                if waiting.sender.is_closed() {
                    continue;
                }
                let permit = self.issue(&mut state, waiting.claim);
                (waiting.sender, permit)
            };
            if let Err(mut unwanted) = waiting.send(permit) {
                // Taken back here instead of by its drop, which would recurse once for each abandoned place.
                unwanted.queue = None;
                self.state().remove(unwanted.number);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    /// The admitted statements that have run for long.
    fn long(&self, now: Instant) -> impl Iterator<Item = &Admitted> {
        self.admitted
            .iter()
            .filter(move |admitted| now.duration_since(admitted.since) >= LONG)
    }

    /// When something moved for the statements that wait like this one; `now` for the first of them.
    fn moved(&self, claim: &Claim, now: Instant) -> Moved {
        let last = |obstacle| {
            let alike = self
                .waiting
                .iter()
                .filter(|other| other.claim.competes(claim, obstacle));
            alike.map(|other| other.moved.at(obstacle)).max().unwrap_or(now)
        };
        Moved {
            row: last(Obstacle::Row),
            kind: last(Obstacle::Kind),
        }
    }

    fn remove(&mut self, number: u64) -> Option<Admitted> {
        let index = self.admitted.iter().position(|admitted| admitted.number == number)?;
        Some(self.admitted.swap_remove(index))
    }

    /// Notes the end of a statement, and that those that wait like it have moved.
    fn release(&mut self, number: u64) {
        let Some(Admitted { since, claim, .. }) = self.remove(number) else {
            return;
        };
        let now = Instant::now();
        if claim
            .patience()
            .is_some_and(|patience| now.duration_since(since) >= patience * 3 / 4)
        {
            return;
        }
        for waiting in &mut self.waiting {
            if waiting.claim.competes(&claim, Obstacle::Row) {
                waiting.moved.row = now;
            }
            if waiting.claim.competes(&claim, Obstacle::Kind) {
                waiting.moved.kind = now;
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.state().release(self.number);
            queue.admit_waiting();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::{FutureExt as _, poll};

    use super::*;

    /// The permit of a statement that claims nothing.
    async fn admit(queue: &Arc<AdmissionQueue>) -> Permit {
        queue.admit(Claim::default()).await.expect("nothing has a share")
    }

    /// A claim of a kind of statement, for a row with a quarter of the connections.
    fn claim(kind: &str, row: Option<&str>, patience: Duration) -> Claim {
        let rows = row.map_or(String::new(), |_| " row=$2/4".to_owned());
        Claim::read(
            &format!("{kind} /* sugang-host: lock_timeout=$1{rows} */"),
            |number| match number {
                1 => Some(patience.as_millis().to_string()),
                _ => row.map(str::to_owned),
            },
        )
    }

    const PATIENCE: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn first_come_first_served() {
        let queue = AdmissionQueue::new(2, 20);
        let (first, _second) = (admit(&queue).await, admit(&queue).await);
        let (mut third, mut fourth) = (pin!(admit(&queue)), pin!(admit(&queue)));
        assert!(poll!(&mut third).is_pending() && poll!(&mut fourth).is_pending());
        drop(first);
        assert!(admit(&queue).now_or_never().is_none(), "a later statement overtook");
        assert!(poll!(&mut fourth).is_pending());
        let third = third.await;
        drop(third);
        fourth.await;
    }

    #[tokio::test]
    async fn abandoned_places_are_skipped() {
        let queue = AdmissionQueue::new(1, 20);
        let first = admit(&queue).await;
        for _ in 0..1000 {
            assert!(admit(&queue).now_or_never().is_none());
        }
        let mut last = Box::pin(admit(&queue));
        assert!(poll!(&mut last).is_pending());
        drop(first);
        let last = last.now_or_never().expect("all places before it are abandoned");
        // A permit that was issued and then abandoned before it was received.
        let mut next = Box::pin(admit(&queue));
        assert!(poll!(&mut next).is_pending());
        drop(last);
        drop(next);
        assert!(admit(&queue).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_long_statement_delays_no_other() {
        let queue = AdmissionQueue::new(1, 20);
        let _long = admit(&queue).await;
        // Neither one that waits already nor one that comes later.
        let waiting = admit(&queue).await;
        assert_eq!(queue.state().admitted.len(), 2);
        tokio::time::sleep(LONG).await;
        assert!(admit(&queue).now_or_never().is_some());
        drop(waiting);
    }

    #[tokio::test]
    async fn a_row_has_a_share_of_the_connections() {
        let queue = AdmissionQueue::new(20, 20);
        let locked = |kind| queue.admit(claim(kind, Some("locked"), PATIENCE));
        let mut held = Vec::new();
        for _ in 0..5 {
            held.push(locked("apply").now_or_never().expect("a share"));
        }
        // Of whatever kind, and in the order of their arrival.
        let (mut sixth, mut seventh) = (pin!(locked("cancel")), pin!(locked("apply")));
        assert!(poll!(&mut sixth).is_pending() && poll!(&mut seventh).is_pending());
        // Those for other rows overtake them, as do those without a row.
        for other in [Some("free"), None] {
            assert!(queue.admit(claim("apply", other, PATIENCE)).now_or_never().is_some());
        }
        held.pop();
        assert!(poll!(&mut seventh).is_pending());
        assert!(sixth.now_or_never().is_some());
        assert!(seventh.now_or_never().is_some());
    }

    #[tokio::test]
    async fn statements_that_run_for_long_leave_as_many_connections_as_they_take() {
        let queue = AdmissionQueue::new(20, 20);
        let mut held = Vec::new();
        let mut fill = async |kind: &'static str| {
            let before = held.len();
            while let Some(permit) = queue.admit(claim(kind, None, PATIENCE)).now_or_never() {
                held.push(permit);
                tokio::time::sleep(LONG).await;
            }
            held.len() - before
        };
        assert_eq!(
            [fill("list").await, fill("detail").await, fill("payments").await],
            [10, 5, 3]
        );
    }

    #[tokio::test]
    async fn what_does_not_move_is_not_waited_for() {
        let queue = AdmissionQueue::new(20, 20);
        let patience = Duration::from_millis(400);
        let locked = || queue.admit(claim("apply", Some("locked"), patience));
        let mut held = Vec::new();
        for _ in 0..5 {
            held.push(locked().await);
        }
        let begun = Instant::now();
        let mut waiting: Vec<_> = (0..QUEUE).map(|_| Box::pin(locked())).collect();
        for waiting in &mut waiting {
            assert!(poll!(waiting).is_pending());
        }
        // One too many leaves soon, and the next one does not even begin to wait.
        assert_eq!(locked().await.err(), Some(Crowded));
        assert!(begun.elapsed() >= patience / 4 && begun.elapsed() < patience);
        assert_eq!(locked().now_or_never().expect("at once").err(), Some(Crowded));
        // Those that wait go on for their time, from the last one that has ended for the row.
        assert_eq!(waiting.remove(0).await.err(), Some(Crowded));
        assert!(begun.elapsed() >= patience);
    }

    /// The negative control of the test above: behind statements that end, everything waits.
    #[tokio::test]
    async fn what_moves_is_waited_for() {
        let queue = AdmissionQueue::new(20, 20);
        let patience = Duration::from_millis(200);
        let rush = (0..100).map(|_| async {
            let permit = queue.admit(claim("apply", Some("popular"), patience)).await;
            tokio::time::sleep(Duration::from_millis(30)).await;
            permit.is_ok()
        });
        let begun = Instant::now();
        let admitted = futures::future::join_all(rush).await;
        assert!(admitted.iter().all(|admitted| *admitted));
        assert!(begun.elapsed() > 2 * patience);
    }
}
