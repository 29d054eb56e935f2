//! `cargo xtask reset`: forgets what `up` has kept.

use std::fs;

use anyhow::Context;

use crate::{
    project::Kept,
    stores::{docker, local},
};

/// Deletes the data of this checkout's `cargo xtask up`: the stores that it started, and its secrets.
#[derive(clap::Args)]
pub struct Arguments {
    /// Say that it is meant.
    #[arg(long, required = true)]
    delete_data: bool,
}

/// Runs the subcommand.
pub async fn run(_: &Arguments) -> anyhow::Result<()> {
    let folder = Kept::folder()?;
    if !folder.exists() {
        println!("There is nothing to delete.");
        return Ok(());
    }
    let lock = Kept::lock()?;
    let kept = Kept::open()?;
    // Without an engine there can be no volumes that anybody could use, and none that could be deleted.
    if let Err(error) = docker::delete(&kept).await {
        println!("Docker volumes were left alone: {error:#}");
    }
    local::delete(&kept)?;
    drop(lock);
    fs::remove_dir_all(&folder).with_context(|| format!("cannot delete {}", folder.display()))?;
    println!("Deleted.");
    Ok(())
}
