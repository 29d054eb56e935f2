//! What others wrote for payment gateways, from PyPI and npm: clients, servers and a document, for the tests of the adapters and
//! the stand-ins.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use tokio::{fs, process::Command};

use crate::{
    apt,
    progress::{self, Step},
    workspace,
};

/// A server that plays Stripe.
const LOCALSTRIPE: &str = "localstripe==1.15.10";
/// PortOne's own client for Python.
const PORTONE: &str = "portone-server-sdk==0.21.0";
/// PortOne's own client for Node.js.
const PORTONE_NODE: &str = "@portone/server-sdk@0.19.0";
/// Prism, which compares requests with an OpenAPI document. Later versions need a Node.js that Debian does not have.
const PRISM: &str = "@stoplight/prism-cli@5.14.2";
/// A server that plays Toss. Its document is used, and nothing else of it.
const TOSS_DOCUMENT: &str = "toss-payments-server-api@10.0.0";

/// What the tests find by an environment variable, if it could be had.
pub struct Client {
    /// The variable.
    pub variable: &'static str,
    /// Its value.
    pub path: anyhow::Result<PathBuf>,
    /// What is not tested without it.
    pub without: &'static str,
}

/// Finds or installs all of them.
pub async fn all() -> Vec<Client> {
    vec![
        Client {
            variable: "SUGANG_TEST_LOCALSTRIPE",
            path: pip(LOCALSTRIPE, "localstripe").await,
            without: "The tests over Stripe tested nothing, because there is no localstripe",
        },
        Client {
            variable: "SUGANG_TEST_PORTONE_SDK",
            path: pip(PORTONE, "portone_server_sdk").await,
            without: "The test with PortOne's own client for Python tested nothing, because it cannot be installed",
        },
        Client {
            variable: "SUGANG_TEST_PORTONE_NODE_SDK",
            path: npm(PORTONE_NODE).await,
            without: "The test with PortOne's own client for Node.js tested nothing, because it cannot be installed",
        },
        Client {
            variable: "SUGANG_TEST_PRISM",
            path: npm(PRISM).await,
            without: "The test with a document of Toss's API tested nothing, because there is no Prism",
        },
        Client {
            variable: "SUGANG_TEST_TOSS_DOCUMENT",
            path: toss_document().await,
            without: "The test with a document of Toss's API tested nothing, because there is no document",
        },
    ]
}

/// The folder with the modules of a package for Python, `module` among them, installed at the first call.
async fn pip(package: &str, module: &str) -> anyhow::Result<PathBuf> {
    once(package, async |folder| {
        let pip = |arguments: &[&str]| {
            let mut command = Command::new("python3");
            command.args(["-m", "pip"]).args(arguments);
            command
        };
        if progress::output(&mut pip(&["--version"])).await.is_err() {
            apt::install(&["python3-pip"]).await?;
        }
        let mut install = pip(&["install", "--quiet", "--disable-pip-version-check", package]);
        progress::output(install.arg("--target").arg(folder)).await?;
        let is_there = folder.join(module).is_dir();
        ensure!(is_there, "pip did not install it into {}", folder.display());
        Ok(())
    })
    .await
}

/// The folder with the modules of a package for Node.js, installed at the first call. No script of a package is run.
async fn npm(package: &str) -> anyhow::Result<PathBuf> {
    let folder = once(package, async |folder| {
        node().await?;
        let mut install = Command::new("npm");
        install
            .args([
                "install",
                "--no-save",
                "--no-package-lock",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
            ])
            .args(["--loglevel=error", package, "--prefix"])
            .arg(folder);
        progress::output(&mut install).await.map(drop)
    })
    .await?;
    Ok(folder.join("node_modules"))
}

/// The OpenAPI document of Toss's API, without what the package that has it depends on.
async fn toss_document() -> anyhow::Result<PathBuf> {
    let folder = once(TOSS_DOCUMENT, async |folder| {
        node().await?;
        let mut pack = Command::new("npm");
        pack.args(["pack", "--silent", TOSS_DOCUMENT]).current_dir(folder);
        let archive = progress::output(&mut pack).await?;
        let mut unpack = Command::new("tar");
        unpack
            .args(["-xzf", archive.trim(), "package/swagger.json"])
            .current_dir(folder);
        progress::output(&mut unpack).await.map(drop)
    })
    .await?;
    Ok(folder.join("package/swagger.json"))
}

/// Installs Node.js and its package manager, unless they are there.
async fn node() -> anyhow::Result<()> {
    if which::which("node").is_err() || which::which("npm").is_err() {
        apt::install(&["nodejs", "npm"]).await?;
    }
    Ok(())
}

/// The folder of a package, which `install` fills at the first call. What is interrupted begins again.
async fn once(package: &str, install: impl AsyncFnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<PathBuf> {
    let tools = workspace::target()?.join("tools");
    let name = package.replace('/', "+");
    let folder = tools.join(&name);
    if folder.is_dir() {
        return Ok(folder);
    }
    let step = Step::quiet(format!("Install {package} (once)"));
    let unfinished = tools.join(format!("{name}.unfinished"));
    fs::remove_dir_all(&unfinished).await.ok();
    fs::create_dir_all(&unfinished).await?;
    install(&unfinished).await?;
    let renamed = fs::rename(&unfinished, &folder).await;
    renamed.with_context(|| format!("cannot make {}", folder.display()))?;
    step.done("");
    Ok(folder)
}
