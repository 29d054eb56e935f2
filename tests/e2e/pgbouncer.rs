//! Two hosts behind one PgBouncer, whose statements meet on few sessions of PostgreSQL.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicUsize, Ordering},
};

use fastrand::Rng;
use futures::future::join_all;
use rstest::rstest;
use serde_json::json;
use sugang_tests::{App, COURSE, EXAM, HostOptions, HostProcess, Item, Kind, PgBouncer, User};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    storm::assert_audit,
    support::{Hold, paid, payment},
    tls::{Authority, of_host},
};

const USERS: usize = 16;
const ROUNDS: usize = 12;

/// What the storm saw.
#[derive(Debug, Default)]
struct Seen {
    answers: AtomicUsize,
    failures: AtomicUsize,
    registrations: [AtomicUsize; 2],
}

/// Reads and registers for items of both kinds, alternately at the two hosts, and checks that each answer is of the kind
/// that was asked for.
async fn storm(app: &App, hosts: &[HostProcess], users: &[User], items: [(Kind, i64); 2]) -> Seen {
    let seen = Seen::default();
    let bases: Vec<_> = hosts.iter().map(HostProcess::base).collect();
    // The hosts send their first statements in different orders, so the same names stand for different ones.
    for (base, order) in bases.iter().zip([[0, 1], [1, 0]]) {
        for (kind, id) in order.map(|index| items[index]) {
            app.get(kind.item(id)).at(base).by(&users[0]).await;
        }
    }
    let work = async |n: usize| {
        let (mut rng, user) = (Rng::with_seed(n as u64), &users[n]);
        for _ in 0..ROUNDS {
            let which = rng.usize(..2);
            let ((kind, id), base) = (items[which], &bases[rng.usize(..bases.len())]);
            let answered = |status: u16| {
                seen.answers.fetch_add(1, Ordering::Relaxed);
                seen.failures.fetch_add(usize::from(status >= 500), Ordering::Relaxed);
            };
            let detail = app.get(kind.item(id)).at(base).by(user).await;
            answered(detail.status.as_u16());
            if detail.status == 200 {
                assert_eq!(detail.json()["title"], kind.payment_type, "{detail:?}");
            }
            let list = app.get(kind.path).at(base).by(user).await;
            answered(list.status.as_u16());
            if list.status == 200 {
                assert_eq!(list.json()["results"][0]["title"], kind.payment_type, "{list:?}");
            }
            let registered = app
                .post(kind.register(id))
                .at(base)
                .by(user)
                .json(&payment("45000.00", "card"))
                .await;
            answered(registered.status.as_u16());
            if registered.status != 201 {
                continue;
            }
            seen.registrations[which].fetch_add(1, Ordering::Relaxed);
            let made = paid(&registered);
            let shown = app.get(format!("/payments/{made}/")).at(base).by(user).await;
            answered(shown.status.as_u16());
            let cancelled = app.post(format!("/payments/{made}/cancel/")).at(base).by(user).await;
            answered(cancelled.status.as_u16());
        }
    };
    join_all((0..users.len()).map(work)).await;
    seen
}

struct Setup {
    app: App,
    users: Vec<User>,
    items: [(Kind, i64); 2],
}

async fn setup() -> Setup {
    let app = App::start().await;
    let mut users = Vec::new();
    for n in 0..USERS {
        users.push(app.user(&format!("user{n}")).await);
    }
    let mut items = [(EXAM, 0), (COURSE, 0)];
    for (kind, id) in &mut items {
        let item = Item {
            title: kind.payment_type,
            ..Item::default()
        };
        *id = app.add(*kind, item).await;
    }
    Setup { app, users, items }
}

/// As many registrations of each kind are in the books as were confirmed.
async fn assert_booked(app: &App, seen: &Seen) {
    for (kind, confirmed) in [EXAM, COURSE].into_iter().zip(&seen.registrations) {
        let booked: i64 = app
            .one(
                "select count(*) from payments where payment_type = $1",
                &[&kind.payment_type],
            )
            .await;
        assert_eq!(
            booked,
            confirmed.load(Ordering::Relaxed) as i64,
            "{}: {seen:?}",
            kind.payment_type
        );
    }
    assert_audit(app).await;
}

/// A pooler is recognized: nothing is prepared, and every request is served.
#[rstest]
#[tokio::test]
async fn two_hosts_behind_a_pooler_answer_what_was_asked(
    #[values("transaction", "session", "statement")] mode: &str,
    #[values(1, 2)] pool_size: usize,
) {
    // Of a session pool, a host keeps the sessions that it has.
    let pool_size = if mode == "session" { 60 } else { pool_size };
    let Setup { app, users, items } = setup().await;
    let settings = [
        format!("pool_mode = {mode}"),
        format!("default_pool_size = {pool_size}"),
    ];
    let settings = settings.each_ref().map(String::as_str);
    let Some(bouncer) = PgBouncer::start(app.service_url(), &settings) else {
        return;
    };
    let options = HostOptions {
        database_url: Some(&bouncer.url),
        ..HostOptions::default()
    };
    let hosts = [HostProcess::start(&app, options), HostProcess::start(&app, options)];

    let seen = storm(&app, &hosts, &users, items).await;

    assert_eq!(seen.failures.load(Ordering::Relaxed), 0, "{seen:?}");
    assert!(
        seen.registrations.iter().all(|n| n.load(Ordering::Relaxed) > USERS),
        "{seen:?}"
    );
    assert_booked(&app, &seen).await;
}

/// Registers and looks behind a pooler while another of its clients, of the same role, has set a search path in the
/// one session: first to tables of the same names in another schema, then to nothing, as the first line of a dump does.
/// Returns the statuses.
async fn with_the_path_of_another(app: &App, users: &[User], (kind, id): (Kind, i64)) -> Option<Vec<u16>> {
    let elsewhere = "create schema staging;
         create table staging.users (like users including all);
         create table staging.tests (like tests including all);
         create table staging.courses (like courses including all);
         create table staging.payments (like payments including all);
         create table staging.test_registrations (like test_registrations including all);
         grant usage on schema staging to public;
         grant all on all tables in schema staging to public";
    app.database().batch_execute(elsewhere).await.expect("a copy");
    let bouncer = PgBouncer::start(app.service_url(), &["pool_mode = transaction", "default_pool_size = 1"])?;
    let options = HostOptions {
        database_url: Some(&bouncer.url),
        ..HostOptions::default()
    };
    let host = HostProcess::start(app, options);
    let base = host.base();
    let mut statuses = Vec::new();
    for (path, user) in ["staging, public", "''"].into_iter().zip(users) {
        let (other, connection) = sugang_connect::postgres::connect(&bouncer.url).await.expect("a client");
        tokio::spawn(connection);
        other
            .batch_execute(&format!("set search_path = {path}"))
            .await
            .expect("any client may");
        for (method, path, body) in [
            ("POST", kind.register(id), payment("45000.00", "card")),
            ("GET", kind.item(id), json!(null)),
            ("GET", "/me/payments/".to_owned(), json!(null)),
        ] {
            // Not as the other tests ask, for which a defect of the service is never right.
            let asked = reqwest::Client::new()
                .request(method.parse().unwrap(), format!("{base}{path}"))
                .bearer_auth(&user.access)
                .header("content-type", "application/json")
                .body(body.to_string());
            statuses.push(asked.send().await.expect("an answer").status().as_u16());
        }
    }
    Some(statuses)
}

#[tokio::test]
async fn the_search_path_of_another_client_leads_nowhere() {
    let Setup { app, users, items } = setup().await;
    let Some(statuses) = with_the_path_of_another(&app, &users, items[0]).await else {
        return;
    };
    assert_eq!(statuses, [201, 200, 200, 201, 200, 200]);
    assert_eq!(app.one::<i64>("select count(*) from payments", &[]).await, 2);
    assert_audit(&app).await;
}

/// The negative control: functions that search where their session searches.
#[tokio::test]
async fn without_a_path_of_its_own_a_function_is_led_astray() {
    let Setup { app, users, items } = setup().await;
    app.run(
        "do $$ declare f regprocedure; begin
             for f in select oid from pg_proc where pronamespace = 'sugang'::regnamespace and proargnames[1] = 'p_function'
             loop execute format('alter function %s reset search_path', f); end loop;
         end $$",
        &[],
    )
    .await;
    let Some(statuses) = with_the_path_of_another(&app, &users, items[0]).await else {
        return;
    };
    assert_eq!(statuses[..3], [401; 3], "another schema has no such user");
    assert_eq!(statuses[3..], [500; 3]);
}

/// The negative control: with prepared statements the names of both hosts meet. Requests fail, but none is answered by
/// another statement, and nothing is written that was not asked for.
#[tokio::test]
async fn statements_that_are_mixed_up_write_and_answer_nothing() {
    let Setup { app, users, items } = setup().await;
    let settings = ["pool_mode = transaction", "default_pool_size = 1"];
    let Some(bouncer) = PgBouncer::start(app.service_url(), &settings) else {
        return;
    };
    let options = HostOptions {
        database_url: Some(&bouncer.url),
        arguments: &["--postgres-prepare", "always"],
        ..HostOptions::default()
    };
    let hosts = [HostProcess::start(&app, options), HostProcess::start(&app, options)];

    let seen = storm(&app, &hosts, &users, items).await;

    assert!(
        seen.failures.load(Ordering::Relaxed) > 0,
        "statements did not meet: {seen:?}"
    );
    assert_booked(&app, &seen).await;
}

/// A client as Spin's host is one: its driver names statements by numbers.
struct Named {
    stream: TcpStream,
}

impl Named {
    async fn connect(url: &str) -> Self {
        let url: url::Url = url.parse().unwrap();
        let address = (url.host_str().unwrap().to_owned(), url.port().unwrap());
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut body = 196_608_u32.to_be_bytes().to_vec();
        for text in [
            "user",
            url.username(),
            "database",
            url.path().trim_start_matches('/'),
            "",
        ] {
            body.extend([text.as_bytes(), &[0]].concat());
        }
        let mut message = (body.len() as u32 + 4).to_be_bytes().to_vec();
        message.extend(body);
        stream.write_all(&message).await.unwrap();
        let mut client = Self { stream };
        client.answer().await.unwrap();
        client
    }

    /// Prepares a statement by this name.
    async fn prepare(&mut self, name: &str, sql: &str) -> Result<Vec<String>, String> {
        let body = [name.as_bytes(), &[0], sql.as_bytes(), &[0, 0, 0]].concat();
        self.send(&[(b'P', body)]).await
    }

    /// Executes the statement of this name, with its parameters as texts, and returns the values of its rows.
    async fn execute(&mut self, name: &str, parameters: &[&str]) -> Result<Vec<String>, String> {
        let mut bind = [&[0], name.as_bytes(), &[0, 0, 0]].concat();
        bind.extend((parameters.len() as u16).to_be_bytes());
        for parameter in parameters {
            bind.extend((parameter.len() as u32).to_be_bytes());
            bind.extend(parameter.as_bytes());
        }
        bind.extend([0, 0]);
        self.send(&[(b'B', bind), (b'E', vec![0, 0, 0, 0, 0])]).await
    }

    async fn send(&mut self, messages: &[(u8, Vec<u8>)]) -> Result<Vec<String>, String> {
        let mut bytes = Vec::new();
        for (kind, body) in messages.iter().chain([&(b'S', Vec::new())]) {
            bytes.push(*kind);
            bytes.extend((body.len() as u32 + 4).to_be_bytes());
            bytes.extend(body);
        }
        self.stream.write_all(&bytes).await.unwrap();
        self.answer().await
    }

    /// Reads until the server is ready: the values of rows, or the SQLSTATE of an error.
    async fn answer(&mut self) -> Result<Vec<String>, String> {
        let (mut values, mut error) = (Vec::new(), None);
        loop {
            let kind = self.stream.read_u8().await.unwrap();
            let mut body = vec![0; self.stream.read_u32().await.unwrap() as usize - 4];
            self.stream.read_exact(&mut body).await.unwrap();
            match kind {
                b'Z' => return error.map_or(Ok(values), Err),
                b'E' => {
                    let code = body.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(b"C"));
                    error = code.map(|code| String::from_utf8_lossy(code).into_owned());
                }
                b'D' => {
                    let mut rest = &body[2..];
                    while let Some((length, value)) = rest.split_first_chunk::<4>() {
                        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
                        values.push(String::from_utf8_lossy(&value[..length]).into_owned());
                        rest = &value[length..];
                    }
                }
                _ => {}
            }
        }
    }
}

/// Under Spin we do not choose the names of statements: the function that a call reaches has to tell.
#[tokio::test]
async fn a_call_that_reaches_the_function_of_the_other_kind_writes_nothing() {
    let Setup { app, users, items } = setup().await;
    let settings = ["pool_mode = transaction", "default_pool_size = 1"];
    let Some(bouncer) = PgBouncer::start(app.service_url(), &settings) else {
        return;
    };
    let (mut one, mut other) = (Named::connect(&bouncer.url).await, Named::connect(&bouncer.url).await);
    let parameters = "$1, $2::text::bigint, $3::text::bigint, $4, $5, $6, $7, $8, $9, null, null";
    let statement = |kind: Kind| {
        let function = format!("register_{}", kind.payment_type);
        format!("select '{function}' as function, outcome from sugang.{function}({parameters})")
    };
    let arguments = |kind: Kind, external: &'static str| {
        let (user, item) = (
            users[0].id.to_string(),
            items[usize::from(kind == COURSE)].1.to_string(),
        );
        [
            format!("register_{}", kind.payment_type),
            user,
            item,
            "45000".into(),
            "card".into(),
            "1".into(),
            "1000000".into(),
            external.into(),
            "request".into(),
        ]
    };
    one.prepare("s0", &statement(EXAM)).await.unwrap();
    // The pooler's only session has a statement of this name.
    assert_eq!(other.prepare("s0", &statement(COURSE)).await, Err("42P05".to_owned()));
    let call = async |client: &mut Named, kind, external| {
        let arguments = arguments(kind, external);
        client.execute("s0", &arguments.each_ref().map(String::as_str)).await
    };

    assert_eq!(call(&mut other, COURSE, "t1").await, Err("SG001".to_owned()));
    assert_eq!(app.one::<i64>("select count(*) from payments", &[]).await, 0);
    // The one that the session's statement is for is served.
    let answer = call(&mut one, EXAM, "t2").await.unwrap();
    assert_eq!(answer, ["register_test", "ok"]);
    assert_audit(&app).await;
}

#[tokio::test]
async fn what_a_pooler_refuses_stops_the_start_and_says_what_to_set() {
    let Setup { app, .. } = setup().await;
    let Some(bouncer) = PgBouncer::start(app.service_url(), &["pool_mode = transaction"]) else {
        return;
    };
    let url = format!("{}?options=-c%20statement_timeout%3D5s", bouncer.url);
    let options = HostOptions {
        database_url: Some(&url),
        ..HostOptions::default()
    };
    let said = HostProcess::try_start(&app, options).err().expect("it does not start");
    assert!(
        said.contains("the pooler refuses") && said.contains("ignore_startup_parameters"),
        "{said}"
    );

    let ignored = ["pool_mode = transaction", "ignore_startup_parameters = options"];
    let bouncer = PgBouncer::start(app.service_url(), &ignored).expect("there is one");
    let url = format!("{}?options=-c%20statement_timeout%3D5s", bouncer.url);
    let options = HostOptions {
        database_url: Some(&url),
        ..HostOptions::default()
    };
    HostProcess::start(&app, options);
}

/// The SQL functions are written for transactions that see what was committed before each statement.
#[tokio::test]
async fn another_default_isolation_is_set_right_or_stops_the_start() {
    let Setup { app, users, items } = setup().await;
    let alter = "do $$ begin execute format('alter database %I set default_transaction_isolation = serializable',
                                            current_database()); end $$";
    app.database().batch_execute(alter).await.unwrap();
    let direct = [
        HostProcess::start(&app, HostOptions::default()),
        HostProcess::start(&app, HostOptions::default()),
    ];
    let seen = storm(&app, &direct, &users, items).await;
    assert_eq!(seen.failures.load(Ordering::Relaxed), 0, "{seen:?}");
    assert_booked(&app, &seen).await;

    let Some(bouncer) = PgBouncer::start(app.service_url(), &["pool_mode = transaction"]) else {
        return;
    };
    let options = HostOptions {
        database_url: Some(&bouncer.url),
        ..HostOptions::default()
    };
    let said = HostProcess::try_start(&app, options).err().expect("it does not start");
    assert!(
        said.contains("alter role … set default_transaction_isolation"),
        "{said}"
    );
}

/// A request that gives up lets the pooler cancel its statement, and the connection that it used serves no other one.
///
/// A pooler that demands TLS demands it of the request to cancel as well.
#[rstest]
#[case::plain(false)]
#[case::encrypted(true)]
#[tokio::test]
async fn a_statement_is_cancelled_through_the_pooler(#[case] encrypted: bool) {
    let Setup { app, users, items } = setup().await;
    let authority = Authority::new("poolers");
    let [certificate, key] = authority.sign(&of_host("localhost"));
    // PgBouncer runs as another user where the tests are root.
    let files = tempfile::tempdir().unwrap();
    fs::set_permissions(files.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let file = |name: &str, text: &str| {
        let path = files.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let tls = [
        "client_tls_sslmode = require".to_owned(),
        format!("client_tls_cert_file = {}", file("tls.crt", &certificate)),
        format!("client_tls_key_file = {}", file("tls.key", &key)),
    ];
    let mut settings = vec!["pool_mode = transaction", "default_pool_size = 2"];
    if encrypted {
        settings.extend(tls.iter().map(String::as_str));
    }
    let Some(bouncer) = PgBouncer::start(app.service_url(), &settings) else {
        return;
    };
    let mut url = bouncer.url.clone();
    if encrypted {
        let authorities = file("ca.crt", &authority.pem());
        url = url.replace("127.0.0.1", "localhost") + "?sslmode=verify-full&sslrootcert=" + &authorities;
    }
    let options = HostOptions {
        database_url: Some(&url),
        arguments: &["--variable", "database_timeout_ms=3000"],
        ..HostOptions::default()
    };
    let host = HostProcess::start(&app, options);
    let (kind, id) = items[0];
    let hold = Hold::item(&app, id).await;
    let answer = app
        .post(kind.register(id))
        .at(&host.base())
        .by(&users[0])
        .json(&payment("45000.00", "card"))
        .await;
    assert_eq!((answer.status.as_u16(), answer.code()), (503, "unavailable"));
    let running =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    for _ in 0..500 {
        if app.one::<i64>(running, &[]).await == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(app.one::<i64>(running, &[]).await, 0, "it still waits for the lock");
    hold.release().await;
    assert_eq!(app.one::<i64>("select count(*) from payments", &[]).await, 0);
    let detail = app.get(kind.item(id)).at(&host.base()).by(&users[0]).await;
    assert_eq!(detail.status, 200);
}
