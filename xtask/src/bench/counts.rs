//! What the exact count costs of a list, and of a search that nobody has asked for.

use std::time::Instant;

use anyhow::{Context, ensure};
use tokio_postgres::Client;

use super::{
    report::{Kept, median},
    requests::FREQUENT_AND_AVAILABLE,
    target::Target,
};

/// Milliseconds for any answer at all.
const ANSWER_MS: f64 = 1_000.0;

/// The part of its request that a count may take.
const PART: f64 = 0.2;

/// How often each statement is asked.
const TIMES: i32 = 2_000;

/// Times the count and the whole list inside of the server, where nothing else adds to either.
///
/// # Errors
/// When the database refuses.
pub async fn counts(database: &Client, user: i64) -> anyhow::Result<Vec<Kept>> {
    database
        .batch_execute(
            "create or replace function pg_temp.micros(p_statement text, p_times integer) returns float8
             language plpgsql as $$
             declare
                 begun timestamptz;
             begin
                 for round in 1..2 loop -- the first fills caches and plans
                     begun := clock_timestamp();
                     execute format('do $do$ begin for i in 1..%s loop perform %s; end loop; end $do$',
                                    p_times, p_statement);
                 end loop;
                 return extract(epoch from clock_timestamp() - begun) * 1e6 / p_times;
             end $$",
        )
        .await?;
    let mut kept = Vec::new();
    for (what, count, available) in [
        ("of the list", "sugang.tally_total('test')", false),
        ("of what is available", "sugang.test_available(now())", true),
    ] {
        let list = format!("sugang.list_test({user}, 1, {available}, null, false)");
        let time = async |statement: &str| {
            let row = database
                .query_one("select pg_temp.micros($1, $2)", &[&statement, &TIMES])
                .await?;
            Ok::<f64, tokio_postgres::Error>(row.get(0))
        };
        let (whole, count) = (time(&list).await?, time(count).await?);
        kept.push(Kept {
            what: format!("exact count {what}"),
            bound: format!("≤ {PART} of its request"),
            measured: format!("{:.2} ({count:.0} of {whole:.0} µs)", count / whole),
            kept: count <= PART * whole,
        });
    }
    Ok(kept)
}

/// Asks for a frequent word when nobody knows how many rows have it, and when what is known is too old to be shown.
///
/// # Errors
/// When it is not answered as it should be.
pub async fn searches(served: &mut Target, database: &Client) -> anyhow::Result<Vec<Kept>> {
    let mut kept = Vec::new();
    for (whom, forget) in [
        ("for the first time", "delete from sugang.search_counts"),
        (
            "that nobody has asked for in an hour",
            "update sugang.search_counts set counted_at = counted_at - interval '1 h', moment = moment - interval '1 h'",
        ),
    ] {
        let worker = served.workers.first_mut().context("nobody asks")?;
        let mut took = Vec::new();
        for _ in 0..5 {
            database.batch_execute(forget).await?;
            let ask = (FREQUENT_AND_AVAILABLE.ask)(&mut worker.state).context("there is nothing to ask")?;
            let begun = Instant::now();
            let reply = worker.send(&ask).await?;
            took.push(begun.elapsed().as_secs_f64() * 1e3);
            ensure!(reply.ok, "{} {}: {}", ask.path, reply.status, reply.text());
        }
        let median = median(took).context("nobody asked")?;
        kept.push(Kept {
            what: format!("available, with a frequent word, {whom}"),
            bound: format!("≤ {ANSWER_MS} ms"),
            measured: format!("{median:.1} ms"),
            kept: median <= ANSWER_MS,
        });
    }
    Ok(kept)
}
