//! What a long migration is doing, on standard error.

use std::{
    io,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sugang_output::Queue;
use tokio::task::JoinHandle;

/// A step that takes longer than this is shown, and again each time it has passed.
const INTERVAL: Duration = Duration::from_secs(2);

/// How long a command waits for the reader of its progress, once at its end.
const FLUSH: Duration = Duration::from_millis(200);

/// Standard error. A transaction with its locks must not wait for a reader.
static LINES: LazyLock<Option<Queue>> = LazyLock::new(|| {
    let stderr = sugang_output::handle(&io::stderr()).ok()?;
    Some(Queue::start(stderr, 1 << 16, |lost| {
        format!("    ({lost} lines were dropped)\n")
    }))
});

/// Shows the step at work, once it takes long. Ends when it is dropped.
pub(crate) struct Progress {
    started: Instant,
    step: Arc<Mutex<String>>,
    ticker: Option<JoinHandle<()>>,
}

impl Progress {
    /// Shows nothing when `visible` is false.
    pub(crate) fn start(visible: bool) -> Self {
        let step = Arc::<Mutex<String>>::default();
        let ticker = visible.then(|| tokio::spawn(tick(Arc::clone(&step))));
        Self {
            started: Instant::now(),
            step,
            ticker,
        }
    }

    /// Says something at once.
    pub(crate) fn say(&self, line: &str) {
        if self.ticker.is_some() {
            write(self.started, line);
        }
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
        write(started, &label);
    }
}

fn write(started: Instant, line: &str) {
    if let Some(lines) = &*LINES {
        lines.push(format!("    {:3.0} s  {line}\n", started.elapsed().as_secs_f32()).as_bytes());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(ticker) = &self.ticker {
            ticker.abort();
            // What was said stands before the report.
            if let Some(lines) = &*LINES {
                lines.flush(FLUSH);
            }
        }
    }
}
