//! The functions that the component declares (`api/functions.json`) are those that the database has.

use std::collections::BTreeSet;

use serde_json::Value;
use sugang_migrations::function_call;
use sugang_tests::{App, COURSE, EXAM};

use crate::storm::assert_audit;

fn declared() -> Value {
    serde_json::from_str(include_str!("../../api/functions.json")).expect("the list is JSON")
}

/// Every constraint and unique index of the tables that the service writes, a foreign key of Django's by the name that
/// PostgreSQL would have given it. (PostgreSQL 18 lists `not null` as well; a trigger at the commit is listed, too.)
const CONSTRAINTS: &str = r"
    select regexp_replace(conname, '_[0-9a-f]{8}_fk_.*$', '_fkey') from pg_constraint
    where contype not in ('n', 't') and conrelid = any (array(
        select oid from pg_class
        where relnamespace = 'sugang'::regnamespace and relname <> 'migrations'
           or relname in ('users', 'payments', 'tests', 'courses', 'test_registrations', 'course_registrations')))
    union
    select c.relname from pg_index i join pg_class c on c.oid = i.indexrelid join pg_class t on t.oid = i.indrelid
    where i.indisunique and (t.relnamespace = 'sugang'::regnamespace and t.relname <> 'migrations'
        or t.relname in ('users', 'payments', 'tests', 'courses', 'test_registrations', 'course_registrations'))
      and c.relnamespace in ('public'::regnamespace, 'sugang'::regnamespace)
    order by 1";

fn words(list: &Value) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// The names of the declared functions, of all kinds, with the SQL types of their parameters.
fn functions(declared: &Value) -> Vec<(String, Vec<&str>)> {
    let mut found = Vec::new();
    for function in declared["functions"].as_array().into_iter().flatten() {
        let template = function["name"].as_str().unwrap_or_default();
        let mut names: Vec<_> = [EXAM, COURSE]
            .map(|kind| template.replace("{kind}", kind.payment_type))
            .into();
        names.dedup();
        found.extend(names.into_iter().map(|name| (name, words(&function["parameters"]))));
    }
    found
}

/// What is wrong with the declared functions in this database.
async fn differences(app: &App, declared: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (name, parameters) in functions(declared) {
        let known = app
            .database()
            .query(
                "select pg_get_function_identity_arguments(oid), prorettype = 'sugang.function_row'::regtype
                 from pg_proc where pronamespace = 'sugang'::regnamespace and proname = $1",
                &[&name],
            )
            .await
            .unwrap_or_else(|error| panic!("{error:?}"));
        let known: Vec<(String, bool)> = known.iter().map(|row| (row.get(0), row.get(1))).collect();
        if known != [(parameters.join(", "), true)] {
            found.push(format!("{name}: {known:?}"));
        }
    }
    let outcomes: String = app
        .one(
            "select pg_get_constraintdef(oid) from pg_constraint where contypid = 'sugang.outcome'::regtype",
            &[],
        )
        .await;
    let of_database: BTreeSet<_> = outcomes.split('\'').skip(1).step_by(2).collect();
    let of_component: BTreeSet<_> = words(&declared["outcomes"]).into_iter().collect();
    found.extend(
        of_database
            .symmetric_difference(&of_component)
            .map(|word| format!("outcome {word}")),
    );
    let known = words(&declared["constraints"]);
    let constraints = app.database().query(CONSTRAINTS, &[]).await;
    let constraints = constraints.unwrap_or_else(|error| panic!("{error:?}"));
    let unknown = constraints.iter().map(|row| row.get::<_, String>(0));
    let unknown = unknown.filter(|constraint| !known.contains(&constraint.as_str()));
    found.extend(unknown.map(|constraint| format!("constraint {constraint}")));
    found
}

#[tokio::test]
async fn the_component_and_the_database_agree() {
    let app = App::start().await;
    assert_eq!(differences(&app, &declared()).await, [] as [String; 0]);
}

#[tokio::test]
async fn a_difference_is_found() {
    let app = App::start().await;
    let mut declared = declared();
    for (old, new) in [
        ("p_reason text", "p_why text"),
        ("sold_out", "full"),
        ("payments_one_active", "payments_once"),
    ] {
        declared = serde_json::from_str(&declared.to_string().replace(old, new)).expect("it stays JSON");
    }
    app.database()
        .batch_execute("drop function sugang.get_course")
        .await
        .expect("it can be dropped");
    let found = differences(&app, &declared).await;
    let starts: Vec<_> = found
        .iter()
        .map(|difference| difference.split(':').next().unwrap_or_default())
        .collect();
    assert_eq!(
        starts,
        [
            "cancel_payment",
            "refund_payment",
            "confirm_order",
            "cancel_order_for_operator",
            "get_course",
            "cancel_test_for_operator",
            "cancel_course_for_operator",
            "outcome full",
            "outcome sold_out",
            "constraint payments_one_active"
        ]
    );
}

/// Triggers of other programs may need what the database is set to search; what works with the rights of its owner, and could
/// be led to what another role has made there, does not.
#[tokio::test]
async fn functions_search_public_first_and_those_of_the_owner_nothing_else() {
    let app = App::start().await;
    let paths = "select string_agg(distinct setting, '; ') from pg_proc, unnest(proconfig) setting
                 where pronamespace = 'sugang'::regnamespace and setting like 'search_path=%'
                   and (prosecdef or proargnames[1] = 'p_function') and prosecdef = $1";
    for (set, expected) in [
        ("", r#"search_path=public, "$user", pg_temp"#),
        (
            r#"set search_path = extensions, public, "my-app""#,
            r#"search_path=public, extensions, "my-app", pg_temp"#,
        ),
    ] {
        if !set.is_empty() {
            app.alter_database(set).await;
            app.renew_search_paths().await;
        }
        assert_eq!(app.one::<String>(paths, &[&false]).await, expected);
        assert_eq!(app.one::<String>(paths, &[&true]).await, "search_path=public, pg_temp");
    }
    assert_audit(&app).await;
}

/// Behind a connection pooler, a session may execute another prepared statement than the one that was meant.
#[tokio::test]
async fn a_function_refuses_a_call_that_was_meant_for_another() {
    let app = App::start().await;
    let declared = declared();
    let functions = functions(&declared);
    for (function, parameters) in &functions {
        let call = async |called: &str| {
            let arguments = vec!["null"; parameters.len() - 1];
            let call = format!("{function}({})", arguments.join(", "));
            let call = function_call(&call).replacen(&format!("('{function}'"), &format!("({called}"), 1);
            let refused = app.database().query(&format!("select {call}"), &[]).await.err();
            refused.and_then(|error| {
                let error = error.as_db_error()?.clone();
                (error.code().code() == "SG001").then(|| error.message().to_owned())
            })
        };
        let others = functions
            .iter()
            .map(|(other, _)| other)
            .filter(|other| *other != function);
        for other in others {
            assert_eq!(
                call(&format!("'{other}'")).await,
                Some(format!("a call of {other} reached {function}"))
            );
        }
        assert_eq!(
            call("null").await,
            Some(format!("a call of nothing reached {function}"))
        );
        assert_eq!(call(&format!("'{function}'")).await, None, "its own name");
    }
    assert!(functions.len() > 15, "{functions:?}");
}
