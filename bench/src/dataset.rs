//! The database that is measured: seeded once, and kept for the next run.

use anyhow::Context;
use url::Url;

use crate::{
    postgres,
    seed::{self, Amounts},
};

/// Returns the URL of a database with this number of exams and as many courses, on the server of the given one.
pub(crate) async fn seeded(database_url: &str, rows: i64) -> anyhow::Result<String> {
    let name = format!("sugang_bench_{rows}");
    let client = postgres::connect(database_url).await?;
    let exists = client
        .query_opt("select from pg_database where datname = $1", &[&name])
        .await?;
    if exists.is_none() {
        client.batch_execute(&format!("create database {name}")).await?;
    }
    let mut url: Url = database_url.parse().context("the database has no URL")?;
    url.set_path(&name);
    sugang_migrations::run(url.as_str()).await?;
    let amounts = Amounts {
        tests: rows,
        courses: rows,
        users: 1_000,
        registrations: 20_000,
    };
    seed::fill(url.as_str(), amounts).await?;
    Ok(url.into())
}
