//! `cargo xtask down`: stops what runs in this checkout.

use std::time::{Duration, Instant};

use anyhow::bail;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::sleep;

use crate::{
    local_state::LocalState,
    progress::Step,
    reset,
    stores::{
        lock::{self, Lock},
        stop_leftovers,
    },
};

/// For a command to stop its server and its stores, and for other commands that use these to finish.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);
/// For the stores to stop after that.
const STORES_LIMIT: Duration = Duration::from_secs(90);

/// Stops the `cargo xtask up` of this checkout, or what a killed one left running.
///
/// The data stay, unless --delete is given. Other commands that use the stores get 30 seconds to finish.
#[derive(clap::Args)]
pub struct Arguments {
    /// Delete the data and secrets of this checkout too.
    #[arg(long)]
    delete: bool,
}

/// Runs the subcommand.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if !LocalState::folder()?.exists() {
        println!("Nothing runs, and there are no data.");
        return Ok(());
    }
    let lock = stop_running().await?;
    if arguments.delete {
        return reset::delete(lock).await;
    }
    stop_leftovers(&lock).await?;
    println!("Stopped. The data stay; `cargo xtask up` continues with them.");
    Ok(())
}

/// Stops the command that holds the lock, then its supervisor, and takes the lock.
async fn stop_running() -> anyhow::Result<Lock> {
    let step = Step::quiet("Stop what runs");
    let begun = Instant::now();
    let mut command_told = false;
    let mut supervisor = None;
    loop {
        if let Some(lock) = Lock::try_take()? {
            step.done("");
            return Ok(lock);
        }
        if let Some(record) = lock::running_record()?
            && !command_told
        {
            terminate(record.command);
            supervisor = Some(record.supervisor);
            command_told = true;
        }
        if begun.elapsed() > COMMAND_LIMIT
            && let Some(supervisor) = supervisor.take()
        {
            terminate(supervisor);
        }
        if begun.elapsed() > COMMAND_LIMIT + STORES_LIMIT {
            bail!("the stores of this checkout do not stop");
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// A process that has just ended takes no signal.
fn terminate(process: u32) {
    kill(Pid::from_raw(process.cast_signed()), Signal::SIGTERM).ok();
}
