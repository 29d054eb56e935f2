//! `cargo xtask test`: everything that must hold before a change lands.

use std::{
    env,
    ffi::OsString,
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::{
    apt,
    clients::{self, Client},
    deny,
    progress::{self, Step},
    project, sql,
    stores::{Access, StoresChoice, Supervisor, local},
    wasm::{self, ToolchainChoice},
    workspace,
};

/// Checks formatting, lints and dependencies, and runs all tests: the unit tests, and the end-to-end tests through the
/// component on a real PostgreSQL and a real Redis.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    stores: StoresChoice,
    #[command(flatten)]
    toolchain: ToolchainChoice,
    /// Leave out formatting, lints and the check of dependencies.
    #[arg(long)]
    skip_lints: bool,
    /// Run the end-to-end tests alone.
    #[arg(long)]
    e2e_only: bool,
    /// Arguments of the test programs, for example the name of a test.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

/// Runs the subcommand.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if !arguments.skip_lints && !arguments.e2e_only {
        lint(arguments).await?;
        sql::check_files().await?;
        deny::check().await?;
    }
    wasm::build(&arguments.toolchain).await?;
    // Together with the tests: cargo then chooses the same features for both, and compiles shared crates once.
    let host = workspace::build_host(&["--tests"]).await?;
    if !arguments.e2e_only {
        unit_tests(arguments).await?;
    }
    let pooler = pooler().await;
    let browser = browser().await;
    let clients = clients::all().await;
    let supervisor = Supervisor::start(arguments.stores, Access::Throwaway, "test").await?;
    let checked = sql::check_functions(&supervisor.stores).await;
    let tested = match checked {
        Ok(()) => {
            let programs = Programs {
                host: &host,
                pooler: pooler.as_ref().ok(),
                browser: browser.as_ref().ok(),
                clients: &clients,
            };
            end_to_end_tests(arguments, programs, &supervisor).await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = pooler {
        eprintln!("The tests behind a pooler tested nothing, because there is no PgBouncer: {error:#}");
    }
    if let Err(error) = browser {
        eprintln!("The tests in a browser tested nothing, because there is no Chromium with its driver: {error:#}");
    }
    for Client { path, without, .. } in clients {
        if let Err(error) = path {
            eprintln!("{without}: {error:#}");
        }
    }
    tested.and(supervisor.stop().await)
}

/// What the end-to-end tests run, as far as it could be had.
#[derive(Clone, Copy)]
struct Programs<'a> {
    host: &'a Path,
    pooler: Option<&'a PathBuf>,
    browser: Option<&'a Browser>,
    clients: &'a [Client],
}

/// A browser, and the program that drives it.
struct Browser {
    chromium: PathBuf,
    driver: PathBuf,
}

async fn lint(arguments: &Arguments) -> anyhow::Result<()> {
    let step = Step::loud("Formatting");
    progress::run(project::cargo().args(["fmt", "--all", "--check"])).await?;
    step.done("");
    let step = Step::loud("Clippy");
    progress::run(workspace::cargo("clippy")?.args(["--all-targets", "--", "-D", "warnings"])).await?;
    step.done("");
    wasm::lint(&arguments.toolchain).await
}

async fn unit_tests(arguments: &Arguments) -> anyhow::Result<()> {
    let step = Step::loud("Unit tests");
    progress::run(
        workspace::cargo("test")?
            .args(["--lib", "--bins", "--"])
            .args(&arguments.arguments),
    )
    .await?;
    progress::run(workspace::cargo("test")?.arg("--doc")).await?;
    step.done("");
    Ok(())
}

/// The program of PgBouncer, installed if that is possible.
async fn pooler() -> anyhow::Result<PathBuf> {
    let find = || which::which("pgbouncer").or_else(|_| which::which("/usr/sbin/pgbouncer"));
    if let Ok(program) = find() {
        return Ok(program);
    }
    apt::install(&["pgbouncer"]).await?;
    Ok(find()?)
}

/// The browser and its driver, installed if that is possible.
async fn browser() -> anyhow::Result<Browser> {
    let find = || {
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let chromium = names.iter().find_map(|name| which::which(name).ok());
        anyhow::Ok(Browser {
            chromium: chromium.context("no Chromium is on the PATH")?,
            driver: which::which("chromedriver")?,
        })
    };
    if let Ok(found) = find() {
        return Ok(found);
    }
    apt::install(&["chromium", "chromium-driver"]).await?;
    find()
}

async fn end_to_end_tests(
    arguments: &Arguments,
    Programs {
        host,
        pooler,
        browser,
        clients,
    }: Programs<'_>,
    supervisor: &Supervisor,
) -> anyhow::Result<()> {
    let stores = &supervisor.stores;
    let step = Step::loud(format!("End-to-end tests on {}", stores.description));
    // Hundreds of services write their logs, also while tests break their stores.
    let log = project::root()?.join("target/e2e.log");
    let mut tests = workspace::cargo("test")?;
    tests
        .stderr(File::create(&log).with_context(|| format!("cannot write {}", log.display()))?)
        .env("SUGANG_TEST_DATABASE_URL", &stores.database_url)
        .env("SUGANG_TEST_REDIS_URL", &stores.redis_url)
        .env("SUGANG_TEST_REDIS_SERVER", redis_server().await)
        .env("SUGANG_TEST_POSTGRES_FOLDER", postgres_folder().await)
        .env("SUGANG_TEST_HOST", host)
        .env("SUGANG_TEST_XTASK", env::current_exe()?)
        .envs(pooler.map(|program| ("SUGANG_TEST_PGBOUNCER", program)))
        .envs(browser.map(|browser| ("SUGANG_TEST_CHROMIUM", &browser.chromium)))
        .envs(browser.map(|browser| ("SUGANG_TEST_CHROMEDRIVER", &browser.driver)))
        .envs(
            clients
                .iter()
                .filter_map(|client| Some((client.variable, client.path.as_ref().ok()?))),
        )
        // A snapshot that differs fails the test. INSTA_UPDATE=new also records it for `cargo insta review`.
        .env(
            "INSTA_UPDATE",
            env::var_os("INSTA_UPDATE").unwrap_or_else(|| "no".into()),
        )
        .args(["--test", "e2e", "--"])
        .args(&arguments.arguments);
    let outcome = progress::run(&mut tests).await;
    outcome.with_context(|| format!("the services' logs are in {}", log.display()))?;
    step.done("");
    Ok(())
}

/// The folder of PostgreSQL's programs, for tests of a standby. Empty if they cannot be had.
async fn postgres_folder() -> OsString {
    let find = || {
        let folders = local::postgres_folders().into_iter();
        folders
            .map(PathBuf::into_os_string)
            .find(|folder| Path::new(folder).join("pg_basebackup").is_file())
    };
    if let Some(folder) = find() {
        return folder;
    }
    let installed = apt::install(&["postgresql"]).await;
    installed
        .and_then(|()| find().context("it is not in the package"))
        .unwrap_or_else(|error| {
            Step::loud("PostgreSQL's standby").done(&format!("not tested, since there is no pg_basebackup: {error:#}"));
            OsString::new()
        })
}

/// The program of Redis, for tests of its modes: a cluster, a replica, a full one. Empty if it cannot be had.
async fn redis_server() -> OsString {
    if let Ok(program) = which::which("redis-server") {
        return program.into();
    }
    match apt::install(&["redis-server"]).await {
        Ok(()) => "redis-server".into(),
        Err(error) => {
            Step::loud("Redis's modes").done(&format!("not tested, since there is no redis-server: {error:#}"));
            OsString::new()
        }
    }
}
