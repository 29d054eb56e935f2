//! Debian's and Ubuntu's packages, where this process may install them.

use std::{
    fs,
    io::{ErrorKind, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::OnceLock,
};

use anyhow::{Context, bail};
use nix::unistd::Uid;
use tokio::process::Command;

use crate::progress::{self, Step};

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Whether `--yes` was given.
static YES: OnceLock<bool> = OnceLock::new();

/// Sets whether packages are installed without a question. Only the first call counts.
pub fn set_yes(yes: bool) {
    YES.get_or_init(|| yes);
}

/// Whether a person at the terminal is asked before anything is installed.
pub fn asks() -> bool {
    let is_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    is_terminal && !YES.get().copied().unwrap_or_default()
}

/// Installs packages, after a person at the terminal has agreed. Services that they bring are not started.
///
/// # Errors
/// When this is not Debian or Ubuntu, this process is not root, the person declines, or apt fails.
pub async fn install(packages: &[impl AsRef<str>]) -> anyhow::Result<()> {
    let packages: Vec<_> = packages.iter().map(AsRef::as_ref).collect();
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("this machine is neither Debian nor Ubuntu");
    }
    if !Uid::effective().is_root() {
        bail!(
            "only root may install packages: sudo apt-get install --no-install-recommends {}",
            packages.join(" ")
        );
    }
    if asks() && !confirm(&packages).await? {
        bail!("nothing was installed");
    }
    let step = Step::quiet(format!("Install {}", packages.join(", ")));
    let policy = NoStart::declare()?;
    progress::output(apt_get().arg("update")).await?;
    progress::output(
        apt_get()
            .args(["install", "--yes", "--no-install-recommends"])
            .args(&packages),
    )
    .await?;
    drop(policy);
    step.done("");
    Ok(())
}

/// Says what would be installed and waits for Enter.
async fn confirm(packages: &[&str]) -> anyhow::Result<bool> {
    eprint!(
        "\nThis command needs programs that this machine lacks. It would run\n\n    \
         apt-get install --no-install-recommends {}\n\nEnter installs them; n declines. (--yes skips this question.) ",
        packages.join(" ")
    );
    std::io::stderr().flush()?;
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        // The end of the input is not an Enter.
        std::io::stdin()
            .read_line(&mut answer)
            .map(|bytes| (bytes > 0).then_some(answer))
    })
    .await??;
    Ok(answer.is_some_and(|answer| is_consent(&answer)))
}

fn is_consent(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes")
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .args(["-o", "DPkg::Lock::Timeout=300", "-qq"])
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// While it lives, Debian's packages start no service; a policy that the machine already has stays.
struct NoStart {
    is_ours: bool,
}

impl NoStart {
    fn declare() -> anyhow::Result<Self> {
        match fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(POLICY)
        {
            Ok(mut file) => {
                file.write_all(b"#!/bin/sh\nexit 101\n")?;
                Ok(Self { is_ours: true })
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Self { is_ours: false }),
            Err(error) => Err(error).with_context(|| format!("cannot write {POLICY}")),
        }
    }
}

impl Drop for NoStart {
    fn drop(&mut self) {
        if self.is_ours
            && let Err(error) = fs::remove_file(POLICY)
        {
            eprintln!("cannot remove {POLICY}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_consent;

    #[test]
    fn enter_and_yes_agree() {
        for answer in ["\n", "y\n", "Yes\n"] {
            assert!(is_consent(answer), "{answer:?}");
        }
        for answer in ["n\n", "no\n", "what?\n"] {
            assert!(!is_consent(answer), "{answer:?}");
        }
    }
}
