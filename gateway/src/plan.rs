//! What becomes of a call, and of an event.

use std::collections::VecDeque;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Plan {
    /// The connection ends, and nothing is done.
    LoseRequest,
    /// What is asked for is done, and the connection ends.
    LoseAnswer,
    /// The answer is 500, and nothing is done.
    FailBefore,
    /// What is asked for is done, and the answer is 500.
    FailAfter,
    /// The answer is 409: an earlier call with the key is said to be under way. Nothing is done.
    Conflict,
    /// What is asked for is done at once, and answered this many milliseconds later.
    AnswerLate(u64),
    /// The call arrives late: what is asked for is done after this many milliseconds, and then answered.
    ArriveLate(u64),
    /// What is asked for is done, and the second half of the answer follows this many milliseconds later.
    SlowBody(u64),
    /// What is asked for is done, and the answer cannot be read.
    Garbage,
}

impl Plan {
    /// Whether what is asked for is done.
    pub(crate) fn executes(self) -> bool {
        !matches!(self, Self::LoseRequest | Self::FailBefore | Self::Conflict)
    }
}

/// The plans of calls that are yet to come.
#[derive(Default)]
pub(crate) struct Plans {
    /// By the beginning of their lines.
    queue: VecDeque<(String, Plan)>,
    /// Of all other calls.
    others: Option<Plan>,
    chaos: Option<Chaos>,
}

/// Plans at random for calls that nothing was planned for.
struct Chaos {
    rng: Rng,
    /// Of a hundred calls, those that something happens to.
    percent: u8,
    /// The longest delay.
    millis: u64,
}

impl Plans {
    pub(crate) fn push(&mut self, line: &str, plan: Plan) {
        self.queue.push_back((line.to_owned(), plan));
    }

    pub(crate) fn set_others(&mut self, plan: Option<Plan>) {
        self.others = plan;
    }

    pub(crate) fn set_chaos(&mut self, seed: u64, percent: u8, millis: u64) {
        let rng = Rng::with_seed(seed);
        self.chaos = Some(Chaos { rng, percent, millis });
    }

    /// Takes the plan of a call.
    pub(crate) fn take(&mut self, line: &str) -> Option<Plan> {
        let planned = self.queue.iter().position(|(begin, _)| line.starts_with(begin));
        match planned.and_then(|index| self.queue.remove(index)) {
            Some((_, plan)) => Some(plan),
            None => self.others.or_else(|| self.chaos.as_mut()?.draw()),
        }
    }
}

impl Chaos {
    fn draw(&mut self) -> Option<Plan> {
        if self.rng.u8(..100) >= self.percent {
            return None;
        }
        let millis = self.rng.u64(..=self.millis);
        self.rng.choice([
            Plan::LoseRequest,
            Plan::LoseAnswer,
            Plan::FailBefore,
            Plan::FailAfter,
            Plan::Conflict,
            Plan::AnswerLate(millis),
            Plan::ArriveLate(millis),
            Plan::SlowBody(millis),
            Plan::Garbage,
        ])
    }
}

/// The most copies of an event: a gateway that has got no answer sends it again.
const MAX_COPIES: usize = 7;

/// How events reach the service: at once, or at random.
#[derive(Default)]
pub(crate) struct Deliveries {
    rng: Rng,
    percent: u8,
    millis: u64,
}

impl Deliveries {
    pub(crate) fn new(seed: u64, percent: u8, millis: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            percent,
            millis,
        }
    }

    /// When each copy of an event is delivered, in milliseconds from now.
    pub(crate) fn draw(&mut self) -> Vec<u64> {
        if self.rng.u8(..100) >= self.percent {
            return vec![0];
        }
        let copies = self.rng.usize(..=MAX_COPIES);
        (0..copies).map(|_| self.rng.u64(..=self.millis)).collect()
    }
}
