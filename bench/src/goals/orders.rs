//! Orders: how many are paid at a gateway that answers at once, and what a gateway that hangs costs other requests.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures::future::{try_join, try_join_all};
use http::{
    Method, Request,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use serde_json::{Value, json};
use sugang_gateway::{Options, Plan, StandIn, Way, toss};
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;
use url::Url;

use crate::{
    connection::{PATIENCE, connect},
    goal::Goal,
    server::{Server, Stores},
    token::access_token,
};

/// Orders a second, each held and paid.
const RATE: f64 = 300.0;
/// The longest 99th percentile beside a gateway that hangs, as a multiple of that without.
const TIMES: f64 = 1.5;
/// The time of a gateway that hangs.
const HANGS: Plan = Plan::AnswerLate(30_000);
/// Approvals that wait for it, each on a connection of its own.
const WAITING: usize = 16;
/// Until they wait.
const SETTLING: Duration = Duration::from_millis(500);

const CONNECTIONS: usize = 32;
/// Until each session of PostgreSQL has planned what it runs.
const WARM_UP: Duration = Duration::from_secs(4);
const DURATION: Duration = Duration::from_secs(4);
/// Exams, so that a user can order again, and each is ordered by few users, as in the load of applications.
const EXAMS: usize = 2048;
/// For each connection.
const USERS: usize = 25;

/// Measures both at a host of its own, beside a stand-in.
///
/// # Errors
/// When a response is not as expected.
pub(crate) async fn orders(program: &Path, stores: &Stores, database: &Client) -> anyhow::Result<Vec<Goal>> {
    let gateway = StandIn::start(Options::default()).await?;
    let settings = [
        ("SPIN_VARIABLE_PAYMENT_GATEWAYS", "card=toss"),
        ("SPIN_VARIABLE_TOSS_URL", gateway.url()),
        ("SPIN_VARIABLE_TOSS_SECRET", toss::SECRET),
    ];
    let server = Server::start_host_with(program, stores, &settings).await?;
    let mut exams = add_exams(database).await?;
    let users = add_users(database, CONNECTIONS * USERS).await?;
    let mut customers = Vec::new();
    for users in users.chunks(USERS) {
        customers.push(Customer::new(&server.url, users, &exams, &stores.jwt_secret).await?);
        exams.rotate_left(EXAMS / CONNECTIONS);
    }
    let (customers, _) = pay(customers, &gateway, WARM_UP).await?;
    let (mut customers, paid) = pay(customers, &gateway, DURATION).await?;
    let goals = vec![
        Goal {
            what: "pre-order and approve, many items, at a gateway that answers at once".to_owned(),
            bound: format!("≥ {RATE} orders a second"),
            measured: format!("{paid:.0} orders a second"),
            is_reached: paid >= RATE,
        },
        beside(&mut customers, &gateway, "lists", Customer::list).await?,
        beside(&mut customers, &gateway, "applications", Customer::apply).await?,
    ];
    drop(customers);
    server.stop().await?;
    Ok(goals)
}

async fn add_exams(database: &Client) -> anyhow::Result<Vec<i64>> {
    // At the end of the list, whose first pages the other requests use.
    let exams = "insert into tests (title, price, start_at, end_at, created_at)
                 select 'Order', 45000, now() - interval '1 hour', now() + interval '1 hour', '2000-01-01'
                 from generate_series(1, $1::bigint) returning id";
    let exams = database.query(exams, &[&i64::try_from(EXAMS)?]).await?;
    Ok(exams.iter().map(|row| row.get(0)).collect())
}

async fn add_users(database: &Client, count: usize) -> anyhow::Result<Vec<i64>> {
    let users = "with names as (select 'order' || n as name from generate_series(1, $1::bigint) n),
                      added as (
                     insert into users (email, username, password)
                     select name || '@example.com', name, '' from names
                     on conflict do nothing returning id)
                 select id from added union select id from users where username in (select name from names)";
    let users = database.query(users, &[&i64::try_from(count)?]).await?;
    ensure!(users.len() == count, "there are {} users", users.len());
    Ok(users.iter().map(|row| row.get(0)).collect())
}

/// One connection, and the users and exams that are still to be ordered or applied for over it.
struct Customer {
    url: Url,
    sender: SendRequest<Full<Bytes>>,
    /// The token of a user, and an exam.
    next: Vec<(String, i64)>,
}

impl Customer {
    async fn new(url: &Url, users: &[i64], exams: &[i64], jwt_secret: &str) -> anyhow::Result<Self> {
        let mut next = Vec::new();
        for (user, exam) in users.iter().cycle().zip(exams) {
            let token = format!("Bearer {}", access_token(*user, jwt_secret)?);
            next.push((token, *exam));
        }
        Ok(Self {
            url: url.clone(),
            sender: connect(url).await?,
            next,
        })
    }

    async fn send(&mut self, method: Method, path: &str, token: &str, body: &Value) -> anyhow::Result<(u16, Value)> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.url.authority())
            .header(AUTHORIZATION, token)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(body.to_string()))?;
        let exchange = async {
            self.sender.ready().await?;
            let response = self.sender.send_request(request).await?;
            let status = response.status().as_u16();
            anyhow::Ok((status, response.into_body().collect().await?.to_bytes()))
        };
        let (status, body) = timeout(PATIENCE, exchange).await.context("no response")??;
        Ok((status, serde_json::from_slice(&body)?))
    }

    fn take(&mut self) -> anyhow::Result<(String, i64)> {
        self.next.pop().context("all users have ordered everything")
    }

    /// Holds a seat and pays for it. Returns the status of the approval.
    async fn order(&mut self, gateway: &StandIn) -> anyhow::Result<u16> {
        let (token, exam) = self.take()?;
        let body = json!({ "amount": "45000.00", "payment_method": "card" });
        let (status, order) = self
            .send(Method::POST, &format!("/tests/{exam}/preorder/"), &token, &body)
            .await?;
        ensure!(status == 201, "{status} {order}");
        let reference = order["reference"].as_str().context("an order has a reference")?;
        let key = gateway.agree("toss", reference, 45_000, Way::Card);
        let path = format!("/orders/{}/approve/", order["id"]);
        let (status, _) = self
            .send(Method::POST, &path, &token, &json!({ "payment_key": key }))
            .await?;
        Ok(status)
    }

    async fn list(&mut self) -> anyhow::Result<()> {
        let (token, _) = self.next.last().context("a customer has users")?.clone();
        let (status, body) = self.send(Method::GET, "/tests/", &token, &Value::Null).await?;
        ensure!(status == 200, "{status} {body}");
        Ok(())
    }

    async fn apply(&mut self) -> anyhow::Result<()> {
        let (token, exam) = self.take()?;
        let body = json!({ "amount": "45000.00", "payment_method": "card" });
        let (status, body) = self
            .send(Method::POST, &format!("/tests/{exam}/apply/"), &token, &body)
            .await?;
        ensure!(status == 201, "{status} {body}");
        Ok(())
    }
}

/// Has all customers order for a time, and returns how many orders were paid a second.
async fn pay(customers: Vec<Customer>, gateway: &StandIn, duration: Duration) -> anyhow::Result<(Vec<Customer>, f64)> {
    let begun = Instant::now();
    let ordering = customers.into_iter().map(async |mut customer| {
        let mut paid = 0_u32;
        while begun.elapsed() < duration {
            let status = customer.order(gateway).await?;
            ensure!(status == 200, "an approval was answered {status}");
            paid += 1;
        }
        anyhow::Ok((customer, paid))
    });
    let (customers, paid): (Vec<_>, Vec<_>) = try_join_all(ordering).await?.into_iter().unzip();
    let paid: u32 = paid.into_iter().sum();
    Ok((customers, f64::from(paid) / begun.elapsed().as_secs_f64()))
}

/// Compares requests beside a gateway that hangs with those without.
async fn beside(
    customers: &mut [Customer],
    gateway: &StandIn,
    what: &str,
    request: impl AsyncFn(&mut Customer) -> anyhow::Result<()>,
) -> anyhow::Result<Goal> {
    let (waiting, others) = customers.split_at_mut(WAITING);
    percentile(others, &request).await?;
    let alone = percentile(others, &request).await?;
    gateway.plan_all(Some(HANGS));
    let waiting = try_join_all(waiting.iter_mut().map(|customer| customer.order(gateway)));
    let measured = async {
        sleep(SETTLING).await;
        percentile(others, &request).await
    };
    let (answers, beside) = try_join(waiting, measured).await?;
    gateway.plan_all(None);
    ensure!(
        answers.iter().all(|status| *status == 202),
        "approvals were answered {answers:?}"
    );
    Ok(Goal {
        what: format!("{what} beside a gateway that hangs, 99th percentile"),
        bound: format!("≤ {TIMES} times as long as without"),
        measured: format!("{beside:.1} ms, without {alone:.1} ms"),
        is_reached: beside <= TIMES * alone,
    })
}

/// Milliseconds at the 99th percentile.
async fn percentile(
    customers: &mut [Customer],
    request: &impl AsyncFn(&mut Customer) -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let sending = customers.iter_mut().map(async |customer| {
        let mut took = Vec::new();
        while begun.elapsed() < DURATION {
            let sent = Instant::now();
            request(customer).await?;
            took.push(sent.elapsed().as_secs_f64() * 1e3);
        }
        anyhow::Ok(took)
    });
    let mut took = try_join_all(sending).await?.concat();
    took.sort_unstable_by(f64::total_cmp);
    took.get(took.len() * 99 / 100).copied().context("no request was sent")
}
