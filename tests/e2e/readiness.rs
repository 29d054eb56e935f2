//! `/readyz` proves what requests need: the functions, tables and rights, and the version of the schema.

use rstest::rstest;
use serde_json::json;
use sugang_tests::{App, assert_answer, host_program};

#[tokio::test]
async fn what_a_request_would_fail_of_is_named() {
    let app = App::start().await;
    let role = &app.service_role().name;
    assert_eq!(app.get("/readyz").await.json()["status"], "ok");
    for (break_it, repair, reason) in [
        (
            format!("revoke insert (amount) on payments from {role}"),
            format!("grant insert (amount) on payments to {role}"),
            "permission_missing",
        ),
        (
            format!("revoke update (status) on test_registrations from {role}"),
            format!("grant update (status) on test_registrations to {role}"),
            "permission_missing",
        ),
        (
            format!("revoke delete on sugang.attempts from {role}"),
            format!("grant delete on sugang.attempts to {role}"),
            "permission_missing",
        ),
        (
            format!("revoke usage on schema sugang from {role}"),
            format!("grant usage on schema sugang to {role}"),
            "permission_missing",
        ),
        (
            format!("revoke execute on function sugang.authorization_error from {role}, public"),
            format!("grant execute on function sugang.authorization_error to {role}, public"),
            "permission_missing",
        ),
        (
            "alter function sugang.refresh rename to renamed".into(),
            "alter function sugang.renamed rename to refresh".into(),
            "function_missing",
        ),
        (
            "alter function sugang.user_json rename to renamed".into(),
            "alter function sugang.renamed rename to user_json".into(),
            "function_missing",
        ),
        (
            "alter table tests rename to renamed".into(),
            "alter table renamed rename to tests".into(),
            "table_missing",
        ),
        (
            "alter table sugang.idempotency_keys rename to renamed".into(),
            "alter table sugang.renamed rename to idempotency_keys".into(),
            "table_missing",
        ),
        (
            "alter table users rename last_login to renamed".into(),
            "alter table users rename renamed to last_login".into(),
            "column_missing",
        ),
        (
            "alter function sugang.ready rename to renamed".into(),
            "alter function sugang.renamed rename to ready".into(),
            "schema_outdated",
        ),
        (
            "update sugang.migrations set script = 'X' || script where script ~ '^V[12]'".into(),
            "update sugang.migrations set script = substr(script, 2) where script ~ '^X'".into(),
            "schema_outdated",
        ),
        // The newest number alone says little.
        (
            "update sugang.migrations set script = 'X' || script where script ~ '^V11'".into(),
            "update sugang.migrations set script = substr(script, 2) where script ~ '^X'".into(),
            "schema_outdated",
        ),
        (
            "alter table sugang.migrations rename to renamed".into(),
            "alter table sugang.renamed rename to migrations".into(),
            "table_missing",
        ),
        (
            format!("revoke select on sugang.migrations from {role}"),
            format!("grant select on sugang.migrations to {role}"),
            "permission_missing",
        ),
    ] {
        app.database().batch_execute(&break_it).await.expect("it can be broken");
        let answer = app.get("/readyz").await;
        assert_eq!(answer.status, 503, "{break_it}: {answer:?}");
        assert_eq!(answer.json()["reason"], reason, "{break_it}");
        app.database().batch_execute(&repair).await.expect("it can be repaired");
        assert_eq!(app.get("/readyz").await.json()["status"], "ok", "{repair}");
    }
    // Neither a name nor a text of the database reaches the client.
    app.database()
        .batch_execute("alter table tests rename to renamed")
        .await
        .expect("it can be broken");
    assert_answer!(app.get("/readyz").await, @r#"
    {
      "status": "503 Service Unavailable",
      "retry-after": "1",
      "body": {
        "code": "unavailable",
        "detail": "잠시 후 다시 시도해주세요.",
        "reason": "table_missing",
        "request_id": "[request id]"
      }
    }
    "#);
    app.database()
        .batch_execute("alter table renamed rename to tests")
        .await
        .expect("it can be repaired");
}

/// Functions take a row of the table, and they are not missing of themselves. Whether the database answers with rows or
/// with an error depends on the plan: on the statistics, and on how much the role may do.
#[tokio::test]
async fn a_missing_table_is_named_before_what_needs_it() {
    let mut app = App::start().await;
    // A role that may do anything; that of the service is one for all tests.
    let url = app.database_url().to_owned();
    app.set("database_url", url);
    app.restart().await;
    app.database()
        .batch_execute("analyze; alter table tests rename to renamed")
        .await
        .expect("it can be broken");
    let answer = app.get("/readyz").await;
    assert_eq!(answer.json()["reason"], "table_missing", "{answer:?}");
}

/// No statement fails of row security: users are not found, and lists are empty.
#[tokio::test]
async fn row_security_that_may_hide_rows_is_named() {
    let app = App::start().await;
    let role = &app.service_role().name;
    for (change, is_ready) in [
        ("alter table users enable row level security", false),
        ("create policy all_rows on users using (true)", true),
        (
            "create policy some_rows on users as restrictive using (is_active)",
            false,
        ),
        ("drop policy some_rows on users", true),
        ("alter policy all_rows on users using (is_active)", false),
        ("drop policy all_rows on users", false),
        // One for each command that the service needs there; it deletes no user.
        ("create policy shown on users for select using (true)", false),
        ("create policy added on users for insert with check (true)", false),
        ("create policy changed on users for update using (true)", true),
        ("alter policy changed on users with check (is_active)", false),
        ("alter policy changed on users with check (true)", true),
        (
            "create policy not_deleted on users as restrictive for delete using (false)",
            true,
        ),
        (
            "create policy not_all on users as restrictive for select using (is_active)",
            false,
        ),
        ("alter policy not_all on users using (true)", true),
        ("alter policy shown on users to pg_monitor", false),
        (&format!("alter policy shown on users to {role}"), true),
        ("drop policy added on users", false),
        ("create policy added on users for insert", false),
        ("alter policy added on users with check (true)", true),
    ] {
        app.run(change, &[]).await;
        let answer = app.get("/readyz").await;
        if is_ready {
            assert_eq!(answer.json()["status"], "ok", "{change}: {answer:?}");
            continue;
        }
        assert_eq!(answer.json()["reason"], "permission_missing", "{change}: {answer:?}");
        app.run(&format!("set role {role}"), &[]).await;
        let missing = app.rows("select what from sugang.missing('') where not is_guard").await;
        app.run("reset role", &[]).await;
        let remedy = "alter table users disable row level security, or a policy with `true` for them all";
        assert_eq!(
            missing,
            json!([{"what": format!("rows of users ({remedy})")}]),
            "{change}"
        );
    }
    // Sign-up and login add, find and change a user.
    let user = json!({"email": "minsu@example.com", "username": "minsu", "password": "correct1"});
    assert_eq!(app.post("/signup/").json(&user).await.status, 201);
    assert_eq!(app.post("/login/").json(&user).await.status, 200);
    app.run("alter table users disable row level security", &[]).await;
    assert_eq!(app.get("/readyz").await.json()["status"], "ok");
}

/// As Django adds a field: the default is there only while the rows of before get it.
#[rstest]
#[tokio::test]
async fn a_column_that_no_request_fills_is_named(
    #[values("users", "payments", "tests", "course_registrations")] table: &str,
) {
    let app = App::start().await;
    let add = format!(
        "alter table {table} add column phone varchar(20) not null default '';
         alter table {table} alter column phone drop default"
    );
    let batch = async |statements: &str| {
        app.database()
            .batch_execute(statements)
            .await
            .expect("it can be changed")
    };
    let migrate = || {
        let migrate = host_program()
            .arg("migrate")
            .env("SPIN_VARIABLE_DATABASE_URL", app.database_url())
            .output()
            .expect("the program runs");
        (migrate.status.code(), String::from_utf8(migrate.stdout).expect("text"))
    };
    let required = "select what from sugang.missing('') where reason = 'column_required'";
    batch(&add).await;
    let answer = app.get("/readyz").await;
    assert_eq!(answer.json()["reasons"], json!(["column_required"]));
    assert_eq!(app.rows(required).await, json!([{"what": format!("{table}.phone")}]));
    // An item is added by operators alone, so to take the service over it need not be filled.
    if table != "tests" {
        let (status, printed) = migrate();
        assert_eq!(status, Some(3), "{printed}");
        assert!(
            printed.contains(&format!("      - {table}.phone\n"))
                && printed.contains(&format!("alter table {table} alter column phone set default '';")),
            "{printed}"
        );
    }
    // A trigger of the old service may fill it.
    batch(&format!(
        "create function fill() returns trigger language plpgsql as 'begin new.phone := ''''; return new; end';
         create trigger fill before insert on {table} for each row execute function fill()"
    ))
    .await;
    assert_eq!(app.get("/readyz").await.json()["status"], "ok");
    batch(&format!(
        "drop trigger fill on {table}; alter table {table} alter column phone set default ''"
    ))
    .await;
    assert_eq!(app.get("/readyz").await.json()["status"], "ok");
    let (status, printed) = migrate();
    assert_eq!(status, Some(0), "{printed}");
}

/// Without a trigger or a constraint requests are served, but a promise is not guarded.
#[tokio::test]
async fn a_missing_guard_is_named() {
    let app = App::start().await;
    for (break_it, repair) in [
        (
            "alter table payments disable trigger sugang_audit_log",
            "alter table payments enable trigger sugang_audit_log",
        ),
        (
            "alter table tests rename constraint tests_capacity_positive to renamed",
            "alter table tests rename constraint renamed to tests_capacity_positive",
        ),
        (
            "alter index payments_one_active rename to renamed",
            "alter index renamed rename to payments_one_active",
        ),
    ] {
        app.run(break_it, &[]).await;
        assert_eq!(
            *app.get("/readyz").await.json(),
            json!({"status": "degraded", "database": "ok", "redis": "ok",
                   "attempts_counted_in": "redis", "reasons": ["guards_missing"]}),
            "{break_it}"
        );
        app.run(repair, &[]).await;
        assert_eq!(app.get("/readyz").await.json()["status"], "ok");
    }
}

/// A database that only reads is degraded. If Redis cannot count either, no login is tried: none could be limited.
#[tokio::test]
async fn a_database_that_only_reads_is_named() {
    let mut app = App::with("login_attempts_per_account", 10).start().await;
    let database: String = app.one("select current_database()", &[]).await;
    app.run(
        &format!("alter database {database} set default_transaction_read_only = on"),
        &[],
    )
    .await;
    app.restart().await;
    assert_eq!(
        *app.get("/readyz").await.json(),
        json!({"status": "degraded", "database": "read_only", "redis": "ok",
               "attempts_counted_in": "redis", "reasons": ["database_read_only"]})
    );
    app.set("redis_url", "redis://127.0.0.1:1/0");
    app.restart().await;
    assert_eq!(
        *app.get("/readyz").await.json(),
        json!({"status": "degraded", "database": "read_only", "redis": "unavailable",
               "attempts_counted_in": "nowhere", "reasons": ["redis_unreachable", "database_read_only"]})
    );
    let body = json!({"email": "minsu@example.com", "password": "wrong-1"});
    assert_eq!(app.post("/login/").json(&body).await.status, 503);
}
