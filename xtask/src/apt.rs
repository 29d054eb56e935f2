//! Debian's and Ubuntu's packages, where this process may install them.

use std::{fs, io::ErrorKind, os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::{Context, bail};
use nix::unistd::Uid;
use tokio::process::Command;

use crate::progress;

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs packages. Servers that they bring are not started.
///
/// # Errors
/// When this is no Debian or Ubuntu, this process is not root, or apt fails.
pub async fn install(packages: &[&str]) -> anyhow::Result<()> {
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("this is no Debian or Ubuntu");
    }
    if !Uid::effective().is_root() {
        bail!(
            "only root may install packages: sudo apt-get install --no-install-recommends {}",
            packages.join(" ")
        );
    }
    let policy = NoStart::declare()?;
    let apt_get = || {
        let mut command = Command::new("apt-get");
        command
            .args(["-o", "DPkg::Lock::Timeout=300", "-qq"])
            .env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    progress::output(apt_get().arg("update")).await?;
    progress::output(
        apt_get()
            .args(["install", "--yes", "--no-install-recommends"])
            .args(packages),
    )
    .await?;
    drop(policy);
    Ok(())
}

/// While it lives, Debian's packages start no service; a policy that the machine already has is left alone.
struct NoStart {
    ours: bool,
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
                std::io::Write::write_all(&mut file, b"#!/bin/sh\nexit 101\n")?;
                Ok(Self { ours: true })
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Self { ours: false }),
            Err(error) => Err(error).with_context(|| format!("cannot write {POLICY}")),
        }
    }
}

impl Drop for NoStart {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs::remove_file(POLICY)
        {
            eprintln!("cannot remove {POLICY}: {error}");
        }
    }
}
