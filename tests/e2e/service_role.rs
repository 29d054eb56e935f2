//! The role that serves requests: what `migrate --grant-to` gives it suffices, and does not reach the history. The services
//! of all tests have such a role, so every other test shows that it suffices.

use serde_json::json;
use sugang_migrations::{KINDS, Options, ServiceRole, migrate};
use sugang_tests::{App, EXAM, Item, host_program};
use tokio_postgres::{Client, error::SqlState};
use url::Url;

use crate::support::{cancel, drop_role, paid, register};

/// A session of another user.
async fn session(url: &str) -> Client {
    let (session, connection) = sugang_connect::postgres::connect(url).await.expect("it may log in");
    tokio::spawn(connection);
    session
}

fn url_of(app: &App, role: &str, password: &str) -> String {
    let mut url: Url = app.database_url().parse().expect("a URL");
    url.set_username(role).expect("it has a host");
    url.set_password(Some(password).filter(|password| !password.is_empty()))
        .expect("it has a host");
    url.into()
}

/// The name of a role of this test's own.
async fn name(app: &App, suffix: &str) -> String {
    app.one(&format!("select current_database() || '_{suffix}'"), &[]).await
}

async fn granted(app: &App, name: &str, password: Option<&str>) -> anyhow::Result<()> {
    let options = Options {
        service_role: Some(ServiceRole {
            name: name.to_owned(),
            password: password.map(str::to_owned),
        }),
        ..Options::default()
    };
    migrate(app.database_url(), KINDS, options).await.map(drop)
}

const HISTORY: &str = "select id, subject, subject_id, status, amount::text, seats from sugang.audit_log order by id";

#[tokio::test]
async fn the_history_cannot_be_changed_by_the_role_that_serves() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    paid(&register(&app, EXAM, id, &minsu).await);
    let history = app.rows(HISTORY).await;
    let service = session(app.service_url()).await;
    for statement in [
        "update sugang.audit_log set amount = 0",
        "delete from sugang.audit_log",
        "truncate sugang.audit_log",
        "insert into sugang.audit_log (subject, subject_id, item_kind, item_id, user_id, status, amount, seats)
             values ('payment', 1, 'test', 1, 1, 'cancelled', -45000, 0)",
        "alter table sugang.audit_log disable trigger all",
        "drop trigger append_only on sugang.audit_log",
        "alter table payments disable trigger all",
        "drop trigger sugang_audit_log on payments",
        "set session_replication_role = replica",
        "create or replace function sugang.log_payment() returns trigger language plpgsql as 'begin return null; end'",
        "create function public.clock_timestamp() returns timestamptz language sql as 'select now()'",
        "delete from payments",
        "truncate payments cascade",
        "update payments set amount = 1",
        "update payments set user_id = 2",
        "delete from test_registrations",
        "update test_registrations set user_id = 2",
        "update tests set registration_count = 0",
        "update sugang.change_log set actor_id = null",
        "delete from sugang.change_log",
        "insert into sugang.change_log (subject, subject_id, action) values ('test', 1, 'edited')",
        "update sugang.migrations set hash = ''",
        "delete from sugang.schema_objects",
        "update sugang.bucket_counts set n = 0",
        "select setval(pg_get_serial_sequence('payments', 'id'), 1)",
    ] {
        let error = service.batch_execute(statement).await.expect_err(statement);
        let code = error.code().expect("PostgreSQL refuses it");
        assert_eq!(*code, SqlState::INSUFFICIENT_PRIVILEGE, "{statement}: {error:?}");
    }
    assert_eq!(app.rows(HISTORY).await, history);

    // Nor does it get past the history by the setting with which the owner counts again: refused, or written all the same.
    let recount = "begin; set local sugang.recount = 'on';
                   update payments set status = 'cancelled', cancelled_at = now()";
    if service.batch_execute(recount).await.is_ok() {
        let logged = service.query_one("select count(*) from sugang.audit_log", &[]).await;
        let before = history.as_array().map_or(0, Vec::len) as i64;
        assert_eq!(logged.expect("it may read").get::<_, i64>(0), before + 2);
    }
    service.batch_execute("rollback").await.expect("it was begun");

    // What it may change leaves a row, also where it hides the tables behind its own.
    service
        .batch_execute(
            "create temp table audit_log (id bigint); create temp table tests (id bigint, registration_count bigint);
             create temp table kinds (kind text, content_type_id bigint);
             set search_path = pg_temp, public;
             update public.payments set status = 'cancelled', cancelled_at = now()",
        )
        .await
        .expect("it may cancel a payment");
    let rows = app.rows(HISTORY).await;
    let count = |rows: &serde_json::Value| rows.as_array().map_or(0, Vec::len);
    assert_eq!(count(&rows), count(&history) + 2, "{rows}");
    let counted: i32 = app.one("select registration_count from tests", &[]).await;
    assert_eq!(counted, 0, "the real table is counted");
}

/// Without a right on anything of ours, as the Django service's own role may be.
#[tokio::test]
async fn any_role_that_may_write_a_table_keeps_what_is_derived() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    let role = name(&app, "django").await;
    let create = format!(
        "create role {role} login password 'pass-1';
         grant usage on schema public to {role}; grant all on all tables in schema public to {role}"
    );
    app.database().batch_execute(&create).await.expect("a role");
    let django = session(&url_of(&app, &role, "pass-1")).await;
    let write = format!(
        "insert into test_registrations (user_id, test_id, status, applied_at) values ({}, {id}, 'applied', now());
         update tests set title = '다른 시험', capacity = 5 where id = {id}",
        minsu.id
    );
    django.batch_execute(&write).await.expect("it may write");
    assert_eq!(app.one::<i32>("select registration_count from tests", &[]).await, 1);
    let found = app.get("/tests/?search=다른").by(&minsu).await;
    assert_eq!(found.json()["count"], 1, "{found:?}");
    drop(django);
    drop_role(&app, &role).await;
}

#[tokio::test]
async fn a_role_is_created_and_its_password_follows() {
    let mut app = App::start().await;
    let role = name(&app, "made").await;
    let error = granted(&app, &role, None).await.expect_err("there is no such role");
    let error = format!("{error:#}");
    assert!(error.contains(&format!("there is no role {role}")), "{error}");
    app.set("database_url", url_of(&app, &role, ""));
    for password in ["p@ss%41 '\"\\", "비밀번호 2"] {
        granted(&app, &role, Some(password)).await.expect("it is made");
        app.set("database_password", password);
        app.restart().await;
        assert_eq!(app.get("/readyz").await.json()["status"], "ok");
    }
    // Without a password, the rights alone.
    granted(&app, &role, None).await.expect("it is there");
    app.stop().await;
    drop_role(&app, &role).await;
}

#[tokio::test]
async fn a_role_that_can_change_the_history_anyway_is_refused() {
    let app = App::start().await;
    let role = name(&app, "too_much").await;
    app.run(&format!("create role {role} login password 'pass-1'"), &[])
        .await;
    let owner: String = app.one("select current_user::text", &[]).await;
    let database: String = app.one("select current_database()::text", &[]).await;
    for (give, take, reason) in [
        (
            format!("alter role {role} superuser"),
            format!("alter role {role} nosuperuser"),
            "it is a superuser",
        ),
        (
            format!("grant {owner} to {role}"),
            format!("revoke {owner} from {role}"),
            "which owns the tables",
        ),
        (
            format!("alter role {role} createrole"),
            format!("alter role {role} nocreaterole"),
            "it may create roles",
        ),
        (
            "grant insert on sugang.audit_log to public".to_owned(),
            "revoke insert on sugang.audit_log from public".to_owned(),
            "it may write sugang.audit_log",
        ),
        (
            "grant create on schema public to public".to_owned(),
            "revoke create on schema public from public".to_owned(),
            "`revoke create on schema public from public` helps",
        ),
    ] {
        app.run(&give, &[]).await;
        let error = granted(&app, &role, None).await.expect_err(reason);
        let error = format!("{error:#}");
        assert!(error.contains(reason) && error.contains(&role), "{error}");
        let may = format!("select has_table_privilege('{role}', 'sugang.kinds', 'select') and not rolsuper
                                  and not pg_has_role('{role}', '{owner}', 'member') from pg_roles where rolname = '{role}'");
        assert!(!app.one::<bool>(&may, &[]).await, "nothing is granted");
        app.run(&take, &[]).await;
    }
    granted(&app, &role, None).await.expect("nothing is left of it");
    let connect = format!("select has_database_privilege('{role}', '{database}', 'connect')");
    assert!(app.one::<bool>(&connect, &[]).await);
    drop_role(&app, &role).await;
}

/// As on a managed PostgreSQL: the role that migrates is no superuser.
#[tokio::test]
async fn a_role_without_a_superusers_rights_migrates_and_grants() {
    let mut app = App::start().await;
    let (owner, role) = (name(&app, "owner").await, name(&app, "api").await);
    let create = format!(
        "drop schema sugang cascade; drop schema public cascade;
         create role {owner} login createrole password 'pass-1';
         create schema public authorization {owner}; grant usage on schema public to public;
         grant create on database {} to {owner}",
        name(&app, "").await.trim_end_matches('_')
    );
    app.database().batch_execute(&create).await.expect("a role");
    let owner_url = url_of(&app, &owner, "pass-1");
    let output = host_program()
        .args(["migrate", "--grant-to", &role])
        .env("SPIN_VARIABLE_DATABASE_URL", &owner_url)
        .env("SUGANG_ROLE_PASSWORD", "pass-2")
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(said.ends_with(&format!(
        "The role {role} has the rights that requests need, and cannot change the history\n"
    )));

    app.set("database_url", url_of(&app, &role, "pass-2"));
    app.restart().await;
    assert_eq!(app.get("/readyz").await.json()["status"], "ok");
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    let payment = paid(&register(&app, EXAM, id, &minsu).await);
    assert_eq!(cancel(&app, payment, &minsu).await.status, 200);
    // The audit reads, and so the role that serves can run it.
    let audit = host_program()
        .arg("audit")
        .env("SPIN_VARIABLE_DATABASE_URL", url_of(&app, &role, "pass-2"))
        .output()
        .expect("the program runs");
    assert!(audit.status.success(), "{audit:?}");

    // A role that may not create roles says what to run.
    app.run(&format!("alter role {owner} nocreaterole"), &[]).await;
    let other = ServiceRole {
        name: "sugang_e2e_never".to_owned(),
        password: Some("pass-3".to_owned()),
    };
    let options = Options {
        service_role: Some(other),
        ..Options::default()
    };
    let error = migrate(&owner_url, KINDS, options).await.expect_err("it may not");
    assert!(
        format!("{error:#}").contains("run `create role sugang_e2e_never login password '…'` as one that may"),
        "{error:#}"
    );
    app.stop().await;
    drop_role(&app, &role).await;
    drop_role(&app, &owner).await;
}

/// An update brings functions and tables, and is run without `--grant-to` as well.
#[tokio::test]
async fn an_update_renews_the_rights() {
    let app = App::start().await;
    let role = &app.service_role().name;
    // As a version before would have left it: another signature, a right that is not needed any more, and one missing.
    let before = format!(
        "drop function sugang.refresh; create function sugang.refresh(p_other integer) returns integer language sql
             as 'select 1'; revoke execute on function sugang.refresh from public;
         grant insert on sugang.audit_log to {role};
         revoke select on sugang.attempts from {role};
         update sugang.migrations set hash = '' where script = 'functions'"
    );
    app.database().batch_execute(&before).await.expect("an earlier version");
    assert_eq!(app.get("/readyz").await.status, 503);
    assert_eq!(sugang_migrations::run(app.database_url()).await.unwrap(), ["functions"]);
    assert_eq!(app.get("/readyz").await.json()["status"], "ok");
    let may = format!("select has_table_privilege('{role}', 'sugang.audit_log', 'insert')");
    assert!(!app.one::<bool>(&may, &[]).await);
}

/// Django before 3.0 changed a key to BigAutoField by a sequence that no column owned.
#[tokio::test]
async fn a_sequence_that_no_column_owns_is_granted() {
    let app = App::start().await;
    for table in ["users", "payments"] {
        let change = format!(
            "alter table {table} alter id drop identity; create sequence public.{table}_id_seq;
             alter table {table} alter id set default nextval('public.{table}_id_seq')"
        );
        app.database().batch_execute(&change).await.expect("it can be changed");
    }
    app.run(
        "insert into users (id, email, username, password) values (7, 'a@b', 'a', 'x')",
        &[],
    )
    .await;
    let role = name(&app, "unowned").await;

    granted(&app, &role, Some("pass-1")).await.expect("it is granted");

    let owned = "select pg_get_serial_sequence('users', 'id') = 'public.users_id_seq'
                    and pg_get_serial_sequence('payments', 'id') = 'public.payments_id_seq'";
    assert!(app.one::<bool>(owned, &[]).await);
    // Money that comes late makes a payment with an id of this function.
    let next: i64 = app.one("select sugang.next_payment_id()", &[]).await;
    assert_eq!(app.one::<i64>("select sugang.next_payment_id()", &[]).await, next + 1);
    let service = session(&url_of(&app, &role, "pass-1")).await;
    let made = service
        .query_one(
            "insert into users (email, username, password) values ('b@c', 'b', 'x') returning id",
            &[],
        )
        .await;
    assert!(made.expect("it may sign users up").get::<_, i64>(0) > 7);
    drop(service);
    drop_role(&app, &role).await;
}

/// Signs a user up, and returns the id.
async fn signed_up(app: &App, username: &str) -> i64 {
    let email = format!("{username}@example.com");
    let body = json!({"email": email, "username": username, "password": "correct1"});
    let answer = app.post("/signup/").json(&body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["user"]["id"].as_i64().expect("an id")
}

/// As a script leaves it that copies the default of another table, or keeps all sequences in a schema of their own.
#[tokio::test]
async fn a_sequence_of_another_table_or_schema_is_granted() {
    let mut app = App::start().await;
    let change = "create table people (id bigserial primary key);
                  alter table users alter id drop identity;
                  alter table users alter id set default nextval('people_id_seq');
                  create schema numbers; create sequence numbers.\"of Payments\";
                  alter table payments alter id drop identity;
                  alter table payments alter id set default nextval('numbers.\"of Payments\"');
                  create function exam_id() returns bigint language sql as 'select count(*) + 1 from tests';
                  alter table tests alter id drop identity;
                  alter table tests alter id set default exam_id()";
    app.database().batch_execute(change).await.expect("it can be changed");
    app.run(
        "insert into users (id, email, username, password) values (7, 'a@b', 'a', 'x')",
        &[],
    )
    .await;
    let role = name(&app, "elsewhere").await;

    granted(&app, &role, Some("pass-1")).await.expect("it is granted");

    for sequence in ["people_id_seq", "numbers.\"of Payments\""] {
        let may = format!(
            "select has_sequence_privilege('{role}', '{sequence}', 'usage')
                and not has_sequence_privilege('{role}', '{sequence}', 'update')"
        );
        assert!(app.one::<bool>(&may, &[]).await, "{sequence}");
    }
    app.set("database_url", url_of(&app, &role, "pass-1"));
    app.restart().await;
    assert_eq!(app.get("/readyz").await.json()["status"], "ok");
    // Ids go on behind the largest one, also where another program has written one past the sequence.
    let jisu = signed_up(&app, "jisu").await;
    assert!(jisu > 7);
    app.run(
        "insert into users (id, email, username, password) values ($1, 'c@d', 'c', 'x')",
        &[&(jisu + 1)],
    )
    .await;
    assert_eq!(signed_up(&app, "hana").await, jisu + 2);
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    let payment = paid(&register(&app, EXAM, id, &minsu).await);
    assert_eq!(cancel(&app, payment, &minsu).await.status, 200);

    app.run(&format!("revoke usage on sequence people_id_seq from {role}"), &[])
        .await;
    assert_eq!(app.get("/readyz").await.json()["reason"], "permission_missing");
    app.stop().await;
    drop_role(&app, &role).await;
}
