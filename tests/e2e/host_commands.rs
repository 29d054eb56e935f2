//! The commands of `sugang-host` beside serving.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Output, Stdio},
};

use sugang_tests::{App, EXAM, Item, host_program, xtask};

/// Runs a command with the app's database in the environment.
fn run(command: &mut Command, app: &App) -> Output {
    command
        .env("SPIN_VARIABLE_DATABASE_URL", app.database_url())
        .env("DATABASE_URL", app.database_url())
        .output()
        .expect("the program runs")
}

fn host(app: &App, subcommand: &str) -> Output {
    run(host_program().arg(subcommand), app)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn audit_reports_as_the_developers_command_does() {
    let app = App::start().await;
    let jisu = app.user("jisu").await;
    let id = app.add(EXAM, Item::default()).await;
    app.register(EXAM, &jisu, id, "applied").await;
    let clean = host(&app, "audit");
    assert!(clean.status.success(), "{clean:?}");
    let lines = text(&clean.stdout);
    assert!(
        lines.lines().count() > 10 && lines.lines().all(|line| line.starts_with(" ok ")),
        "{lines}"
    );

    app.database()
        .batch_execute("alter table payments disable trigger user; update payments set cancelled_at = now()")
        .await
        .unwrap();
    let broken = host(&app, "audit");
    assert_eq!(broken.status.code(), Some(1), "{broken:?}");
    let lines = text(&broken.stdout);
    assert!(
        lines
            .lines()
            .any(|line| line.starts_with("BAD payment_time_against_status")),
        "{lines}"
    );
    let error = text(&broken.stderr);
    assert!(error.contains("checks found something"), "{error}");

    let developers = run(xtask().arg("audit"), &app);
    assert_eq!((developers.status.code(), text(&developers.stdout)), (Some(1), lines));
}

#[tokio::test]
async fn operators_are_made_on_the_machine() {
    let app = App::start().await;
    app.user("minsu").await;
    app.user("jisu").await;
    app.run("update users set is_active = false where username = 'jisu'", &[])
        .await;
    let of_host = |arguments: &[&str]| run(host_program().arg("operator").args(arguments), &app);
    let of_developer = |arguments: &[&str]| run(xtask().arg("operator").args(arguments), &app);
    for (arguments, printed) in [
        (&["list"][..], "There is no operator. `operator add EMAIL` makes one\n"),
        (&["add", "MINSU@example.com"], "1  minsu@example.com  minsu  operator\n"),
        (&["add", "minsu@example.com"], "1  minsu@example.com  minsu  operator\n"),
        (
            &["add", "--superuser", "jisu@example.com"],
            "2  jisu@example.com  jisu  superuser, inactive\n",
        ),
        (
            &["add", "jisu@example.com"],
            "2  jisu@example.com  jisu  superuser, inactive\n",
        ),
        (
            &["list"],
            "1  minsu@example.com  minsu  operator\n2  jisu@example.com  jisu  superuser, inactive\n",
        ),
        (
            &["remove", "jisu@example.com"],
            "2  jisu@example.com  jisu  no operator, inactive\n",
        ),
        (
            &["remove", "minsu@example.com"],
            "1  minsu@example.com  minsu  no operator\n",
        ),
    ] {
        for output in [of_host(arguments), of_developer(arguments)] {
            assert!(output.status.success(), "{output:?}");
            assert_eq!(text(&output.stdout), printed, "{arguments:?}");
        }
    }
    // Each change once, by no user.
    let log = "select subject_id, after from sugang.change_log where actor_id is null order by id";
    insta::assert_snapshot!(app.rows(log).await, @r#"[{"after":{"is_active":false},"subject_id":2},{"after":{"is_staff":true},"subject_id":1},{"after":{"is_staff":true,"is_superuser":true},"subject_id":2},{"after":{"is_staff":false,"is_superuser":false},"subject_id":2},{"after":{"is_staff":false},"subject_id":1}]"#);
    for output in [
        of_host(&["add", "gone@example.com"]),
        of_developer(&["remove", "gone@example.com"]),
    ] {
        assert_eq!(output.status.code(), Some(1));
        let error = text(&output.stderr);
        assert!(
            error.contains("there is no account with the e-mail address gone@example.com"),
            "{error}"
        );
    }
    // The role that serves may do it: in a container it is the only one.
    let mut by_service = host_program();
    by_service.args([
        "operator",
        "--database-url",
        app.service_url(),
        "add",
        "--superuser",
        "minsu@example.com",
    ]);
    let output = by_service.output().expect("the program runs");
    assert_eq!(
        text(&output.stdout),
        "1  minsu@example.com  minsu  superuser\n",
        "{output:?}"
    );
    app.database()
        .batch_execute("drop schema sugang cascade")
        .await
        .unwrap();
    let output = of_host(&["add", "minsu@example.com"]);
    assert!(
        text(&output.stderr).contains("not up to date: run `migrate` first"),
        "{output:?}"
    );
}

/// As Docker and Kubernetes mount secrets.
#[tokio::test]
async fn secrets_come_from_files() {
    let app = App::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    let mut url: url::Url = app.service_url().parse().expect("a URL");
    let password = url.password().expect("it has one").to_owned();
    url.set_password(None).expect("it has a host");
    let (password, jwt) = (
        file("password", &format!("{password}\n")),
        file("jwt", sugang_tests::token::SECRET),
    );
    let redis = file("redis", app.redis_url());
    let with_files = |arguments: &[&str]| {
        let mut host = host_program();
        host.args(arguments)
            .env("SPIN_VARIABLE_DATABASE_URL", url.as_str())
            .env("SPIN_VARIABLE_DATABASE_PASSWORD_FILE", &password)
            .env("SPIN_VARIABLE_REDIS_URL_FILE", &redis)
            .env("SPIN_VARIABLE_JWT_SECRET_FILE", &jwt);
        host
    };
    let audit = with_files(&["audit"]).output().expect("the program runs");
    assert!(audit.status.success(), "{audit:?}");

    // It serves until its output is closed behind the line that says so.
    let mut serve = with_files(&["--listen", "127.0.0.1:0"]);
    let mut process = serve
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let mut line = String::new();
    let mut stdout = BufReader::new(process.stdout.take().expect("a pipe"));
    stdout.read_line(&mut line).expect("it says where it serves");
    let base = line.trim().trim_start_matches("Serving on ").to_owned();
    let ready = app.get("/readyz").at(&base).await;
    process.kill().expect("it runs");
    process.wait().expect("it was started");
    assert_eq!(ready.json()["status"], "ok", "{ready:?}");

    for (name, value, complaint) in [
        (
            "SPIN_VARIABLE_JWT_SECRET",
            "x",
            "SPIN_VARIABLE_JWT_SECRET and SPIN_VARIABLE_JWT_SECRET_FILE are both set",
        ),
        (
            "SPIN_VARIABLE_JWT_SECRET_FILE",
            "/no/such/file",
            "SPIN_VARIABLE_JWT_SECRET_FILE: cannot read /no/such/file",
        ),
    ] {
        let refused = with_files(&["--listen", "127.0.0.1:0"])
            .env(name, value)
            .output()
            .expect("the program runs");
        assert!(
            !refused.status.success() && text(&refused.stderr).contains(complaint),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn audit_of_an_unreachable_database_fails() {
    let output = host_program()
        .args(["audit", "--database-url", "postgres://u@127.0.0.1:1/none"])
        .output()
        .expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("cannot reach the database"), "{error}");
}

#[tokio::test]
async fn migrate_changes_nothing_the_second_time() {
    let app = App::start().await;
    let output = host(&app, "migrate");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stdout), "The database is up to date\n");
}
