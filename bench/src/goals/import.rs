//! An operator creates many courses from one file.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{
    Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt, Full};
use serde::Deserialize;
use tokio_postgres::Client;
use url::Url;

use crate::{connection::connect, goal::Goal, token::access_token};

/// Rows of the file.
const ROWS: usize = 10_000;
/// Until the response.
const LIMIT: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Created {
    ids: Vec<i64>,
}

/// Sends the file, and deletes its courses afterwards.
///
/// # Errors
/// When the operator cannot be set up, or the response is not as expected.
pub(crate) async fn import(url: &Url, jwt_secret: &str, database: &Client) -> anyhow::Result<Goal> {
    let operator = "with added as (
                        insert into users (email, username, password, is_staff)
                            values ('import@example.com', 'import', '', true) on conflict do nothing returning id)
                    select id from added union select id from users where username = 'import'";
    let operator: i64 = database.query_one(operator, &[]).await?.get(0);
    let file = file();
    let bytes = file.len();
    let request = Request::post("/api/operator/courses/import/")
        .header(HOST, url.authority())
        .header(AUTHORIZATION, format!("Bearer {}", access_token(operator, jwt_secret)?))
        .header(CONTENT_TYPE, "text/csv")
        .body(Full::new(Bytes::from(file)))?;
    let mut connection = connect(url).await?;
    let begun = Instant::now();
    let response = connection.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    let took = begun.elapsed();
    ensure!(
        status == StatusCode::CREATED,
        "{status} {}",
        String::from_utf8_lossy(&body)
    );
    let Created { ids } = serde_json::from_slice(&body).context("the response has ids")?;
    database
        .execute("delete from courses where id = any($1)", &[&ids])
        .await?;
    Ok(Goal {
        what: format!("import of {} items from {:.1} MB of CSV", ids.len(), bytes as f64 / 1e6),
        bound: format!("≤ {} s", LIMIT.as_secs()),
        measured: format!("{:.1} s", took.as_secs_f64()),
        is_reached: ids.len() == ROWS && took <= LIMIT,
    })
}

/// Rows as long as those of the catalogue.
fn file() -> String {
    let mut file = "title,description,price,capacity,start_at,end_at\n".to_owned();
    for row in 0..ROWS {
        file += &format!(
            "가져온 수업 {row},\"매주 월요일, 아홉 시에 여는 {row}번째 수업\",30000,20,2026-03-02T09:00:00+09:00,\
             2099-12-31T23:59:59+09:00\n"
        );
    }
    file
}
