//! The log: what it says of an attack, what it never says, and that no reader of it can stop the service.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, PipeReader, PipeWriter, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use sugang_tests::{App, EXAM, HostProcess, Item, PASSWORD, host_program};

use crate::support::register;

/// Bytes that a pipe holds.
const PIPE: usize = 64 << 10;

/// Longer than a stop takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

/// A pipe in which there is no room.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = io::pipe().unwrap();
    let filling = [b"x".repeat(PIPE - 1), b"\n".to_vec()].concat();
    writer.write_all(&filling).unwrap();
    (reader, writer)
}

/// A log that a test reads.
struct LogFile(tempfile::TempDir);

impl LogFile {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("log")
    }

    fn writer(&self) -> File {
        OpenOptions::new().create(true).append(true).open(self.path()).unwrap()
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap()
    }

    /// Waits until a line has this text, and returns all lines, each of which must be an object.
    async fn lines_with(&self, text: &str) -> Vec<Value> {
        for _ in 0..500 {
            let log = self.text();
            if log.contains(text) && log.ends_with('\n') {
                let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                return log.lines().map(parse).collect();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no line has {text}: {}", self.text());
    }
}

/// The lines of an event, with what differs from run to run replaced.
fn events(lines: &[Value], event: &str) -> Vec<Value> {
    let lines = lines.iter().filter(|line| line["event"] == event);
    let comparable = lines.map(|line| {
        let mut line = line.clone();
        assert!(line["time"].is_u64(), "{line}");
        let own = line["request_id"].as_str().unwrap_or_default();
        assert!(own.len() > 32 && own.contains('-'), "{line}");
        if let Some(line) = line.as_object_mut() {
            line.retain(|name, _| !["time", "request_id", "ms"].contains(&name.as_str()));
        }
        line
    });
    comparable.collect()
}

#[tokio::test]
async fn a_log_that_is_not_read_stops_neither_requests_nor_the_end() {
    // The negative control: a program that writes to this pipe stops.
    let (_reader, writer) = full_pipe();
    let mut shell = Command::new("sh")
        .args(["-c", "echo line >&2"])
        .stderr(writer.try_clone().unwrap())
        .spawn()
        .unwrap();

    let mut app = App::start().await;
    let mut host = HostProcess::logging(&app, writer, &[], &[]);
    app.base = host.base();
    for _ in 0..50 {
        assert_eq!(app.get("/healthz").await.status, 200);
    }
    host.signal("HUP");
    assert_eq!(app.get("/nope/").await.status, 404);
    assert!(shell.try_wait().unwrap().is_none(), "the pipe was not full");
    shell.kill().unwrap();
    shell.wait().unwrap();
    host.signal("TERM");
    assert_eq!(host.end(LIMIT).await, Some(0));
}

#[tokio::test]
async fn a_reader_that_pauses_learns_what_it_has_missed() {
    let mut app = App::start().await;
    let (reader, writer) = full_pipe();
    let host = HostProcess::logging(&app, writer, &["--log-queue-kib", "8"], &[]);
    app.base = host.base();
    for number in 0..200 {
        app.get("/healthz")
            .header("x-request-id", format!("early-{number}"))
            .await;
    }
    let (said, mut hears) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(reader).lines().skip(1) {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            said.send(line).ok();
        }
    });
    // Of 200 lines of a quarter of a kilobyte, some fit, and the notice says how many did not.
    let (mut read, mut dropped) = (0, Vec::new());
    while dropped.is_empty() {
        let line = hears.recv().await.unwrap();
        match line["message"] == "lines of the log were dropped" {
            true => dropped.push(line["lines"].as_u64().unwrap()),
            false => read += u64::from(line["event"] == "request"),
        }
    }
    app.get("/healthz").header("x-request-id", "late").await;
    loop {
        let line = hears.recv().await.unwrap();
        if line["client_request_id"] == "late" {
            break;
        }
        match line["message"] == "lines of the log were dropped" {
            true => dropped.push(line["lines"].as_u64().unwrap()),
            false => read += u64::from(line["event"] == "request"),
        }
    }
    let lost: u64 = dropped.iter().sum();
    assert!((1..=2).contains(&dropped.len()), "each gap is said once: {dropped:?}");
    assert!(
        read > 0 && (200..210).contains(&(read + lost)),
        "{read} were read, {lost} dropped"
    );
}

#[tokio::test]
async fn a_log_that_cannot_be_written_stops_nothing() {
    let mut app = App::start().await;
    let (reader, closed) = io::pipe().unwrap();
    drop(reader);
    let full_disk = OpenOptions::new().write(true).open("/dev/full").unwrap();
    for log in [Stdio::from(closed), Stdio::from(full_disk)] {
        let mut host = HostProcess::logging(&app, log, &[], &[]);
        app.base = host.base();
        for _ in 0..10 {
            assert_eq!(app.get("/healthz").await.status, 200);
            assert_eq!(app.get("/nope/").await.status, 404);
        }
        host.signal("TERM");
        assert_eq!(host.end(LIMIT).await, Some(0));
    }
}

#[tokio::test]
async fn a_hangup_is_noted_and_ends_nothing() {
    let mut app = App::start().await;
    let log = LogFile::new();
    let mut host = HostProcess::logging(&app, log.writer(), &[], &[]);
    app.base = host.base();
    for _ in 0..2 {
        host.signal("HUP");
        log.lines_with("SIGHUP is ignored").await;
        assert_eq!(app.get("/healthz").await.status, 200);
    }
    host.signal("TERM");
    assert_eq!(host.end(LIMIT).await, Some(0));
}

#[tokio::test]
async fn commands_survive_a_reader_that_has_gone() {
    let app = App::start().await;
    for (command, expected) in [("audit", 0), ("migrate", 0)] {
        let (reader, closed) = io::pipe().unwrap();
        drop(reader);
        let status = host_program()
            .arg(command)
            .env("SPIN_VARIABLE_DATABASE_URL", app.database_url())
            .stdout(closed.try_clone().unwrap())
            .stderr(closed)
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(expected), "{command}");
    }
    // A report that is cut off must not look whole.
    for command in ["audit", "migrate"] {
        let output = host_program()
            .arg(command)
            .env("SPIN_VARIABLE_DATABASE_URL", app.database_url())
            .stdout(OpenOptions::new().write(true).open("/dev/full").unwrap())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}: {error}");
        assert!(error.contains("the report cannot be printed"), "{error}");
    }
    // What cannot be said about an error changes nothing about its exit code.
    let (_reader, full) = full_pipe();
    let status = host_program()
        .args(["audit", "--database-url", "mysql://u@127.0.0.1/none"])
        .stderr(full)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(1));
}

#[tokio::test]
async fn a_migration_waits_for_no_reader_of_its_progress() {
    let app = App::start().await;
    let lock = "pg_advisory_lock(hashtextextended('sugang.migrations', 0))";
    app.database().batch_execute(&format!("select {lock}")).await.unwrap();
    let (_reader, full) = full_pipe();
    let mut migration = host_program()
        .arg("migrate")
        .env("SPIN_VARIABLE_DATABASE_URL", app.database_url())
        .stdout(Stdio::null())
        .stderr(full)
        .spawn()
        .unwrap();
    // After two seconds it says that it waits.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(migration.try_wait().unwrap().is_none(), "it waits for the lock");
    let unlock = lock.replace("_lock", "_unlock");
    app.database().batch_execute(&format!("select {unlock}")).await.unwrap();
    let ended = tokio::task::spawn_blocking(move || {
        let deadline = std::time::Instant::now() + LIMIT;
        while std::time::Instant::now() < deadline {
            if let Some(status) = migration.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        migration.kill().unwrap();
        panic!("the migration waits for the reader");
    });
    assert_eq!(ended.await.unwrap(), Some(0));
}

#[tokio::test]
async fn an_attack_can_be_read_from_the_log() {
    let mut app = App::start().await;
    app.user("minsu").await;
    let log = LogFile::new();
    let host = HostProcess::logging(
        &app,
        log.writer(),
        &[],
        &[
            ("login_attempts_per_account", "3"),
            ("redis_timeout_ms", "10000"),
            ("client_address_header", "X-Forwarded-For"),
            ("argon2_memory_kib", "8"),
            ("argon2_iterations", "1"),
        ],
    );
    app.base = host.base();
    for (email, address, id) in [
        ("minsu@example.com", "192.0.2.7", "guess-1"),
        ("Minsu@EXAMPLE.com", "::ffff:192.0.2.7", "guess-2"),
        ("unknown@example.com", "2001:db8:1:2:3:4:5:6", "guess-3"),
        ("minsu@example.com", "198.51.100.1, 192.0.2.7", "guess-4"),
        ("minsu@example.com", "192.0.2.7", "guess-5"),
    ] {
        app.post("/login/")
            .json(&json!({"email": email, "password": "wrong-pass-1"}))
            .header("x-forwarded-for", address)
            .header("x-request-id", id)
            .await;
    }
    // The request's own line, which comes after that of the limit.
    let lines = log.lines_with("\"status\":429").await;
    let failed = events(&lines, "login_failed");
    let account = failed[0]["account"].as_str().unwrap().to_owned();
    let unknown = failed[2]["account"].as_str().unwrap().to_owned();
    assert!(account.len() == 24 && account != unknown, "{account} {unknown}");
    let guess = |number: u32| {
        json!({"level": "warn", "event": "login_failed", "account": account,
            "address": "192.0.2.7", "user_id": 1, "client_request_id": format!("guess-{number}")})
    };
    let of_unknown = json!({"level": "warn", "event": "login_failed", "account": unknown,
        "address": "2001:db8:1:2::", "client_request_id": "guess-3"});
    assert_eq!(failed, [guess(1), guess(2), of_unknown, guess(4)]);
    let mut limited = events(&lines, "rate_limited");
    let seconds = limited[0]["retry_after_s"].take();
    assert!(seconds.as_u64().is_some_and(|seconds| seconds > 0));
    assert_eq!(
        limited,
        [
            json!({"level": "warn", "event": "rate_limited", "action": "login", "account": account,
            "retry_after_s": null, "address": "192.0.2.7", "client_request_id": "guess-5"})
        ]
    );
    let requests = events(&lines, "request");
    assert_eq!(
        requests.last(),
        Some(
            &json!({"level": "info", "event": "request", "method": "POST", "operation": "login", "status": 429,
            "code": "rate_limited", "address": "192.0.2.7", "client_request_id": "guess-5"})
        )
    );
}

/// A path that a client has made up does not get into the log.
#[tokio::test]
async fn requests_for_files_are_logged_as_the_settings_say() {
    let mut app = App::start().await;
    for logs in ["true", "false"] {
        let log = LogFile::new();
        let mut host = HostProcess::logging(&app, log.writer(), &[], &[("log_requests", logs)]);
        app.base = host.base();
        for (path, id) in [
            ("/console/app/main.js", "file-1"),
            ("/console/nope.js", "file-2"),
            ("/nope/", "file-3"),
        ] {
            app.get(path).header("x-request-id", id).await;
        }
        app.get("/console/").header("host", "evil@example").await;
        host.signal("TERM");
        assert_eq!(host.end(LIMIT).await, Some(0));
        let lines = log.lines_with("a request was refused").await;
        let mut files: Vec<_> = lines
            .into_iter()
            .filter(|line| line["message"] == "a file was requested")
            .collect();
        for line in &mut files {
            let ms = line["ms"].as_f64();
            assert!(
                ms.is_some_and(|ms| ms > 0.0) && line["request_id"].is_string(),
                "{line}"
            );
            if let Some(line) = line.as_object_mut() {
                line.retain(|name, _| !["time", "request_id", "ms", "message"].contains(&name.as_str()));
            }
        }
        let line = json!({"level": "info", "method": "GET", "address": "127.0.0.1"});
        let with = |more: Value| {
            let mut line = line.clone();
            line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            line
        };
        let expected = [
            with(json!({"path": "/console/app/main.js", "status": 200, "client_request_id": "file-1"})),
            with(json!({"status": 404, "client_request_id": "file-2"})),
        ];
        assert_eq!(files, if logs == "true" { &expected[..] } else { &[] });
    }
}

#[tokio::test]
async fn a_reused_refresh_token_and_a_refused_host_are_events() {
    let mut app = App::start().await;
    let minsu = app.user("minsu").await;
    let log = LogFile::new();
    let host = HostProcess::logging(
        &app,
        log.writer(),
        &[],
        &[
            ("rotate_refresh_tokens", "true"),
            ("refresh_reuse_grace_seconds", "0"),
            ("allowed_hosts", "127.0.0.1"),
            // Events are logged all the same.
            ("log_requests", "false"),
        ],
    );
    app.base = host.base();
    let login = json!({"email": minsu.email, "password": PASSWORD});
    let login = app.post("/login/").json(&login).await;
    let refresh = json!({"refresh": login.json()["refresh"]});
    for (id, status) in [("first", 200), ("reused", 401), ("ended", 401)] {
        let answer = app
            .post("/token/refresh/")
            .json(&refresh)
            .header("x-request-id", id)
            .await;
        assert_eq!(answer.status, status);
    }
    let named = app.get("/tests/").header("host", "Evil.example:81");
    assert_eq!(named.header("x-request-id", "host").await.code(), "host_not_allowed");
    let lines = log.lines_with("host_not_allowed").await;
    let event = |name: &str, id: &str| json!({"level": "warn", "event": name, "address": "127.0.0.1", "user_id": minsu.id, "client_request_id": id});
    assert_eq!(
        events(&lines, "refresh_token_reused"),
        [event("refresh_token_reused", "reused")]
    );
    assert_eq!(
        events(&lines, "refresh_token_ended"),
        [event("refresh_token_ended", "ended")]
    );
    assert_eq!(
        events(&lines, "host_not_allowed"),
        [
            json!({"level": "warn", "event": "host_not_allowed", "host": "evil.example",
            "address": "127.0.0.1", "client_request_id": "host"})
        ]
    );
    assert!(events(&lines, "request").is_empty());
}

#[tokio::test]
async fn what_the_host_refuses_by_itself_is_in_the_log() {
    let mut app = App::start().await;
    let log = LogFile::new();
    let limits = ["--max-connections-per-address", "2", "--trusted-proxies", "192.0.2.1"];
    let host = HostProcess::logging(&app, log.writer(), &limits, &[]);
    app.base = host.base();
    app.raw(b"GET /tests/ HTTP/1.1\r\nHost: a b\r\nX-Request-Id: bad-1\r\nConnection: close\r\n\r\n")
        .await;
    let lines = log.lines_with("bad-1").await;
    let mut refused = lines.last().unwrap().clone();
    for name in ["time", "request_id"] {
        assert!(refused[name].take().is_string(), "{name}");
    }
    let expected = json!({"time": null, "level": "info", "message": "a request was refused", "request_id": null,
        "client_request_id": "bad-1", "address": "127.0.0.1", "method": "GET", "path": "/tests/",
        "status": 400, "code": "bad_request"});
    assert_eq!(refused, expected);
    let (_first, _second) = (app.connection().await, app.connection().await);
    assert!(app.connection().await.rest().await.is_empty());
    let lines = log.lines_with("too many connections").await;
    let limited = lines.last().unwrap();
    assert_eq!(
        (&limited["address"], &limited["bound"]),
        (&json!("127.0.0.1"), &json!(2))
    );
}

#[tokio::test]
async fn the_history_has_an_id_of_our_own_beside_which_the_log_has_the_clients() {
    let mut app = App::start().await;
    let (minsu, jisu) = (app.user("minsu").await, app.user("jisu").await);
    let item = app.add(EXAM, Item::default()).await;
    let log = LogFile::new();
    let host = HostProcess::logging(&app, log.writer(), &[], &[]);
    app.base = host.base();
    // Two clients cannot make their requests look like one.
    for user in [&minsu, &jisu] {
        let answer = register(&app, EXAM, item, user)
            .header("x-request-id", "the-same")
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("x-request-id")),
            (201, "the-same")
        );
    }
    let lines = log.lines_with("\"user_id\":2").await;
    let logged = lines.iter().filter(|line| line["client_request_id"] == "the-same");
    let logged: Vec<_> = logged
        .map(|line| json!({"actor_id": line["user_id"], "request_id": line["request_id"]}))
        .collect();
    let history = app
        .rows("select distinct actor_id, request_id from sugang.audit_log order by actor_id")
        .await;
    assert_eq!(Value::from(logged), history);
    assert_ne!(history[0]["request_id"], history[1]["request_id"]);

    // Without an id of its own, a client gets ours. It cannot set ours.
    let forged = app.get("/nope/").header("spin-request-id", "forged").await;
    let shown = forged.header("x-request-id").to_owned();
    assert_ne!(shown, "forged");
    let lines = log.lines_with(&shown).await;
    assert!(lines.iter().all(|line| line["request_id"] != "forged"));
}

#[tokio::test]
async fn no_text_of_a_client_and_no_secret_gets_into_the_log() {
    let mut app = App::start().await;
    let minsu = app.user("minsu").await;
    let log = LogFile::new();
    let host = HostProcess::logging(&app, log.writer(), &[], &[("allowed_hosts", "127.0.0.1")]);
    app.base = host.base();
    // What a client can choose, with line breaks and terminal sequences in as many spellings as HTTP lets through.
    let texts = [
        "\u{1b}[2JMARK",
        "\u{9b}2JMARK",
        "%0aMARK",
        "%0d%0a%1b[2JMARK",
        "\"},{\"MARK\":\"",
        "\u{202e}MARK",
        "MARK",
    ];
    for text in texts {
        for request in [
            format!("GET /{text}/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"),
            format!("GET /tests/?search={text} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"),
            format!("{text} / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nHost: {text}\r\nConnection: close\r\n\r\n"),
            format!("GET http://{text}.example/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
            format!("GET / HTTP/{text}\r\nHost: 127.0.0.1\r\n\r\n"),
            format!(
                "GET /tests/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nUser-Agent: {text}\r\nReferer: {text}\r\n\
                 X-Request-Id: {text} \r\nX-Forwarded-For: {text}\r\nIdempotency-Key: {text}\r\nAuthorization: Bearer {text}\r\n\
                 Expect: {text}\r\n\r\n"
            ),
            format!(
                "POST /login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: {text}\r\n\
                 Content-Length: 2\r\n\r\n{{}}"
            ),
        ] {
            app.raw(request.as_bytes()).await;
        }
    }
    let long = format!(
        "GET /tests/ HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        "a.".repeat(4000)
    );
    app.raw(long.as_bytes()).await;
    let right = app
        .post("/login/")
        .json(&json!({"email": "minsu@example.com", "password": PASSWORD}))
        .await;
    let secrets = [
        PASSWORD,
        "wrong-pass-1",
        "minsu@example.com",
        "minsu%40example.com",
        sugang_tests::token::SECRET,
        right.json()["access"].as_str().unwrap(),
        right.json()["refresh"].as_str().unwrap(),
        &minsu.access,
        "the-key-1",
    ];
    let wrong = json!({"email": "minsu@example.com", "password": "wrong-pass-1"});
    app.post("/login/").json(&wrong).await;
    app.post("/token/refresh/")
        .json(&json!({"refresh": minsu.access}))
        .await;
    let signup = json!({"email": "minsu@example.com", "username": "minsu", "password": PASSWORD});
    app.post("/signup/").json(&signup).await;
    for secret in secrets {
        app.get(format!("/{secret}/?email={secret}"))
            .bearer(secret)
            .header("idempotency-key", "the-key-1")
            .await;
    }
    app.get("/tests/").header("host", minsu.access.as_str()).await;
    app.get("/healthz").header("x-request-id", "the-end").await;
    let lines = log.lines_with("the-end").await;
    assert!(lines.len() > 50);
    let text = log.text();
    for secret in secrets {
        assert!(!text.contains(secret), "{secret} is in the log");
    }
    for line in text.lines() {
        assert!(line.len() < 1000, "{line}");
        assert!(!line.contains("2J") && !line.chars().any(char::is_control), "{line}");
    }
    // Hosts, ids and paths that could be real are shown; MARK is none of them but for the host and the id.
    for line in lines {
        for (name, value) in line.as_object().unwrap() {
            let is_mark = value.as_str().is_some_and(|value| value.contains("MARK"));
            assert!(!is_mark || name == "client_request_id", "{name}: {value}");
        }
    }
}
