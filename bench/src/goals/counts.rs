//! What the exact count costs a list, and a search whose count is not known yet.

use std::time::Instant;

use anyhow::{Context, ensure};
use futures::future::try_join;
use sugang_migrations::function_call;
use tokio_postgres::Client;

use crate::{
    catalogue::{FREQUENT_AND_AVAILABLE, NOT_ANOTHER, TWO_WORDS},
    goal::{Goal, median},
    postgres,
    target::Target,
};

/// Milliseconds that any response may take.
const RESPONSE_MS: f64 = 1_000.0;

/// The fraction of its request that a count may take.
const FRACTION: f64 = 0.2;

/// Executions of each timed statement.
const EXECUTIONS: i32 = 2_000;

/// Executions of each search.
const SEARCHES: usize = 5;

/// Times a statement inside the server, where nothing adds to it. The first of two rounds fills caches and plans.
const TIMER: &str = "create or replace function pg_temp.micros(p_statement text, p_times integer) returns float8
    language plpgsql as $$
    declare
        begun timestamptz;
    begin
        for round in 1..2 loop
            begun := clock_timestamp();
            execute format('do $do$ begin for i in 1..%s loop perform %s; end loop; end $do$', p_times, p_statement);
        end loop;
        return extract(epoch from clock_timestamp() - begun) * 1e6 / p_times;
    end $$";

/// Times the exact count and the whole list inside the server.
///
/// # Errors
/// When a statement fails.
pub(crate) async fn counts(database: &Client, user: i64) -> anyhow::Result<Vec<Goal>> {
    database.batch_execute(TIMER).await?;
    let mut goals = Vec::new();
    for (what, count, available) in [
        ("of the list", "sugang.total_count('test')", false),
        ("of what is available", "sugang.test_available_count(now())", true),
    ] {
        let list = function_call(&format!("list_test({user}, 1, {available}, null, false)"));
        let time = async |statement: &str| {
            let row = database
                .query_one("select pg_temp.micros($1, $2)", &[&statement, &EXECUTIONS])
                .await?;
            Ok::<f64, tokio_postgres::Error>(row.get(0))
        };
        let (whole, count) = (time(&list).await?, time(count).await?);
        goals.push(Goal {
            what: format!("exact count {what}"),
            bound: format!("≤ {FRACTION} of its request"),
            measured: format!("{:.2} ({count:.0} of {whole:.0} µs)", count / whole),
            is_reached: count <= FRACTION * whole,
        });
    }
    Ok(goals)
}

/// Searches for frequent words whose count no search has taken yet, and one whose kept count is too old to be shown. The
/// sweep has run: in a large catalogue the words have bitmaps.
///
/// # Errors
/// When a response is not as expected.
pub(crate) async fn first_searches(served: &mut Target, database: &Client) -> anyhow::Result<Vec<Goal>> {
    const FORGET: &str = "delete from sugang.search_counts";
    const GROW_OLD: &str =
        "update sugang.search_counts set counted_at = counted_at - interval '1 h', as_of = as_of - interval '1 h'";
    let mut goals = Vec::new();
    for (which, search, forget) in [
        (
            "available, with a frequent word, the first search",
            &FREQUENT_AND_AVAILABLE,
            FORGET,
        ),
        (
            "available, with a frequent word, the first search in an hour",
            &FREQUENT_AND_AVAILABLE,
            GROW_OLD,
        ),
        ("two frequent words, the first search", &TWO_WORDS, FORGET),
        (
            "a frequent word but not another, the first search",
            &NOT_ANOTHER,
            FORGET,
        ),
    ] {
        let worker = served.workers.first_mut().context("the target has no worker")?;
        let mut took = Vec::new();
        for _ in 0..SEARCHES {
            database.batch_execute(forget).await?;
            let request = (search.next)(&mut worker.state).context("a worker can always search")?;
            let begun = Instant::now();
            let reply = worker.send(&request).await?;
            took.push(begun.elapsed().as_secs_f64() * 1e3);
            ensure!(reply.is_ok, "{} {}: {}", request.path, reply.status, reply.text());
        }
        let median = median(took).context("no search was sent")?;
        goals.push(Goal {
            what: which.to_owned(),
            bound: format!("≤ {RESPONSE_MS} ms"),
            measured: format!("{median:.1} ms"),
            is_reached: median <= RESPONSE_MS,
        });
    }
    Ok(goals)
}

/// Makes the bitmaps of frequent words, as sweeps do.
///
/// # Errors
/// When a statement fails.
pub(crate) async fn count_ahead(database_url: &str) -> anyhow::Result<()> {
    let make = async |kind: &str| {
        let database = postgres::connect(database_url).await?;
        // A host may sweep as well, and one of both works.
        let goes_on = format!(
            "select body::jsonb -> 'goes_on' = 'true' or exists (
                 select from sugang.search_bitmap_sets where kind = '{kind}' and next_item_id is not null)
             from {}",
            function_call(&format!("count_{kind}_ahead()"))
        );
        while database.query_one(&goes_on, &[]).await?.get(0) {}
        anyhow::Ok(())
    };
    // Otherwise the host makes those of the courses while it is measured.
    try_join(make("test"), make("course")).await.map(drop)
}
