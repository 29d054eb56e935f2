//! The folder of the servers' data.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use tempfile::TempDir;

use super::{account::Account, launch::Launch};
use crate::local_state::LocalState;

/// A folder that belongs to the servers' account.
pub enum Folder {
    Throwaway(TempDir),
    Kept(PathBuf),
}

impl Folder {
    pub fn path(&self) -> &Path {
        match self {
            Self::Throwaway(folder) => folder.path(),
            Self::Kept(folder) => folder,
        }
    }

    /// Deletes a folder that is not kept.
    pub fn end(self) -> anyhow::Result<()> {
        match self {
            Self::Throwaway(folder) => folder.close().context("cannot remove the stores' data"),
            Self::Kept(_) => Ok(()),
        }
    }

    /// A temporary folder that the account can reach.
    pub fn throwaway(account: Option<&Account>) -> anyhow::Result<Self> {
        let candidates = [env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
        for parent in candidates {
            let Ok(folder) = tempfile::Builder::new().prefix("sugang-stores-").tempdir_in(&parent) else {
                continue;
            };
            if hand_over(folder.path(), account).is_ok() {
                return Ok(Self::Throwaway(folder));
            }
        }
        bail!("there is no temporary folder that the servers can read")
    }

    /// A folder in the checkout, or outside where the account cannot reach the checkout, as in root's home.
    pub fn kept(kept: &LocalState, account: Option<&Account>) -> anyhow::Result<Self> {
        let inside = inside()?;
        let outside = outside(kept);
        if !outside.exists() {
            make(&inside, account)?;
            if hand_over(&inside, account).is_ok() {
                return Ok(Self::Kept(inside));
            }
            fs::remove_dir(&inside)?;
        }
        make(&outside, account)?;
        hand_over(&outside, account)?;
        Ok(Self::Kept(outside))
    }
}

fn inside() -> anyhow::Result<PathBuf> {
    Ok(LocalState::folder()?.join("stores"))
}

fn outside(kept: &LocalState) -> PathBuf {
    PathBuf::from(format!("/var/lib/sugang-{}", kept.id))
}

/// Deletes the kept data of this checkout.
pub fn delete(kept: &LocalState) -> anyhow::Result<()> {
    for folder in [inside()?, outside(kept)] {
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot delete {}", folder.display()))?;
        }
    }
    Ok(())
}

/// Makes a folder, private to the account.
pub fn make(folder: &Path, account: Option<&Account>) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    if let Some(account) = account {
        account.own(folder)?;
    }
    Ok(fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?)
}

/// Gives a folder to the account, and lets the account list it: a folder above may be closed to the account.
fn hand_over(folder: &Path, account: Option<&Account>) -> anyhow::Result<()> {
    make(folder, account)?;
    let list = Launch::new("/bin/ls".into(), account.cloned(), "/dev/null".into());
    let status = list.command()?.arg(folder).status()?;
    if !status.success() {
        bail!("{} cannot be reached by the servers' account", folder.display());
    }
    Ok(())
}
