//! One connection and the two demo users that send requests over it.

use anyhow::{Context, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use url::Url;

use crate::{
    connection::{Connection, Http, Reply, Sql},
    request::{Item, Request, State},
    seed::demo_email,
};

/// Longer than a run takes: an item whose period ends earlier is not registered for.
const LONGEST_RUN: TimeDelta = TimeDelta::hours(3);

/// The number of a worker's writer minus that of its reader.
const WRITERS: i64 = 500;

/// Pages of available items that a worker reads to find open ones.
const ITEM_PAGES: i64 = 25;

/// One connection, and what its users know and have done.
pub(crate) struct Worker {
    pub state: State,
    connection: Connection,
}

#[derive(Deserialize)]
struct LoginResponse {
    access: String,
    user: IdResponse,
}

#[derive(Deserialize)]
struct ItemResponse {
    id: i64,
    price: String,
    is_registered: bool,
    end_at: DateTime<Utc>,
    #[serde(default)]
    remaining: Option<i64>,
}

#[derive(Deserialize)]
struct IdResponse {
    id: i64,
}

/// Over HTTP a list has an envelope; from the database it has none.
#[derive(Deserialize)]
#[serde(untagged)]
enum ListResponse<T> {
    Envelope { count: i64, results: Vec<T> },
    Results(Vec<T>),
}

impl<T> ListResponse<T> {
    fn results(self) -> Vec<T> {
        match self {
            Self::Envelope { results, .. } | Self::Results(results) => results,
        }
    }
}

impl Worker {
    /// Logs in the reader with this number and its writer.
    pub async fn over_http(url: &Url, number: i64) -> anyhow::Result<Self> {
        let mut worker = Self::new((0, 0), String::new(), 0, Connection::Http(Http::open(url).await?));
        let writer = worker.log_in(WRITERS + number).await?;
        // The reader last: the state keeps its address for the scenario of logins.
        let reader = worker.log_in(number).await?;
        (worker.state.user, worker.state.writer) = (reader.user.id, writer.user.id);
        if let Connection::Http(http) = &mut worker.connection {
            http.tokens = Some([reader, writer].map(|login| format!("Bearer {}", login.access)));
        }
        worker.look_around(0).await?;
        Ok(worker)
    }

    /// Connects to a database that has this number of exams.
    pub async fn over_sql(url: &str, number: i64, rows: i64) -> anyhow::Result<Self> {
        let sql = Sql::open(url).await?;
        let email = demo_email(number);
        let user = async |email: &str| {
            let user = sql
                .client
                .query_opt("select id from users where email = $1", &[&email])
                .await?;
            anyhow::Ok(user.with_context(|| format!("there is no {email}"))?.get::<_, i64>(0))
        };
        let users = (user(&email).await?, user(&demo_email(WRITERS + number)).await?);
        let mut worker = Self::new(users, email, rows, Connection::Sql(sql));
        worker.look_around(rows).await?;
        Ok(worker)
    }

    fn new(users: (i64, i64), email: String, rows: i64, connection: Connection) -> Self {
        Self {
            state: State::new(users, email, Default::default(), rows, Vec::new()),
            connection,
        }
    }

    async fn log_in(&mut self, number: i64) -> anyhow::Result<LoginResponse> {
        self.state.email = demo_email(number);
        let login = self.state.login();
        let response = self.fetch(login).await;
        response.with_context(|| format!("{} cannot log in", self.state.email))
    }

    /// Reads how many exams there are, which items are open to the writer, and the reader's payments.
    async fn look_around(&mut self, rows: i64) -> anyhow::Result<()> {
        let items = [self.open_items(0).await?, self.open_items(1).await?];
        let payments = self.state.payments_page();
        let payments: ListResponse<IdResponse> = self.fetch(payments).await?;
        let payments = payments.results().into_iter().map(|payment| payment.id).collect();
        let first_page = self.state.first_page();
        let rows = match self.fetch::<ListResponse<IdResponse>>(first_page).await? {
            ListResponse::Envelope { count, .. } => count,
            ListResponse::Results(_) => rows,
        };
        let users = (self.state.user, self.state.writer);
        self.state = State::new(users, self.state.email.clone(), items, rows, payments);
        Ok(())
    }

    async fn open_items(&mut self, kind: usize) -> anyhow::Result<Vec<Item>> {
        let until = Utc::now() + LONGEST_RUN;
        let mut open = Vec::new();
        for page in 1..=ITEM_PAGES {
            let request = self.state.items_page(kind, page);
            let items: ListResponse<ItemResponse> = self.fetch(request).await?;
            let items = items.results().into_iter();
            let items = items.filter(|item| !item.is_registered && item.remaining.is_none() && item.end_at > until);
            open.extend(items.map(|item| Item {
                id: item.id,
                price: item.price,
            }));
        }
        ensure!(
            open.len() > 1,
            "too few items are open: the database must have been seeded, less than a month ago"
        );
        Ok(open)
    }

    async fn fetch<T: for<'a> Deserialize<'a>>(&mut self, request: Option<Request>) -> anyhow::Result<T> {
        let request = request.context("the worker has nothing to send")?;
        let reply = self.send(&request).await?;
        ensure!(
            reply.is_ok,
            "{} {}: {} {}",
            request.method,
            request.path,
            reply.status,
            reply.text()
        );
        Ok(serde_json::from_slice(&reply.body)?)
    }

    /// Sends one request and reads its response to the end.
    pub async fn send(&mut self, request: &Request) -> anyhow::Result<Reply> {
        self.connection.send(request).await
    }

    /// Replaces a connection that failed.
    pub async fn reconnect(&mut self) -> anyhow::Result<()> {
        self.connection.reconnect().await
    }
}
