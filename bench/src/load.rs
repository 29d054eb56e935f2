//! The load: all workers of a target send requests of one scenario for some time.

use std::time::{Duration, Instant};

use console::style;
use tokio::task::JoinSet;

use crate::{catalogue::Scenario, target::Target, worker::Worker};

/// What one target did in one phase.
#[derive(Default)]
pub(crate) struct Figures {
    /// The latency of each measured request, sorted.
    pub micros: Vec<u32>,
    /// Responses that were not as expected.
    pub errors: Vec<String>,
    pub elapsed: Duration,
    /// CPU time of the target's process.
    pub cpu: Option<Duration>,
}

impl Figures {
    /// Requests per second.
    pub fn rate(&self) -> f64 {
        self.micros.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// Milliseconds at this percentile, given as a fraction.
    pub fn percentile(&self, fraction: f64) -> f64 {
        let last = self.micros.len().saturating_sub(1);
        let at = (last as f64 * fraction).round() as usize;
        self.micros.get(at).map_or(0.0, |micros| f64::from(*micros) / 1000.0)
    }

    /// Microseconds of CPU time for one request; 0 where they are unknown.
    pub fn cpu_micros(&self) -> f64 {
        self.cpu
            .map_or(0.0, |cpu| cpu.as_secs_f64() * 1e6 / self.micros.len().max(1) as f64)
    }
}

/// Sends requests of one scenario for this long; `None` where the target does not support it.
///
/// Each worker first sends one that is not measured: a busy service knows the count of a search, since it was asked for
/// in the last seconds. What the first search costs is a goal of its own.
pub(crate) async fn phase(
    target: &mut Target,
    scenario: &'static Scenario,
    duration: Duration,
) -> anyhow::Result<Option<Figures>> {
    if !target.supports(scenario) {
        return Ok(None);
    }
    let first = send_all(target, scenario, Duration::ZERO).await?;
    let cpu = target.cpu()?;
    let mut figures = send_all(target, scenario, duration).await?;
    figures.cpu = target
        .cpu()?
        .zip(cpu)
        .map(|(after, before)| after.saturating_sub(before));
    figures.errors.extend(first.errors);
    for error in figures.errors.iter().take(3) {
        let label = style("error:").red().bold().for_stderr();
        eprintln!("{label} {}, {}: {error}", target.name, scenario.name);
    }
    Ok(Some(figures))
}

/// Has all workers send at once, for this long and one request at least.
async fn send_all(target: &mut Target, scenario: &'static Scenario, duration: Duration) -> anyhow::Result<Figures> {
    let started = Instant::now();
    let mut working = JoinSet::new();
    for worker in target.workers.drain(..) {
        working.spawn(work(worker, scenario, started + duration));
    }
    let mut figures = Figures::default();
    while let Some(done) = working.join_next().await {
        let (worker, micros, errors) = done??;
        target.workers.push(worker);
        figures.micros.extend(micros);
        figures.errors.extend(errors);
    }
    figures.elapsed = started.elapsed();
    figures.micros.sort_unstable();
    Ok(figures)
}

async fn work(
    mut worker: Worker,
    scenario: &'static Scenario,
    until: Instant,
) -> anyhow::Result<(Worker, Vec<u32>, Vec<String>)> {
    let (mut micros, mut errors) = (Vec::new(), Vec::new());
    while let Some(request) = (scenario.next)(&mut worker.state) {
        let sent = Instant::now();
        let reply = worker.send(&request).await;
        if request.is_measured {
            micros.push(u32::try_from(sent.elapsed().as_micros())?);
        }
        let error = match reply {
            Ok(reply) if reply.is_ok => {
                worker.state.learn(&request, &reply.body)?;
                None
            }
            Ok(reply) => Some(format!("{} {}", reply.status, reply.text())),
            Err(error) => {
                worker.reconnect().await?;
                Some(format!("{error:#}"))
            }
        };
        errors.extend(error.map(|error| format!("{} {}: {error}", request.method, request.path)));
        if Instant::now() >= until {
            break;
        }
    }
    Ok((worker, micros, errors))
}
