//! The commands of `sugang-host` beside serving.

use std::process::{Command, Output};

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
