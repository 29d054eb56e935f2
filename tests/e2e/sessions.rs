//! What an operator sets for the role or the database, or changes in the schema, while requests are served.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use futures::future::{join, join_all};
use rstest::rstest;
use serde_json::{Value, json};
use sugang_tests::{App, COURSE, EXAM, HostOptions, HostProcess, Item, Kind, PASSWORD, User, token};

use crate::{
    failover::end_sessions,
    storm::assert_audit,
    support::{cancel, paid, register},
};

/// Settings that other programs may need for themselves.
const SETTINGS: &[(&str, &str)] = &[
    ("timezone", "'Asia/Seoul'"),
    ("datestyle", "'SQL, DMY'"),
    ("datestyle", "German"),
    ("intervalstyle", "sql_standard"),
    ("bytea_output", "escape"),
    ("standard_conforming_strings", "off"),
    ("search_path", "''"),
    ("search_path", "elsewhere, public"),
    ("search_path", "sugang"),
    ("row_security", "off"),
    ("default_transaction_isolation", "'repeatable read'"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_deferrable", "on"),
    ("statement_timeout", "'20s'"),
    ("lock_timeout", "'1ms'"),
    ("idle_in_transaction_session_timeout", "'1ms'"),
    ("idle_session_timeout", "'1s'"),
    ("transform_null_equals", "on"),
    ("quote_all_identifiers", "on"),
    ("array_nulls", "off"),
    ("default_text_search_config", "'pg_catalog.english'"),
    ("plpgsql.variable_conflict", "use_column"),
    ("plpgsql.extra_errors", "'all'"),
    ("client_min_messages", "debug1"),
    ("extra_float_digits", "-15"),
    ("exit_on_error", "on"),
    ("enable_indexscan", "off"),
    ("jit_above_cost", "0"),
    ("max_parallel_workers_per_gather", "8"),
    ("xmloption", "document"),
    ("check_function_bodies", "off"),
    ("gin_fuzzy_search_limit", "1"),
];

/// Sends a request of each kind, and returns what was answered without what differs each time.
async fn every_request(app: &App, kind: Kind, user: &User, items: [i64; 2]) -> Value {
    let mut seen = Vec::new();
    for path in [
        kind.path.to_owned(),
        format!("{}?status=available&sort=popular", kind.path),
        format!("{}?search=처리기사 -없음", kind.path),
        format!("{}?search=\"처리기사 실기\" or node", kind.path),
        kind.item(items[0]),
        "/me/payments/?from=2020-01-01&to=2099-12-31&search=정보처리&status=paid".to_owned(),
        "/readyz".to_owned(),
    ] {
        let answer = app.get(&path).by(user).await;
        seen.push(json!([path, answer.status.as_u16(), answer.json()]));
    }
    let refresh = json!({"refresh": token::sign(&user.claims("refresh"))});
    let login = json!({"email": user.email, "password": PASSWORD});
    let signup = json!({"email": "new@example.com", "username": "new", "password": PASSWORD});
    let registered = register(app, kind, items[1], user).await;
    let payment = paid(&registered);
    for call in [
        register(app, kind, items[1], user),
        cancel(app, payment, user),
        app.post(kind.complete(items[1])).by(user),
        app.post("/login/").json(&login),
        app.post("/signup/").json(&signup),
        app.post("/token/refresh/").json(&refresh),
        app.post("/logout/").json(&refresh),
    ] {
        let answer = call.await;
        seen.push(json!([answer.status.as_u16(), answer.code()]));
    }
    app.run("delete from users where email = 'new@example.com'", &[]).await;
    // The next refresh sends the same token.
    app.run("delete from sugang.revoked_tokens", &[]).await;
    json!(seen)
}

#[tokio::test]
async fn settings_of_the_role_change_nothing() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    app.database()
        .batch_execute("create schema elsewhere; create table elsewhere.users ()")
        .await
        .unwrap();
    for kind in [EXAM, COURSE] {
        let items = [
            app.add(kind, Item::default()).await,
            app.add(kind, Item::default()).await,
        ];
        paid(&register(&app, kind, items[0], &minsu).await);
        let usual = every_request(&app, kind, &minsu, items).await;
        for (setting, value) in SETTINGS {
            app.alter_database(&format!("set {setting} = {value}")).await;
            assert!(end_sessions(&app).await > 0);
            let seen = every_request(&app, kind, &minsu, items).await;
            app.alter_database(&format!("reset {setting}")).await;
            assert_eq!(seen, usual, "{setting} = {value}");
        }
    }
    assert_audit(&app).await;
}

/// A limit for one program's searches takes matches away from another's.
#[rstest]
#[tokio::test]
async fn a_search_finds_every_match_whatever_is_set(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let add = format!(
        "insert into {} (title, price, start_at, end_at)
         select '기사 ' || n, 45000, '2020-01-01', '2099-12-31' from generate_series(1, 900) n",
        kind.items
    );
    app.run(&add, &[]).await;
    // Rows in the pending list are all found.
    let index = format!("sugang.{}_search_vector", kind.payment_type);
    app.run("select gin_clean_pending_list($1::text::regclass)", &[&index])
        .await;
    app.alter_database("set gin_fuzzy_search_limit = 20").await;
    assert!(end_sessions(&app).await > 0);
    let answer = app.get(format!("{}?search=기사", kind.path)).by(&minsu).await;
    assert_eq!(answer.json()["count"], 900, "{answer:?}");
}

/// Triggers keep the counts and the history: without them a seat is sold twice.
#[tokio::test]
async fn without_triggers_nothing_is_served() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    app.alter_database("set session_replication_role = replica").await;
    assert!(end_sessions(&app).await > 0);
    let refused = register(&app, EXAM, id, &minsu).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(app.get("/readyz").await.status, 503);
    let said = HostProcess::try_start(&app, HostOptions::default())
        .err()
        .expect("it does not start");
    assert!(
        said.contains("alter role … set session_replication_role = origin"),
        "{said}"
    );
    app.alter_database("reset session_replication_role").await;
    paid(&register(&app, EXAM, id, &minsu).await);
    assert_audit(&app).await;
}

/// What an operator may do to a table in use. `{items}` and the like are those of [`Kind`].
const CHANGES: &[&str] = &[
    // No trigger names these, or PostgreSQL would refuse.
    "alter table {items} alter price type numeric(12, 2)",
    // None of these rewrites the table: to statements that began before, PostgreSQL shows such a table empty.
    "alter table users alter username type text",
    "alter table {items} add note text; alter table users add note text; alter table payments add note text",
    "alter table {items} drop note; alter table users drop note; alter table payments drop note",
    // Without `concurrently`, it can wait for a request that waits for it.
    "reindex table concurrently {items}; reindex table concurrently payments",
    "reindex table concurrently {registrations}; reindex table concurrently users",
    "create index on {items} (title); analyze",
    "alter table {items} cluster on {items}_pkey; cluster {items}",
    "select sugang.recreate('get_{kind}'), sugang.recreate('list_{kind}'), sugang.recreate('register_{kind}'),
            sugang.recreate('do_register_{kind}'), sugang.recreate('{kind}_json'), sugang.recreate('check_user')",
    "alter table {items} set (fillfactor = 70); vacuum full {items}",
    "grant select on {items} to public; revoke select on {items} from public",
];

#[tokio::test]
async fn a_schema_that_changes_while_it_is_used_fails_no_request() {
    let app = App::with("lock_timeout_ms", 10_000)
        .with("database_timeout_ms", 20_000)
        .start()
        .await;
    let recreate = "create function sugang.recreate(p_name text) returns void language plpgsql as $$
        declare
            known regprocedure := (select oid from pg_proc where proname = p_name
                                   and pronamespace = 'sugang'::regnamespace);
            definition text := pg_get_functiondef(known);
        begin
            execute 'drop function ' || known;
            execute definition;
        end $$";
    app.database().batch_execute(recreate).await.unwrap();
    let mut users = Vec::new();
    for n in 0..6 {
        users.push(app.user(&format!("user{n}")).await);
    }
    for kind in [EXAM, COURSE] {
        let id = app.add(kind, Item::default()).await;
        let is_changed = AtomicBool::new(false);
        let serve = async |user: &User| {
            let mut failed = Vec::new();
            let mut served = 0;
            while !is_changed.load(Relaxed) {
                let registered = register(&app, kind, id, user).await;
                let payment = registered
                    .json()
                    .get("payment_id")
                    .and_then(Value::as_i64)
                    .unwrap_or_default();
                let answers = [
                    registered,
                    app.get(kind.path).by(user).await,
                    app.get(kind.item(id)).by(user).await,
                    app.get("/me/payments/").by(user).await,
                    cancel(&app, payment, user).await,
                ];
                served += answers.len();
                failed.extend(answers.into_iter().filter(|answer| !answer.status.is_success()));
            }
            (served, failed)
        };
        let change = async {
            for change in CHANGES {
                let change = change
                    .replace("{items}", kind.items)
                    .replace("{registrations}", kind.registrations)
                    .replace("{kind}", kind.payment_type);
                for statement in change.split("; ") {
                    app.database().batch_execute(statement).await.expect(statement);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            is_changed.store(true, Relaxed);
        };
        let (served, ()) = join(join_all(users.iter().map(serve)), change).await;
        let failed: Vec<_> = served.iter().flat_map(|(_, failed)| failed).collect();
        assert!(failed.is_empty(), "{failed:?}");
        assert!(served.iter().map(|(n, _)| n).sum::<usize>() > 100);
    }
    assert_audit(&app).await;
}
