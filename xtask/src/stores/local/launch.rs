//! How a program of the stores is started, and started again.

use std::{
    fs,
    io::Write,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::Context;
use sugang_bench::process::tethered;

use super::account::Account;

/// Lines of the log in an error message.
const LOG_LINES: usize = 10;

/// A program with its arguments, standard input, account and log.
pub struct Launch {
    pub program: PathBuf,
    arguments: Vec<String>,
    pub stdin: String,
    account: Option<Account>,
    log: PathBuf,
}

impl Launch {
    pub fn new(program: PathBuf, account: Option<Account>, log: PathBuf) -> Self {
        Self {
            program,
            arguments: Vec::new(),
            stdin: String::new(),
            account,
            log,
        }
    }

    /// Adds arguments.
    pub fn arguments(&mut self, arguments: impl IntoIterator<Item = impl Into<String>>) {
        self.arguments.extend(arguments.into_iter().map(Into::into));
    }

    /// The command, with an empty standard input.
    pub fn command(&self) -> anyhow::Result<Command> {
        let mut command = tethered(&self.program, "QUIT");
        if let Some(account) = &self.account {
            command.uid(account.uid()).gid(account.gid());
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("cannot write {}", self.log.display()))?;
        // A folder that the account can read, and a process group that Ctrl-C does not reach.
        command.current_dir("/").process_group(0).stdin(Stdio::null());
        command.args(&self.arguments).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }

    /// Starts the program and writes its standard input.
    pub fn spawn(&self) -> anyhow::Result<Child> {
        let mut process = self
            .command()?
            .stdin(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        if let Some(mut stdin) = process.stdin.take() {
            stdin.write_all(self.stdin.as_bytes())?;
        }
        Ok(process)
    }

    /// The end of the log, for an error message.
    pub fn end_of_log(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}
