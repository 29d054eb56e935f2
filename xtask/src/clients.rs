//! What others wrote for payment gateways, from PyPI: clients and servers, for the tests of the adapters and the stand-ins.

use std::path::PathBuf;

use anyhow::ensure;
use tokio::process::Command;

use crate::{
    apt,
    progress::{self, Step},
    workspace,
};

/// The folder with the modules of localstripe, a server that plays Stripe.
pub async fn localstripe() -> anyhow::Result<PathBuf> {
    find_or_install("localstripe==1.15.10", "localstripe").await
}

/// The folder with PortOne's own client.
pub async fn portone() -> anyhow::Result<PathBuf> {
    find_or_install("portone-server-sdk==0.21.0", "portone_server_sdk").await
}

/// The folder with the modules of a package, installed at the first call.
async fn find_or_install(package: &str, module: &str) -> anyhow::Result<PathBuf> {
    let folder = workspace::target()?.join(format!("tools/{package}"));
    let module = folder.join(module);
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
    let step = Step::quiet(format!("Install {package} (once)"));
    let mut install = pip(&["install", "--quiet", "--disable-pip-version-check", package]);
    progress::output(install.arg("--target").arg(&folder)).await?;
    ensure!(module.is_dir(), "pip did not install it into {}", folder.display());
    step.done("");
    Ok(folder)
}
