//! One server process.

use std::{
    process::Child,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sysinfo::{ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System};
use tokio::time::sleep;

use super::launch::Launch;

/// After the request to stop; PostgreSQL first writes what it has in memory. Then the server is killed.
const STOP_LIMIT: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(20);

/// A server that runs, or ran.
pub struct Server {
    launch: Launch,
    process: Child,
    /// Requests an orderly end.
    stop: Signal,
    /// Requests an end at once, as after a crash.
    kill: Signal,
}

impl Server {
    pub fn start(launch: Launch, stop: Signal, kill: Signal) -> anyhow::Result<Self> {
        Ok(Self {
            process: launch.spawn()?,
            launch,
            stop,
            kill,
        })
    }

    pub fn restart(&mut self) -> anyhow::Result<()> {
        if self.process.try_wait()?.is_none() {
            bail!("it runs already");
        }
        self.process = self.launch.spawn()?;
        Ok(())
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Fails with the end of the log when the server has ended.
    pub fn ensure_alive(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.process.try_wait()? {
            bail!(
                "{} ended ({status})\n{}",
                self.launch.program.display(),
                self.launch.end_of_log()
            );
        }
        Ok(())
    }

    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.end_by(self.stop).await
    }

    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.end_by(self.kill).await
    }

    async fn end_by(&mut self, signal: Signal) -> anyhow::Result<()> {
        if self.process.try_wait()?.is_some() {
            return Ok(());
        }
        // A frozen server takes no other signal.
        self.signal_all(Signal::SIGCONT)?;
        kill(self.pid(), signal)?;
        let asked = Instant::now();
        while self.process.try_wait()?.is_none() {
            if asked.elapsed() > STOP_LIMIT {
                self.process.kill()?;
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Signals the server and its children; each may lead a process group of its own, as PostgreSQL's do.
    pub fn signal_all(&mut self, signal: Signal) -> anyhow::Result<()> {
        self.ensure_alive()?;
        kill(self.pid(), signal)?;
        let parent = sysinfo::Pid::from_u32(self.id());
        let processes = processes(ProcessesToUpdate::All)?;
        for (pid, process) in processes.processes() {
            if process.parent() == Some(parent) && process.thread_kind().is_none() {
                // A child that has just ended needs no signal.
                kill(Pid::from_raw(pid.as_u32().cast_signed()), signal).ok();
            }
        }
        Ok(())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.id().cast_signed())
    }
}

/// Stops a server whose supervisor was killed, if the process still runs the program, and waits until it has ended.
pub async fn stop_leftover(program: &str, pid: u32) -> anyhow::Result<()> {
    let process = Pid::from_raw(pid.cast_signed());
    if runs(program, pid)? {
        // Once: Redis does not save its data after a second one.
        kill(process, Signal::SIGINT).ok();
    }
    let asked = Instant::now();
    while runs(program, pid)? {
        if asked.elapsed() > STOP_LIMIT {
            kill(process, Signal::SIGKILL).ok();
        }
        sleep(POLL).await;
    }
    Ok(())
}

fn runs(program: &str, pid: u32) -> anyhow::Result<bool> {
    let id = sysinfo::Pid::from_u32(pid);
    let processes = processes(ProcessesToUpdate::Some(&[id]))?;
    Ok(processes.process(id).is_some_and(|process| {
        let is_ended = matches!(process.status(), ProcessStatus::Zombie | ProcessStatus::Dead);
        !is_ended && process.name() == program
    }))
}

fn processes(which: ProcessesToUpdate<'_>) -> anyhow::Result<System> {
    let mut system = System::new().context("this machine does not show its processes")?;
    system.refresh_processes_specifics(which, true, ProcessRefreshKind::nothing());
    Ok(system)
}
