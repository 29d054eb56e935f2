//! What a long migration is doing, on standard error.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

/// A step that takes longer than this is shown, and again each time it has passed.
const INTERVAL: Duration = Duration::from_secs(2);

/// Shows the step at work, once it takes long. Ends when it is dropped.
pub(crate) struct Progress {
    step: Arc<Mutex<String>>,
    ticker: Option<JoinHandle<()>>,
}

impl Progress {
    /// Shows nothing when `visible` is false.
    pub(crate) fn start(visible: bool) -> Self {
        let step = Arc::<Mutex<String>>::default();
        let ticker = visible.then(|| tokio::spawn(tick(Arc::clone(&step))));
        Self { step, ticker }
    }

    /// Begins a step.
    pub(crate) fn step(&self, label: String) {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = label;
    }
}

async fn tick(step: Arc<Mutex<String>>) {
    let started = Instant::now();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let label = step.lock().unwrap_or_else(PoisonError::into_inner).clone();
        eprintln!("    {:3.0} s  {label}", started.elapsed().as_secs_f32());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(ticker) = &self.ticker {
            ticker.abort();
        }
    }
}
