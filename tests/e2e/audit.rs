//! The audit finds nothing in good books, and whatever is falsified by hand. A check that cannot find anything proves
//! nothing.

mod falsifications;

use std::{collections::BTreeSet, fs, io::Write, process::Command};

use rstest::rstest;
use serde_json::json;
use sugang_migrations::{Finding, audit, audit_within, run};
use sugang_tests::{App, COURSE, EXAM, Item, Kind, User, postgres_program};

use crate::{
    storm::assert_audit,
    support::{cancel, cancel_order, confirm, operator, ordered, paid, payment, preorder, register, shop},
};
use falsifications::FALSIFICATIONS;

/// Names of the kind in SQL.
fn of_kind(kind: Kind, sql: &str) -> String {
    sql.replace("{kind}", kind.payment_type)
        .replace("{items}", kind.items)
        .replace("{registrations}", kind.registrations)
        .replace("{registered_at}", kind.registered_at)
        .replace("{item_id}", kind.item_id)
        .replace("{active}", kind.active)
}

/// Of four items, minsu has the first, has cancelled the second and taken the third up again; jiyoung has the second.
/// Registrations 1 to 4, payments 1 to 5. The responses for the first registration and cancellation are kept.
async fn books(kind: Kind) -> App {
    filled(App::start().await, kind).await
}

async fn filled(app: App, kind: Kind) -> App {
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    let item = Item {
        capacity: Some(5),
        ..Item::default()
    };
    for _ in 0..4 {
        app.add(kind, item).await;
    }
    let take = async |id: i64, user: &User| paid(&register(&app, kind, id, user).await);
    let body = payment("45000.00", "card");
    let first = app.post(kind.register(1)).by(&minsu).header("idempotency-key", "key-1");
    assert_eq!(paid(&first.json(&body).await), 1);
    let second = take(2, &minsu).await;
    let cancelled = cancel(&app, second, &minsu).header("idempotency-key", "key-2").await;
    assert_eq!(cancelled.status, 200);
    let third = take(3, &minsu).await;
    assert_eq!(cancel(&app, third, &minsu).await.status, 200);
    take(3, &minsu).await;
    assert_eq!(take(2, &jiyoung).await, 5);
    app
}

/// The same with orders for two more items: order 1 is paid (payment 6, registration 5), order 2 holds a seat, and order 3
/// is owed money (payment 8) that came while the user was registered (payment 7). Each has one attempt.
async fn books_with_orders(kind: Kind) -> App {
    let app = filled(shop().await, kind).await;
    let operator = operator(&app).await;
    let user = async |id: i64| {
        let name: String = app.one("select username from users where id = $1", &[&id]).await;
        app.known_user(id, &name)
    };
    let (minsu, jiyoung) = (user(1).await, user(2).await);
    for _ in 5..=6 {
        app.add(kind, Item::default()).await;
    }
    let first = ordered(&preorder(&app, kind, 5, &minsu).await);
    assert_eq!(confirm(&app, first, &operator).await.json()["status"], "paid");
    ordered(&preorder(&app, kind, 5, &jiyoung).await);
    let third = ordered(&preorder(&app, kind, 6, &minsu).await);
    cancel_order(&app, third, &minsu).await;
    assert_eq!(paid(&register(&app, kind, 6, &minsu).await), 7);
    assert_eq!(confirm(&app, third, &operator).await.json()["status"], "refund_due");
    app
}

/// What stands out in good books.
fn found(findings: &[Finding]) -> Vec<&Finding> {
    findings.iter().filter(|finding| finding.count > 0).collect()
}

/// What a check finds after a falsification, which is taken back. The triggers of the tables are off.
async fn found_after(app: &App, sql: &str, check: &str) -> Vec<Finding> {
    app.database()
        .batch_execute(&format!("begin; set local session_replication_role = replica; {sql}"))
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let findings = audit_within(app.database(), &[check])
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    app.database()
        .batch_execute("rollback")
        .await
        .expect("it is taken back");
    findings
}

#[rstest]
#[tokio::test]
async fn every_falsification_is_found(#[values(EXAM, COURSE)] kind: Kind) {
    let app = books_with_orders(kind).await;
    assert_audit(&app).await;
    let mut missed = Vec::new();
    for falsification in FALSIFICATIONS {
        let sql = of_kind(kind, falsification.sql);
        let findings = found_after(&app, &sql, falsification.check).await;
        let says = of_kind(kind, falsification.says);
        let is_found = findings.iter().any(|finding| {
            finding.kind.as_deref().is_none_or(|found| found == kind.payment_type)
                && finding.ids.iter().any(|id| id.contains(&says))
        });
        if !is_found {
            missed.push(format!("{} {says:?}: {sql}: {findings:?}", falsification.check));
        }
    }
    assert_eq!(missed, [] as [String; 0]);
    assert_audit(&app).await;
}

#[tokio::test]
async fn every_check_has_its_falsification() {
    let app = App::start().await;
    let findings = audit(app.database()).await.expect("it can be audited");
    let checks: BTreeSet<_> = findings.iter().map(|finding| finding.check.as_str()).collect();
    let falsified: BTreeSet<_> = FALSIFICATIONS.iter().map(|falsification| falsification.check).collect();
    assert_eq!(checks, falsified);
}

/// The document has twelve invariants, and each of them names checks that a falsification has shown to find something.
#[test]
fn every_invariant_has_its_checks() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guarantees.md");
    let document = fs::read_to_string(document).expect("the document is there");
    let (_, section) = document.split_once("\n## Invariants\n").expect("it has the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let falsified: BTreeSet<_> = FALSIFICATIONS.iter().map(|falsification| falsification.check).collect();
    let mut numbers = Vec::new();
    for row in section.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<_> = row.split(" | ").collect();
        let [number, _, _, checks, _] = cells[..] else {
            panic!("a row has five cells: {row}");
        };
        let checks: Vec<_> = checks.split('`').skip(1).step_by(2).collect();
        assert!(!checks.is_empty(), "{row}");
        for check in checks {
            assert!(falsified.contains(check), "no falsification shows what {check} finds");
        }
        numbers.push(number.trim_start_matches("| ").to_owned());
    }
    let expected: Vec<_> = (1..=12).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected);
}

/// Whichever program changes a column: with the triggers on, it is in the history, and the books are good.
#[rstest]
#[tokio::test]
async fn a_change_of_any_column_is_in_the_history(#[values(EXAM, COURSE)] kind: Kind) {
    let app = books(kind).await;
    app.run(
        "insert into users (email, username, password) values ('hana@example.com', 'hana', '')",
        &[],
    )
    .await;
    for (table, id, changes) in [
        (
            "payments",
            1,
            &[
                "amount = 40000",
                "payment_method = 'kakaopay'",
                "external_transaction_id = 'pg-1'",
                "refund_reason = 'x'",
                "paid_at = paid_at - interval '1 s'",
                "target_title = 'x'",
                "registration_time = registration_time - interval '1 s'",
                "user_id = 3",
                "history_entries = 77, refund_reason = 'y'",
                "id = 77",
            ] as &[&str],
        ),
        (
            kind.registrations,
            1,
            &[
                "{registered_at} = {registered_at} - interval '1 s'",
                "status = 'completed'",
                "completed_at = completed_at + interval '1 s'",
                "user_id = 3",
                "history_entries = 77, status = '{active}'",
                "id = 77",
            ],
        ),
    ] {
        for change in changes {
            let before: i64 = app.one("select count(*) from sugang.audit_log", &[]).await;
            let change = of_kind(kind, change);
            app.run(&format!("update {table} set {change} where id = {id}"), &[])
                .await;
            let after: i64 = app.one("select count(*) from sugang.audit_log", &[]).await;
            assert!(after > before, "{table}: {change}");
        }
        // What is derived is no change.
        let before: i64 = app.one("select count(*) from sugang.audit_log", &[]).await;
        app.run(&format!("update {table} set history_entries = 5"), &[]).await;
        assert_eq!(
            app.one::<i64>("select count(*) from sugang.audit_log", &[]).await,
            before
        );
    }
    app.run("update payments set registration_id = 77 where id = 77", &[])
        .await;
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn the_history_cannot_be_changed(
    #[values(
        "update sugang.audit_log set amount = 0",
        "delete from sugang.audit_log",
        "truncate sugang.audit_log",
        "truncate users cascade; truncate sugang.audit_log cascade",
        "update sugang.change_log set action = ''",
        "delete from sugang.change_log",
        "truncate sugang.change_log",
        "update sugang.audit_seals set n = 0",
        "delete from sugang.audit_seals",
        "truncate sugang.audit_seals",
        "update sugang.ledger set amount = 1",
        "delete from sugang.ledger",
        "truncate sugang.ledger",
        "delete from sugang.refunds",
        "truncate sugang.refunds"
    )]
    statements: &str,
) {
    let app = books(EXAM).await;
    let before = app.state().await;
    let refused = app
        .database()
        .batch_execute(statements)
        .await
        .expect_err("it is refused");
    assert!(refused.to_string().contains("db error"), "{refused:?}");
    assert!(format!("{refused:?}").contains("append-only"), "{refused:?}");
    assert_eq!(app.state().await, before);
}

/// A history from before it had chains is sealed by the migration, and every row begins a chain.
#[rstest]
#[tokio::test]
async fn a_history_from_before_the_chains_is_sealed(#[values(EXAM, COURSE)] kind: Kind) {
    let app = books(kind).await;
    app.database()
        .batch_execute(
            "alter table sugang.audit_log drop column entry, drop column state, drop column hash;
             alter table payments drop column history_entries cascade;
             alter table test_registrations drop column history_entries cascade;
             alter table course_registrations drop column history_entries cascade;
             alter table tests drop column seats_taken cascade;
             alter table courses drop column seats_taken cascade;
             alter table sugang.search_counts drop column words;
             drop table sugang.audit_seals, sugang.schema_definitions cascade;
             delete from sugang.migrations where script ~ 'history_chain'",
        )
        .await
        .expect("it can be made old");
    let before: i64 = app.one("select count(*) from sugang.audit_log", &[]).await;

    run(app.database_url()).await.expect("it is migrated");

    assert_audit(&app).await;
    let seals = app.rows("select first_id, n from sugang.audit_seals").await;
    assert_eq!(seals, json!([{"first_id": 1, "n": before}]));
    let opened: i64 = app
        .one(
            "select count(*) from sugang.audit_log where entry = 1 and amount = 0 and seats = 0",
            &[],
        )
        .await;
    assert_eq!(opened, 5 + 4, "payments and registrations");

    // The chains go on.
    app.run("update payments set status = 'cancelled' where id in (1, 5)", &[])
        .await;
    let hana = app.user("hana").await;
    paid(&register(&app, kind, 1, &hana).await);
    assert_audit(&app).await;
    for (check, falsification) in [
        ("audit_log_seal", "update sugang.audit_log set amount = 1 where id = 2"),
        ("audit_log_seal", "delete from sugang.audit_log where id = 2"),
        (
            "audit_log_of_payment",
            "update payments set target_title = 'x' where id = 2",
        ),
    ] {
        let findings = found_after(&app, falsification, check).await;
        assert_eq!(found(&findings).len(), 1, "{falsification}: {findings:?}");
    }
}

/// PostgreSQL writes some definitions in another way once they have been dumped and restored. They mean the same.
#[tokio::test]
async fn a_restored_database_is_as_it_was() {
    let (Some(pg_dump), Some(psql)) = (postgres_program("pg_dump"), postgres_program("psql")) else {
        return;
    };
    let app = books_with_orders(EXAM).await;
    assert_audit(&app).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("dump.sql");
    let output = Command::new(pg_dump)
        .arg("--file")
        .arg(&file)
        .arg(app.database_url())
        .output()
        .expect("it starts");
    let error = String::from_utf8_lossy(&output.stderr);
    if error.contains("server version mismatch") {
        writeln!(
            std::io::stderr(),
            "pg_dump is older than PostgreSQL: nothing was tested"
        )
        .ok();
        return;
    }
    assert!(output.status.success(), "{error}");

    app.database()
        .batch_execute("drop schema sugang cascade; drop schema public cascade; create schema public")
        .await
        .expect("it is emptied");
    let output = Command::new(psql)
        .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file"])
        .arg(&file)
        .arg(app.database_url())
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    assert_audit(&app).await;
    // Parentheses that mean something are compared.
    let falsification = "drop trigger sugang_refund_fixed on sugang.refunds;
        create trigger sugang_refund_fixed before update of id, payment_id, amount, ends_payment on sugang.refunds
        for each row when (
            old.id is distinct from new.id or old.payment_id is distinct from new.payment_id
            or old.amount is distinct from new.amount
            or (old.ends_payment is distinct from new.ends_payment and pg_trigger_depth() = 0))
        execute function sugang.refuse_change()";
    let findings = found_after(&app, falsification, "guards").await;
    assert_eq!(
        findings[0].ids,
        ["trigger sugang_refund_fixed on sugang.refunds is not what it was"]
    );
}
