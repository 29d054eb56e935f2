//! `migrate` serves requests once and rolls them back: what the old service has on its tables may refuse what this service
//! writes, and only to write shows it.

use std::process::Output;

use rstest::rstest;
use serde_json::{Value, json};
use sugang_migrations::audit;
use sugang_tests::{App, EXAM, Item, host_program};

use crate::support::register;

const DJANGO: &str = include_str!("../fixtures/django.sql");

/// As pghistory and pgtrigger make them.
const HISTORY: &str = "
    create table pghistory_event (id bigserial primary key, label text);
    create function note() returns trigger language plpgsql as
        'begin insert into pghistory_event (label) values (tg_table_name); return null; end';
    create trigger note after insert or update on users for each row execute function note();
    create trigger note after insert or update on payments for each row execute function note()";

/// A database that the Django service made.
async fn django() -> App {
    let app = App::start().await;
    let empty = "drop schema sugang cascade; drop schema public cascade; create schema public;";
    for statements in [empty, DJANGO] {
        batch(&app, statements).await;
    }
    app
}

/// The same after a migration, and with what has come since.
async fn migrated(since: &str) -> App {
    let app = django().await;
    let (status, printed, error) = migrate(&app, &[]);
    assert_eq!(status, Some(0), "{printed}{error}");
    batch(&app, since).await;
    app
}

async fn batch(app: &App, statements: &str) {
    let done = app.database().batch_execute(statements).await;
    done.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
}

/// Migrates for the role that serves; returns the status, and what was printed.
fn migrate(app: &App, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = host_program()
        .args(["migrate", "--grant-to", app.service_role().name.as_str()])
        .args(arguments)
        .env("SPIN_VARIABLE_DATABASE_URL", app.database_url())
        .output()
        .expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

/// Every row that a rehearsal writes.
async fn rows(app: &App) -> Value {
    let written = app
        .rows(
            "select (select count(*) from sugang.orders) as orders, (select count(*) from sugang.outbox) as outbox,
                    (select count(*) from sugang.change_log) as change_log,
                    (select count(*) from sugang.revoked_tokens) as revoked_tokens,
                    (select count(*) from sugang.bucket_counts) as bucket_counts,
                    (select count(*) from sugang.search_changes) as search_changes",
        )
        .await;
    json!([app.state().await, written])
}

async fn assert_audit(app: &App) {
    for finding in audit(app.database()).await.expect("it is migrated") {
        assert_eq!(finding.ids, [] as [String; 0], "{finding:?}");
    }
}

fn new_user() -> Value {
    json!({"email": "new@example.com", "username": "새사람", "password": "correct1"})
}

#[rstest]
#[case::a_trigger_that_the_role_has_no_rights_for(
    HISTORY,
    "sign-up (and ",
    "fails: 42501 permission denied for table pghistory_event (PL/pgSQL function note() line 1)",
    "alter function note() security definer set search_path = public, pg_temp"
)]
#[case::an_index_on_a_function(
    "create function method(text) returns text language plpgsql immutable as 'begin return lower($1); end';
     revoke execute on function method from public; create index on payments (method(payment_method))",
    "applying for a course (free) (and ",
    "fails: 42501 permission denied for function method\n",
    "grant execute on function method to public"
)]
#[case::partitions_by_a_trigger(
    "create table payments_of_2026 (like payments);
     create function move() returns trigger language plpgsql security definer as
         'begin insert into payments_of_2026 select new.*; return null; end';
     create trigger a_move before insert on payments for each row execute function move()",
    "applying for a course (free) (and ",
    "writes no row: payment_id is null\n",
    "drop trigger a_move on payments"
)]
#[case::no_free_items(
    "alter table payments add constraint positive check (amount > 0)",
    "applying for a course (free) (and 1 more: applying for a test (free)) ",
    "fails: 23514 new row for relation \"payments\" violates check constraint \"positive\"\n",
    "alter table payments drop constraint positive"
)]
#[case::known_methods(
    "alter table payments add constraint methods check (payment_method in ('kakaopay', 'card', 'bank_transfer'))",
    "applying for a course (free) (and 1 more: applying for a test (free)) ",
    "violates check constraint \"methods\"\n",
    "alter table payments drop constraint methods"
)]
#[case::one_payment_for_ever(
    "alter table payments add constraint once unique (user_id, content_type_id, object_id)",
    "applying for a course (free, again) (and ",
    "fails: 23505 duplicate key value violates unique constraint \"once\"\n",
    "alter table payments drop constraint once"
)]
#[case::short_names(
    "alter table users add constraint short_names check (length(username) < 30)",
    "sign-up fails: ",
    "23514 new row for relation \"users\" violates check constraint \"short_names\"\n",
    "alter table users drop constraint short_names"
)]
#[tokio::test]
async fn what_would_refuse_requests_is_found(
    #[case] since: &str,
    #[case] requests: &str,
    #[case] problem: &str,
    #[case] remedy: &str,
) {
    let app = migrated(since).await;
    let before = rows(&app).await;
    let (status, printed, error) = migrate(&app, &[]);
    assert_eq!(status, Some(3), "{printed}{error}");
    assert!(printed.contains("The database is up to date"), "{printed}");
    assert!(!printed.contains("has the rights that requests need"), "{printed}");
    assert!(
        error.contains("the migration is done, but requests would fail (1 finding of"),
        "{error}"
    );
    let finding = printed
        .split("  rehearsal: ")
        .nth(1)
        .unwrap_or_else(|| panic!("{printed}"));
    assert!(finding.starts_with(requests) && finding.contains(problem), "{printed}");

    assert_eq!(migrate(&app, &["--check"]).0, Some(3));
    assert_eq!(rows(&app).await, before, "it is rolled back");

    batch(&app, remedy).await;
    let (status, printed, error) = migrate(&app, &[]);
    assert_eq!(status, Some(0), "{printed}{error}");
    assert_audit(&app).await;
}

/// The control: what a rehearsal finds, a request fails of, and nothing else tells.
#[tokio::test]
async fn what_a_rehearsal_finds_fails_a_request() {
    let mut app = django().await;
    batch(&app, HISTORY).await;
    let (status, printed, error) = migrate(&app, &[]);
    assert_eq!(status, Some(3), "{printed}{error}");
    assert!(printed.contains("Applied V01__kinds, "), "{printed}");
    app.restart().await;
    assert_eq!(app.get("/readyz").await.json()["status"], "ok");
    // Not as the other tests ask, for which a defect of the service is never right.
    let signup = reqwest::Client::new()
        .post(format!("{}/signup/", app.base))
        .header("content-type", "application/json")
        .body(new_user().to_string());
    assert_eq!(signup.send().await.expect("an answer").status(), 500);

    batch(
        &app,
        "alter function note() security definer set search_path = public, pg_temp",
    )
    .await;
    let noted = "select count(*) from pghistory_event";
    let before: i64 = app.one(noted, &[]).await;
    assert_eq!(migrate(&app, &[]).0, Some(0));
    assert_eq!(app.post("/signup/").json(&new_user()).await.status, 201);
    assert_eq!(app.one::<i64>(noted, &[]).await, before + 1, "no row of a rehearsal");
}

/// The control for all cases above, with a webhook that would hear of what is rolled back.
#[tokio::test]
async fn nothing_is_found_in_a_sound_database_and_nothing_is_left_behind() {
    let app = migrated("").await;
    app.run(
        "insert into sugang.webhooks (url, types, secret) values ('https://example.com', '{}', 'x')",
        &[],
    )
    .await;
    let before = rows(&app).await;
    let (status, printed, error) = migrate(&app, &[]);
    assert_eq!(status, Some(0), "{printed}{error}");
    assert!(printed.starts_with("The database is up to date\n"), "{printed}");
    assert_eq!(rows(&app).await, before);
    assert_audit(&app).await;
}

/// `on conflict` takes neither.
#[rstest]
#[case::a_deferrable_constraint("alter table users add constraint emails unique (email) deferrable initially deferred")]
#[case::a_rule(
    "create table noted (id bigint);
     create rule note as on insert to users do also insert into noted values (new.id);
     create rule note as on insert to payments do also insert into noted values (new.id)"
)]
#[tokio::test]
async fn accounts_are_created_beside(#[case] since: &str) {
    let mut app = migrated(since).await;
    let (status, printed, error) = migrate(&app, &[]);
    assert_eq!(status, Some(0), "{printed}{error}");
    app.restart().await;
    assert_eq!(app.post("/signup/").json(&new_user()).await.status, 201);
    assert_eq!(app.post("/signup/").json(&new_user()).await.status, 400);
}

/// A transaction of another program keeps no host from its start.
#[tokio::test]
async fn a_locked_table_is_no_failure() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    let other = app.connect().await;
    other
        .batch_execute("begin; lock table users in exclusive mode")
        .await
        .expect("a lock");
    let (status, printed, error) = migrate(&app, &["--lock-timeout-ms", "100"]);
    assert_eq!(status, Some(0), "{printed}{error}");
    assert!(printed.contains("requests were not rehearsed: "), "{printed}");
    other.batch_execute("rollback").await.expect("it was begun");
    assert!(!migrate(&app, &[]).1.contains("not rehearsed"));
    assert_eq!(register(&app, EXAM, id, &minsu).await.status, 201);
}

/// A sequence does not take back what was drawn from it, and the first user of a new service has the id 1.
#[tokio::test]
async fn a_new_service_is_not_rehearsed() {
    let app = App::start().await;
    assert_eq!(migrate(&app, &[]).0, Some(0));
    assert_eq!(app.user("minsu").await.id, 1);
}

/// As on a hardened server.
#[tokio::test]
async fn the_role_may_connect() {
    let mut app = App::start().await;
    let database: String = app.one("select current_database()::text", &[]).await;
    let role = app.service_role().name.clone();
    let may = format!("select has_database_privilege('{role}', '{database}', 'connect')");
    batch(&app, &format!("revoke all on database {database} from public")).await;
    assert!(!app.one::<bool>(&may, &[]).await);
    // A role of an earlier call is not granted anything, and named.
    let output = host_program()
        .arg("migrate")
        .env("SPIN_VARIABLE_DATABASE_URL", app.database_url())
        .output()
        .expect("the program runs");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{printed}");
    assert!(
        printed.contains(&format!("the role {role} may not connect to the database"))
            && printed.contains(&format!("`grant connect on database {database} to {role}`")),
        "{printed}"
    );
    assert_eq!(migrate(&app, &[]).0, Some(0));
    assert!(app.one::<bool>(&may, &[]).await);
    app.restart().await;
    assert_eq!(app.get("/readyz").await.json()["status"], "ok");
}

/// As the old service's own migrations do it.
#[rstest]
#[tokio::test]
async fn the_type_of_a_column_that_a_trigger_names_can_be_changed(
    #[values(
        ("tests", "alter title type varchar(300)"),
        ("tests", "alter description type varchar(2000)"),
        ("users", "alter password type varchar(256)"),
        ("payments", "alter payment_type type varchar(30)")
    )]
    change: (&str, &str),
) {
    let (table, change) = change;
    let mut app = migrated("").await;
    let alone = app
        .database()
        .batch_execute(&format!("alter table {table} {change}"))
        .await;
    let refusal = alone.expect_err("a trigger names the column");
    let refusal = refusal.as_db_error().map(|error| error.message().to_owned());
    assert_eq!(
        refusal.as_deref(),
        Some("cannot alter type of a column used in a trigger definition")
    );
    let triggers =
        "select string_agg(concat_ws('.', tgrelid::regclass, tgname, tgenabled), ' ' order by tgrelid, tgname)
                    from pg_trigger where not tgisinternal";
    let before: String = app.one(triggers, &[]).await;
    app.run("select sugang.alter_table($1::text::regclass, $2)", &[&table, &change])
        .await;
    assert_eq!(app.one::<String>(triggers, &[]).await, before);
    assert_audit(&app).await;
    app.restart().await;
    assert_eq!(app.get("/readyz").await.json()["status"], "ok");
    assert_eq!(migrate(&app, &[]).0, Some(0));
}
