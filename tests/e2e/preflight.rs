//! What `migrate` says about an old database before it changes anything, and what it repairs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Output,
};

use serde_json::Value;
use sugang_migrations::{Blocked, KINDS, Level, Migration, Options, Preflight, audit, migrate};
use sugang_tests::{App, host_program};

use crate::support::drop_role;

const DJANGO: &str = include_str!("../fixtures/django.sql");
const SPOILED_ROWS: &str = include_str!("../fixtures/django_spoiled_rows.sql");
const SPOILED_SCHEMA: &str = include_str!("../fixtures/django_spoiled_schema.sql");

/// A database that the Django service made, and what has happened to it since.
async fn django(spoiled: &str) -> App {
    let app = App::start().await;
    spoil(&app, spoiled).await;
    app
}

/// The same in place of what the database has.
async fn spoil(app: &App, spoiled: &str) {
    let empty = "drop schema if exists sugang cascade; drop schema public cascade; create schema public;";
    for statements in [empty, DJANGO, spoiled] {
        batch(app, statements).await;
    }
}

/// Checks, and the rows or objects that each of them names.
type Obstacles<'a> = &'a [(&'a str, &'a [&'a str])];

/// Spoils the database in each way, and expects that the preflight names it, that its remedies remove it as they are
/// printed, and that the next migration then goes on.
async fn named_and_removed(ways: &[(&str, Obstacles<'_>)]) {
    let app = App::start().await;
    for (spoiled, obstacles) in ways {
        spoil(&app, spoiled).await;
        let found = blocked(app.database_url()).await;
        assert_eq!(rows(&found, Level::Obstacle), expected(obstacles), "{spoiled}");
        assert_eq!(found.unchecked, [], "{spoiled}");
        let (status, printed, error) = command(&app, &["migrate", "--check"]);
        assert_eq!(status, Some(3), "{spoiled}: {error}");
        batch(&app, &remedies(&printed)).await;
        migrated(&app).await;
        for finding in audit(app.database()).await.expect("it is migrated") {
            assert_eq!(finding.ids, [] as [String; 0], "{spoiled}: {finding:?}");
        }
    }
}

async fn batch(app: &App, statements: &str) {
    let done = app.database().batch_execute(statements).await;
    done.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
}

fn command(app: &App, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = host_program()
        .args(arguments)
        .env("SPIN_VARIABLE_DATABASE_URL", app.database_url())
        .output()
        .expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

/// What the preflight finds on a database that it does not migrate.
async fn blocked(url: &str) -> Preflight {
    let error = migrate(url, KINDS, Options::default())
        .await
        .expect_err("it is in the way");
    error
        .downcast::<Blocked>()
        .unwrap_or_else(|error| panic!("{error:#}"))
        .0
}

async fn migrated(app: &App) -> Migration {
    let migrated = migrate(app.database_url(), KINDS, Options::default()).await;
    migrated.unwrap_or_else(|error| panic!("{error:#}"))
}

/// The rows of each finding of a level.
fn rows(preflight: &Preflight, level: Level) -> BTreeMap<String, Vec<&str>> {
    let findings = preflight.of(level);
    let rows = findings.map(|finding| (finding.label(), finding.rows.iter().map(String::as_str).collect()));
    rows.collect()
}

fn expected<'a>(rows: &[(&str, &[&'a str])]) -> BTreeMap<String, Vec<&'a str>> {
    rows.iter()
        .map(|(check, rows)| ((*check).to_owned(), rows.to_vec()))
        .collect()
}

/// The SQL of the remedies as the command prints them.
fn remedies(printed: &str) -> String {
    let lines = printed.lines().filter_map(|line| line.strip_prefix("        "));
    lines.collect::<Vec<_>>().join("\n")
}

/// Everything in the database: each row of each table, each sequence, and each version of each row of the catalog.
async fn everything(app: &App) -> Value {
    let tables = app
        .database()
        .query(
            "select c.oid::regclass::text, relkind = 'S' from pg_class c join pg_namespace n on n.oid = relnamespace
             where relkind in ('r', 'S') and nspname not like 'pg\\_%' and nspname <> 'information_schema' order by c.oid",
            &[],
        )
        .await
        .unwrap();
    let tables = tables
        .iter()
        .map(|row| (row.get::<_, String>(0), row.get::<_, bool>(1)));
    let mut everything = Vec::new();
    for (table, is_sequence) in tables {
        let row = if is_sequence {
            "concat(last_value, is_called)"
        } else {
            "concat(t.xmin, ' ', t)"
        };
        let rows = format!("select coalesce(string_agg({row}, '\n' order by {row}), '') from {table} t");
        everything.push(Value::from(vec![table, app.one(&rows, &[]).await]));
    }
    let catalog = app
        .rows(
            "select 'class' as what, string_agg(oid || ' ' || xmin, ',' order by oid) as rows
             from pg_class where relkind <> 'S' and relnamespace = 'public'::regnamespace
             union all select 'attribute', string_agg(attrelid || ' ' || attnum || ' ' || xmin, ',' order by attrelid, attnum)
             from pg_attribute where attrelid >= 16384
             union all select 'namespace', string_agg(oid || ' ' || xmin, ',' order by oid) from pg_namespace
             union all select 'function', string_agg(oid || ' ' || xmin, ',' order by oid) from pg_proc where oid >= 16384
             union all select 'trigger', string_agg(oid || ' ' || xmin, ',' order by oid) from pg_trigger",
        )
        .await;
    everything.push(catalog);
    Value::from(everything)
}

/// The checks whose rows are those of `SPOILED_ROWS`.
const OBSTACLES: &[(&str, &[&str])] = &[
    ("column_in_use", &["view paid"]),
    ("column_unknown", &["users.phone"]),
    ("column_unknown (test)", &["test_registrations.source"]),
    ("content_type_twice", &["tests.test: 7, 902"]),
    ("email_twice", &["min@example.com: users 401, 402"]),
    (
        "names_taken",
        &[
            "payments has a column partly_refunded",
            "there is an index payments_one_active",
        ],
    ),
    (
        "names_taken (test)",
        &["tests has a column capacity", "tests has a column hidden"],
    ),
    (
        "payment_amount_invalid",
        &["payment 104: -99000.00", "payment 105: NaN"],
    ),
    (
        "payment_content_type (test)",
        &["content type 901 (exams.test): 2 payments, such as 110"],
    ),
    ("payment_free_with_amount", &["payment 112: 10.00"]),
    (
        "payment_kind_unknown",
        &["payment_type 'voucher': 1 payments, such as 108"],
    ),
    (
        "payment_of_nothing (test)",
        &["payment 106: user 2, test 2 at 20000.00"],
    ),
    (
        "payment_status_unknown",
        &["payment 102: 'pending'", "payment 103: 'PAID'"],
    ),
    (
        "payment_twice",
        &["user 1, test 1: payments 1, 101", "user 1, course 1: payments 2, 103"],
    ),
    ("payment_without_item (test)", &["payment 107: user 2, test 404"]),
    ("price_invalid (test)", &["test 201: -100.00", "test 202: NaN"]),
    ("registration_count_negative (test)", &["test 203: -1"]),
    (
        "registration_of_nothing (test)",
        &["registration 303: user 404, test 206"],
    ),
    ("registration_status_unknown (test)", &["registration 302: 'waiting'"]),
    ("registration_twice (test)", &["user 1, test 1: registrations 1, 301"]),
    ("time_too_early (test)", &["test 207"]),
    ("title_too_long (course)", &["course 201: 300 characters"]),
    ("user_gone", &["user 404: payments 109"]),
    ("user_too_long", &["user 403: 2710 bytes"]),
    ("username_twice", &["민수: users 401, 402"]),
    ("value_missing", &["payment 111"]),
    ("value_missing (test)", &["tests 208"]),
    (
        "without_key",
        &[
            "django_content_type (app_label, model) is not unique",
            "users (username) is not unique",
        ],
    ),
];

/// In the order in which they are printed; a sequence's row has its own name.
const REPAIRS: &[(&str, &[&str])] = &[
    ("payment_of_free_item (test)", &["payment 113: card"]),
    ("payment_snapshot_missing (course)", &["2", "103", "104", "112"]),
    (
        "payment_snapshot_missing (test)",
        &["1", "3", "101", "102", "105", "106", "110", "111", "113"],
    ),
    (
        "registration_count (test)",
        &["test 1: 1 -> 2", "test 204: 7 -> 0", "test 206: 0 -> 2"],
    ),
    ("search_vector_missing (course)", &["course 201"]),
    (
        "sequence_owners (course)",
        &["course_registrations_id_seq is not owned by course_registrations.id"],
    ),
    (
        "sequences",
        &[
            "django_content_type_id_seq: at 11, the largest id is 902",
            "payments_id_seq: at 1, the largest id is 113",
            "users_id_seq: at 2, the largest id is 403",
        ],
    ),
    ("sequences (course)", &["courses_id_seq: at 1, the largest id is 201"]),
    (
        "sequences (test)",
        &[
            "test_registrations_id_seq: at 2, the largest id is 305",
            "tests_id_seq: at 2, the largest id is 209",
        ],
    ),
];

const NOTES: &[&str] = &[
    "cancellation_time",
    "password_unreadable",
    "payment_without_registration (test)",
    "period_reversed (test)",
    "registration_time (test)",
    "registration_without_payment (test)",
    "time_far",
    "time_far (test)",
    "user_inactive",
];

#[tokio::test]
async fn every_row_in_the_way_is_named_at_once_and_its_remedy_removes_it() {
    let app = django(SPOILED_ROWS).await;
    let before = everything(&app).await;

    let found = blocked(app.database_url()).await;
    assert_eq!(rows(&found, Level::Obstacle), expected(OBSTACLES));
    assert_eq!(rows(&found, Level::Repair), expected(REPAIRS));
    assert_eq!(rows(&found, Level::Note).into_keys().collect::<Vec<_>>(), NOTES);
    assert_eq!(found.unchecked, []);
    let (status, printed, error) = command(&app, &["migrate"]);
    assert_eq!(status, Some(3), "{error}");
    assert!(error.contains("nothing has been changed: column_in_use, "), "{error}");
    for (check, rows) in OBSTACLES.iter().chain(REPAIRS) {
        assert!(
            printed.contains(&format!("\n  {check}: {}\n", rows.len())),
            "{check}: {printed}"
        );
        assert!(
            rows.iter().all(|row| printed.contains(&format!("      - {row}\n"))),
            "{check}: {printed}"
        );
    }
    assert_eq!(command(&app, &["migrate", "--check"]).0, Some(3));
    assert_eq!(everything(&app).await, before, "a refusal changes nothing");

    batch(&app, &remedies(&printed)).await;
    let (status, printed, error) = command(&app, &["migrate"]);
    assert_eq!(status, Some(0), "{printed}{error}");
    assert!(
        printed.contains("\nREPAIRED\n") && printed.contains("      - test 204: 7 -> 0\n"),
        "{printed}"
    );
    for finding in audit(app.database()).await.expect("it is migrated") {
        assert_eq!(finding.ids, [] as [String; 0], "{finding:?}");
    }
}

#[tokio::test]
async fn a_schema_that_does_not_fit_is_named_at_once_and_its_remedies_make_it_fit() {
    let app = django(SPOILED_SCHEMA).await;
    let before = everything(&app).await;
    let found = blocked(app.database_url()).await;
    let schema = expected(&[
        (
            "columns",
            &[
                "payments.amount is numeric(8,0), not numeric(10,2)",
                "payments.refund_reason is missing",
            ],
        ),
        (
            "columns (test)",
            &[
                "tests.description is missing",
                "tests.end_at is timestamp without time zone, not timestamp with time zone",
                "tests.price is double precision, not numeric(10,2)",
                "tests.search_vector is a generated column",
                "tests.title is missing, there is name",
            ],
        ),
        ("table_missing (course)", &["courses, there is courses_course"]),
        (
            "without_key",
            &["payments (id) is not unique", "users.id has no sequence"],
        ),
    ]);
    assert_eq!(rows(&found, Level::Obstacle), schema);
    let unchecked: Vec<_> = found
        .unchecked
        .iter()
        .map(|unchecked| unchecked.check.as_str())
        .collect();
    let expected = ["title_too_long (test)", "value_missing (test)"];
    assert_eq!(unchecked, expected, "{:?}", found.unchecked);
    let (status, printed, _) = command(&app, &["migrate"]);
    assert_eq!(status, Some(3));
    assert_eq!(everything(&app).await, before, "a refusal changes nothing");

    batch(&app, &remedies(&printed)).await;
    migrated(&app).await;
    for finding in audit(app.database()).await.expect("it is migrated") {
        assert_eq!(finding.ids, [] as [String; 0], "{finding:?}");
    }
}

/// The migration gives payments.object_id another type, adds columns with defaults, and updates rows.
#[tokio::test]
async fn what_hangs_on_a_table_is_named_and_its_remedy_removes_it() {
    named_and_removed(&[
        (
            "create rule kept as on update to payments where old.object_id > 0 do instead nothing;
             create rule told as on insert to users do also nothing;
             create rule \"Told\" as on update to tests do also nothing",
            &[
                ("attached_rule", &["rule kept on payments", "rule told on users"]),
                ("attached_rule (test)", &["rule \"Told\" on tests"]),
            ],
        ),
        (
            "create publication filtered for table payments where (object_id > 0);
             create publication unnamed for table courses (title);
             create publication of_inserts for table tests (title) with (publish = 'insert');
             create publication by_key for table users (id, email)",
            &[
                ("attached_publication", &["publication filtered of payments"]),
                ("attached_publication (course)", &["publication unnamed of courses"]),
                ("column_in_use", &["publication filtered"]),
            ],
        ),
        (
            "create view paid as select object_id from payments;
             create view of_a_view as select * from paid;
             create materialized view stored as select object_id, status from payments;
             create function pass() returns trigger language plpgsql as 'begin return new; end';
             create trigger \"After\" after update of object_id on payments for each row execute function pass();
             create trigger moved after update on payments
                 for each row when (old.object_id is distinct from new.object_id) execute function pass();
             alter table payments add column twice integer not null generated always as (object_id * 2) stored;
             create policy seen on payments for select using (object_id > 0);
             create policy added on payments as restrictive for insert to current_user with check (object_id > 1);
             create function latest() returns integer begin atomic select max(object_id) from payments; end;
             create publication of_columns for table payments (id, object_id);
             create publication of_rows for table payments where (object_id > 0) with (publish = 'insert');
             create table moves (item integer);
             create rule moves as on insert to moves
                 do also update payments set object_id = object_id where object_id = new.item",
            &[(
                "column_in_use",
                &[
                    "generated column payments.twice",
                    "materialized view stored",
                    "policy added on payments",
                    "policy seen on payments",
                    "publication of_columns",
                    "publication of_rows",
                    "routine latest()",
                    "rule moves on moves",
                    "trigger \"After\" on payments",
                    "trigger moved on payments",
                    "view of_a_view",
                    "view paid",
                ],
            )],
        ),
        (
            "create table copies (before payments, after payments[], item tests, registration course_registrations);
             insert into copies (before, after) select p, array[p] from payments p;
             create materialized view latest as select p from payments p",
            &[
                (
                    "column_of_rows",
                    &[
                        "copies.after has rows of payments",
                        "copies.before has rows of payments",
                        "latest.p has rows of payments",
                    ],
                ),
                (
                    "column_of_rows (course)",
                    &["copies.registration has rows of course_registrations"],
                ),
                ("column_of_rows (test)", &["copies.item has rows of tests"]),
            ],
        ),
    ])
    .await;
}

/// What is dropped can be made again.
#[tokio::test]
async fn a_remedy_keeps_the_definition_of_what_it_drops() {
    let app = django("create view paid as select object_id, amount from payments where status = 'paid'").await;
    let (_, printed, _) = command(&app, &["migrate"]);
    let remedies = remedies(&printed);
    let (removal, definition) = remedies.split_once("\n-- It was:\n").expect("a definition");
    assert_eq!(removal, "drop view if exists paid cascade;");
    batch(&app, &remedies).await;
    migrated(&app).await;
    let definition: Vec<_> = definition.lines().map(|line| line.trim_start_matches("-- ")).collect();
    batch(&app, &definition.join("\n")).await;
    assert_eq!(app.one::<i64>("select count(*) from paid", &[]).await, 2);
}

/// Its rows would be read as payments, and a remedy that changes both copies of a payment would end the real one.
#[tokio::test]
async fn a_table_that_inherits_is_named_and_its_rows_are_no_payments() {
    let app = django(
        "create table payments_old (like payments including all);
         alter table payments_old inherit payments;
         insert into payments_old select * from payments;
         insert into payments_old values (9, 'voucher', 1, -5, 'card', null, 'odd', null, now(), null, null, 7, 404);
         create table archive () inherits (tests);
         insert into archive select * from tests",
    )
    .await;
    let found = blocked(app.database_url()).await;
    let children = expected(&[
        ("child_table", &["payments_old inherits from payments"]),
        ("child_table (test)", &["archive inherits from tests"]),
    ]);
    assert_eq!(rows(&found, Level::Obstacle), children);
    let (status, printed, _) = command(&app, &["migrate", "--check"]);
    assert_eq!(status, Some(3));

    batch(&app, &remedies(&printed)).await;
    migrated(&app).await;
    let payments = app.rows("select id, status from payments order by id").await;
    let paid =
        serde_json::json!([{"id": 1, "status": "paid"}, {"id": 2, "status": "paid"}, {"id": 3, "status": "refunded"}]);
    assert_eq!(payments, paid);
    assert_eq!(app.one::<i64>("select count(*) from payments_old", &[]).await, 4);
}

/// PostgreSQL would refuse it in the middle of the migration. No statement alone removes the partitions.
#[tokio::test]
async fn a_table_with_partitions_is_named() {
    let app = django(
        "create table parted (like tests including defaults, primary key (id)) partition by hash (id);
         create table part partition of parted for values with (modulus 1, remainder 0);
         insert into parted select * from tests;
         drop table tests cascade;
         alter table parted rename to tests;
         alter table tests alter id add generated by default as identity",
    )
    .await;
    let found = blocked(app.database_url()).await;
    let expected = expected(&[("partitioned_table (test)", &["tests"])]);
    assert_eq!(rows(&found, Level::Obstacle), expected);
    assert_eq!(found.unchecked, []);
}

/// Whatever has the name of the key. Django's `UniqueConstraint` has conditions and expressions.
#[tokio::test]
async fn a_key_of_registrations_that_does_not_hold_is_named_and_its_remedy_makes_it_hold() {
    const KEY: &[(&str, &[&str])] = &[(
        "without_key (test)",
        &["test_registrations (user_id, test_id) is not unique"],
    )];
    let drop = "alter table test_registrations drop constraint idx_test_reg_unique;";
    let twice =
        "insert into test_registrations (status, applied_at, test_id, user_id) values ('cancelled', now(), 1, 1);
         set constraints all immediate;";
    let with_rows: &[(&str, &[&str])] = &[
        ("registration_twice (test)", &["user 1, test 1: registrations 1, 3"]),
        KEY[0],
    ];
    let of_another_table: &[(&str, &[&str])] = &[(
        "names_taken (test)",
        &["the index idx_test_reg_unique is of courses by btree"],
    )];
    let with = |statement: &str| format!("{drop} {statement}");
    let index = "index idx_test_reg_unique on test_registrations";
    let constraint = "alter table test_registrations add constraint idx_test_reg_unique unique";
    let ways = [
        // The migration makes one that is missing.
        (with(twice), &with_rows[..1]),
        (
            with(&format!(
                "{twice} create unique {index} (user_id, test_id) where status <> 'cancelled'"
            )),
            with_rows,
        ),
        (with(&format!("{twice} create {index} (user_id, test_id)")), with_rows),
        (with(&format!("{constraint} (user_id, test_id, status)")), KEY),
        (with(&format!("{constraint} (user_id, test_id) deferrable")), KEY),
        (
            with(&format!(
                "create unique {index} (user_id, test_id, coalesce(cancelled_at, 'infinity'))"
            )),
            KEY,
        ),
        (
            with("create unique index idx_test_reg_unique on courses (id)"),
            of_another_table,
        ),
    ];
    let ways: Vec<_> = ways
        .iter()
        .map(|(spoiled, obstacles)| (spoiled.as_str(), *obstacles))
        .collect();
    named_and_removed(&ways).await;
}

/// A longer text, or a null, would fail on the day when a request writes it.
#[tokio::test]
async fn a_column_that_does_not_take_what_requests_write_is_named_and_its_remedy_widens_it() {
    named_and_removed(&[
        (
            "alter table payments alter status type char(20), alter external_transaction_id type varchar(20),
                 alter payment_method type varchar(10), alter refund_reason type varchar(100),
                 alter amount type numeric(8, 2);
             alter table users alter username type varchar(30), alter email type varchar(75);
             create view paid as select status, amount from payments",
            &[(
                "columns",
                &[
                    "payments.amount is numeric(8,2), not numeric(10,2)",
                    "payments.external_transaction_id is character varying(20), not character varying(100)",
                    "payments.payment_method is character varying(10), not character varying(50)",
                    "payments.refund_reason is character varying(100), not text",
                    "payments.status is character(20), not character varying(20)",
                    "users.email is character varying(75), not character varying(255)",
                    "users.username is character varying(30), not character varying(150)",
                ],
            )],
        ),
        (
            "update users set last_login = now(); alter table users alter last_login set not null;
             update payments set refund_reason = ''; alter table payments alter refund_reason set not null;
             update tests set description = ''; alter table tests alter description set not null;
             alter table course_registrations alter completed_at set not null",
            &[
                (
                    "columns",
                    &[
                        "payments.refund_reason is never null, and this service writes null",
                        "users.last_login is never null, and this service writes null",
                    ],
                ),
                (
                    "columns (course)",
                    &["course_registrations.completed_at is never null, and this service writes null"],
                ),
                (
                    "columns (test)",
                    &["tests.description is never null, and this service writes null"],
                ),
            ],
        ),
        (
            "alter table users add phone varchar(20), add code varchar(20), add number integer,
                 add public_id uuid not null unique default gen_random_uuid(), add memo varchar(20) not null default '';
             update users set phone = id, code = id, number = id;
             alter table users add unique (phone), alter phone set default '', add unique (number),
                 alter number set not null, alter code set not null, alter memo drop default;
             create unique index code_unique on users (upper(code));
             alter table tests add level integer not null default 0; alter table tests alter level drop default",
            &[
                (
                    "column_unknown",
                    &[
                        "users.code",
                        "users.memo",
                        "users.number",
                        "users.phone is unique, and its default is the same for all rows",
                    ],
                ),
                ("column_unknown (test)", &["tests.level"]),
            ],
        ),
    ])
    .await;
}

/// As Django's AutoField makes them: by identity since 4.1, and before by a sequence, which stayed narrow when the field
/// became a BigAutoField.
#[tokio::test]
async fn ids_of_32_bits_are_named_and_widened_with_their_sequences() {
    const IDS: &[(&str, &[&str])] = &[
        (
            "columns",
            &[
                "payments.id is integer, not bigint",
                "payments.user_id is integer, not bigint",
                "users.id is integer, not bigint",
            ],
        ),
        (
            "columns (test)",
            &[
                "test_registrations.id is integer, not bigint",
                "test_registrations.test_id is integer, not bigint",
                "test_registrations.user_id is integer, not bigint",
                "tests.id is integer, not bigint",
            ],
        ),
    ];
    let tables = ["users", "payments", "tests", "test_registrations"];
    let narrow =
        "alter table payments alter user_id type integer; alter table test_registrations alter user_id type integer;
                  alter table test_registrations alter test_id type integer;";
    let by_identity = tables
        .map(|table| format!("alter table {table} alter id type integer;"))
        .concat();
    let by_sequence = tables.map(|table| {
        format!(
            "alter table {table} alter id drop identity, alter id type integer;
             create sequence {table}_id_seq as integer owned by {table}.id;
             alter table {table} alter id set default nextval('{table}_id_seq');
             select setval('{table}_id_seq', max(id)) from {table};"
        )
    });
    let (by_identity, by_sequence) = (
        format!("{narrow} {by_identity}"),
        format!("{narrow} {}", by_sequence.concat()),
    );
    named_and_removed(&[(by_identity.as_str(), IDS), (by_sequence.as_str(), IDS)]).await;

    for spoiled in [by_identity, by_sequence] {
        let app = django(&spoiled).await;
        let (_, printed, _) = command(&app, &["migrate"]);
        batch(&app, &remedies(&printed)).await;
        migrated(&app).await;
        let narrow = "select count(*) from pg_sequence join pg_class on oid = seqrelid
                      where relname in ('users_id_seq', 'payments_id_seq', 'tests_id_seq', 'test_registrations_id_seq')
                        and seqtypid <> 'bigint'::regtype";
        assert_eq!(app.one::<i64>(narrow, &[]).await, 0);
        let next =
            "insert into tests (title, price, start_at, end_at) values ('시험', 1000, now(), now()) returning id";
        assert!(app.one::<i64>(next, &[]).await >= 3);
    }
}

#[tokio::test]
async fn a_sequence_that_ends_before_its_ids_is_repaired() {
    const COPY: &str =
        "title, description, price, start_at, end_at, created_at, updated_at, search_vector, 0 from tests where id = 1";
    let app = App::start().await;
    for (spoiled, row, next) in [
        (
            format!("alter sequence tests_id_seq as integer; insert into tests select 3000000000, {COPY}"),
            "tests_id_seq: at 2, the largest id is 3000000000",
            3_000_000_001_i64,
        ),
        (
            format!("alter sequence tests_id_seq maxvalue 5; insert into tests select 7, {COPY}"),
            "tests_id_seq: at 2, the largest id is 7",
            8,
        ),
        (
            "alter sequence tests_id_seq maxvalue 2".to_owned(),
            "tests_id_seq ends at 2",
            3,
        ),
    ] {
        spoil(&app, &spoiled).await;
        let preflight = migrated(&app).await.preflight.expect("the database was old");
        assert_eq!(rows(&preflight, Level::Repair)["sequences (test)"], [row]);
        let insert =
            "insert into tests (title, price, start_at, end_at) values ('시험', 1000, now(), now()) returning id";
        // A rehearsal has drawn some.
        let drawn: i64 = app.one(insert, &[]).await;
        assert!((next..next + 10).contains(&drawn), "{spoiled}: {drawn}");
        assert_eq!(command(&app, &["migrate"]).1, "The database is up to date\n");
    }
}

/// Everything that the migration adds to the tables of the Django service, as a name that the database has already.
#[tokio::test]
async fn each_name_that_the_migration_needs_is_named_where_it_is_taken() {
    const NAMES: &str = "
        select format('alter table %s add column %I text', attrelid::regclass, attname) as taken,
               format('%s has a column %I', attrelid::regclass, attname) as found
        from pg_attribute join pg_class c on c.oid = attrelid
        where relnamespace = 'public'::regnamespace and relkind = 'r' and attnum > 0 and not attisdropped
        union all
        select format('create index %I on auth_group (id)', relname), format('there is an index %I', relname)
        from pg_class where relnamespace = 'public'::regnamespace and relkind = 'i'
        union all
        select format('alter table %s add constraint %I check (true)', conrelid::regclass, conname),
               format('%s has a constraint %I', conrelid::regclass, conname)
        from pg_constraint where connamespace = 'public'::regnamespace and contype = 'c'";
    let app = django("").await;
    let names = async || -> BTreeSet<(String, String)> {
        let names = app.database().query(NAMES, &[]).await.expect("names");
        names.iter().map(|name| (name.get(0), name.get(1))).collect()
    };
    let before = names().await;
    migrated(&app).await;
    let added: Vec<_> = names().await.difference(&before).cloned().collect();
    assert!(added.len() > 40, "{added:?}");

    let (taken, expected): (Vec<_>, BTreeSet<_>) = added.into_iter().unzip();
    spoil(&app, &taken.join("; ")).await;
    let found = blocked(app.database_url()).await;
    let found: BTreeSet<_> = found
        .of(Level::Obstacle)
        .flat_map(|finding| finding.rows.clone())
        .collect();
    assert_eq!(found, expected);
    let (_, printed, _) = command(&app, &["migrate"]);
    batch(&app, &remedies(&printed)).await;
    migrated(&app).await;
}

/// The migration changes an index by its name, or takes it for its own.
#[tokio::test]
async fn an_index_that_is_another_than_its_name_says_is_named_and_renamed() {
    named_and_removed(&[(
        "drop index idx_test_search; create index idx_test_search on tests using gist (search_vector);
         drop index idx_payment_search; create index idx_payment_search on payments (search_vector);
         drop index idx_test_reg_user; create index idx_test_reg_user on users (id)",
        &[
            ("names_taken", &["the index idx_payment_search is of payments by btree"]),
            (
                "names_taken (test)",
                &[
                    "the index idx_test_reg_user is of users by btree",
                    "the index idx_test_search is of tests by gist",
                ],
            ),
        ],
    )])
    .await;
}

#[tokio::test]
async fn tables_in_another_schema_are_named_at_once_and_moved() {
    named_and_removed(&[(
        "create schema shop;
         do $$ declare moved regclass; begin
             for moved in select oid from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' loop
                 execute format('alter table %s set schema shop', moved);
             end loop;
         end $$",
        &[
            (
                "table_elsewhere (course)",
                &[
                    "course_registrations, there is shop.course_registrations",
                    "courses, there is shop.courses",
                ],
            ),
            (
                "table_elsewhere (test)",
                &[
                    "test_registrations, there is shop.test_registrations",
                    "tests, there is shop.tests",
                ],
            ),
            (
                "table_missing",
                &[
                    "django_content_type, there is shop.django_content_type",
                    "payments, there is shop.payments",
                    "users, there is shop.users",
                ],
            ),
        ],
    )])
    .await;
}

/// A check that finds something in every database proves nothing.
#[tokio::test]
async fn a_sound_database_is_taken_over_without_an_obstacle() {
    let app = django("").await;
    let (status, printed, error) = command(&app, &["migrate", "--check"]);
    assert_eq!(status, Some(0), "{error}");
    assert!(
        printed.contains("Nothing stands in the way. To apply: V01__kinds, "),
        "{printed}"
    );
    assert!(app.one::<bool>("select to_regnamespace('sugang') is null", &[]).await);

    let preflight = migrated(&app).await.preflight.expect("the database was old");
    let snapshots = expected(&[
        ("payment_snapshot_missing (course)", &["2"]),
        ("payment_snapshot_missing (test)", &["1", "3"]),
    ]);
    assert_eq!(rows(&preflight, Level::Repair), snapshots);
    assert_eq!(preflight.findings.len(), 2, "{preflight}");
}

/// Each of these users would hear that the password is wrong.
#[tokio::test]
async fn hashes_that_no_login_computes_are_counted() {
    const OF_PBKDF2: &str = "$saltsalt$/38zqboTUeuCxbuxuHKdAkJo8XppccrkAiPOL48N9Xg=";
    const OF_BCRYPT: &str = "$oNK2l1PWSdQWnXf4NSdrxu2rbxEVyQjBmZK/nA8YGUlD/K8kTWaFi";
    const OF_ARGON2: &str = ",t=1,p=2$c2FsdHNhbHRzYWx0c2FsdA$opob4W1iJ5pDZh+HQfdI0c/SaNLcps3f2K7u9vDBqlc";
    const OF_SCRYPT: &str = "$v0wn7sy5epDkAw29tc/03JvLh+dlqOsMdUgK5R9K+FS58HbWPgf5W0EjMNh4t3nmrqg7HaqPvtbH0m6dTgz4nA==";
    let readable = [
        format!("pbkdf2_sha256$1000000{OF_PBKDF2}"),
        format!("bcrypt$$2b$12{OF_BCRYPT}"),
        format!("argon2$argon2id$v=19$m=102400{OF_ARGON2}"),
        format!("$argon2i$m=64{OF_ARGON2}"),
        format!("scrypt$16384$seasalt$8$5{OF_SCRYPT}"),
        "md5$seasalt$1d9e5200c2eb28cf5e772ab38588d83d".to_owned(),
    ];
    let unreadable = [
        // As Django's manual raises the cost.
        format!("pbkdf2_sha256$100000000{OF_PBKDF2}"),
        format!("bcrypt_sha256$$2b$18{OF_BCRYPT}"),
        format!("argon2$argon2id$v=19$m=1048576{OF_ARGON2}"),
        format!("scrypt$1048576$seasalt$8$1{OF_SCRYPT}"),
        "pbkdf2_sha256$1000000$saltsalt$/38zqboTUeuCxbuxuHKdAkJo8".to_owned(),
        "sha1$salt$hash".to_owned(),
        "!unusable".to_owned(),
    ];
    let add = |hash: &String| format!("('{hash}', false, md5('{hash}'), '', '', false, true, now(), md5('{hash}'))");
    let users: Vec<_> = readable.iter().chain(&unreadable).map(add).collect();
    let app = django(&format!(
        "insert into users (password, is_superuser, username, first_name, last_name, is_staff, is_active, date_joined, email)
         values {}",
        users.join(", ")
    ))
    .await;
    let preflight = migrated(&app).await.preflight.expect("the database was old");
    let counted: &[&str] = &[
        "(no password): 1 users",
        "argon2, too expensive: 1 users",
        "bcrypt_sha256, too expensive: 1 users",
        "pbkdf2_sha256, not whole: 1 users",
        "pbkdf2_sha256, too expensive: 1 users",
        "scrypt, too expensive: 1 users",
        "sha1: 1 users",
    ];
    assert_eq!(
        rows(&preflight, Level::Note),
        expected(&[("password_unreadable", counted)])
    );
}

/// As Django replaces a field without regard to case (`CreateCollation`, `db_collation`).
#[tokio::test]
async fn a_collation_that_has_no_prefixes_is_named_and_its_remedy_removes_it() {
    let app = django(
        "create collation case_insensitive (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         drop index users_email_0ea73cca_like, users_username_e8658fc8_like;
         alter table users alter email type varchar(255) collate case_insensitive,
                           alter username type varchar(150) collate case_insensitive",
    )
    .await;
    let found = blocked(app.database_url()).await;
    let columns: &[&str] = &[
        "users.email has the collation case_insensitive",
        "users.username has the collation case_insensitive",
    ];
    assert_eq!(rows(&found, Level::Obstacle), expected(&[("collation", columns)]));
    assert_eq!(found.unchecked, []);

    let (status, printed, _) = command(&app, &["migrate"]);
    assert_eq!(status, Some(3));
    batch(&app, &remedies(&printed)).await;
    migrated(&app).await;
    for finding in audit(app.database()).await.expect("it is migrated") {
        assert_eq!(finding.ids, [] as [String; 0], "{finding:?}");
    }
}

/// Without the trigger of the Django service, which would refuse it.
#[tokio::test]
async fn a_description_that_is_too_long_to_search_is_taken_over() {
    let app = django(
        "drop trigger tests_search_vector_trigger on tests;
         insert into tests (title, description, price, start_at, end_at, created_at, updated_at, registration_count)
         select '긴 설명', string_agg(md5(n::text), ' '), 1000, '2020-01-01', '2099-12-31', now(), now(), 0
         from generate_series(1, 50000) n",
    )
    .await;
    migrated(&app).await;
    let searched: i64 = app
        .one(
            "select count(*) from tests where search_vector @@ to_tsquery('simple', md5('1'))",
            &[],
        )
        .await;
    assert_eq!(searched, 1);
    for finding in audit(app.database()).await.expect("it is migrated") {
        assert_eq!(finding.ids, [] as [String; 0], "{finding:?}");
    }
}

#[tokio::test]
async fn a_role_without_rights_is_told_which() {
    let app = django("").await;
    let role = format!("sugang_e2e_role_{}", std::process::id());
    let make = format!(
        "create role {role} login password 'pass-1'; grant select on all tables in schema public to {role};
         grant usage on schema public to {role}; revoke create on schema public from public;
         revoke usage on language plpgsql from public"
    );
    batch(&app, &make).await;
    let mut url: url::Url = app.database_url().parse().expect("a URL");
    url.set_username(&role).expect("it has a host");
    url.set_password(Some("pass-1")).expect("it has a host");

    let found = blocked(url.as_str()).await;
    let granted: Vec<_> = found
        .of(Level::Obstacle)
        .map(|finding| finding.remedy.clone())
        .collect();
    let found = rows(&found, Level::Obstacle);
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        [
            "language_missing",
            "rights_of_role",
            "rights_of_tables",
            "rights_of_tables (course)",
            "rights_of_tables (test)"
        ]
    );
    assert_eq!(found["rights_of_role"].len(), 2, "{found:?}");
    batch(&app, &granted.join("\n")).await;
    migrate(url.as_str(), KINDS, Options::default())
        .await
        .expect("it has the rights");

    drop_role(&app, &role).await;
}

#[tokio::test]
async fn a_server_or_database_that_cannot_serve_is_named() {
    let app = App::start().await;
    let database: String = app.one("select current_database()::text", &[]).await;
    let korean = format!("{database}_euc_kr");
    batch(
        &app,
        &format!("create database {korean} encoding 'EUC_KR' locale 'C' template template0"),
    )
    .await;
    let mut url: url::Url = app.database_url().parse().expect("a URL");
    url.set_path(&korean);
    let found = blocked(url.as_str()).await;
    assert_eq!(
        rows(&found, Level::Obstacle)["encoding"],
        [format!("database {korean}: EUC_KR")]
    );
    batch(&app, &format!("drop database {korean} with (force)")).await;

    batch(
        &app,
        &format!("alter database {database} set default_transaction_read_only = on"),
    )
    .await;
    let options = Options {
        check_only: true,
        ..Options::default()
    };
    let error = migrate(app.database_url(), KINDS, options)
        .await
        .expect_err("it is read-only");
    let found = error.downcast::<Blocked>().expect("the preflight sees it").0;
    assert_eq!(
        rows(&found, Level::Obstacle)["server_read_only"],
        ["transactions are read-only"]
    );

    // No server here is that old, but one may be newer than another number.
    let check = include_str!("../../migrations/preflight/obstacles/server_version.sql");
    assert!(app.database().query_opt(check, &[]).await.unwrap().is_none());
    assert!(check.contains("150000"));
    let found = app
        .database()
        .query_opt(&check.replace("150000", "990000"), &[])
        .await
        .unwrap();
    assert!(found.unwrap().get::<_, String>(0).starts_with("PostgreSQL 1"));
}

/// Searches ignore case where the locale of the database knows it; accounts do so everywhere.
#[tokio::test]
async fn a_locale_that_knows_no_case_is_named() {
    let app = App::start().await;
    let folds = "select sugang.search_fold('É') = 'é' and sugang.email_key('A.É@b') = 'a.É@b'";
    for (suffix, locale, knows_case) in [
        ("c", "lc_collate 'C' lc_ctype 'C'", false),
        ("posix", "lc_collate 'C' lc_ctype 'POSIX'", false),
        ("utf8", "lc_collate 'C' lc_ctype 'C.UTF-8'", true),
        ("icu", "locale_provider icu icu_locale 'und' locale 'C'", true),
    ] {
        let name: String = app.one(&format!("select current_database() || '_{suffix}'"), &[]).await;
        let create = format!("create database {name} template template0 encoding 'UTF8' {locale}");
        batch(&app, &create).await;
        let mut url: url::Url = app.database_url().parse().expect("a URL");
        url.set_path(&name);

        let migrated = migrate(url.as_str(), KINDS, Options::default()).await;
        let found = migrated.unwrap_or_else(|error| panic!("{error:#}"));
        let found = found.preflight.expect("the database was empty");

        let (session, connection) = sugang_connect::postgres::connect(url.as_str()).await.unwrap();
        tokio::spawn(connection);
        let is_folded: bool = session.query_one(folds, &[]).await.unwrap().get(0);
        assert_eq!(is_folded, knows_case, "{locale}");
        drop(session);
        let row = format!("database {name}: lower('É') is 'É'");
        let rows_of_c: &[&str] = &[&row];
        let expected = match knows_case {
            true => BTreeMap::new(),
            false => expected(&[("letter_case", rows_of_c)]),
        };
        assert_eq!(rows(&found, Level::Note), expected, "{locale}");
        batch(&app, &format!("drop database {name} with (force)")).await;
    }
}

/// Whatever such a trigger is named: its function tells what it does. One that only reads the item is left alone.
#[tokio::test]
async fn a_trigger_that_counts_registrations_is_named_and_its_remedy_drops_it() {
    let app = django(
        "create function count_up() returns trigger language plpgsql as
             'begin update tests set registration_count = registration_count + 1 where id = new.test_id; return null; end';
         create trigger count_up after insert on test_registrations for each row execute function count_up();
         create trigger at_rest after insert on test_registrations for each row execute function count_up();
         alter table test_registrations disable trigger at_rest;
         create function tell() returns trigger language plpgsql as
             'begin perform pg_notify(left(title, 9), null) from tests where id = new.test_id; return null; end';
         create trigger tell after insert on test_registrations for each row execute function tell()",
    )
    .await;
    let preflight = migrated(&app).await.preflight.expect("the database was old");
    let named: &[&str] = &["trigger count_up on test_registrations, by count_up()"];
    let expected = expected(&[("registration_counted_twice (test)", named)]);
    assert_eq!(rows(&preflight, Level::Note), expected);

    let register = "insert into test_registrations (user_id, test_id, status, applied_at)
                    select 1, max(id), 'applied', now() from tests";
    let add = "insert into tests (title, description, price, start_at, end_at, created_at, updated_at)
               values ('시험', '', 1000, '2020-01-01', '2099-12-31', now(), now())";
    let counted = "select registration_count from tests order by id desc limit 1";
    batch(&app, &format!("{add}; {register}")).await;
    assert_eq!(app.one::<i32>(counted, &[]).await, 2);
    let remedy = preflight
        .of(Level::Note)
        .map(|finding| finding.remedy.as_str())
        .collect::<String>();
    assert_eq!(remedy, "drop trigger count_up on test_registrations;");
    batch(&app, &format!("{remedy} {add}; {register}")).await;
    assert_eq!(app.one::<i32>(counted, &[]).await, 1);
    let (status, printed, error) = command(&app, &["migrate", "--check"]);
    assert_eq!(status, Some(0), "{error}");
    assert!(!printed.contains("registration_counted_twice"), "{printed}");
}

/// A dump is restored without the sequences that gave its ids, also one of a database that was migrated before.
#[tokio::test]
async fn sequences_of_a_current_database_are_repaired_and_named() {
    let app = App::start().await;
    app.user("minsu").await;
    batch(
        &app,
        "select setval('users_id_seq', 1, false); insert into users values (7, 'x', null, 'a@b', 'a')",
    )
    .await;
    let (status, printed, error) = command(&app, &["migrate"]);
    assert_eq!(status, Some(0), "{error}");
    assert!(
        printed.contains("REPAIRED") && printed.contains("users_id_seq: at 0, the largest id is 7"),
        "{printed}"
    );
    assert!(printed.ends_with("The database is up to date\n"), "{printed}");
    assert!(app.user("jisu").await.id > 7);
    assert_eq!(command(&app, &["migrate"]).1, "The database is up to date\n");
}

/// Rows that come after the preflight make the migration fail; it says what they are all the same.
#[tokio::test]
async fn a_row_that_comes_late_is_named_as_well() {
    let app = django("").await;
    // Holds the migration up after its preflight: repairs need this table, checks do not.
    let late = app.connect().await;
    late.batch_execute("begin; lock table users in row exclusive mode")
        .await
        .unwrap();
    let url = app.database_url().to_owned();
    let migration = tokio::spawn(async move { migrate(&url, KINDS, Options::default()).await });
    let waits = "select count(*) from pg_locks where not granted and database = (
                     select oid from pg_database where datname = current_database())";
    while app.one::<i64>(waits, &[]).await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    late.batch_execute(
        "insert into users (id, password, is_superuser, username, first_name, last_name, is_staff, is_active,
                            date_joined, email)
         values (9, 'x', false, 'late', '', '', false, true, now(), 'DJANGO@example.com');
         commit",
    )
    .await
    .unwrap();
    let error = migration.await.unwrap().expect_err("two users have one address");
    let found = error
        .downcast::<Blocked>()
        .unwrap_or_else(|error| panic!("{error:#}"))
        .0;
    assert_eq!(
        rows(&found, Level::Obstacle),
        expected(&[("email_twice", &["django@example.com: users 1, 9"])])
    );
}

/// A check whose file is added comes with rows that it finds.
#[test]
fn every_check_is_shown_to_find_something() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/preflight");
    let mut checks = BTreeSet::new();
    for level in ["obstacles", "repairs", "notes"] {
        for file in fs::read_dir(folder.join(level)).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let name = name.strip_suffix(".sql").unwrap();
            checks.insert(name.strip_suffix("_of_kind").unwrap_or(name).to_owned());
        }
    }
    let name = |label: &str| label.split(' ').next().unwrap_or_default().to_owned();
    let mut shown: BTreeSet<_> = OBSTACLES.iter().chain(REPAIRS).map(|(check, _)| name(check)).collect();
    shown.extend(NOTES.iter().map(|check| name(check)));
    // Those of the other tests.
    let others = [
        "attached_publication",
        "attached_rule",
        "child_table",
        "collation",
        "column_of_rows",
        "columns",
        "history_empty",
        "history_missing",
        "table_elsewhere",
        "table_missing",
        "encoding",
        "language_missing",
        "letter_case",
        "partitioned_table",
        "registration_counted_twice",
        "rights_of_role",
        "rights_of_tables",
        "server_read_only",
        "server_version",
    ];
    shown.extend(others.map(str::to_owned));
    assert_eq!(shown, checks);
}
