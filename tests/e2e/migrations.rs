//! Migrations: once, together, or not at all; on a database of any state.

use futures::future::join_all;
use rstest::rstest;
use sugang_migrations::{ItemKind, KINDS, audit_with, function_call, run, run_with};
use sugang_tests::{App, EXAM, Item, host_program};

use crate::support::payment;

/// A kind that the service does not have.
const WORKSHOP: ItemKind = ItemKind {
    kind: "workshop",
    items: "workshops",
    registrations: "workshop_registrations",
    item_id: "workshop_id",
    registered_at: "joined_at",
    active: "joined",
    item_index: "workshop",
    registration_index: "workshop_reg",
};

/// A service whose database is empty.
async fn empty() -> App {
    let app = App::start().await;
    let drop = "drop schema sugang cascade; drop schema public cascade; create schema public";
    app.database().batch_execute(drop).await.unwrap();
    app
}

/// The error of a migration, with its causes.
async fn failure(app: &App) -> String {
    format!(
        "{:#}",
        run(app.database_url()).await.expect_err("it cannot be migrated")
    )
}

/// Everything that a migration makes, without the order in which it was made.
async fn catalog(app: &App) -> serde_json::Value {
    app.rows(
        "select * from (
             select 'relation' as what, c.oid::regclass::text as name, concat_ws(' ', relkind, relpersistence,
                    reloptions::text) as definition
             from pg_class c where relnamespace in ('public'::regnamespace, 'sugang'::regnamespace)
             union all
             select 'column', attrelid::regclass || '.' || attname, concat_ws(' ', format_type(atttypid, atttypmod),
                    attnotnull, attidentity, pg_get_expr(adbin, adrelid))
             from pg_attribute a join pg_class c on c.oid = attrelid left join pg_attrdef on (adrelid, adnum) = (attrelid, attnum)
             where relnamespace in ('public'::regnamespace, 'sugang'::regnamespace) and attnum > 0 and not attisdropped
             union all
             select 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid)
             from pg_index join pg_class c on c.oid = indrelid
             where relnamespace in ('public'::regnamespace, 'sugang'::regnamespace)
             union all
             select 'constraint', coalesce(nullif(conrelid, 0)::regclass::text, contypid::regtype::text) || '.' || conname,
                    pg_get_constraintdef(oid)
             from pg_constraint where connamespace in ('public'::regnamespace, 'sugang'::regnamespace)
             union all
             select 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid)
             from pg_trigger where not tgisinternal
             union all
             select 'function', oid::regprocedure::text, pg_get_functiondef(oid)
             from pg_proc where pronamespace in ('public'::regnamespace, 'sugang'::regnamespace)
             union all
             select 'migration', script || ' ' || kind, hash from sugang.migrations
             union all
             select 'row', 'kind ' || kind, '' from sugang.kinds
             union all
             select 'row', 'available count ' || kind, '' from sugang.available_counts
         ) objects order by 1, 2, 3",
    )
    .await
}

#[tokio::test]
async fn a_second_run_changes_nothing() {
    let app = empty().await;
    assert!(!run(app.database_url()).await.unwrap().is_empty());
    // Writing a row again, even with the same values, gives it another xmin.
    let written = "select string_agg(concat_ws(' ', name, version), ', ' order by name) from (
                       select oid::text, xmin::text from pg_proc where pronamespace = 'sugang'::regnamespace
                       union all select script || kind, xmin::text from sugang.migrations) rows (name, version)";
    let before = (catalog(&app).await, app.one::<String>(written, &[]).await);
    assert_eq!(run(app.database_url()).await.unwrap(), [] as [String; 0]);
    assert_eq!((catalog(&app).await, app.one(written, &[]).await), before);
}

#[tokio::test]
async fn concurrent_runs_apply_everything_once() {
    let app = empty().await;
    let runs = join_all((0..4).map(|_| run(app.database_url()))).await;
    let applied: Vec<_> = runs.into_iter().map(|applied| applied.unwrap().len()).collect();
    assert_eq!(applied.iter().filter(|applied| **applied > 0).count(), 1, "{applied:?}");
}

/// What the database sets for other programs changes neither what a migration makes nor what the audit finds.
#[rstest]
#[tokio::test]
async fn settings_of_the_database_change_nothing(
    #[values(
        "standard_conforming_strings = off",
        "quote_all_identifiers = on",
        "exit_on_error = on",
        "gin_fuzzy_search_limit = 1",
        "search_path = ''",
        "default_transaction_isolation = serializable"
    )]
    setting: &str,
) {
    let app = empty().await;
    app.alter_database(&format!("set {setting}")).await;
    run(app.database_url())
        .await
        .unwrap_or_else(|error| panic!("{setting}: {error:#}"));
    let audited = host_program()
        .arg("audit")
        .env("SPIN_VARIABLE_DATABASE_URL", app.database_url())
        .output()
        .expect("the program runs");
    assert!(audited.status.success(), "{setting}: {audited:?}");
}

#[tokio::test]
async fn a_failure_leaves_nothing_behind() {
    let app = empty().await;
    // No check looks for this: the name of a type that a schema file makes.
    app.database()
        .batch_execute("create schema sugang; create domain sugang.outcome as text")
        .await
        .unwrap();
    let error = failure(&app).await;
    assert!(
        error.contains("the database is as it was before") && error.contains("V02__function_row"),
        "{error}"
    );
    let left = "select count(*) from pg_class
                where relnamespace in ('public'::regnamespace, 'sugang'::regnamespace) and relkind = 'r'";
    assert_eq!(app.one::<i64>(left, &[]).await, 0);

    app.run("drop domain sugang.outcome", &[]).await;
    run(app.database_url()).await.unwrap();
}

#[tokio::test]
async fn functions_follow_the_files() {
    let app = App::start().await;
    let before = catalog(&app).await;
    // Another definition, another result, other parameters, and what no file defines any more.
    app.database()
        .batch_execute(
            "create or replace function sugang.page_size() returns integer language sql immutable as 'select 7';
             drop function sugang.idempotency_lifetime();
             create function sugang.idempotency_lifetime() returns text language sql as 'select 1::text';
             drop trigger append_only on sugang.audit_log;
             drop trigger append_only on sugang.audit_seals;
             drop trigger append_only on sugang.change_log;
             drop trigger append_only on sugang.ledger;
             drop trigger append_only on sugang.refunds;
             drop function sugang.refuse_audit_log_change();
             create function sugang.refuse_audit_log_change() returns event_trigger language plpgsql as 'begin end';
             create function sugang.total_count(p_other integer) returns bigint language sql as 'select 1::bigint';
             create function sugang.formerly() returns trigger language plpgsql as 'begin return null; end';
             create trigger formerly before insert on users for each row execute function sugang.formerly();
             create trigger formerly_too before update on payments
                 for each row execute function sugang.payment_snapshot();
             update sugang.migrations set hash = '' where script = 'functions'",
        )
        .await
        .unwrap();
    assert_ne!(catalog(&app).await, before);
    assert_eq!(run(app.database_url()).await.unwrap(), ["functions"]);
    assert_eq!(catalog(&app).await, before);
}

/// A kind that comes later gets what the others have, on a schema that is newer than its first files.
#[tokio::test]
async fn a_kind_may_be_added_later() {
    let kinds = [KINDS, &[WORKSHOP]].concat();
    let at_once = empty().await;
    run_with(at_once.database_url(), &kinds).await.unwrap();
    let later = App::start().await;
    let applied = run_with(later.database_url(), &kinds).await.unwrap();
    assert!(
        applied
            .iter()
            .all(|script| script == "functions" || script.ends_with("(workshop)")),
        "{applied:?}"
    );
    assert_eq!(catalog(&later).await, catalog(&at_once).await);

    let minsu = later.user("minsu").await;
    let call = async |call: &str| {
        let row = format!(
            "select outcome || coalesce(' ' || count, '') from {}",
            function_call(call)
        );
        later.one::<String>(&row, &[&minsu.id]).await
    };
    later
        .run(
            "insert into workshops (title, price, start_at, end_at, capacity)
             values ('도예 체험', 100, now() - interval '1 h', now() + interval '1 h', 1)",
            &[],
        )
        .await;
    let register = "register_workshop($1, 1, '100', 'card', '1', '1000', 'sugang_1', 'r', null, null)";
    for (statement, outcome) in [
        ("list_workshop($1, 1, true, '도예', false)", "ok 1"),
        (register, "ok"),
        (register, "already_registered"),
        ("cancel_payment($1, 1, null, 'r', null, null)", "ok"),
        ("complete_workshop($1, 1, 'r')", "cancelled"),
    ] {
        assert_eq!(call(statement).await, outcome, "{statement}");
    }
    for finding in audit_with(later.database(), &kinds).await.unwrap() {
        assert_eq!(finding.ids, [] as [String; 0], "{finding:?}");
    }
}

#[tokio::test]
async fn a_database_that_does_not_fit_is_refused() {
    for (change, complaint) in [
        ("create table public.sugang_migrations ()", "before the first release"),
        (
            "update sugang.migrations set hash = '' where script = 'V04__payments'",
            "schema/V04__payments.sql has changed",
        ),
        (
            "insert into sugang.migrations values ('V02__other', '', 'hash')",
            "the database has V02__other, which this version does not have",
        ),
        (
            "update sugang.migrations set script = 'V99__later' where script = 'V18__attempts'",
            "the database has V99__later, which this version does not know, but not V18__attempts",
        ),
        ("delete from sugang.migrations", "history_empty"),
    ] {
        let app = App::start().await;
        app.database().batch_execute(change).await.unwrap();
        let before = catalog(&app).await;
        let error = failure(&app).await;
        assert!(error.contains(complaint), "{error}");
        assert_eq!(catalog(&app).await, before);
    }
}

/// Nothing else says which files have run; the schema must not be taken for another program's.
#[tokio::test]
async fn a_missing_table_of_migrations_is_named() {
    let app = App::start().await;
    app.run("drop table sugang.migrations", &[]).await;
    let error = failure(&app).await;
    assert!(
        error.ends_with(
            "1 finding stands in the way of the migration, and nothing has been changed: history_missing. \
         `migrate --check` shows each with its rows and a remedy"
        ),
        "{error}"
    );
    let is_there = "select to_regclass('sugang.audit_log') is not null";
    assert!(app.one::<bool>(is_there, &[]).await);
}

#[tokio::test]
async fn an_unknown_outcome_is_refused() {
    let app = App::start().await;
    let unknown = app.database().query_one("select 'bought'::sugang.outcome", &[]).await;
    assert_eq!(
        unknown.unwrap_err().code(),
        Some(&tokio_postgres::error::SqlState::CHECK_VIOLATION)
    );
}

/// Logical replication refuses changes in a table whose rows it cannot tell apart. Any operator may begin it.
#[tokio::test]
async fn a_publication_of_all_tables_refuses_no_change() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    app.run("create publication everything for all tables", &[]).await;
    let tables = "select oid::regclass::text from pg_class
                  where relkind = 'r' and relnamespace in ('public'::regnamespace, 'sugang'::regnamespace) order by 1";
    let mut refused = Vec::new();
    for row in app.database().query(tables, &[]).await.unwrap() {
        let table: String = row.get(0);
        // Without the triggers, which refuse a deletion of history.
        let nothing = format!("begin; set local session_replication_role = replica; delete from {table} where false");
        refused.extend(app.database().batch_execute(&nothing).await.err().map(|_| table));
        app.database().batch_execute("rollback").await.unwrap();
    }
    assert_eq!(refused, [] as [String; 0]);

    // Once in an hour, a key causes a note of the time.
    app.run("update sugang.clock set seen_at = seen_at - interval '2 hours'", &[])
        .await;
    let body = payment("45000.00", "card");
    let call = app
        .post(EXAM.register(id))
        .by(&minsu)
        .header("idempotency-key", "key-1");
    assert_eq!(call.json(&body).await.status, 201);
    let noted = "select seen_at > now() - interval '1 hour' from sugang.clock";
    assert!(app.one::<bool>(noted, &[]).await);
}
