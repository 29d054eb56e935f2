//! Many concurrent users on few items, and the checks of the data afterwards.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use fastrand::Rng;
use futures::future::join_all;
use sugang_migrations::Finding;
use sugang_tests::{Answer, App, COURSE, EXAM, Item, Kind, User};

use crate::support::{cancel, register};

/// Users who compete for the same few items.
pub struct Storm {
    pub users: Vec<User>,
    pub items: Vec<(Kind, i64)>,
}

/// The operation of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    Register,
    Cancel,
    Complete,
}

/// The number of concurrent requests of one user.
const CONCURRENT: usize = 4;

impl Storm {
    /// Puts users and items of both kinds, with and without a capacity, into the app's database.
    pub async fn gather(app: &App, users: usize) -> Self {
        let mut items = Vec::new();
        for kind in [EXAM, COURSE] {
            for capacity in [None, Some(10), Some(1)] {
                items.push((
                    kind,
                    app.add(
                        kind,
                        Item {
                            capacity,
                            ..Item::default()
                        },
                    )
                    .await,
                ));
            }
        }
        let mut gathered = Vec::new();
        for n in 0..users {
            gathered.push(app.user(&format!("user{n}")).await);
        }
        Self { users: gathered, items }
    }

    /// Sends `requests` requests, [`CONCURRENT`] at a time for every user, and returns all responses. At the beginning
    /// all concurrent requests of a user are for the same item.
    pub async fn rage(&self, app: &App, requests: usize) -> Vec<(Asked, Answer)> {
        let each = requests.div_ceil(self.users.len() * CONCURRENT);
        let workers = self.users.iter().enumerate().flat_map(|(n, user)| {
            let payments = Arc::new(Mutex::new(Vec::new()));
            (0..CONCURRENT).map(move |m| {
                let rng = Rng::with_seed((n * CONCURRENT + m) as u64);
                self.work(app, user, self.items[n % self.items.len()], payments.clone(), rng, each)
            })
        });
        join_all(workers).await.concat()
    }

    /// Sends one request after the other. All workers of a user share their payments.
    async fn work(
        &self,
        app: &App,
        user: &User,
        first: (Kind, i64),
        payments: Arc<Mutex<Vec<i64>>>,
        mut rng: Rng,
        requests: usize,
    ) -> Vec<(Asked, Answer)> {
        let mut answers = Vec::with_capacity(requests);
        let (mut kind, mut item) = first;
        while answers.len() < requests {
            let payment = rng
                .choice(&*payments.lock().expect("no panic while it is locked"))
                .copied();
            let chance = if answers.is_empty() { 99 } else { rng.u8(..100) };
            let (asked, answer) = match (chance, payment) {
                (0..4, _) => (Asked::Complete, app.post(kind.complete(item)).by(user).await),
                (4..45, Some(payment)) => (Asked::Cancel, cancel(app, payment, user).await),
                _ => (Asked::Register, register(app, kind, item, user).await),
            };
            if let (Asked::Register, 201) = (asked, answer.status.as_u16()) {
                let payment = answer.json()["payment_id"].as_i64().expect("a payment has an id");
                payments.lock().expect("no panic while it is locked").push(payment);
            }
            answers.push((asked, answer));
            (kind, item) = self.items[rng.usize(..self.items.len())];
        }
        answers
    }
}

/// Counts the responses by operation, status and code.
pub fn summary(answers: &[(Asked, Answer)]) -> BTreeMap<(Asked, u16, String), usize> {
    let mut summary = BTreeMap::new();
    for (asked, answer) in answers {
        *summary
            .entry((*asked, answer.status.as_u16(), answer.code().to_owned()))
            .or_default() += 1;
    }
    summary
}

/// The findings of the audit.
pub async fn audit(app: &App) -> Vec<Finding> {
    let findings = sugang_migrations::audit(app.database())
        .await
        .expect("the books can be read");
    findings.into_iter().filter(|finding| !finding.ids.is_empty()).collect()
}

/// Inconsistencies at any time, even if they were corrected later: how many users had paid twice for an item, and how
/// many items had more users than seats.
pub async fn broken_meanwhile(app: &App) -> [i64; 2] {
    let paid_twice = app
        .one(
            "select count(distinct user_id) from (
                select user_id, sum(amount) over (partition by user_id, item_kind, item_id order by id) as paid
                from sugang.audit_log where subject = 'payment') h
             where paid > 45000",
            &[],
        )
        .await;
    let oversold = app
        .one(
            "select count(distinct (item_kind, item_id)) from (
                select item_kind, item_id, sum(seats) over (partition by item_kind, item_id order by id) as taken
                from sugang.audit_log) h
             join (select 'test' as item_kind, id as item_id, capacity from tests
                   union all select 'course', id, capacity from courses) i using (item_kind, item_id)
             where taken > capacity",
            &[],
        )
        .await;
    [paid_twice, oversold]
}

/// Asserts that the audit finds nothing.
pub async fn assert_audit(app: &App) {
    let findings = audit(app).await;
    assert!(findings.is_empty(), "{findings:#?}");
}
