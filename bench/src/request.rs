//! One request, as HTTP and as the SQL statement that the component sends for it.

use std::collections::VecDeque;

use anyhow::Context;
use http::Method;
use serde_json::{Value, json};
use tokio_postgres::types::ToSql;

use crate::seed::DEMO_PASSWORD;

/// One request.
pub(crate) struct Request {
    pub method: Method,
    /// The path with its query.
    pub path: String,
    pub body: Option<String>,
    /// The call of a function in the schema `sugang`, and its parameters.
    pub statement: (&'static str, Vec<Parameter>),
    /// Whether the worker sends it as its writer instead of its reader.
    pub by_writer: bool,
    /// Whether its latency enters the figures.
    pub is_measured: bool,
    pub effect: Effect,
}

pub(crate) type Parameter = Box<dyn ToSql + Sync + Send>;

/// What a worker learns from the response.
pub(crate) enum Effect {
    Nothing,
    Registered,
}

/// The parameters of a list.
#[derive(Clone, Copy)]
pub(crate) struct List {
    /// From 1; 0 is the last page.
    pub page: i64,
    pub available: bool,
    pub popular: bool,
}

impl List {
    pub const fn page(page: i64) -> Self {
        Self {
            page,
            available: false,
            popular: false,
        }
    }

    /// The query string.
    fn query(self) -> String {
        let mut query = match self.page {
            0 => String::from("page=last"),
            1 => String::new(),
            page => format!("page={page}"),
        };
        if self.available {
            query += "&status=available";
        }
        if self.popular {
            query += "&sort=popular";
        }
        query.trim_start_matches('&').to_owned()
    }
}

impl Default for List {
    fn default() -> Self {
        Self::page(1)
    }
}

pub(crate) const AVAILABLE_ONLY: List = List {
    available: true,
    ..List::page(1)
};

pub(crate) const POPULAR: List = List {
    popular: true,
    ..List::page(1)
};

/// An exam or a course that is open.
#[derive(Clone)]
pub(crate) struct Item {
    pub id: i64,
    pub price: String,
}

/// What a worker knows and has done.
pub(crate) struct State {
    /// The user that reads.
    pub user: i64,
    /// The user that registers and cancels: another one, so that the reader keeps its number of payments.
    pub writer: i64,
    pub email: String,
    /// Exams and courses that are open to the writer.
    pub items: [Vec<Item>; 2],
    /// Exams in the database.
    pub rows: i64,
    /// Pages of the list.
    pub pages: i64,
    /// Payments of the reader.
    pub payments: Vec<i64>,
    pub random: fastrand::Rng,
    next_item: [usize; 2],
    pub payments_made: VecDeque<i64>,
    changes: u64,
}

impl State {
    pub fn new(
        (user, writer): (i64, i64),
        email: String,
        items: [Vec<Item>; 2],
        rows: i64,
        payments: Vec<i64>,
    ) -> Self {
        Self {
            user,
            writer,
            email,
            items,
            rows,
            pages: (rows / 20).max(1),
            payments,
            random: fastrand::Rng::with_seed(user.unsigned_abs()),
            next_item: [0, 0],
            payments_made: VecDeque::new(),
            changes: 0,
        }
    }

    fn read(&self, path: String, call: &'static str, parameters: Vec<Parameter>) -> Option<Request> {
        let (method, body) = (Method::GET, None);
        Some(Request {
            method,
            path,
            body,
            statement: (call, parameters),
            by_writer: false,
            is_measured: true,
            effect: Effect::Nothing,
        })
    }

    pub fn list(&self, list: List) -> Option<Request> {
        self.list_of(&format!("?{}", list.query()), list, None)
    }

    pub fn search(&self, words: &str, list: List) -> Option<Request> {
        let query = format!("?search={}&{}", encoded(words), list.query());
        self.list_of(query.trim_end_matches('&'), list, Some(words.to_owned()))
    }

    fn list_of(&self, query: &str, list: List, words: Option<String>) -> Option<Request> {
        let parameters: Vec<Parameter> = vec![
            Box::new(self.user),
            Box::new(list.page),
            Box::new(list.available),
            Box::new(words),
            Box::new(list.popular),
        ];
        self.read(format!("/tests/{query}"), "list_test($1, $2, $3, $4, $5)", parameters)
    }

    pub fn detail(&mut self) -> Option<Request> {
        let id = self.random.i64(1..=self.rows);
        self.read(
            format!("/tests/{id}/"),
            "get_test($1, $2)",
            vec![Box::new(self.user), Box::new(id)],
        )
    }

    pub fn payments(
        &self,
        query: &str,
        status: Option<&'static str>,
        kind: Option<&'static str>,
        days: Option<(&'static str, &'static str)>,
        words: Option<&'static str>,
    ) -> Option<Request> {
        let parameters: Vec<Parameter> = vec![
            Box::new(self.user),
            Box::new(1_i64),
            Box::new(status),
            Box::new(kind),
            Box::new(days.map(|days| days.0)),
            Box::new(days.map(|days| days.1)),
            Box::new(words),
        ];
        self.read(
            format!("/me/payments/{query}"),
            "list_payments($1, $2, $3, $4, $5, $6, $7)",
            parameters,
        )
    }

    /// A page of the items that are available now, sent as the writer.
    pub fn items_page(&self, kind: usize, page: i64) -> Option<Request> {
        let (path, call) = [
            ("tests", "list_test($1, $2, $3, $4, $5)"),
            ("courses", "list_course($1, $2, $3, $4, $5)"),
        ][kind];
        let parameters: Vec<Parameter> = vec![
            Box::new(self.writer),
            Box::new(page),
            Box::new(true),
            Box::new(None::<String>),
            Box::new(false),
        ];
        Some(Request {
            by_writer: true,
            ..self.read(format!("/{path}/?status=available&page={page}"), call, parameters)?
        })
    }

    /// The default list.
    pub fn first_page(&self) -> Option<Request> {
        self.list(List::default())
    }

    /// The newest payments of the reader.
    pub fn payments_page(&self) -> Option<Request> {
        self.payments("", None, None, None, None)
    }

    pub fn payment(&mut self) -> Option<Request> {
        let id = *self.random.choice(&self.payments)?;
        self.read(
            format!("/me/payments/{id}/"),
            "get_payment($1, $2)",
            vec![Box::new(self.user), Box::new(id)],
        )
    }

    /// A login with the password of all demo users.
    pub fn login(&mut self) -> Option<Request> {
        Some(Request {
            method: Method::POST,
            path: "/login/".to_owned(),
            body: Some(json!({"email": self.email, "password": DEMO_PASSWORD}).to_string()),
            statement: ("credentials($1, $1, null)", vec![Box::new(self.email.clone())]),
            by_writer: false,
            is_measured: true,
            effect: Effect::Nothing,
        })
    }

    pub fn register(&mut self, kind: usize) -> Option<Request> {
        // Item 0 belongs to the scenario in which all workers register for one item.
        let next = self.next_item[kind] % self.items[kind].len().saturating_sub(1).max(1) + 1;
        self.next_item[kind] = next;
        self.register_for(kind, next)
    }

    pub fn register_for(&mut self, kind: usize, item: usize) -> Option<Request> {
        let item = self.items[kind].get(item)?;
        let (path, call) = [
            (
                "/tests/ID/apply/",
                "register_test($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            ),
            (
                "/courses/ID/enroll/",
                "register_course($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            ),
        ][kind];
        self.changes += 1;
        let parameters: Vec<Parameter> = vec![
            Box::new(self.writer),
            Box::new(item.id),
            Box::new(item.price.clone()),
            Box::new("card"),
            Box::new("1000"),
            Box::new("100000000"),
            Box::new(format!("sugang_bench_{}", uuid::Uuid::new_v4().simple())),
            Box::new(format!("bench-{}-{}", self.writer, self.changes)),
            Box::new(None::<String>),
            Box::new(None::<String>),
        ];
        Some(Request {
            method: Method::POST,
            path: path.replace("ID", &item.id.to_string()),
            body: Some(json!({"amount": item.price, "payment_method": "card"}).to_string()),
            statement: (call, parameters),
            by_writer: true,
            is_measured: true,
            effect: Effect::Registered,
        })
    }

    pub fn cancel(&mut self) -> Option<Request> {
        // The oldest first: a worker that registers for one item after another comes back to it eventually.
        let id = self.payments_made.pop_front()?;
        self.changes += 1;
        let parameters: Vec<Parameter> = vec![
            Box::new(self.writer),
            Box::new(id),
            Box::new(None::<String>),
            Box::new(format!("bench-{}-{}", self.writer, self.changes)),
            Box::new(None::<String>),
            Box::new(None::<String>),
        ];
        Some(Request {
            method: Method::POST,
            path: format!("/payments/{id}/cancel/"),
            body: Some("{}".to_owned()),
            statement: ("cancel_payment($1, $2, $3, $4, $5, $6)", parameters),
            by_writer: true,
            is_measured: true,
            effect: Effect::Nothing,
        })
    }

    /// Keeps the id of a payment that the request made, to cancel it later.
    ///
    /// # Errors
    /// When the response lacks it.
    pub fn learn(&mut self, request: &Request, response: &[u8]) -> anyhow::Result<()> {
        if let Effect::Registered = request.effect {
            let body: Value = serde_json::from_slice(response)?;
            self.payments_made
                .push_back(body["payment_id"].as_i64().context("the response has no payment_id")?);
        }
        Ok(())
    }
}

pub(crate) fn encoded(words: &str) -> String {
    url::form_urlencoded::byte_serialize(words.as_bytes()).collect()
}
