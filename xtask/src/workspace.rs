//! How cargo builds the native part of the workspace: always all of it with the same features, so that no dependency
//! (wasmtime above all) is compiled twice.

use std::path::PathBuf;

use tokio::process::Command;

use crate::{
    progress::{self, Step},
    project,
};

/// The whole workspace, without the SDK's TLS: nothing here uses it, and it compiles C.
const SELECTION: [&str; 5] = [
    "--release",
    "--workspace",
    "--no-default-features",
    "--features",
    "sugang-sdk/client",
];

/// `cargo <subcommand>` for the whole workspace. The target folder is fixed, as for the component, so that the programs
/// are found there.
pub fn cargo(subcommand: &str) -> anyhow::Result<Command> {
    let mut command = project::cargo();
    command.arg(subcommand).args(SELECTION);
    command.arg("--target-dir").arg(target()?);
    Ok(command)
}

/// Builds the host, and what the arguments `others` name, and returns the host's path.
pub async fn build_host(others: &[&str]) -> anyhow::Result<PathBuf> {
    let step = Step::loud("Build the host (the first time takes minutes: it contains a WebAssembly compiler)");
    progress::run(cargo("build")?.args(["--bin", "sugang-host"]).args(others)).await?;
    step.done("");
    host()
}

/// The host's path, once it is built.
pub fn host() -> anyhow::Result<PathBuf> {
    Ok(target()?.join("release/sugang-host"))
}

/// The target folder.
pub fn target() -> anyhow::Result<PathBuf> {
    Ok(project::root()?.join("target"))
}
