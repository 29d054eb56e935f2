//! The account of the servers, where this process is root: PostgreSQL refuses to run as root.

use std::{os::unix::fs::chown, path::Path};

use anyhow::bail;
use nix::unistd::{Uid, User};

/// A user that is not root.
#[derive(Clone)]
pub struct Account(User);

impl Account {
    /// `None` where this process is not root, so that the servers run under its own account.
    pub fn find() -> anyhow::Result<Option<Self>> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        for name in ["postgres", "nobody"] {
            if let Some(user) = User::from_name(name)? {
                return Ok(Some(Self(user)));
            }
        }
        bail!("PostgreSQL does not run as root, and there is no user `postgres`")
    }

    pub fn uid(&self) -> u32 {
        self.0.uid.as_raw()
    }

    pub fn gid(&self) -> u32 {
        self.0.gid.as_raw()
    }

    /// Makes the account the owner of a file.
    pub fn own(&self, path: &Path) -> anyhow::Result<()> {
        Ok(chown(path, Some(self.uid()), Some(self.gid()))?)
    }
}
