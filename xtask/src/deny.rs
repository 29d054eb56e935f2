//! Checks the dependencies with cargo-deny, by the rules of `deny.toml`.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::bail;
use tokio::process::Command;

use crate::{
    progress::{self, Step},
    project, workspace,
};

/// The version that is installed where none of it is there yet.
const VERSION: &str = "0.20.2";

/// Checks licenses, bans and sources; known advisories too, where their database can be fetched.
///
/// # Errors
/// When a rule is broken. Where cargo-deny cannot be installed the check is left out, but not in CI (`CI` is set).
pub async fn check() -> anyhow::Result<()> {
    let program = match find_or_install().await {
        Ok(program) => program,
        Err(error) if env::var_os("CI").is_some() => return Err(error),
        Err(error) => {
            let reason = format!("{error:#}");
            let reason = reason.lines().next().unwrap_or_default();
            eprintln!("Left out: cargo-deny, which cannot be installed ({reason})");
            return Ok(());
        }
    };
    let step = Step::loud("Licenses, bans and sources of the dependencies");
    deny(&program, &["licenses", "bans", "sources"]).await?;
    step.done("");

    // The database is a git repository: without a way to its server, the other checks still hold.
    let mut fetch = Command::new(&program);
    fetch.args(["fetch", "db"]).current_dir(project::root()?);
    if progress::output(&mut fetch).await.is_err() {
        eprintln!("Left out: known advisories, whose database cannot be fetched here");
        return Ok(());
    }
    let step = Step::loud("Known advisories against the dependencies");
    deny(&program, &["--disable-fetch", "advisories"]).await?;
    step.done("");
    Ok(())
}

async fn deny(program: &Path, checks: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command
        .current_dir(project::root()?)
        .args(["--log-level", "warn", "check", "--hide-inclusion-graph"])
        .args(checks);
    progress::run(&mut command).await
}

/// The program of [`VERSION`] in `target/tools`, installed at the first call.
async fn find_or_install() -> anyhow::Result<PathBuf> {
    let folder = workspace::target()?.join("tools").join(format!("cargo-deny-{VERSION}"));
    let program = folder.join("bin/cargo-deny");
    if program.is_file() {
        return Ok(program);
    }
    let step = Step::quiet("Install cargo-deny (once; it takes minutes)");
    let mut install = project::cargo();
    // Unoptimized: it runs for seconds, and its optimized build takes minutes more.
    install
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .args([
            "install",
            "--debug",
            "--locked",
            "--quiet",
            "--no-default-features",
            "--version",
            VERSION,
        ])
        .arg("--root")
        .arg(&folder)
        .arg("cargo-deny");
    progress::output(&mut install).await?;
    if !program.is_file() {
        bail!("cargo installed no {}", program.display());
    }
    step.done("");
    Ok(program)
}
