//! Operators edit, hide, lower capacities, refund, register by hand, complete and cancel while users apply and cancel.

use std::{collections::BTreeMap, future::IntoFuture, time::Duration};

use fastrand::Rng;
use futures::future::{join, join_all};
use serde_json::{Value, json};
use sugang_tests::{Answer, App, EXAM, Item, Kind, User};

use crate::{
    storm::{Storm, assert_audit, audit},
    support::{cancel, operator, paid, refund, register},
};

const USERS: usize = 8;
/// How often an operator takes each of the steps.
const ROUNDS: usize = 12;
/// In one of this many rounds a registration is completed that can be; in the others any is tried, with any item.
const COMPLETING: usize = 3;
/// Of the users, all together.
const REQUESTS: usize = 600;

/// What an operator does in one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Edit,
    Hide,
    SetCapacity,
    Refund,
    Register,
    Complete,
    Cancel,
}

const ALL: [Step; 7] = [
    Step::Edit,
    Step::Hide,
    Step::SetCapacity,
    Step::Refund,
    Step::Register,
    Step::Complete,
    Step::Cancel,
];

struct Operator<'a> {
    app: &'a App,
    user: &'a User,
    storm: &'a Storm,
    rng: Rng,
}

impl Operator<'_> {
    /// Takes the steps in turn, and counts the responses by step and status.
    async fn work(mut self) -> BTreeMap<(Step, u16), usize> {
        let mut counts = BTreeMap::new();
        for round in 0..ROUNDS {
            for step in ALL {
                let answer = self.take(step, round).await;
                *counts.entry((step, answer.status.as_u16())).or_default() += 1;
            }
        }
        counts
    }

    async fn take(&mut self, step: Step, round: usize) -> Answer {
        let (kind, item) = self.storm.items[self.rng.usize(..self.storm.items.len())];
        let reason = "폭풍";
        match step {
            Step::Edit | Step::Hide | Step::SetCapacity => {
                let change = match step {
                    Step::Edit => json!({"title": self.rng.u8(..).to_string()}),
                    Step::Hide => json!({"hidden": self.rng.u8(..4) == 0}),
                    _ => json!({"capacity": self.rng.usize(..USERS)}),
                };
                self.edit(kind, item, &change).await
            }
            Step::Refund => {
                let body = match self.rng.u8(..3) {
                    0 => json!({"reason": reason, "amount": "1000.00"}),
                    1 => json!({"reason": reason}),
                    _ => json!({"reason": reason, "keep_registration": true}),
                };
                let payment = self.random("payments").await;
                refund(self.app, payment, self.user, &body).await
            }
            Step::Register => {
                let user = self.storm.users[self.rng.usize(..USERS)].id;
                let body = match self.rng.bool() {
                    true => json!({"user_id": user, "payment_method": "free", "reason": reason}),
                    false => json!({"user_id": user, "payment_method": "outside", "amount": "45000.00",
                                    "reference": reason}),
                };
                self.post(kind, item, "", &body).await
            }
            Step::Complete => {
                let (item, registration) = match round % COMPLETING {
                    0 => self.active(kind).await,
                    _ => (item, self.random(kind.registrations).await),
                };
                self.post(kind, item, &format!("{registration}/complete/"), &json!({}))
                    .await
            }
            Step::Cancel => {
                let refund = if self.rng.u8(..4) == 0 { "none" } else { "all" };
                let (item, registration) = self.active(kind).await;
                let body = json!({"refund": refund, "reason": reason});
                self.post(kind, item, &format!("{registration}/cancel/"), &body).await
            }
        }
    }

    async fn edit(&self, kind: Kind, item: i64, change: &Value) -> Answer {
        let path = format!("/api/operator{}", kind.item(item));
        let call = self.app.call("PATCH", path).by(self.user);
        call.header("if-match", "*").json(change).await
    }

    async fn post(&self, kind: Kind, item: i64, rest: &str, body: &Value) -> Answer {
        let path = format!("/api/operator{}registrations/{rest}", kind.item(item));
        self.app.post(path).by(self.user).json(body).await
    }

    /// The id of a row, 0 in an empty table.
    async fn random(&self, table: &str) -> i64 {
        let id = format!("select coalesce((select id from {table} order by random() limit 1), 0)");
        self.app.one(&id, &[]).await
    }

    /// A registration that can be completed or cancelled, and its item.
    async fn active(&self, kind: Kind) -> (i64, i64) {
        let Kind {
            registrations,
            item_id,
            active,
            ..
        } = kind;
        let found = format!(
            "select coalesce((select array[{item_id}, id] from {registrations} where status = '{active}'
                              order by random() limit 1), array[0, 0])::bigint[]"
        );
        let found: Vec<i64> = self.app.one(&found, &[]).await;
        (found[0], found[1])
    }
}

/// Lets users and two operators work at the same time. Returns the responses to the operators by step and status.
async fn rage(app: &App) -> BTreeMap<(Step, u16), usize> {
    let first = operator(app).await;
    let second = app.user("jiyoung").await;
    app.run("update users set is_superuser = true where id = $1", &[&second.id])
        .await;
    let storm = Storm::gather(app, USERS).await;
    let operators = [&first, &second].into_iter().zip(0..).map(|(user, seed)| {
        let operator = Operator {
            app,
            user,
            storm: &storm,
            rng: Rng::with_seed(seed),
        };
        operator.work()
    });
    let (answers, counts) = join(storm.rage(app, REQUESTS), join_all(operators)).await;
    for (asked, answer) in answers {
        // 404: the item is hidden.
        assert!(
            [200, 201, 400, 404, 409].contains(&answer.status.as_u16()),
            "{asked:?} {answer:?}"
        );
    }
    let mut all = BTreeMap::new();
    for (key, n) in counts.into_iter().flatten() {
        *all.entry(key).or_default() += n;
    }
    all
}

#[tokio::test]
async fn operators_and_users_in_a_storm_leave_consistent_books() {
    let app = App::start().await;

    let counts = rage(&app).await;

    let is_expected = |status| [200, 201, 400, 404, 409].contains(&status);
    assert!(counts.keys().all(|(_, status)| is_expected(*status)), "{counts:?}");
    let succeeded = |step| counts.contains_key(&(step, 200)) || counts.contains_key(&(step, 201));
    assert!(ALL.into_iter().all(succeeded), "{counts:?}");
    assert_audit(&app).await;
}

/// The negative control: an operator cancels without the locks, and a user who registers again meanwhile has paid for
/// nothing.
#[tokio::test]
async fn without_locks_an_operator_cancels_what_was_paid_again() {
    let app = App::start().await;
    let (ujin, minsu) = (operator(&app).await, app.user("minsu").await);
    let id = app.add(EXAM, Item::default()).await;
    let payment = paid(&register(&app, EXAM, id, &minsu).await);
    let find = "select pg_get_functiondef('sugang.do_cancel_test_for_operator'::regproc)";
    let definition: String = app.one(find, &[]).await;
    let without = definition
        .replace("perform pg_advisory_xact_lock(", "perform length(concat(")
        .replace(", registration.user_id));", ", registration.user_id)));")
        .replace(" for update;", "; perform pg_advisory_xact_lock(7);");
    assert_ne!(without, definition);
    app.run(&without, &[]).await;
    app.run("do $$ begin perform pg_advisory_lock(7); end $$", &[]).await;

    let all = json!({"refund": "all", "reason": "폐강"});
    let path = format!("/api/operator{}registrations/1/cancel/", EXAM.item(id));
    let cancelling = app.post(path).by(&ujin).json(&all).into_future();
    let (cancelled, ()) = join(cancelling, async {
        let paused = "select count(*) from pg_locks l join pg_database d on d.oid = l.database
                      where d.datname = current_database() and locktype = 'advisory' and objid = 7 and not granted";
        while app.one::<i64>(paused, &[]).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(cancel(&app, payment, &minsu).await.status, 200);
        paid(&register(&app, EXAM, id, &minsu).await);
        app.run("do $$ begin perform pg_advisory_unlock(7); end $$", &[]).await;
    })
    .await;

    assert_eq!(cancelled.status, 200);
    let found: Vec<_> = audit(&app).await.into_iter().map(|finding| finding.check).collect();
    let expected = "active_payment_without_active_registration".to_owned();
    assert!(found.contains(&expected), "{found:?}");
}
