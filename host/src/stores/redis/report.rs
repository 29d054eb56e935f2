//! Failures of Redis in the log: one line a minute while they last, and one when they have ended.
//!
//! Every instance of the component notices them by itself, and instances come and go; the host sees all of them.

use std::{
    collections::BTreeSet,
    fmt::Display,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{log, sync::lock};

const EVERY: Duration = Duration::from_secs(60);
/// The most commands that are told apart. A component chooses their names.
const MAX_COMMANDS: usize = 16;

/// What fails now.
#[derive(Default)]
pub(super) struct Report {
    /// Whether `state` has to be asked, so that a success costs nothing while nothing fails.
    failing: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The commands that failed when they were last sent.
    commands: BTreeSet<String>,
    since: Option<Instant>,
    logged: Option<Instant>,
    /// Whether the failures that last have been logged.
    announced: bool,
}

/// A command, or the opening of a connection, whose end is not known yet.
pub(super) struct Attempt<'a> {
    report: &'a Report,
    command: &'a str,
    ended: bool,
}

impl Report {
    pub(super) fn attempt<'a>(&'a self, command: &'a str) -> Attempt<'a> {
        Attempt {
            report: self,
            command,
            ended: false,
        }
    }

    fn failed(&self, command: &str, cause: &dyn Display) {
        let cause = cause.to_string();
        if lock(&self.state).failed(command, Instant::now()) {
            log::write("warn", "redis_degraded", json!({ "command": command, "cause": cause }));
        }
        self.failing.store(true, Relaxed);
    }

    fn succeeded(&self, command: &str) {
        if !self.failing.load(Relaxed) {
            return;
        }
        let mut state = lock(&self.state);
        if let Some(lasted) = state.succeeded(command, Instant::now()) {
            log::write("info", "redis_recovered", json!({ "after_s": lasted.as_secs() }));
        }
        self.failing.store(!state.commands.is_empty(), Relaxed);
    }
}

impl State {
    /// Returns whether the failure is to be logged.
    fn failed(&mut self, command: &str, now: Instant) -> bool {
        if self.commands.len() < MAX_COMMANDS {
            self.commands.insert(command.to_ascii_uppercase());
        }
        self.since.get_or_insert(now);
        if self.logged.is_some_and(|logged| now < logged + EVERY) {
            return false;
        }
        self.logged = Some(now);
        self.announced = true;
        true
    }

    /// Returns how long the failures lasted, if this success ends some that were logged.
    fn succeeded(&mut self, command: &str, now: Instant) -> Option<Duration> {
        self.commands.remove(&command.to_ascii_uppercase());
        if !self.commands.is_empty() {
            return None;
        }
        let since = self.since.take()?;
        std::mem::take(&mut self.announced).then(|| now - since)
    }
}

impl Attempt<'_> {
    /// Notes how the attempt ended, and returns that.
    pub(super) fn ended<T, E: Display>(mut self, outcome: Result<T, E>) -> Result<T, E> {
        self.ended = true;
        match &outcome {
            Ok(_) => self.report.succeeded(self.command),
            Err(error) => self.report.failed(self.command, error),
        }
        outcome
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.report
                .failed(self.command, &"the component stopped waiting for the reply");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_logged_once_a_minute_and_their_end_once() {
        let (mut state, begun) = (State::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        let logged: Vec<_> = (0..180).filter(|second| state.failed("EVAL", at(*second))).collect();
        assert_eq!(logged, [0, 60, 120]);
        assert_eq!(state.succeeded("SET", at(181)), None, "EVAL still fails");
        assert_eq!(state.succeeded("eval", at(182)), Some(Duration::from_secs(182)));
        assert_eq!(state.succeeded("EVAL", at(183)), None);
    }

    #[test]
    fn what_comes_and_goes_is_no_line_each_time() {
        let (mut state, begun) = (State::default(), Instant::now());
        let mut lines = 0;
        for second in 0..120 {
            let now = begun + Duration::from_secs(second);
            lines += u32::from(state.failed("EVAL", now));
            lines += u32::from(state.succeeded("EVAL", now).is_some());
        }
        assert_eq!(lines, 4, "two of failures and two of their end");
    }

    #[test]
    fn the_number_of_commands_is_bounded() {
        let mut state = State::default();
        for number in 0..100 {
            state.failed(&number.to_string(), Instant::now());
        }
        assert_eq!(state.commands.len(), MAX_COMMANDS);
    }
}
