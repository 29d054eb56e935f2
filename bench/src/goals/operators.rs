//! What operators read: lists, and the registrations for one exam as a file.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{
    Request,
    header::{AUTHORIZATION, HOST},
};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio_postgres::Client;

use crate::{
    connection::connect,
    goal::{Goal, median},
    server::Server,
    token::access_token,
};

/// Milliseconds for one page of the items, at the median.
const LIST_MS: f64 = 40.0;
/// Milliseconds for one page of a million registrations: the exact count reads as many entries of an index.
const REGISTRATIONS_MS: f64 = 200.0;
/// Lists that are read.
const LISTS: usize = 20;

/// Rows of the file a second.
const ROWS_PER_SECOND: f64 = 50_000.0;
/// Bytes by which the host grows while it sends the file.
const GROWTH: u64 = 64_000_000;
const SAMPLE: Duration = Duration::from_millis(100);

/// Adds an exam with as many registrations, each by a user of its own with a payment, unless it is there. The triggers of
/// payments are disabled: they would take most of the time, and no history is read here.
const EXAM: &str = "do $do$
    declare
        exam bigint;
        wanted bigint := {rows};
    begin
        if exists (select from tests where title = 'Export ' || wanted) then return; end if;
        insert into tests (title, price, start_at, end_at)
            values ('Export ' || wanted, 45000, now() - interval '1 year', now() + interval '1 year')
            returning id into exam;
        insert into users (email, username, password)
            select 'export' || n || '@example.com', 'export' || n, '' from generate_series(1, wanted) n
            on conflict do nothing;
        insert into test_registrations (user_id, test_id, applied_at)
            select id, exam, now() - n * interval '10 seconds'
            from generate_series(1, wanted) n join users on email = 'export' || n || '@example.com';
        alter table payments disable trigger user;
        insert into payments (user_id, payment_type, content_type_id, object_id, amount, payment_method, paid_at,
                              target_title, registration_id, registration_time)
            select user_id, 'test', content_type_id, exam, 45000, 'card', applied_at, 'Export', id, applied_at
            from test_registrations cross join (select content_type_id from sugang.kinds where kind = 'test') k
            where test_id = exam;
        alter table payments enable trigger user;
    end $do$";

/// Measures the list of all exams, that of the registrations for one exam, and their export.
///
/// # Errors
/// When a response is not as expected.
pub(crate) async fn operators(
    server: &Server,
    jwt_secret: &str,
    database: &Client,
    user: i64,
    rows: i64,
) -> anyhow::Result<Vec<Goal>> {
    database
        .execute(
            "update users set is_staff = true where id = $1 and not is_staff",
            &[&user],
        )
        .await?;
    database
        .batch_execute(&EXAM.replace("{rows}", &rows.to_string()))
        .await?;
    database
        .batch_execute("vacuum analyze test_registrations, payments, users")
        .await?;
    let exam: i64 = database
        .query_one("select id from tests where title = 'Export ' || $1::bigint", &[&rows])
        .await?
        .get(0);
    let reader = Reader {
        server,
        token: access_token(user, jwt_secret)?,
    };
    Ok(vec![
        reader.list("operator list", "/api/operator/tests/", LIST_MS).await?,
        reader
            .list(
                &format!("operator list of {rows} registrations, the last page"),
                &format!("/api/operator/tests/{exam}/registrations/?page=last"),
                REGISTRATIONS_MS,
            )
            .await?,
        reader.export(exam, rows).await?,
    ])
}

struct Reader<'a> {
    server: &'a Server,
    token: String,
}

impl Reader<'_> {
    async fn get(&self, path: &str) -> anyhow::Result<Incoming> {
        let request = Request::get(path)
            .header(HOST, self.server.url.authority())
            .header(AUTHORIZATION, format!("Bearer {}", self.token))
            .body(Full::<Bytes>::default())?;
        let response = connect(&self.server.url).await?.send_request(request).await?;
        ensure!(response.status().is_success(), "{path}: {}", response.status());
        Ok(response.into_body())
    }

    async fn list(&self, what: &str, path: &str, bound_ms: f64) -> anyhow::Result<Goal> {
        let mut took = Vec::new();
        for _ in 0..LISTS {
            let begun = Instant::now();
            self.get(path).await?.collect().await?;
            took.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        let median = median(took).context("no list was read")?;
        Ok(Goal {
            what: what.to_owned(),
            bound: format!("≤ {bound_ms} ms"),
            measured: format!("{median:.1} ms"),
            is_reached: median <= bound_ms,
        })
    }

    async fn export(&self, exam: i64, rows: i64) -> anyhow::Result<Goal> {
        let before = self.server.memory()?;
        let (mut highest, mut lines) = (before, 0);
        let begun = Instant::now();
        let mut sampled = begun;
        let mut body = self
            .get(&format!("/api/operator/tests/{exam}/registrations.csv"))
            .await?;
        while let Some(frame) = body.frame().await {
            let part = frame?.into_data().unwrap_or_default();
            lines += part.iter().filter(|byte| **byte == b'\n').count() as i64;
            if sampled.elapsed() >= SAMPLE {
                highest = highest.max(self.server.memory()?);
                sampled = Instant::now();
            }
        }
        // The first line names the columns. Users of the other measurements may have registered, too.
        let exported = lines - 1;
        let rate = exported as f64 / begun.elapsed().as_secs_f64();
        let growth = highest - before;
        ensure!(exported >= rows, "{exported} registrations were exported");
        Ok(Goal {
            what: format!("export of {exported} registrations"),
            bound: format!("≥ {ROWS_PER_SECOND} rows a second, growth ≤ {} MB", GROWTH / 1_000_000),
            measured: format!("{rate:.0} rows a second, growth {:.0} MB", growth as f64 / 1e6),
            is_reached: rate >= ROWS_PER_SECOND && growth <= GROWTH,
        })
    }
}
