//! The Django service writes beside ours, in a storm of both.

use std::time::{Duration, Instant};

use fastrand::Rng;
use futures::future::{join, join_all};
use sugang_tests::{App, Kind, User};
use tokio_postgres::{Client, NoTls, error::SqlState};

use crate::storm::{Storm, assert_audit, audit, broken_meanwhile, summary};

const USERS: usize = 16;
const REQUESTS: usize = 600;

/// A worker of the Django service. It takes none of our advisory locks, counts for itself, and writes whole rows.
struct Worker {
    session: Client,
    rng: Rng,
    written: usize,
}

impl Worker {
    async fn new(app: &App, seed: u64) -> Self {
        let (session, connection) = tokio_postgres::connect(app.database_url(), NoTls)
            .await
            .expect("a connection");
        tokio::spawn(connection);
        Self {
            session,
            rng: Rng::with_seed(seed),
            written: 0,
        }
    }

    /// Runs one transaction. It may lose a race, as any writer may.
    async fn transaction(&mut self, statements: &str) {
        let block = format!("begin; {statements}; commit");
        let Err(error) = self.session.batch_execute(&block).await else {
            self.written += 1;
            return;
        };
        let lost = [
            SqlState::UNIQUE_VIOLATION,
            SqlState::CHECK_VIOLATION,
            SqlState::T_R_DEADLOCK_DETECTED,
        ];
        assert!(error.code().is_some_and(|code| lost.contains(code)), "{error:?}");
        self.session.batch_execute("rollback").await.expect("a connection");
    }

    /// Writes until the deadline, for a user and an item at random.
    async fn work(mut self, users: &[User], items: &[(Kind, i64)], until: Instant) -> usize {
        while Instant::now() < until {
            let user = users[self.rng.usize(..users.len())].id;
            let (kind, item) = items[self.rng.usize(..items.len())];
            let statements = transaction(kind, user, item, self.rng.u8(..100));
            self.transaction(&statements).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.written
    }
}

/// What the Django service does with an item, by chance.
fn transaction(kind: Kind, user: i64, item: i64, chance: u8) -> String {
    let Kind {
        items,
        registrations,
        item_id,
        registered_at,
        active,
        payment_type,
        ..
    } = kind;
    let pays = format!(
        "insert into payments (payment_type, object_id, amount, payment_method, external_transaction_id, status,
                               refund_reason, paid_at, cancelled_at, search_vector, content_type_id, user_id)
         select '{payment_type}', {item}, 45000, 'card', 'TXN_{user}_{item}', 'paid', null, now(), null, null, c.id, {user}
         from django_content_type c where c.model = '{payment_type}'"
    );
    let counts =
        |by: &str| format!("update {items} set registration_count = registration_count {by} where id = {item}");
    let of_user = format!("user_id = {user} and {item_id} = {item}");
    let its_payment = format!("user_id = {user} and object_id = {item} and payment_type = '{payment_type}'");
    match chance {
        0..35 => format!(
            "insert into {registrations} (status, {registered_at}, completed_at, cancelled_at, {item_id}, user_id)
             values ('{active}', now(), null, null, {item}, {user});
             {}; {pays}",
            counts("+ 1")
        ),
        // It locks the payment, then the registration, and leaves what is completed alone.
        35..70 => format!(
            "do $$
             declare
                 payment bigint := (select id from payments where {its_payment} and status = 'paid' for update);
                 registration bigint := (select id from {registrations} where {of_user} and status = '{active}' for update);
             begin
                 if payment is null or registration is null then return; end if;
                 update payments set status = 'cancelled', cancelled_at = now() where id = payment;
                 update {registrations} set status = 'cancelled', cancelled_at = now() where id = registration;
                 {};
             end $$",
            counts("- 1")
        ),
        // A user's data are deleted, children first.
        70..80 => format!(
            "delete from payments where {its_payment}; delete from {registrations} where {of_user}; {}",
            counts("- 1")
        ),
        // An operator saves a form that was opened a while ago.
        80..95 => format!("update {items} set description = 'x' || {user}, registration_count = {chance} where id = {item}"),
        _ => format!("update {items} set registration_count = 0"),
    }
}

/// Both services at once. Returns how many transactions of the Django service took effect.
async fn rage(app: &App, storm: &Storm) -> usize {
    let until = Instant::now() + Duration::from_secs(4);
    let mut workers = Vec::new();
    for seed in 0..4 {
        workers.push(Worker::new(app, seed).await);
    }
    let workers = workers
        .into_iter()
        .map(|worker| worker.work(&storm.users, &storm.items, until));
    let (answers, written) = join(storm.rage(app, REQUESTS), join_all(workers)).await;
    for ((asked, status, code), n) in summary(&answers) {
        assert!(status < 500, "{n} times {asked:?} {status} {code}");
    }
    written.iter().sum()
}

#[tokio::test]
async fn a_storm_of_both_services_leaves_consistent_data() {
    let app = App::with("database_timeout_ms", 25_000).start().await;
    let storm = Storm::gather(&app, USERS).await;

    let written = rage(&app, &storm).await;

    assert!(written > 100, "{written}");
    assert_eq!(broken_meanwhile(&app).await, [0, 0]);
    assert_audit(&app).await;
}

/// The negative control: without the triggers, the same storm must break the data.
#[tokio::test]
async fn without_triggers_a_storm_of_both_services_breaks_the_data() {
    let app = App::with("database_timeout_ms", 25_000).start().await;
    let storm = Storm::gather(&app, USERS).await;
    for table in [
        "tests",
        "courses",
        "test_registrations",
        "course_registrations",
        "payments",
    ] {
        app.run(&format!("alter table {table} disable trigger user"), &[]).await;
    }

    rage(&app, &storm).await;

    let found: Vec<_> = audit(&app).await.into_iter().map(|finding| finding.check).collect();
    for check in [
        "registration_count",
        "audit_log_of_payment",
        "audit_log_of_registration",
    ] {
        assert!(found.iter().any(|found| found == check), "{check}: {found:?}");
    }
}
