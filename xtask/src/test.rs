//! `cargo xtask test`: everything that must hold before a change lands.

use std::{ffi::OsString, fs::File};

use anyhow::Context;

use crate::{
    progress::{self, Step},
    project,
    stores::{Keeper, Lifetime, StoresChoice},
    wasm::{self, ToolchainChoice},
    workspace,
};

/// Checks the formatting, lints, and runs all tests: the unit tests, and the end-to-end tests through the component on a
/// real PostgreSQL and a real Redis.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    stores: StoresChoice,
    #[command(flatten)]
    toolchain: ToolchainChoice,
    /// Leave out formatting and lints.
    #[arg(long)]
    skip_lints: bool,
    /// Run the end-to-end tests alone.
    #[arg(long)]
    e2e_only: bool,
    /// What the test programs get, for example the name of a test.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

/// Runs the subcommand.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if !arguments.skip_lints && !arguments.e2e_only {
        let step = Step::loud("Formatting");
        progress::run(project::cargo().args(["fmt", "--all", "--check"])).await?;
        step.done("");
        let step = Step::loud("Clippy");
        progress::run(workspace::cargo("clippy")?.args(["--all-targets", "--", "-D", "warnings"])).await?;
        step.done("");
        wasm::lint(&arguments.toolchain).await?;
    }
    wasm::build(&arguments.toolchain).await?;
    // The tests in the same go: cargo then chooses the same features for both, and compiles what they share once.
    let host = workspace::build_host(&["--tests"]).await?;
    if !arguments.e2e_only {
        let step = Step::loud("Unit tests");
        progress::run(
            workspace::cargo("test")?
                .args(["--lib", "--bins", "--"])
                .args(&arguments.arguments),
        )
        .await?;
        progress::run(workspace::cargo("test")?.arg("--doc")).await?;
        step.done("");
    }
    let keeper = Keeper::start(arguments.stores, Lifetime::Throwaway).await?;
    let step = Step::loud(format!("End-to-end tests on {}", keeper.ready.description));
    // Hundreds of services write their logs, as they should while their stores are being broken.
    let log = project::root()?.join("target/e2e.log");
    let mut tests = workspace::cargo("test")?;
    tests
        .stderr(File::create(&log).with_context(|| format!("cannot write {}", log.display()))?)
        .env("SUGANG_TEST_DATABASE_URL", &keeper.ready.database_url)
        .env("SUGANG_TEST_REDIS_URL", &keeper.ready.redis_url)
        .env("SUGANG_TEST_HOST", &host)
        // A snapshot that differs is a failure, here as in CI; `cargo insta` is for changing them.
        .env("INSTA_UPDATE", "no")
        .args(["--test", "e2e", "--"])
        .args(&arguments.arguments);
    let outcome = progress::run(&mut tests).await;
    keeper.stop().await?;
    outcome.with_context(|| format!("what the services logged is in {}", log.display()))?;
    step.done("");
    Ok(())
}
