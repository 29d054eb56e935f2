//! A server that leaves commands without a reply: found by one command, not by each.
//!
//! Every instance of the component waits for itself until it takes Redis for gone. The host sees all of them, so the
//! others need not wait: until a probe is answered, commands fail at once.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::sync::lock;

/// A command that is given up earlier says nothing about the server: its client went away.
const SILENT_AFTER: Duration = Duration::from_millis(100);
/// The time between two probes. An earlier one may still wait on a connection that the network dropped.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// Whether a server is silent.
#[derive(Default)]
pub(super) struct Silence(Mutex<State>);

#[derive(Default)]
struct State {
    silent: bool,
    probed: Option<Instant>,
}

/// What a command finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The server answers, as far as is known.
    Answers,
    /// It does not, and this command is to start a probe.
    Probe,
    /// It does not, and a probe is on its way.
    Silent,
}

/// Takes the server for silent when dropped without an answer, unless that was soon.
pub(super) struct Watch {
    silence: Arc<Silence>,
    begun: Instant,
    answered: bool,
}

impl Watch {
    pub(super) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.answered && self.begun.elapsed() >= SILENT_AFTER {
            self.silence.begin();
        }
    }
}

impl Silence {
    pub(super) fn watch(self: &Arc<Self>) -> Watch {
        Watch {
            silence: self.clone(),
            begun: Instant::now(),
            answered: false,
        }
    }

    fn begin(&self) {
        lock(&self.0).silent = true;
    }

    pub(super) fn end(&self) {
        *lock(&self.0) = State::default();
    }

    pub(super) fn find(&self, now: Instant) -> Finding {
        let mut state = lock(&self.0);
        if !state.silent {
            return Finding::Answers;
        }
        if state.probed.is_some_and(|probed| now < probed + PROBE_EVERY) {
            return Finding::Silent;
        }
        state.probed = Some(now);
        Finding::Probe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_server_is_probed_once_in_a_while() {
        let (silence, now) = (Silence::default(), Instant::now());
        assert_eq!(silence.find(now), Finding::Answers);
        silence.begin();
        assert_eq!(silence.find(now), Finding::Probe);
        assert_eq!(silence.find(now), Finding::Silent);
        assert_eq!(silence.find(now + PROBE_EVERY), Finding::Probe);
        silence.end();
        assert_eq!(silence.find(now), Finding::Answers);
    }
}
