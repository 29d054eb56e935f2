//! An operator moves many periods while users register and cancel.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use tokio_postgres::Client;

use crate::{catalogue::CHANGES, goal::Goal, load::phase, target::Target};

/// Periods that one statement moves.
const PERIODS: i64 = 100_000;
/// Until they are moved.
const LIMIT: Duration = Duration::from_secs(10);
/// The fraction of their usual rate that changes keep meanwhile.
const FRACTION: f64 = 0.5;

/// How long changes are measured at a time.
const SAMPLE: Duration = Duration::from_secs(1);
/// Samples without an operator.
const SAMPLES: usize = 5;

/// Moves periods of exams that no user can register for now: the rows of the others belong to their registrations.
const MOVE: &str = "update tests set end_at = end_at + interval '1 hour'
    where id = any (array(select id from tests where end_at < now() or start_at > now() order by id limit $1))";

/// Moves the periods and compares the rate of changes with that before.
///
/// # Errors
/// When a response is not as expected, or the statement fails.
pub(crate) async fn periods(served: &mut Target, database: &Client) -> anyhow::Result<Vec<Goal>> {
    let mut usual = Vec::new();
    for _ in 0..SAMPLES {
        usual.push(sample(served).await?);
    }
    let ended = Cell::new(false);
    let operator = async {
        let begun = Instant::now();
        let moved = database
            .execute(MOVE, &[&PERIODS])
            .await
            .context("no period was moved")?;
        ended.set(true);
        anyhow::Ok((moved, begun.elapsed()))
    };
    let users = async {
        let mut rates = Vec::new();
        while !ended.get() {
            rates.push(sample(served).await?);
        }
        anyhow::Ok(rates)
    };
    let ((moved, took), meanwhile) = tokio::try_join!(operator, users)?;
    let mean = |rates: &[f64]| rates.iter().sum::<f64>() / rates.len().max(1) as f64;
    let (usual, meanwhile) = (mean(&usual), mean(&meanwhile));
    Ok(vec![
        Goal {
            what: format!("{moved} periods moved by one statement, under load"),
            bound: format!("≤ {} s", LIMIT.as_secs()),
            measured: format!("{:.1} s", took.as_secs_f64()),
            is_reached: took <= LIMIT,
        },
        Goal {
            what: "registrations and cancellations meanwhile".to_owned(),
            bound: format!("≥ {FRACTION} of their rate before"),
            measured: format!("{:.2} ({meanwhile:.0} of {usual:.0} a second)", meanwhile / usual),
            is_reached: meanwhile >= FRACTION * usual,
        },
    ])
}

/// Changes a second.
async fn sample(served: &mut Target) -> anyhow::Result<f64> {
    let figures = phase(served, &CHANGES, SAMPLE)
        .await?
        .context("the host takes changes")?;
    ensure!(figures.errors.is_empty(), "{}", figures.errors.join("\n"));
    Ok(figures.rate())
}
