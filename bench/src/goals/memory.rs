//! The host's memory under a long load.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::{catalogue::MIXED, goal::Goal, load::phase, target::Target};

/// Bytes of memory under the mixed load.
const MEMORY: u64 = 150_000_000;

/// Growth from the first half to the second that still counts as flat: an allocator's reserve varies a little.
const FLAT: f64 = 1.1;

const SAMPLE: Duration = Duration::from_secs(5);

/// Keeps the host under the mixed load and samples its memory.
///
/// # Errors
/// When a response is not as expected.
pub(crate) async fn soak(target: &mut Target, duration: Duration) -> anyhow::Result<Goal> {
    let begun = Instant::now();
    let mut samples = Vec::new();
    while begun.elapsed() < duration {
        let left = duration.saturating_sub(begun.elapsed()).min(SAMPLE);
        let figures = phase(target, &MIXED, left).await?.context("the limit has no memory")?;
        ensure!(figures.errors.is_empty(), "{}", figures.errors.join("\n"));
        let server = target.server.as_ref().context("the bench did not start this server")?;
        samples.push(server.memory()?);
    }
    // The first tenth fills pools and caches.
    let settled = samples.get(samples.len() / 10..).unwrap_or_default();
    let (early, late) = settled.split_at(settled.len() / 2);
    let highest = |samples: &[u64]| samples.iter().copied().max().unwrap_or_default();
    let (early, late, all) = (highest(early), highest(late), highest(&samples));
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    Ok(Goal {
        what: format!("memory under {} s of the mixed load", duration.as_secs()),
        bound: format!("≤ {} MB, flat", MEMORY / 1_000_000),
        measured: format!(
            "at most {:.0} MB in the first half, {:.0} MB in the second",
            megabytes(early),
            megabytes(late)
        ),
        is_reached: all <= MEMORY && late as f64 <= early as f64 * FLAT,
    })
}
