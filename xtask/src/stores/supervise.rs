//! The supervisor: the process that starts the stores and stops them.

use std::{os::unix::process::parent_id, process};

use serde::{Deserialize, Serialize};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use super::{
    choice::{Access, StoresChoice},
    command::{Command, Response},
    find::{Held, NoStores, find},
    local::MissingPackages,
    lock::Record,
};
use crate::apt;

/// Keeps PostgreSQL and Redis running until its standard input ends (Ctrl-D) or it is interrupted.
///
/// When both answer, it prints one line of JSON: `database_url`, `redis_url`, `from` ("url", "docker" or "local") and,
/// where it started them, their process or container ids. After that it reads commands, one a line, with which tests
/// cause faults: `postgres` or `redis`, then `stop` (orderly), `kill` (at once, as a crash), `start`, `freeze` or `thaw`.
/// Each is answered by one line, `{"done":"redis stop"}` or `{"failed":"…"}`; a store keeps its address over a restart.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    choice: StoresChoice,
    /// Keep the data in this checkout's `.sugang/` (or its Docker volumes), with durable settings.
    #[arg(long)]
    keep: bool,
    /// Use the kept stores where another command keeps them running.
    #[arg(long, requires = "keep", hide = true)]
    share: bool,
    /// The command that started this process.
    #[arg(long, hide = true)]
    started_by: Option<String>,
    /// Report missing packages on standard output instead of installing them.
    #[arg(long, hide = true)]
    report_missing: bool,
}

/// The only line that a supervisor prints when it lacks programs that its parent may install.
#[derive(Serialize, Deserialize)]
pub struct Missing {
    pub missing: Vec<String>,
}

/// Runs the subcommand.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let access = match (arguments.keep, arguments.share) {
        (false, _) => Access::Throwaway,
        (true, false) => Access::Exclusive,
        (true, true) => Access::Shared,
    };
    let mut end = End::new()?;
    let mut lines = lines_of_stdin();
    let found = match find(arguments.choice, access).await {
        Err(error) => match error.downcast_ref::<NoStores>().and_then(|error| error.missing.clone()) {
            Some(missing) if arguments.report_missing => {
                let missing = Missing {
                    missing: missing.packages(),
                };
                println!("{}", serde_json::to_string(&missing)?);
                return Ok(());
            }
            Some(missing) => {
                install(&missing, error).await?;
                find(arguments.choice, access).await
            }
            None => Err(error),
        },
        found => found,
    };
    let mut held = found?;
    publish(&held, arguments.started_by.as_deref())?;
    println!("{}", serde_json::to_string(&held.running)?);

    let is_interrupted = loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            () = end.wait() => break true,
        };
        let Some(line) = line else { break false };
        let outcome = match line.parse::<Command>() {
            Ok(command) => held.handle(command).await,
            Err(error) => Err(error),
        };
        let response = match outcome {
            Ok(()) => Response::Done(line),
            Err(error) => Response::Failed(format!("{error:#}")),
        };
        println!("{}", serde_json::to_string(&response)?);
    };
    if let Some(lock) = &held.lock {
        lock.withdraw()?;
        if !is_interrupted {
            tokio::select! {
                waited = lock.wait_for_users() => waited?,
                () = end.wait() => {}
            }
        }
    }
    // The lock stays taken until both servers have ended.
    let lock = held.lock.take();
    let ended = held.end().await;
    drop(lock);
    ended
}

async fn install(missing: &MissingPackages, error: anyhow::Error) -> anyhow::Result<()> {
    let installed = apt::install(&missing.packages()).await;
    installed.map_err(|reason| anyhow::anyhow!("{error:#}\n  apt: {reason:#}"))
}

/// Lets other commands use stores that are kept.
fn publish(held: &Held, started_by: Option<&str>) -> anyhow::Result<()> {
    let Some(lock) = &held.lock else { return Ok(()) };
    lock.publish(&Record {
        stores: held.running.clone(),
        supervisor: process::id(),
        command: match started_by {
            Some(_) => parent_id(),
            None => process::id(),
        },
        started_by: started_by.unwrap_or("cargo xtask stores --keep").to_owned(),
    })
}

/// The signals that end the supervisor.
struct End {
    signals: [Signal; 3],
}

impl End {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            signals: [
                signal(SignalKind::hangup())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            ],
        })
    }

    async fn wait(&mut self) {
        let [hangup, interrupt, terminate] = &mut self.signals;
        tokio::select! {
            _ = hangup.recv() => {}
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

/// Reads on a thread of its own: a read that waits for ever must not keep the process from ending.
fn lines_of_stdin() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receiver
}
