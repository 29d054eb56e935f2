//! What a gateway has at hand while it answers: the time, ids, its earlier answers, and the way to send events.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{event::Event, request::Asked};

/// Status and body.
pub(crate) type Answer = (u16, Value);

/// The number of delivered events that can be sent again.
const DELIVERED: usize = 200;

/// What all gateways share.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Desk {
    /// By how much the clock is ahead of the real one.
    ahead_seconds: i64,
    /// The last id that was given away.
    serial: u64,
    /// The fewest characters of an id.
    #[serde(default)]
    pub(crate) id_chars: usize,
    /// What was answered to each key, until when.
    answered: HashMap<String, (DateTime<Utc>, Answer)>,
    /// What has not been delivered.
    pub(crate) events: Vec<Event>,
    /// What was delivered last.
    delivered: VecDeque<Event>,
}

impl Desk {
    /// A desk whose ids begin at the milliseconds of the clock.
    pub(crate) fn begun_now() -> Self {
        Self {
            serial: Utc::now().timestamp_millis().unsigned_abs(),
            ..Self::default()
        }
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        Utc::now() + TimeDelta::seconds(self.ahead_seconds)
    }

    pub(crate) fn advance(&mut self, seconds: i64) {
        self.ahead_seconds += seconds;
    }

    /// An id that was not given away before.
    pub(crate) fn id(&mut self, prefix: &str) -> String {
        self.serial += 1;
        let id = format!("{prefix}{:06}", self.serial);
        format!("{id:_<0$}", self.id_chars)
    }

    /// Takes the events that are to be delivered.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        let events = std::mem::take(&mut self.events);
        self.delivered.extend(events.iter().cloned());
        let old = self.delivered.len().saturating_sub(DELIVERED);
        self.delivered.drain(..old);
        events
    }

    /// Sends the events again that name this payment.
    pub(crate) fn resend(&mut self, reference: &str) {
        let again = self.delivered.iter().filter(|event| event.body.contains(reference));
        self.events.extend(again.cloned().collect::<Vec<_>>());
    }

    /// Answers a request as before, if its key is known. A key belongs to a method and a path; the body is not compared.
    pub(crate) fn replay(&self, asked: &Asked) -> Option<Answer> {
        let (until, answer) = self.answered.get(&scope(asked)?)?;
        (*until > self.now()).then(|| answer.clone())
    }

    /// Keeps an answer for the request's key: refusals too, as gateways do.
    pub(crate) fn keep(&mut self, asked: &Asked, hours: i64, answer: &Answer) {
        if let Some(scope) = scope(asked) {
            let until = self.now() + TimeDelta::hours(hours);
            self.answered.insert(scope, (until, answer.clone()));
        }
    }
}

fn scope(asked: &Asked) -> Option<String> {
    let key = asked.header("idempotency-key")?;
    Some(format!("{} {key}", asked.line()))
}
