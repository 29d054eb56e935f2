//! `cargo xtask reset`: deletes what `up` has kept.

use std::fs;

use anyhow::Context;

use crate::{
    local_state::LocalState,
    stores::{docker, local, lock::Lock, stop_leftovers},
};

/// Deletes the data of this checkout's `cargo xtask up`: those of the stores that it started, and its secrets.
///
/// It refuses while the stores run. `cargo xtask down --delete` stops them first.
#[derive(clap::Args)]
pub struct Arguments {
    /// Confirm that the data are to be deleted.
    #[arg(long, required = true)]
    delete_data: bool,
}

/// Runs the subcommand.
pub async fn run(_: &Arguments) -> anyhow::Result<()> {
    if !LocalState::folder()?.exists() {
        println!("There is nothing to delete.");
        return Ok(());
    }
    delete(Lock::take()?).await
}

/// Deletes all that the checkout keeps.
pub async fn delete(lock: Lock) -> anyhow::Result<()> {
    stop_leftovers(&lock).await?;
    let state = LocalState::open()?;
    // Without an engine there are no volumes to use, and none that could be deleted.
    if let Err(error) = docker::delete(&state).await {
        println!("Docker volumes were not deleted: {error:#}");
    }
    local::delete(&state)?;
    let folder = LocalState::folder()?;
    fs::remove_dir_all(&folder).with_context(|| format!("cannot delete {}", folder.display()))?;
    println!("Deleted.");
    Ok(())
}
