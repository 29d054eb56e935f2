//! What a request costs PostgreSQL: how many statements, and how they are carried out on tables long enough to tell.

use std::fmt::Write;

use futures::{StreamExt, stream::poll_fn};
use serde_json::Value;
use sugang_migrations::function_call;
use sugang_tests::{App, COURSE, ENDPOINTS, EXAM, Item, Kind, token};
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client, types::ToSql};

/// A login is two: a password is verified by the component, between reading its hash and noting the login.
#[tokio::test]
async fn a_request_is_one_statement() {
    let app = App::proxied().start().await;
    let minsu = app.user("minsu").await;
    for kind in [EXAM, COURSE] {
        app.add(kind, Item::default()).await;
    }
    app.prepare_sessions().await;
    let refresh = token::sign(&minsu.claims("refresh"));
    let mut table = String::new();
    for endpoint in ENDPOINTS {
        let before = app.postgres().statements();
        let call = app.call(endpoint.method, endpoint.path).by(&minsu);
        let answer = match endpoint.body {
            "" => call.await,
            body => call.json_text(body.replace("a.b.c", &refresh)).await,
        };
        let statements = app.postgres().statements() - before;
        writeln!(
            table,
            "{} {}: {statements} ({})",
            endpoint.method,
            endpoint.path,
            answer.status.as_u16()
        )
        .unwrap();
    }
    insta::assert_snapshot!(table, @r"
    POST /signup/: 1 (201)
    POST /login/: 2 (200)
    POST /token/refresh/: 1 (200)
    POST /logout/: 1 (204)
    GET /tests/: 1 (200)
    GET /tests/1/: 1 (200)
    POST /tests/1/apply/: 1 (201)
    POST /tests/1/complete/: 1 (200)
    POST /tests/1/preorder/: 1 (409)
    GET /courses/: 1 (200)
    GET /courses/1/: 1 (200)
    POST /courses/1/enroll/: 1 (201)
    POST /courses/1/complete/: 1 (200)
    POST /courses/1/preorder/: 1 (409)
    GET /me/payments/: 1 (200)
    GET /me/payments/1/: 1 (200)
    POST /payments/1/cancel/: 1 (400)
    GET /me/orders/: 1 (200)
    GET /orders/1/: 1 (404)
    POST /orders/1/approve/: 1 (404)
    POST /orders/1/cancel/: 1 (404)
    POST /logout/all/: 1 (204)
    ");
}

/// A session of PostgreSQL that tells how it carries out each statement of a function.
struct Explained {
    client: Client,
    notices: mpsc::UnboundedReceiver<String>,
}

impl Explained {
    async fn on(app: &App) -> Self {
        let (client, mut connection) = sugang_connect::postgres::connect(app.database_url()).await.unwrap();
        let (sender, notices) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut messages = poll_fn(move |context| connection.poll_message(context));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notice(notice) = message {
                    sender.send(notice.message().to_owned()).ok();
                }
            }
        });
        client
            .batch_execute(
                "load 'auto_explain';
                 set auto_explain.log_nested_statements = on; set auto_explain.log_analyze = on;
                 set auto_explain.log_timing = off; set auto_explain.log_format = json;
                 set auto_explain.log_level = warning;
                 -- A short table is planned as a long one would be; what finds a few rows by an index stays cheaper alone.
                 set parallel_setup_cost = 20; set parallel_tuple_cost = 0;
                 set min_parallel_table_scan_size = 0; set min_parallel_index_scan_size = 0",
            )
            .await
            .unwrap();
        Self { client, notices }
    }

    /// The plans that a session which has asked this often before uses. What it changes is taken back.
    async fn plans(&mut self, call: &str, parameters: &[&(dyn ToSql + Sync)]) -> Vec<Value> {
        let statement = format!("select outcome from {}", function_call(call));
        let statement = self.client.prepare(&statement).await.unwrap();
        // The sixth time PostgreSQL decides for a plan to keep.
        for time in 0..8 {
            if time == 7 {
                let listen = "set auto_explain.log_min_duration = 0";
                self.client.batch_execute(listen).await.unwrap();
            }
            self.client.batch_execute("begin").await.unwrap();
            let outcome = self.client.query_one(&statement, parameters).await.unwrap();
            assert_eq!(outcome.get::<_, &str>(0), "ok", "{call}");
            let end = "rollback; set auto_explain.log_min_duration = -1";
            self.client.batch_execute(end).await.unwrap();
        }
        let mut plans = Vec::new();
        while let Ok(notice) = self.notices.try_recv() {
            if let Some((_, plan)) = notice.split_once("plan:") {
                plans.push(serde_json::from_str(plan).unwrap());
            }
        }
        assert!(plans.len() > 1, "{call}: PostgreSQL does not say how it does it");
        plans
    }
}

/// Words without a letter or a digit draw one from PostgreSQL, and drivers have lost the answer behind it.
#[tokio::test]
async fn no_answer_comes_with_a_notice() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let mut session = Explained::on(&app).await;
    for words in ["-", "⥉-", "!", "'"] {
        for list in [
            "list_test($1, 1, false, $2, false)",
            "list_payments($1, 1, null, null, null, null, $2)",
        ] {
            let statement = format!("select outcome from {}", function_call(list));
            session
                .client
                .query_one(&statement, &[&minsu.id, &words])
                .await
                .unwrap();
            assert_eq!(session.notices.try_recv().ok(), None, "{words:?}");
        }
    }
    // That there would be one.
    session
        .client
        .batch_execute("select websearch_to_tsquery('simple', '-')")
        .await
        .unwrap();
    assert!(session.notices.recv().await.is_some());
}

/// Tables that get longer as long as the service lives.
const GROWING: [&str; 10] = [
    "tests",
    "courses",
    "test_search",
    "course_search",
    "test_registrations",
    "course_registrations",
    "payments",
    "users",
    "audit_log",
    "search_changes",
];
/// The most rows that one node may read: what a search counts to be exact, and a few more.
const READ: f64 = 1_100.0;
/// The most rows that may be sorted: a page, and what a sort that goes along an index reads ahead.
const SORTED: f64 = 40.0;

/// What is wrong with a plan, for every node of it. Returns whether a growing table is read below.
fn faults(query: &str, node: &Value, faults: &mut Vec<String>) -> bool {
    let text = |name: &str| node[name].as_str().unwrap_or_default();
    let rows = |node: &Value, counts: &[&str]| {
        let number = |name: &str| node[name].as_f64().unwrap_or_default();
        counts.iter().map(|count| number(count)).sum::<f64>() * number("Actual Loops")
    };
    let (kind, table) = (text("Node Type"), text("Relation Name"));
    let mut grows = GROWING.contains(&table) && kind != "ModifyTable";
    if grows && kind == "Seq Scan" {
        faults.push(format!("reads all of {table}: {query}"));
    }
    let read = rows(
        node,
        &["Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck"],
    );
    if grows && read > READ {
        faults.push(format!("reads {read} rows of {table}: {query}"));
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        let below = self::faults(query, child, faults);
        let sorted = rows(child, &["Actual Rows"]);
        if below && kind.ends_with("Sort") && sorted > SORTED {
            faults.push(format!("sorts {sorted} rows: {query}"));
        }
        if below && kind.starts_with("Gather") {
            faults.push(format!("waits for more processes: {query}"));
        }
        grows |= below;
    }
    grows
}

fn faults_of(plans: &[Value]) -> Vec<String> {
    let mut found = Vec::new();
    for plan in plans {
        let query = plan["Query Text"].as_str().unwrap_or_default();
        let query = query.split_whitespace().collect::<Vec<_>>().join(" ");
        faults(&query, &plan["Plan"], &mut found);
    }
    found
}

/// 30,000 items, one a minute; 사전 stands in every tenth, 우물 in six. 5,000 users, 100 of them with 100 payments each. 2,000
/// hidden items would be the first of every list.
async fn fill(app: &App, kind: Kind) {
    let Kind {
        items,
        registrations,
        item_id,
        registered_at,
        payment_type,
        active,
        ..
    } = kind;
    let sql = format!(
        "insert into users (email, username, password)
             select 'u' || n || '@example.com', 'u' || n, '' from generate_series(1, 5000) n;
         insert into {items} (title, description, price, start_at, end_at, created_at, updated_at, registration_count)
             select concat_ws(' ', '시험', n, case when n % 10 = 0 then '사전' end, case when n % 5000 = 0 then '우물' end),
                    repeat('설명 ', 40), 45000, now() - n % 60 * interval '1 day',
                    now() + (n % 61 - 30) * interval '1 day' + n % 60 * interval '1 day',
                    now() - n * interval '1 minute', now(), 0
             from generate_series(1, 30000) n;
         insert into {items} (title, price, start_at, end_at, created_at, hidden)
             select '시험 사전', 45000, now() - interval '1 day', now() + interval '1 day', now() - n * interval '1 s', true
             from generate_series(1, 2000) n;
         insert into {registrations} (user_id, {item_id}, status, {registered_at})
             select u, 1 + (u * 100 + n) % 30000, '{active}', now() from generate_series(1, 100) u, generate_series(1, 100) n
             union all
             select u, id, '{active}', now() from generate_series(101, 103) u, {items} where hidden;
         update {items} i set registration_count = r.n from (
             select {item_id}, count(*) n from {registrations} group by 1) r where r.{item_id} = i.id;
         insert into payments (user_id, payment_type, content_type_id, object_id, amount, payment_method, status, paid_at)
             select r.user_id, '{payment_type}', c.id, r.{item_id}, 45000, 'card', 'paid', now() - r.id * interval '1 minute'
             from {registrations} r, django_content_type c where c.model = '{payment_type}';"
    );
    app.database().batch_execute(&sql).await.unwrap();
    app.database().batch_execute("vacuum analyze").await.unwrap();
}

/// Every request's statements, as `cargo xtask explain` shows them on any database.
#[tokio::test]
async fn no_request_reads_or_sorts_a_long_table() {
    for kind in [EXAM, COURSE] {
        let app = App::start().await;
        fill(&app, kind).await;
        let mut session = Explained::on(&app).await;
        let name = kind.payment_type;
        let open = format!(
            "select id from {} where end_at > now() and not hidden order by id desc limit 1",
            kind.items
        );
        let open: i64 = app.one(&open, &[]).await;
        let payment: i64 = app.one("select max(id) from payments where user_id = 7", &[]).await;

        let mut found = Vec::new();
        let list = format!("list_{name}(7, $1, $2, $3, $4)");
        let pages: [i64; 5] = [1, 2, 500, 1_499, 0];
        for page in pages {
            found.extend(faults_of(
                &session.plans(&list, &[&page, &false, &None::<&str>, &false]).await,
            ));
        }
        for (available, words, popular) in [
            (true, None, false),
            (false, None, true),
            (true, None, true),
            (false, Some("사전"), false),
            (false, Some("사전"), true),
            (true, Some("사전"), true),
            (false, Some("우물"), false),
            (true, Some("우물"), true),
            (false, Some("없다"), false),
            (false, Some("사전 시험"), false),
            (true, Some("사전 시험"), false),
            (false, Some("사전 -없다시험"), true),
            (false, Some("시험1"), false),
        ] {
            // As a busy service has it: the count of a frequent word is known.
            let count = "select sugang.{}_search_count($1, sugang.search_query($2), now())".replace("{}", name);
            if let Some(words) = words {
                app.run(&count, &[&available, &words]).await;
            }
            let parameters: [&(dyn ToSql + Sync); 4] = [&1_i64, &available, &words, &popular];
            found.extend(faults_of(&session.plans(&list, &parameters).await));
        }
        // A known count that has grown too old, with changes that it does not know.
        app.database()
            .batch_execute(&format!(
                "update {} set title = title || ' 시험' where id <= 100;
                 update sugang.search_counts set counted_at = counted_at - interval '1 h', as_of = as_of - interval '1 h'",
                kind.items
            ))
            .await
            .unwrap();
        let parameters: [&(dyn ToSql + Sync); 4] = [&1_i64, &true, &Some("사전 시험"), &false];
        found.extend(faults_of(&session.plans(&list, &parameters).await));
        found.extend(faults_of(&session.plans(&format!("get_{name}(7, $1)"), &[&open]).await));
        let (none, words) = (None::<&str>, Some("시험"));
        let payments = "list_payments(7, 1, $1, $2, $3, $4, $5)";
        found.extend(faults_of(
            &session.plans(payments, &[&none, &none, &none, &none, &none]).await,
        ));
        let filters: [&(dyn ToSql + Sync); 5] = [
            &Some("paid"),
            &Some(name),
            &Some("2020-01-01"),
            &Some("2099-01-01"),
            &words,
        ];
        found.extend(faults_of(&session.plans(payments, &filters).await));
        found.extend(faults_of(&session.plans("get_payment(7, $1)", &[&payment]).await));

        app.run("update users set is_staff = true where id = 7", &[]).await;
        let registrations = format!("list_{name}_registrations(7, $1, 1, $2, $3, $4)");
        for (status, day) in [(none, none), (Some(kind.active), Some("2099-01-01"))] {
            let parameters: [&(dyn ToSql + Sync); 4] = [&open, &status, &day, &day];
            found.extend(faults_of(&session.plans(&registrations, &parameters).await));
        }

        let register = format!("register_{name}(7, $1, '45000', 'card', '1', '100000', 'x', 'r', 'key', 'print')");
        found.extend(faults_of(&session.plans(&register, &[&open]).await));
        let cancel = "cancel_payment(7, $1, null, 'r', 'key', 'print')";
        found.extend(faults_of(&session.plans(cancel, &[&payment]).await));
        found.extend(faults_of(
            &session.plans("credentials($1, $1, null)", &[&"u7@example.com"]).await,
        ));
        assert!(found.is_empty(), "{found:#?}");

        // That such faults are found.
        app.database()
            .batch_execute(&format!(
                r"do $$ begin
                     -- PostgreSQL looks up nothing for a row in other processes.
                     execute regexp_replace(pg_get_functiondef('sugang.{name}_newest_page'::regproc),
                                            'and \(not p_available or \(select.*?and not hidden\)\)', '');
                 end $$;
                 alter function sugang.{name}_newest_page reset max_parallel_workers_per_gather"
            ))
            .await
            .unwrap();
        let found = faults_of(&session.plans(&list, &[&1_i64, &false, &Some("사전"), &false]).await);
        assert!(
            found.iter().any(|fault| fault.starts_with("waits ")),
            "a list that may take more processes: {found:#?}"
        );
        app.database()
            .batch_execute(&format!("drop index idx_{name}_popular"))
            .await
            .unwrap();
        let found = faults_of(&session.plans(&list, &[&1_i64, &false, &None::<&str>, &true]).await);
        assert!(
            found.iter().any(|fault| fault.starts_with("sorts ")),
            "a list without its index: {found:#?}"
        );
    }
}
