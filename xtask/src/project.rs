//! Where the checkout is, and the cargo that builds it.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
};

use anyhow::Context;
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
/// make a nested build differ from the same one typed by hand, and every crate would be compiled twice.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    without_cargo_run(&mut command);
    command
}

/// Removes from a command's environment what `cargo run` added.
pub fn without_cargo_run(command: &mut Command) {
    let is_added = |name: &OsStr| {
        let name = name.to_string_lossy();
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    };
    for (name, _) in env::vars_os().filter(|(name, _)| is_added(name)) {
        command.env_remove(name);
    }
}

/// 122 random bits as 32 hexadecimal digits.
pub fn random() -> String {
    Uuid::new_v4().simple().to_string()
}
