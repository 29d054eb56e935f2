//! localstripe, a server that plays Stripe, from PyPI.

use std::path::PathBuf;

use anyhow::ensure;
use tokio::process::Command;

use crate::{
    apt,
    progress::{self, Step},
    workspace,
};

const LOCALSTRIPE: &str = "localstripe==1.15.10";

/// The folder with its modules, installed at the first call.
pub async fn find_or_install() -> anyhow::Result<PathBuf> {
    let folder = workspace::target()?.join(format!("tools/{LOCALSTRIPE}"));
    let module = folder.join("localstripe");
    if module.is_dir() {
        return Ok(folder);
    }
    let pip = |arguments: &[&str]| {
        let mut command = Command::new("python3");
        command.args(["-m", "pip"]).args(arguments);
        command
    };
    if progress::output(&mut pip(&["--version"])).await.is_err() {
        apt::install(&["python3-pip"]).await?;
    }
    let step = Step::quiet("Install localstripe (once)");
    let mut install = pip(&["install", "--quiet", "--disable-pip-version-check", LOCALSTRIPE]);
    progress::output(install.arg("--target").arg(&folder)).await?;
    ensure!(module.is_dir(), "pip did not install it into {}", folder.display());
    step.done("");
    Ok(folder)
}
