//! What all connections of a stand-in share.

use std::{
    fs, io,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    books::Books,
    event::Event,
    plan::{Deliveries, Plan, Plans},
    request::Asked,
};

/// What all connections share.
pub(crate) struct Shared(Mutex<State>);

struct State {
    books: Books,
    plans: Plans,
    lines: Vec<String>,
    journal: Option<PathBuf>,
    deliveries: Deliveries,
    /// The address of the service.
    service: Option<String>,
}

impl Shared {
    pub(crate) fn new(books: Books, journal: Option<PathBuf>, service: Option<String>) -> Self {
        Self(Mutex::new(State {
            books,
            plans: Plans::default(),
            lines: Vec::new(),
            journal,
            deliveries: Deliveries::default(),
            service,
        }))
    }

    /// The address of the service.
    pub(crate) fn service(&self) -> Option<String> {
        self.lock().service.clone()
    }

    pub(crate) fn set_service(&self, service: &str) {
        self.lock().service = Some(service.to_owned());
    }

    /// Takes the events that are to be delivered.
    pub(crate) fn take_events(&self) -> Vec<Event> {
        // Its own statement: a lock in the head of a `match` would be held while `change` waits for it.
        let is_empty = self.lock().books.desk.events.is_empty();
        if is_empty {
            return Vec::new();
        }
        self.change(|books| books.desk.take_events())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads or changes the books, which are in the journal before anything is answered.
    pub(crate) fn change<T>(&self, work: impl FnOnce(&mut Books) -> T) -> T {
        let mut state = self.lock();
        let done = work(&mut state.books);
        if let Some(journal) = &state.journal {
            let kept = serde_json::to_vec(&state.books)
                .map_err(io::Error::from)
                .and_then(|text| {
                    let next = journal.with_extension("next");
                    fs::write(&next, text)?;
                    fs::rename(next, journal)
                });
            kept.unwrap_or_else(|error| panic!("the journal cannot be written: {error}"));
        }
        done
    }

    /// Plans a call that is yet to come.
    pub(crate) fn plan(&self, line: &str, plan: Plan) {
        self.lock().plans.push(line, plan);
    }

    /// Plans all calls that nothing else is planned for.
    pub(crate) fn plan_all(&self, plan: Option<Plan>) {
        self.lock().plans.set_others(plan);
    }

    /// Takes the calls that have come.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().lines)
    }

    /// Notes a call, and takes its plan.
    pub(crate) fn note(&self, asked: &Asked) -> Option<Plan> {
        let mut state = self.lock();
        let line = asked.line();
        let plan = state.plans.take(&line);
        state.lines.push(line);
        plan
    }

    /// Lets things go wrong at random from now on, also those that the gateway sends: in `percent` of all cases, with delays
    /// of up to `millis`. With 0 percent, nothing does.
    pub(crate) fn set_chaos(&self, seed: u64, percent: u8, millis: u64) {
        let mut state = self.lock();
        state.plans.set_chaos(seed, percent, millis);
        state.deliveries = Deliveries::new(seed, percent, millis);
    }

    /// When each copy of an event is to be delivered, in milliseconds from now.
    pub(crate) fn delays(&self) -> Vec<u64> {
        self.lock().deliveries.draw()
    }
}
