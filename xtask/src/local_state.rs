//! What a checkout makes once and keeps in its private folder `.sugang/`.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::project::{random, root};

/// The secrets of a checkout, readable by their owner alone.
#[derive(Serialize, Deserialize)]
pub struct LocalState {
    /// Distinguishes this checkout's volumes and folders from another's.
    pub id: String,
    /// The password of the stores that `up` starts.
    pub stores_password: String,
    /// The secret with which the service that `up` starts signs tokens.
    pub jwt_secret: String,
}

impl LocalState {
    /// The private folder of the checkout. It may not exist yet.
    pub fn folder() -> anyhow::Result<PathBuf> {
        Ok(root()?.join(".sugang"))
    }

    /// Makes the private folder where it is missing.
    pub fn make_folder() -> anyhow::Result<PathBuf> {
        let folder = Self::folder()?;
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    /// Reads the state, or makes it.
    pub fn open() -> anyhow::Result<Self> {
        let path = Self::make_folder()?.join("secrets.json");
        let made = Self {
            id: random()[..8].to_owned(),
            stores_password: random(),
            jwt_secret: random() + &random(),
        };
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => {
                file.write_all(serde_json::to_string_pretty(&made)?.as_bytes())?;
                Ok(made)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
            }
            Err(error) => Err(error).with_context(|| format!("cannot make {}", path.display())),
        }
    }
}
