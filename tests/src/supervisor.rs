use std::{
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context, ensure};
use serde_json::Value;
use url::Url;

/// Stores that `cargo xtask stores` supervises; they end when this is dropped or this process ends, however it ends.
pub struct Supervisor {
    process: Child,
    responses: BufReader<ChildStdout>,
    pub(crate) stores: Addresses,
}

/// The URLs of both stores.
#[derive(Clone)]
pub(crate) struct Addresses {
    pub database_url: Url,
    pub redis_url: Url,
}

/// The developer's commands: the program that runs the tests, or where the tests run by themselves, `cargo xtask`.
pub fn xtask() -> Command {
    match std::env::var_os("SUGANG_TEST_XTASK") {
        Some(program) => Command::new(program),
        None => {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
            let mut command = Command::new(cargo);
            let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
            command.args([
                "run",
                "--quiet",
                "--release",
                "--manifest-path",
                manifest,
                "--package",
                "xtask",
                "--",
            ]);
            command
        }
    }
}

impl Supervisor {
    /// Starts stores of one test's own, so that the test may break them.
    ///
    /// # Errors
    /// When there are neither containers nor programs to start.
    pub fn of_own_stores() -> anyhow::Result<Self> {
        // External stores are not the test's to break.
        Self::start(|command| command.env_remove("DATABASE_URL").env_remove("REDIS_URL"))
    }

    pub(crate) fn start(set_up: impl FnOnce(&mut Command) -> &mut Command) -> anyhow::Result<Self> {
        let mut process = set_up(xtask().arg("stores"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run `cargo xtask stores`")?;
        let mut responses = BufReader::new(process.stdout.take().context("its output is a pipe")?);
        let mut line = String::new();
        responses.read_line(&mut line)?;
        let ready: Value =
            serde_json::from_str(&line).context("`cargo xtask stores` found no stores; its own message says why")?;
        let url = |name: &str| {
            let url = ready[name].as_str().unwrap_or_default();
            url.parse().with_context(|| format!("the supervisor prints no {name}"))
        };
        let stores = Addresses {
            database_url: url("database_url")?,
            redis_url: url("redis_url")?,
        };
        Ok(Self {
            process,
            responses,
            stores,
        })
    }

    /// Sends a command and waits until it is done: `postgres` or `redis`, then `stop` (orderly), `kill` (at once, as a
    /// crash), `start`, `freeze` or `thaw`.
    ///
    /// # Panics
    /// When the supervisor fails to do it.
    pub fn command(&mut self, command: &str) {
        self.send(command)
            .unwrap_or_else(|error| panic!("{command}: {error:?}"));
    }

    fn send(&mut self, command: &str) -> anyhow::Result<()> {
        writeln!(self.process.stdin.as_mut().context("its input is a pipe")?, "{command}")?;
        let mut response = String::new();
        self.responses.read_line(&mut response)?;
        ensure!(response.contains("\"done\""), "the supervisor answers {response}");
        Ok(())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // The supervisor ends when its input does.
        drop(self.process.stdin.take());
        self.process.wait().ok();
    }
}
