//! A running supervisor, seen from the command that needs the stores.

use std::{env, process::Stdio};

use anyhow::{Context, anyhow, bail};
use clap::ValueEnum;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, ChildStdin, Command},
    signal::unix::{SignalKind, signal},
};

use super::{
    choice::{Access, StoresChoice},
    running::RunningStores,
    supervise::Missing,
};
use crate::{apt, progress::Step};

/// A running supervisor. Dropped, it ends by itself.
pub struct Supervisor {
    process: Child,
    /// The supervisor ends when this is closed.
    stdin: ChildStdin,
    /// The stores, which answer.
    pub stores: RunningStores,
}

impl Supervisor {
    /// Starts a supervisor and waits until the stores answer; `command` is the name of the subcommand that needs them.
    pub async fn start(choice: StoresChoice, access: Access, command: &str) -> anyhow::Result<Self> {
        let step = Step::loud("Find PostgreSQL and Redis");
        let mut started = Self::spawn(choice, access, command).await?;
        if let First::Missing(missing) = started {
            apt::install(&missing).await?;
            started = Self::spawn(choice, access, command).await?;
        }
        match started {
            First::Ready(supervisor) => {
                step.done("");
                Ok(*supervisor)
            }
            First::Missing(missing) => bail!("{} are still missing", missing.join(" and ")),
        }
    }

    async fn spawn(choice: StoresChoice, access: Access, command: &str) -> anyhow::Result<First> {
        let mut process = supervisor_command(choice, access, command)?
            .spawn()
            .context("cannot start the supervisor of the stores")?;
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        let (stdin, stdout) = stdin.zip(stdout).context("the supervisor has no pipes")?;
        let Some(line) = first_line(stdout).await? else {
            process.wait().await?;
            bail!("this command needs PostgreSQL and Redis");
        };
        if let Ok(Missing { missing }) = serde_json::from_str(&line) {
            process.wait().await?;
            return Ok(First::Missing(missing));
        }
        Ok(First::Ready(Box::new(Self {
            process,
            stdin,
            stores: serde_json::from_str(&line).context("the supervisor's first line is not JSON")?,
        })))
    }

    /// Waits until the supervisor ends by itself, which is an error.
    pub async fn lost(&mut self) -> anyhow::Error {
        match self.process.wait().await {
            Ok(status) => anyhow!("the supervisor of the stores ended ({status})"),
            Err(error) => error.into(),
        }
    }

    /// Ends the supervisor, and waits until all that it started has ended.
    ///
    /// It waits for other commands that use the stores. An interrupt then stops the stores at once.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let id = self.process.id();
        drop(self.stdin);
        let status = loop {
            tokio::select! {
                status = self.process.wait() => break status?,
                _ = interrupt.recv() => {
                    if let Some(id) = id {
                        kill(Pid::from_raw(id.cast_signed()), Signal::SIGTERM)?;
                    }
                }
            }
        };
        if !status.success() {
            bail!("the stores did not stop cleanly ({status})");
        }
        Ok(())
    }
}

/// What the first line of a supervisor says.
enum First {
    Ready(Box<Supervisor>),
    Missing(Vec<String>),
}

fn supervisor_command(choice: StoresChoice, access: Access, command: &str) -> anyhow::Result<Command> {
    let mut supervisor = Command::new(env::current_exe()?);
    supervisor
        .args(["stores", "--started-by", &format!("cargo xtask {command}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Ctrl-C is for this process: the supervisor ends after it.
        .process_group(0);
    match access {
        Access::Throwaway => {}
        Access::Exclusive => drop(supervisor.arg("--keep")),
        Access::Shared => drop(supervisor.args(["--keep", "--share"])),
    }
    match choice.stores.and_then(|source| source.to_possible_value()) {
        Some(source) => supervisor.args(["--stores", source.get_name()]),
        None => supervisor.env_remove("SUGANG_STORES"),
    };
    // The supervisor has no terminal to ask at.
    if apt::asks() {
        supervisor.arg("--report-missing");
    }
    Ok(supervisor)
}

async fn first_line(stdout: impl AsyncRead + Unpin) -> anyhow::Result<Option<String>> {
    Ok(BufReader::new(stdout).lines().next_line().await?)
}
