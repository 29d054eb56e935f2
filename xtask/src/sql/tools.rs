//! The formatter and the linter, both from PyPI.

use std::path::PathBuf;

use anyhow::bail;
use tokio::process::Command;

use crate::{
    apt,
    progress::{self, Step},
    project, workspace,
};

const SQLFLUFF: &str = "sqlfluff==4.5.0";
/// Its wheel carries the program.
const SQUAWK: &str = "squawk-cli==2.70.0";

/// Both tools, in a folder of their own below `target/tools`.
pub(super) struct Tools {
    folder: PathBuf,
}

impl Tools {
    /// Installs the tools at the first call.
    pub(super) async fn find_or_install() -> anyhow::Result<Self> {
        let folder = workspace::target()?.join(format!("tools/{SQLFLUFF}-{SQUAWK}"));
        let tools = Self { folder };
        if tools.are_complete() {
            return Ok(tools);
        }
        if progress::output(Command::new("python3").args(["-m", "pip", "--version"]))
            .await
            .is_err()
        {
            apt::install(&["python3-pip"]).await?;
        }
        let step = Step::quiet("Install sqlfluff and squawk (once)");
        let mut install = Command::new("python3");
        install.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--upgrade",
        ]);
        install.arg("--target").arg(&tools.folder).args([SQLFLUFF, SQUAWK]);
        progress::output(&mut install).await?;
        if !tools.are_complete() {
            bail!("pip did not install both into {}", tools.folder.display());
        }
        step.done("");
        Ok(tools)
    }

    fn are_complete(&self) -> bool {
        self.folder.join("sqlfluff").is_dir() && self.folder.join("bin/squawk").is_file()
    }

    /// The formatter with one of its subcommands; `.sqlfluff` has its rules.
    pub(super) fn sqlfluff(&self, subcommand: &str) -> anyhow::Result<Command> {
        let mut command = Command::new("python3");
        command
            .args([
                "-m",
                "sqlfluff",
                subcommand,
                "--disable-progress-bar",
                "--processes",
                "0",
            ])
            .env("PYTHONPATH", &self.folder)
            .current_dir(project::root()?);
        Ok(command)
    }

    /// The linter of locks; `.squawk.toml` has its rules.
    pub(super) fn squawk(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(self.folder.join("bin/squawk"));
        command.current_dir(project::root()?);
        Ok(command)
    }
}
