//! A server process that ends with the process that started it.

use std::{ffi::OsStr, process::ExitStatus, time::Duration};

use anyhow::Context;
use process_wrap::tokio::{ChildWrapper, CommandWrap, KillOnDrop, ProcessGroup};
use tokio::{
    process::{ChildStdout, Command},
    time::timeout,
};

/// `SIGTERM`, which both the host and Spin take as a request to finish what is in flight.
const TERMINATE: i32 = 15;

/// A command whose process gets `signal` (a name such as `TERM`) when the process that started it is killed.
///
/// Linux's `setpriv` does that; without it on the `PATH`, a killed parent leaves the process behind.
pub fn tethered(program: impl AsRef<OsStr>, signal: &str) -> std::process::Command {
    match which::which("setpriv") {
        Ok(setpriv) => {
            let mut command = std::process::Command::new(setpriv);
            command.args(["--pdeathsig", signal, "--"]).arg(program);
            command
        }
        Err(_) => std::process::Command::new(program),
    }
}

/// A running server and the processes below it, in a process group that a terminal's Ctrl-C does not reach.
///
/// Spin serves in a process below the one that was started; both end together. When this is dropped, the process is
/// killed.
pub struct ServerProcess(Box<dyn ChildWrapper>);

impl ServerProcess {
    /// Starts the program with the arguments, environment and streams that `set_up` gives it.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(program: impl AsRef<OsStr>, set_up: impl FnOnce(&mut Command)) -> anyhow::Result<Self> {
        let program = program.as_ref();
        let mut command = Command::from(tethered(program, "TERM"));
        set_up(&mut command);
        let process = CommandWrap::from(command)
            .wrap(KillOnDrop)
            .wrap(ProcessGroup::leader())
            .spawn();
        Ok(Self(
            process.with_context(|| format!("cannot start {}", program.display()))?,
        ))
    }

    /// The process id; `None` after the process has ended.
    pub fn id(&self) -> Option<u32> {
        self.0.id()
    }

    /// Takes the standard output, where `set_up` made it a pipe.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.0.stdout().take()
    }

    /// The exit status, if the server has ended.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn try_wait(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }

    /// Waits until the server ends by itself.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub async fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        Ok(self.0.wait().await?)
    }

    /// Asks the server to end, and kills it when it has not ended within the limit.
    ///
    /// # Errors
    /// When the server had to be killed.
    pub async fn stop(mut self, limit: Duration) -> anyhow::Result<()> {
        // A server that has just ended by itself takes no signal.
        if self.0.try_wait()?.is_none() && self.0.signal(TERMINATE).is_ok() {
            let Ok(status) = timeout(limit, self.0.wait()).await else {
                self.0.start_kill()?;
                self.0.wait().await?;
                anyhow::bail!("the server did not stop within {} s and was killed", limit.as_secs());
            };
            status?;
        }
        Ok(())
    }
}
