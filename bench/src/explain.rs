//! Shows how PostgreSQL executes each kind of read: the plans of the statements inside the SQL functions.

use anyhow::Context;
use console::style;
use futures::{StreamExt, stream::poll_fn};
use sugang_migrations::function_call;
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client};

use crate::{
    catalogue::SCENARIOS,
    request::{Request, State},
};

const AUTO_EXPLAIN: &str = "load 'auto_explain';
    set auto_explain.log_nested_statements = on; set auto_explain.log_analyze = on;
    set auto_explain.log_buffers = on; set auto_explain.log_timing = off;
    set auto_explain.log_level = warning";

/// Executions before the one that is shown: the first ones of a session plan, and read into caches.
const WARM_UPS: usize = 2;

/// Prints the plans of every kind of read whose name contains one of these texts; of all kinds without a text.
///
/// # Errors
/// When the database is not seeded, or its user may not load `auto_explain`, as a superuser may.
pub async fn explain(url: &str, only: &[String]) -> anyhow::Result<()> {
    let (client, mut notices) = connect(url).await?;
    client
        .batch_execute(AUTO_EXPLAIN)
        .await
        .context("cannot load auto_explain")?;
    let mut state = state(&client).await?;
    let is_wanted = |name: &str| only.is_empty() || only.iter().any(|part| name.contains(part));
    for scenario in SCENARIOS
        .iter()
        .filter(|scenario| scenario.has_limit && is_wanted(scenario.name))
    {
        let request = (scenario.next)(&mut state).filter(|request| request.method == http::Method::GET);
        let Some(request) = request else { continue };
        let heading = format!("# {}: {} {}", scenario.name, request.path, request.statement.0);
        println!("{}", style(heading).bold());
        execute(&client, &mut notices, &request).await?;
        while let Ok(plan) = notices.try_recv() {
            println!("{plan}\n");
        }
    }
    Ok(())
}

/// Executes the request's statement several times; only the last execution leaves notices.
async fn execute(
    client: &Client,
    notices: &mut mpsc::UnboundedReceiver<String>,
    request: &Request,
) -> anyhow::Result<()> {
    let (call, parameters) = &request.statement;
    let statement = client
        .prepare(&format!("select outcome from {}", function_call(call)))
        .await?;
    let parameters = parameters.iter().map(|parameter| &**parameter as _).collect::<Vec<_>>();
    for _ in 0..WARM_UPS {
        client.query_one(&statement, &parameters).await?;
    }
    client.batch_execute("set auto_explain.log_min_duration = 0").await?;
    while notices.try_recv().is_ok() {}
    client.query_one(&statement, &parameters).await?;
    client.batch_execute("set auto_explain.log_min_duration = -1").await?;
    Ok(())
}

/// A connection, and the notices that the server sends beside results.
async fn connect(url: &str) -> anyhow::Result<(Client, mpsc::UnboundedReceiver<String>)> {
    let (client, mut connection) = sugang_connect::postgres::connect(url)
        .await
        .context("cannot reach the database")?;
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut messages = poll_fn(move |context| connection.poll_message(context));
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notice(notice) = message {
                sender.send(notice.message().to_owned()).ok();
            }
        }
    });
    Ok((client, receiver))
}

/// What a worker knows that reads as the user with the most payments.
async fn state(client: &Client) -> anyhow::Result<State> {
    let user = "select u.id, u.email from users u
                order by (select count(*) from payments p where p.user_id = u.id) desc, u.id limit 1";
    let user = client.query_opt(user, &[]).await?;
    let user = user.context("the database has no user: `cargo xtask seed` adds some")?;
    let id: i64 = user.get(0);
    let rows: i64 = client.query_one("select sugang.total_count('test')", &[]).await?.get(0);
    let payments = client
        .query("select id from payments where user_id = $1", &[&id])
        .await?;
    let payments = payments.iter().map(|row| row.get(0)).collect();
    Ok(State::new((id, id), user.get(1), Default::default(), rows, payments))
}
