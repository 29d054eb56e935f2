//! Where things are, and what the private folder `.sugang/` holds.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File, OpenOptions, TryLockError},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use uuid::Uuid;

/// The checkout: the folder with `spin.toml`, at or above the current one.
pub fn root() -> anyhow::Result<PathBuf> {
    let here = env::current_dir().context("the current folder is gone")?;
    let root = here.ancestors().find(|folder| folder.join("spin.toml").is_file());
    root.map(Path::to_path_buf)
        .with_context(|| format!("{} is not inside a checkout of sugang", here.display()))
}

/// The cargo that runs this program, without the variables that `cargo run` set for this program alone: they would
/// make a nested build differ from the same one typed by hand, and be done twice.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    without_cargo_run(&mut command);
    command
}

/// Takes out of a command's environment what `cargo run` put in.
pub fn without_cargo_run(command: &mut Command) {
    let ours = |name: &OsStr| {
        let name = name.to_string_lossy();
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    };
    for (name, _) in env::vars_os().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
}

/// What one checkout makes once and keeps in `.sugang/`, readable by its owner alone.
#[derive(Serialize, Deserialize)]
pub struct Kept {
    /// Tells this checkout's volumes and folders from another's.
    pub id: String,
    /// The password of the stores that `up` starts.
    pub stores_password: String,
    /// What `up` signs tokens with.
    pub jwt_secret: String,
}

impl Kept {
    /// The private folder of the checkout.
    pub fn folder() -> anyhow::Result<PathBuf> {
        Ok(root()?.join(".sugang"))
    }

    /// Reads what is kept, or makes it.
    pub fn open() -> anyhow::Result<Self> {
        let folder = Self::folder()?;
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join("secrets.json");
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

    /// Makes this process the only one that touches the kept stores, until the file is dropped.
    pub fn lock() -> anyhow::Result<File> {
        let path = Self::folder()?.join("lock");
        let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => bail!("this checkout's stores run already (another `cargo xtask up`?)"),
            Err(TryLockError::Error(error)) => Err(error).context("cannot lock .sugang/"),
        }
    }
}

/// Bytes of memory of this machine, where it tells.
pub fn memory() -> Option<u64> {
    let memory = fs::read_to_string("/proc/meminfo").ok()?;
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = total.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// 122 random bits as 32 hexadecimal digits.
pub fn random() -> String {
    Uuid::new_v4().simple().to_string()
}
