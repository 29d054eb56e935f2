//! `migrate` beside other versions of itself and beside the service: what is newer stays, what is locked is waited for, and
//! what is killed leaves nothing.

use std::{
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use futures::future::join;
use sugang_migrations::{KINDS, LockWait, Locked, Migration, Options, migrate};
use sugang_tests::{App, EXAM, Item, host_program};
use tokio::time::sleep;

use crate::support::{Hold, register};

/// A file of `schema/` that can run again, and that changes `payments`.
const AGAIN: &str = "delete from sugang.migrations where script = 'V14__free_payments'";

fn command(app: &App, arguments: &[&str]) -> Command {
    let mut command = host_program();
    command
        .args(arguments)
        .env("SPIN_VARIABLE_DATABASE_URL", app.database_url())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command without blocking the test, and so the service.
async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().expect("the program runs"))
        .await
        .expect("it does not panic")
}

async fn migrated(app: &App, wait: LockWait) -> anyhow::Result<Migration> {
    let options = Options {
        wait,
        ..Options::default()
    };
    migrate(app.database_url(), KINDS, options).await
}

/// What an earlier version has left, in place of what the database has. Of its functions, one by which it is recognized.
async fn earlier(app: &App, until: u64) {
    let empty = "drop schema sugang cascade; drop schema public cascade; create schema public";
    app.database().batch_execute(empty).await.expect("an empty database");
    let options = Options {
        until: Some(until),
        ..Options::default()
    };
    let migrated = migrate(app.database_url(), KINDS, options).await;
    migrated.expect("an earlier version");
    let triggers = "
        create function sugang.former() returns trigger language plpgsql as 'begin return null; end';
        create trigger sugang_former before truncate on tests for each statement execute function sugang.former();
        create trigger sugang_former before truncate on courses for each statement execute function sugang.former()";
    app.database().batch_execute(triggers).await.expect("its functions");
}

/// Every row of `sugang.migrations`, and every function with its version.
async fn state(app: &App) -> serde_json::Value {
    app.rows(
        "select script || kind || hash || xmin as row from sugang.migrations
         union all select oid::text || xmin from pg_proc where pronamespace = 'sugang'::regnamespace order by 1",
    )
    .await
}

#[tokio::test]
async fn a_newer_version_is_left_alone() {
    let app = App::start().await;
    for (newer, named) in [
        (
            "insert into sugang.migrations values ('V99__later', '', 'hash')",
            "V99__later",
        ),
        (
            "insert into sugang.migrations values ('V05__items', 'workshop', 'hash')",
            "V05__items (workshop)",
        ),
        (
            "update sugang.migrations set hash = '99.0.0 hash' where script = 'functions'",
            "functions",
        ),
        ("insert into sugang.migrations values ('views', '', 'hash')", "views"),
    ] {
        let saved = app.rows("select script, kind, hash from sugang.migrations").await;
        app.run(newer, &[]).await;
        let before = state(&app).await;
        let output = run(command(&app, &["migrate"])).await;
        let said = text(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        assert!(
            said.starts_with(&format!(
                "A newer version has migrated the database ({named}), so it stays as it is."
            )) && said.contains("This version can serve"),
            "{said}"
        );
        assert_eq!(state(&app).await, before);
        assert_eq!(app.get("/readyz").await.json()["status"], "ok");

        // What is unsafe is said.
        app.run("alter function sugang.refresh rename to renamed", &[]).await;
        let said = text(&run(command(&app, &["migrate"])).await.stdout);
        assert!(
            said.ends_with("it calls functions that are gone: sugang.refresh\n"),
            "{said}"
        );
        assert_eq!(app.get("/readyz").await.status, 503);
        let restore = format!(
            "alter function sugang.renamed rename to refresh; delete from sugang.migrations;
             insert into sugang.migrations (script, kind, hash)
                 select script, kind, hash from json_to_recordset($${saved}$$) r (script text, kind text, hash text)"
        );
        app.database()
            .batch_execute(&restore)
            .await
            .expect("it can be restored");
    }
}

/// The versions of V08 had no check of readiness; requests failed there.
#[tokio::test]
async fn an_earlier_schema_is_not_ready() {
    let mut app = App::start().await;
    for until in [8, 19] {
        earlier(&app, until).await;
        let grant = format!("grant usage on schema sugang to {}", app.service_role().name);
        app.run(&grant, &[]).await;
        app.restart().await;
        let answer = app.get("/readyz").await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["reason"]),
            (503, &"schema_outdated".into())
        );
    }
    app.migrate().await;
    app.restart().await;
    assert_eq!(app.get("/readyz").await.json()["status"], "ok");
}

/// The constraint of V04 refused what the repair of these payments writes, until V14 replaced it.
#[tokio::test]
async fn payments_of_nothing_are_repaired_at_any_version() {
    let app = App::start().await;
    for until in [11, 13] {
        earlier(&app, until).await;
        // As V04 left it by itself, beside a payment of the Django service.
        let rows = "alter table payments drop constraint payments_amount_positive;
             insert into users (email, username, password) values ('minsu@example.com', 'minsu', 'x');
             insert into tests (title, price, start_at, end_at, created_at, updated_at)
                 values ('무료 시험', 0, now(), now() + interval '1 day', now(), now());
             insert into test_registrations (user_id, test_id) values (1, 1);
             insert into payments (user_id, payment_type, content_type_id, object_id, amount, payment_method)
                 select 1, 'test', id, 1, 0, 'card' from django_content_type where model = 'test';
             alter table payments add constraint payments_amount_positive check (amount > 0) not valid";
        app.database().batch_execute(rows).await.expect("its rows");
        let migration = migrated(&app, LockWait::default()).await;
        migration.unwrap_or_else(|error| panic!("V{until:02}: {error:#}"));
        let payment = app.rows("select amount::text, payment_method from payments").await;
        assert_eq!(
            payment,
            serde_json::json!([{"amount": "0.00", "payment_method": "free"}])
        );
    }
}

/// A transaction that is left open keeps the migration from its locks; requests go on meanwhile.
#[tokio::test]
async fn a_locked_table_neither_stops_the_service_nor_the_migration() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    app.run(AGAIN, &[]).await;
    let before = state(&app).await;
    let hold = Hold::new(&app, "select from payments").await;

    // Each request in turn, and the longest of them.
    let requests = async |until: &(dyn Fn() -> bool + Sync)| {
        let mut longest = Duration::ZERO;
        while !until() {
            let started = Instant::now();
            assert_eq!(app.get("/me/payments/").by(&minsu).await.status, 200);
            longest = longest.max(started.elapsed());
        }
        longest
    };
    // It gives up after its limit, and says why.
    let done = std::sync::atomic::AtomicBool::new(false);
    let is_done = || done.load(std::sync::atomic::Ordering::Relaxed);
    let gives_up = async {
        let output = run(command(
            &app,
            &["migrate", "--lock-wait-s", "6", "--lock-timeout-ms", "400"],
        ))
        .await;
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        output
    };
    let (output, longest) = join(gives_up, requests(&is_done)).await;
    assert!(longest < Duration::from_secs(5), "a request took {longest:?}");
    let (pid, said) = (hold.pid().await, text(&output.stderr));
    assert_eq!(output.status.code(), Some(4), "{said}");
    let holder = format!("payments is locked by process {pid} of ");
    assert!(said.contains(&format!("wait for locks: {holder}")), "{said}");
    assert!(
        said.contains(&format!(
            "within 6 s (--lock-wait-s), and nothing has been changed: {holder}"
        )) && said.contains("idle in transaction"),
        "{said}"
    );
    assert_eq!(state(&app).await, before);

    // It succeeds as soon as the transaction has ended.
    let (migrated, ()) = join(migrated(&app, LockWait::default()), async {
        sleep(Duration::from_millis(600)).await;
        hold.release().await;
    })
    .await;
    assert_eq!(migrated.expect("it waits").applied, ["V14__free_payments", "functions"]);
    assert_eq!(register(&app, EXAM, id, &minsu).await.status, 201);

    // The control: a lock that is asked for without a timeout stops every request behind it.
    let hold = Hold::new(&app, "select from payments").await;
    let other = app.connect().await;
    let alter = async {
        other
            .batch_execute("begin; lock table payments; rollback")
            .await
            .expect("a lock");
    };
    let reader = async {
        hold.is_waited_for().await;
        let started = Instant::now();
        let waits = async {
            assert_eq!(app.get("/me/payments/").by(&minsu).await.status, 200);
            started.elapsed()
        };
        let (waited, ()) = join(waits, async {
            sleep(Duration::from_millis(1500)).await;
            hold.release().await;
        })
        .await;
        assert!(waited > Duration::from_millis(1200), "{waited:?}");
    };
    join(alter, reader).await;
}

/// Functions alone need weaker locks, for which a writer is in the way.
#[tokio::test]
async fn a_writer_in_the_way_of_functions_is_waited_for() {
    let app = App::start().await;
    app.run("update sugang.migrations set hash = '' where script = 'functions'", &[])
        .await;
    let reader = Hold::new(&app, "select from payments").await;
    let writer = Hold::new(&app, "delete from payments").await;
    let short = LockWait {
        timeout: Duration::from_millis(100),
        limit: Duration::from_millis(100),
    };
    let error = migrated(&app, short).await.expect_err("the writer is in the way");
    let locked = error.downcast::<Locked>().expect("it is named");
    assert!(locked.holder.contains("is locked by process"), "{locked}");
    writer.release().await;
    assert_eq!(
        migrated(&app, short).await.expect("a reader is not").applied,
        ["functions"]
    );
    reader.release().await;
}

/// The server would execute the statement to its end, and hold its locks for as long.
#[tokio::test]
async fn a_killed_migration_releases_its_locks_within_seconds() {
    let app = App::start().await;
    let slow = format!(
        "{AGAIN};
         create function public.slow() returns event_trigger language plpgsql as 'begin perform pg_sleep(60); end';
         create event trigger slow on ddl_command_start when tag in ('ALTER TABLE') execute function public.slow()"
    );
    app.database().batch_execute(&slow).await.expect("a slow statement");
    let mut process = command(&app, &["migrate"]).spawn().expect("the program runs");
    let sleeps = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    let wait_until = async |n: i64| {
        let started = Instant::now();
        while app.one::<i64>(sleeps, &[]).await != n {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "the session goes on without its client"
            );
            sleep(Duration::from_millis(50)).await;
        }
    };
    wait_until(1).await;
    process.kill().expect("it runs");
    process.wait().expect("it was started");
    wait_until(0).await;

    app.database()
        .batch_execute("drop event trigger slow; drop function public.slow()")
        .await
        .expect("it was made");
    let migrated = migrated(&app, LockWait::default())
        .await
        .expect("nothing is left of the first");
    assert_eq!(migrated.applied, ["V14__free_payments", "functions"]);
}

/// A standby gets its tables from the primary, and an image that migrates beside one must come up.
#[tokio::test]
async fn a_current_database_that_takes_no_changes_is_left_alone() {
    let app = App::start().await;
    app.alter_database("set default_transaction_read_only = on").await;
    let role = &app.service_role().name;
    let output = run(command(&app, &["migrate", "--grant-to", role])).await;
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stdout).starts_with("The database is up to date\n"));

    app.database()
        .batch_execute("set default_transaction_read_only = off; update sugang.migrations set hash = '' where script = 'functions'")
        .await
        .expect("this session may");
    let output = run(command(&app, &["migrate"])).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(
        text(&output.stdout).contains("transactions are read-only"),
        "{output:?}"
    );
}
