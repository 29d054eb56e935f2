//! Overload: many more users than seats apply for one exam at the same moment.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{
    Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tokio::{sync::watch, task::JoinSet, time::timeout};
use tokio_postgres::Client;
use url::Url;

use crate::{
    connection::{PATIENCE, connect},
    goal::Goal,
    token::access_token,
};

/// Users that apply at once.
const USERS: i64 = 5_000;
/// Seats of the exam.
const SEATS: i64 = 100;
/// Until the last response.
const LIMIT: Duration = Duration::from_secs(10);

/// Responses by status and code, and the time until the last one.
struct Responses {
    counts: BTreeMap<(StatusCode, String), i64>,
    slowest: Duration,
}

/// Opens a connection for each user, has all of them apply at once, and checks the books afterwards.
///
/// # Errors
/// When the users or connections cannot be set up, or a request gets no response.
pub(crate) async fn overload(url: &Url, jwt_secret: &str, database: &Client) -> anyhow::Result<Goal> {
    let exam = add_exam(database).await?;
    let users = add_users(database).await?;
    let responses = apply_at_once(url, jwt_secret, exam, &users).await?;
    let are_books_right = are_books_right(database, exam).await?;

    let Responses { counts, slowest } = responses;
    let granted = counts.get(&(StatusCode::CREATED, String::new())).copied().unwrap_or(0);
    let refused: i64 = counts
        .iter()
        .filter(|((_, code), _)| code == "sold_out")
        .map(|(_, count)| count)
        .sum();
    let shown: Vec<_> = counts
        .iter()
        .map(|((status, code), count)| format!("{count} × {} {code}", status.as_u16()).trim().to_owned())
        .collect();
    Ok(Goal {
        what: format!("{USERS} users at once for {SEATS} seats of one exam"),
        bound: format!("{SEATS} succeed, all answered within {} s", LIMIT.as_secs()),
        measured: format!("{}, the last after {:.1} s", shown.join(", "), slowest.as_secs_f64()),
        is_reached: are_books_right && granted == SEATS && refused == USERS - SEATS && slowest <= LIMIT,
    })
}

async fn add_exam(database: &Client) -> anyhow::Result<i64> {
    let exam = "insert into tests (title, description, price, start_at, end_at, capacity)
                values ('Rush', null, 45000, now() - interval '1 hour', now() + interval '1 hour', $1) returning id";
    Ok(database.query_one(exam, &[&i32::try_from(SEATS)?]).await?.get(0))
}

async fn add_users(database: &Client) -> anyhow::Result<Vec<i64>> {
    let users = "with added as (
                     insert into users (email, username, password)
                     select 'rush' || n || '@example.com', 'rush' || n, '' from generate_series(1, $1::bigint) n
                     on conflict do nothing returning id)
                 select id from added union select id from users where username ~ '^rush[0-9]+$'";
    let users = database.query(users, &[&USERS]).await?;
    ensure!(users.len() as i64 == USERS, "there are {} users", users.len());
    Ok(users.iter().map(|row| row.get(0)).collect())
}

async fn apply_at_once(url: &Url, jwt_secret: &str, exam: i64, users: &[i64]) -> anyhow::Result<Responses> {
    // All connections first: how fast they can be opened is not measured.
    let (start, started) = watch::channel(None::<Instant>);
    let mut waiting = JoinSet::new();
    for user in users {
        let token = access_token(*user, jwt_secret)?;
        let request = Request::post(format!("/tests/{exam}/apply/"))
            .header(HOST, url.authority())
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from_static(
                br#"{"amount":"45000.00","payment_method":"card"}"#,
            )))?;
        let mut sender = connect(url).await?;
        let mut started = started.clone();
        waiting.spawn(async move {
            let begun = started
                .wait_for(Option::is_some)
                .await?
                .context("the start has a time")?;
            let exchange = async {
                let response = sender.send_request(request).await?;
                let status = response.status();
                let body: Value = serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?;
                let code = body["code"].as_str().unwrap_or_default().to_owned();
                anyhow::Ok((status, code))
            };
            let (status, code) = timeout(PATIENCE, exchange).await.context("no response")??;
            anyhow::Ok((status, code, begun.elapsed()))
        });
    }
    start.send_replace(Some(Instant::now()));
    let mut responses = Responses {
        counts: BTreeMap::new(),
        slowest: Duration::ZERO,
    };
    while let Some(response) = waiting.join_next().await {
        let (status, code, took) = response??;
        *responses.counts.entry((status, code)).or_default() += 1;
        responses.slowest = responses.slowest.max(took);
    }
    Ok(responses)
}

/// Whether registrations, payments and the count each say that every seat is taken once.
async fn are_books_right(database: &Client, exam: i64) -> anyhow::Result<bool> {
    let books = "select (select count(*) from test_registrations where test_id = $1 and status = 'applied'),
                        (select count(*) from payments p join django_content_type c on c.id = content_type_id
                         where c.model = 'test' and object_id = $1 and status = 'paid'),
                        (select registration_count::bigint from tests where id = $1)";
    let books = database.query_one(books, &[&exam]).await?;
    Ok((0..3).all(|column| books.get::<_, i64>(column) == SEATS))
}
