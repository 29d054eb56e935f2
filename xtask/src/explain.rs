//! Shows how PostgreSQL answers each kind of request: the plans of the statements inside the functions, with figures.

use anyhow::Context;
use console::style;
use futures::{StreamExt, stream::poll_fn};
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::{
    bench::requests::{REQUESTS, State},
    database::DatabaseChoice,
};

/// Prints the plans, row counts and buffers of the statements behind every kind of read.
///
/// Each is asked three times and the last one is shown, since the first ones of a session plan and read into caches. The
/// database's user must be allowed to load auto_explain (a superuser is).
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    database: DatabaseChoice,
    /// Only the requests with this in their name. May be repeated.
    #[arg(long)]
    only: Vec<String>,
}

/// Runs the subcommand.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let database = arguments.database.open().await?;
    let explained = explain(&database.url, &arguments.only).await;
    database.close().await?;
    explained
}

async fn explain(url: &str, only: &[String]) -> anyhow::Result<()> {
    let (client, mut notices) = connect(url).await?;
    client
        .batch_execute(
            "load 'auto_explain';
             set auto_explain.log_nested_statements = on; set auto_explain.log_analyze = on;
             set auto_explain.log_buffers = on; set auto_explain.log_timing = off;
             set auto_explain.log_level = warning",
        )
        .await
        .context("cannot load auto_explain")?;
    let mut state = state(&client).await?;
    let wanted = |name: &str| only.is_empty() || only.iter().any(|part| name.contains(part));
    for request in REQUESTS
        .iter()
        .filter(|request| request.limited && wanted(request.name))
    {
        // What writes is left alone: explaining it would do it.
        let Some(ask) = (request.ask)(&mut state).filter(|ask| ask.method == http::Method::GET) else {
            continue;
        };
        let (call, parameters) = &ask.statement;
        let statement = client.prepare(&format!("select outcome from sugang.{call}")).await?;
        let parameters = parameters.iter().map(|parameter| &**parameter as _).collect::<Vec<_>>();
        for _ in 0..2 {
            client.query_one(&statement, &parameters).await?;
        }
        client.batch_execute("set auto_explain.log_min_duration = 0").await?;
        while notices.try_recv().is_ok() {}
        client.query_one(&statement, &parameters).await?;
        client.batch_execute("set auto_explain.log_min_duration = -1").await?;

        println!("{}", style(format!("# {}: {} {call}", request.name, ask.path)).bold());
        while let Ok(notice) = notices.try_recv() {
            println!("{notice}\n");
        }
    }
    Ok(())
}

/// A connection, and what the server says besides answers.
async fn connect(url: &str) -> anyhow::Result<(Client, mpsc::UnboundedReceiver<String>)> {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls)
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

async fn state(client: &Client) -> anyhow::Result<State> {
    let user = "select u.id, u.email from users u
                order by (select count(*) from payments p where p.user_id = u.id) desc, u.id limit 1";
    let user = client
        .query_opt(user, &[])
        .await?
        .context("there is nobody to ask as: seed the database first")?;
    let id: i64 = user.get(0);
    let rows: i64 = client.query_one("select sugang.tally_total('test')", &[]).await?.get(0);
    let payments = client
        .query("select id from payments where user_id = $1", &[&id])
        .await?;
    let payments = payments.iter().map(|row| row.get(0)).collect();
    Ok(State::new((id, id), user.get(1), Default::default(), rows, payments))
}
