//! The audit finds nothing in good books, and whatever is broken by hand. A check that cannot find anything proves nothing.

use std::collections::BTreeSet;

use futures::future::join_all;
use rstest::rstest;
use sugang_migrations::{Finding, audit};
use sugang_tests::{App, COURSE, EXAM, Item, Kind};

use crate::support::{cancel, paid, register};

/// For each check of `migrations/audit.sql`, how to break what it guards, after the guards that forbid that are gone.
const BREAKAGES: &[(&str, &str)] = &[
    (
        "second_active_payment",
        "drop index payments_one_active;
         insert into payments (user_id, payment_type, content_type_id, object_id, amount, payment_method)
            select user_id, payment_type, content_type_id, object_id, amount, payment_method
            from payments where status = 'paid' limit 1",
    ),
    (
        "second_registration",
        "drop index idx_{kind}_reg_unique;
         insert into {registrations} (user_id, {item_id}) select user_id, {item_id} from {registrations} limit 1",
    ),
    (
        "active_payment_without_active_registration",
        "update {registrations} set status = 'cancelled', cancelled_at = now() where status = '{active}'",
    ),
    (
        "active_registration_without_active_payment",
        "alter table payments disable trigger sugang_payments_updated;
         update payments set status = 'cancelled', cancelled_at = now() where status = 'paid'",
    ),
    (
        "payment_of_unknown_kind",
        "alter table payments disable trigger user; update payments set payment_type = 'voucher'",
    ),
    (
        "payment_points_to_another_registration",
        "update payments p set registration_id = r.id from {registrations} r where r.id <> p.registration_id",
    ),
    (
        "external_id_twice",
        "drop index payments_external_id; update payments set external_transaction_id = 'sugang_1'",
    ),
    (
        "payment_time_against_status",
        "alter table payments disable trigger user; update payments set cancelled_at = now()",
    ),
    (
        "registration_time_against_status",
        "alter table {registrations} disable trigger user;
         update {registrations} set completed_at = now() where status = '{active}'",
    ),
    (
        "registration_count",
        "alter table {items} disable trigger user; update {items} set registration_count = registration_count + 1",
    ),
    (
        "capacity",
        "alter table {items} disable trigger user;
         update {items} set capacity = registration_count - 1 where registration_count > 0",
    ),
    (
        "audit_log_of_payment",
        "alter table sugang.audit_log disable trigger append_only;
         delete from sugang.audit_log where subject = 'payment' and status = 'cancelled'",
    ),
    (
        "audit_log_of_registration",
        "alter table sugang.audit_log disable trigger append_only;
         update sugang.audit_log set status = 'completed' where subject = '{kind}'",
    ),
    (
        "audit_log_of_item",
        "alter table sugang.audit_log disable trigger append_only;
         update sugang.audit_log set item_id = item_id + 1 where subject = '{kind}'",
    ),
    ("search_table", "update sugang.{kind}_search set created_at = now()"),
    (
        "search_vector",
        "update sugang.{kind}_search set search_vector = '요가:1A'",
    ),
    (
        "bucket_counts",
        "update sugang.bucket_counts set n = n + 1 where kind = '{kind}' and level = 'hour'",
    ),
    (
        "available_count",
        "update sugang.available_counts set n = 7, valid_from = '-infinity', valid_until = 'infinity' where kind = '{kind}'",
    ),
    (
        "idempotency_key_without_user",
        "alter table sugang.idempotency_keys drop constraint idempotency_keys_user_id_fkey;
         insert into sugang.idempotency_keys (user_id, key, fingerprint, outcome) values (404, 'key', 'hash', 'ok')",
    ),
];

/// A user who is registered for one item, has cancelled another, and has taken a third up again.
async fn books(kind: Kind) -> App {
    let app = App::start().await;
    let user = app.user("minsu").await;
    for cancelled in [false, true, true] {
        let item = app
            .add(
                kind,
                Item {
                    capacity: Some(5),
                    ..Item::default()
                },
            )
            .await;
        let payment = paid(&register(&app, kind, item, &user).await);
        if cancelled {
            assert_eq!(cancel(&app, payment, &user).await.status, 200);
        }
    }
    paid(&register(&app, kind, 3, &user).await);
    app
}

async fn findings(app: &App) -> Vec<Finding> {
    audit(app.database()).await.expect("every check can be asked")
}

#[rstest]
#[tokio::test]
async fn consistent_data_pass_and_each_defect_is_found(#[values(EXAM, COURSE)] kind: Kind) {
    join_all(BREAKAGES.iter().map(async |(check, breakage)| {
        let app = books(kind).await;
        let before = findings(&app).await;
        assert!(
            before.iter().all(|finding| finding.ids.is_empty()),
            "{check}: {before:#?}"
        );

        let breakage = breakage
            .replace("{kind}", kind.payment_type)
            .replace("{items}", kind.items)
            .replace("{registrations}", kind.registrations)
            .replace("{item_id}", kind.item_id)
            .replace("{active}", kind.active);
        app.database()
            .batch_execute(&breakage)
            .await
            .unwrap_or_else(|error| panic!("{check}: {error:?}"));

        let after = findings(&app).await;
        let found = after.iter().find(|finding| {
            finding.check == *check && finding.kind.as_deref().is_none_or(|found| found == kind.payment_type)
        });
        assert!(
            found.is_some_and(|finding| !finding.ids.is_empty()),
            "{check}: {after:#?}"
        );
    }))
    .await;
}

#[tokio::test]
async fn every_check_has_its_defect() {
    let app = App::start().await;
    let checks: BTreeSet<_> = findings(&app).await.into_iter().map(|finding| finding.check).collect();
    let broken: BTreeSet<_> = BREAKAGES.iter().map(|(check, _)| (*check).to_owned()).collect();
    assert_eq!(checks, broken);
}
