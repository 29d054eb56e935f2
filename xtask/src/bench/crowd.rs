//! Everybody at once: many more users than there are seats apply for one exam in the same moment.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{
    Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{sync::watch, task::JoinSet, time::timeout};
use tokio_postgres::Client;
use url::Url;

use super::{
    report::Kept,
    target::{PATIENCE, connected},
};

/// Users at once.
const USERS: i64 = 5_000;
/// Seats of the exam.
const SEATS: i64 = 100;
/// Until the last one is answered.
const LIMIT: Duration = Duration::from_secs(10);

/// Opens a connection for each user, has all of them apply at once, and looks into the books afterwards.
///
/// # Errors
/// When the crowd cannot be set up.
pub async fn crowd(url: &Url, jwt_secret: &str, database: &Client) -> anyhow::Result<Kept> {
    let exam: i64 = database
        .query_one(
            "insert into tests (title, description, price, start_at, end_at, capacity)
             values ('Rush', null, 45000, now() - interval '1 hour', now() + interval '1 hour', $1) returning id",
            &[&i32::try_from(SEATS)?],
        )
        .await?
        .get(0);
    let users = database
        .query(
            "with added as (
                 insert into users (email, username, password)
                 select 'crowd' || n || '@example.com', 'crowd' || n, '' from generate_series(1, $1::bigint) n
                 on conflict do nothing returning id)
             select id from added union select id from users where starts_with(username, 'crowd')",
            &[&USERS],
        )
        .await?;
    ensure!(users.len() as i64 == USERS, "there are {} users", users.len());

    // All connections first: how fast they can be opened is not the question.
    let (start, go) = watch::channel(None::<Instant>);
    let mut waiting = JoinSet::new();
    for user in users {
        let token = access_token(user.get(0), jwt_secret)?;
        let request = Request::post(format!("/tests/{exam}/apply/"))
            .header(HOST, url.authority())
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from_static(
                br#"{"amount":"45000.00","payment_method":"card"}"#,
            )))?;
        let mut sender = connected(url).await?;
        let mut go = go.clone();
        waiting.spawn(async move {
            let begun = go.wait_for(Option::is_some).await?.context("nobody began")?;
            let answer = async {
                let answer = sender.send_request(request).await?;
                let status = answer.status();
                let body: Value = serde_json::from_slice(&answer.into_body().collect().await?.to_bytes())?;
                let code = body["code"].as_str().unwrap_or_default().to_owned();
                anyhow::Ok((status, code))
            };
            let (status, code) = timeout(PATIENCE, answer).await.context("no answer")??;
            anyhow::Ok((status, code, begun.elapsed()))
        });
    }
    start.send_replace(Some(Instant::now()));
    let (mut answers, mut slowest) = (BTreeMap::<(StatusCode, String), i64>::new(), Duration::ZERO);
    while let Some(answer) = waiting.join_next().await {
        let (status, code, took) = answer??;
        *answers.entry((status, code)).or_default() += 1;
        slowest = slowest.max(took);
    }

    let books = database
        .query_one(
            "select (select count(*) from test_registrations where test_id = $1 and status = 'applied'),
                    (select count(*) from payments p join django_content_type c on c.id = content_type_id
                     where c.model = 'test' and object_id = $1 and status = 'paid'),
                    (select registration_count::bigint from tests where id = $1)",
            &[&exam],
        )
        .await?;
    let in_order = (0..3).all(|column| books.get::<_, i64>(column) == SEATS);
    let granted = answers.get(&(StatusCode::CREATED, String::new())).copied().unwrap_or(0);
    let refused = answers
        .iter()
        .filter(|((_, code), _)| code == "sold_out")
        .map(|(_, count)| count)
        .sum::<i64>();
    let told: Vec<_> = answers
        .iter()
        .map(|((status, code), count)| format!("{count} × {} {code}", status.as_u16()).trim().to_owned())
        .collect();
    Ok(Kept {
        what: format!("{USERS} users at once for {SEATS} seats of one exam"),
        bound: format!("{SEATS} succeed, all answered within {} s", LIMIT.as_secs()),
        measured: format!("{}, the last after {:.1} s", told.join(", "), slowest.as_secs_f64()),
        kept: in_order && granted == SEATS && refused == USERS - SEATS && slowest <= LIMIT,
    })
}

/// A token as the service signs it, good for an hour.
///
/// # Errors
/// When the clock stands before 1970.
pub fn access_token(user: i64, secret: &str) -> anyhow::Result<String> {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_secs();
    let claims = json!({
        "token_type": "access", "exp": now + 3_600, "iat": now, "jti": format!("{user:032x}"),
        "user_id": user.to_string(), "email": "", "username": "",
    });
    let message = format!(
        "{}.{}",
        BASE64.encode(r#"{"alg":"HS256","typ":"JWT"}"#),
        BASE64.encode(claims.to_string())
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
    mac.update(message.as_bytes());
    Ok(format!("{message}.{}", BASE64.encode(mac.finalize().into_bytes())))
}
