//! Commands to the supervisor, one a line, with which tests cause faults.

use std::str::FromStr;

use anyhow::{Context, bail};
use serde::Serialize;

/// A store and what to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    pub store: Store,
    pub action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    Postgres,
    Redis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// An orderly end.
    Stop,
    /// An end at once, as after a crash.
    Kill,
    Start,
    Freeze,
    Thaw,
}

/// The line that answers a command.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    Done(String),
    Failed(String),
}

impl FromStr for Command {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Self> {
        let (store, action) = line
            .trim()
            .split_once(' ')
            .context("a command is a store and an action")?;
        let store = match store {
            "postgres" => Store::Postgres,
            "redis" => Store::Redis,
            other => bail!("no such store: {other}"),
        };
        let action = match action {
            "stop" => Action::Stop,
            "kill" => Action::Kill,
            "start" => Action::Start,
            "freeze" => Action::Freeze,
            "thaw" => Action::Thaw,
            other => bail!("no such action: {other}"),
        };
        Ok(Self { store, action })
    }
}
