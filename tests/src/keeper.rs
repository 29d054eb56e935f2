use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context, ensure};
use serde_json::Value;
use url::Url;

/// Stores that `cargo xtask stores` started, and stops when this is dropped or this process ends, however it ends.
pub struct Keeper {
    process: Child,
    answers: BufReader<ChildStdout>,
    pub(crate) stores: Addresses,
}

/// Where the stores are.
#[derive(Clone)]
pub(crate) struct Addresses {
    pub database_url: Url,
    pub redis_url: Url,
}

impl Keeper {
    /// Starts stores that nobody else uses, so that they may be broken.
    ///
    /// # Errors
    /// When there are neither containers nor programs to start.
    pub fn of_own_stores() -> anyhow::Result<Self> {
        // Those of somebody else are not ours to break.
        Self::start(|command| command.env_remove("DATABASE_URL").env_remove("REDIS_URL"))
    }

    pub(crate) fn start(set_up: impl FnOnce(&mut Command) -> &mut Command) -> anyhow::Result<Self> {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut process = set_up(Command::new(cargo).args(["xtask", "stores"]))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run `cargo xtask stores`")?;
        let mut answers = BufReader::new(process.stdout.take().context("its output is a pipe")?);
        let mut line = String::new();
        answers.read_line(&mut line)?;
        let ready: Value =
            serde_json::from_str(&line).context("`cargo xtask stores` found no stores; its own message tells why")?;
        let url = |name: &str| {
            ready[name]
                .as_str()
                .unwrap_or_default()
                .parse()
                .context("the keeper names no address")
        };
        let stores = Addresses {
            database_url: url("database_url")?,
            redis_url: url("redis_url")?,
        };
        Ok(Self {
            process,
            answers,
            stores,
        })
    }

    /// Gives the keeper an order and waits until it is done: `postgres` or `redis`, then `stop` (orderly), `kill` (at
    /// once, as a crash), `start`, `freeze` or `thaw`.
    ///
    /// # Panics
    /// When the keeper cannot do that.
    pub fn order(&mut self, order: &str) {
        self.obey(order).unwrap_or_else(|error| panic!("{order}: {error:?}"));
    }

    fn obey(&mut self, order: &str) -> anyhow::Result<()> {
        writeln!(self.process.stdin.as_mut().context("its input is a pipe")?, "{order}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        ensure!(answer.contains("\"done\""), "the keeper says {answer}");
        Ok(())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // It ends when its input does.
        drop(self.process.stdin.take());
        self.process.wait().ok();
    }
}
