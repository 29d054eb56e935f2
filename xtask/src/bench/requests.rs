//! What is asked: each kind of request as HTTP and as the statement that the component sends for it.

use std::collections::VecDeque;

use anyhow::Context;
use http::Method;
use serde_json::{Value, json};
use tokio_postgres::types::ToSql;

use super::target::Reply;
use crate::seed::DEMO_PASSWORD;

/// A kind of request.
pub struct Request {
    /// Its name in the report.
    pub name: &'static str,
    /// What it is to reach.
    pub bounds: &'static [Bound],
    /// The next one of it; none when the worker has nothing left to ask it with.
    pub ask: fn(&mut State) -> Option<Ask>,
    /// Whether it is one statement and nothing else, so that there is a limit to compare it with.
    pub limited: bool,
}

/// What a kind of request is to reach on a host of our own, with 32 connections on two processors.
#[derive(Clone, Copy)]
pub enum Bound {
    /// Of the limit's requests per second at least this part.
    OfLimit(f64),
    /// Milliseconds at the 99th percentile at most.
    P99(f64),
    /// At the median at most so many times what the list of this name takes.
    Times(f64, &'static str),
    /// Requests per second at least.
    PerSecond(f64),
}

const LIST: &str = "list";
const AVAILABLE: &str = "available";
const READS: &[Bound] = &[Bound::OfLimit(0.4), Bound::P99(40.0)];
const OWN: &[Bound] = &[Bound::OfLimit(0.4), Bound::P99(25.0)];
const PAGES: &[Bound] = &[Bound::Times(3.0, LIST)];
const SEARCHES: &[Bound] = &[Bound::P99(60.0)];
const MANY_ITEMS: &[Bound] = &[Bound::PerSecond(800.0)];

const fn statement(name: &'static str, bounds: &'static [Bound], ask: fn(&mut State) -> Option<Ask>) -> Request {
    Request {
        name,
        bounds,
        ask,
        limited: true,
    }
}

/// Many requests of every sort, as a busy day has them.
pub const MIXED: Request = statement("mixed, 90 % reads", &[], |state| match state.random.u8(0..100) {
    0..30 => state.list(List::default()),
    30..40 => state.list(AVAILABLE_ONLY),
    40..50 => state.list(POPULAR),
    50..60 => state.search("디자인", List::default()),
    60..80 => state.detail(),
    80..90 => state.payments("", None, None, None, None),
    _ if state.payments_made.len() > 4 => state.cancel(),
    _ => state.register(0),
});

/// A search whose word stands in 10 % of the rows, with all that a search can be asked for beside.
pub const FREQUENT_AND_AVAILABLE: Request = statement("search, available, popular", &[Bound::P99(80.0)], |state| {
    state.search(
        "디자인",
        List {
            available: true,
            ..POPULAR
        },
    )
});

/// Every kind of request. 디자인 stands in 10 % of the titles and descriptions, 산스크리트어 in six of a million.
pub const REQUESTS: &[Request] = &[
    statement(LIST, READS, |state| state.list(List::default())),
    statement("list, page 2", PAGES, |state| state.list(List::page(2))),
    statement("list, page 1,000", PAGES, |state| state.list(List::page(1_000))),
    statement("list, page 25,000", PAGES, |state| {
        state.list(List::page(state.pages.min(25_000)))
    }),
    statement("list, last page", PAGES, |state| state.list(List::page(0))),
    statement(AVAILABLE, READS, |state| state.list(AVAILABLE_ONLY)),
    statement("available, last page", &[Bound::Times(3.0, AVAILABLE)], |state| {
        state.list(List {
            page: 0,
            ..AVAILABLE_ONLY
        })
    }),
    statement("popular", READS, |state| state.list(POPULAR)),
    statement("search, frequent word", SEARCHES, |state| {
        state.search("디자인", List::default())
    }),
    statement("search, frequent word, page 3", SEARCHES, |state| {
        state.search("디자인", List::page(3))
    }),
    statement("search, rare word", &[Bound::Times(2.0, LIST)], |state| {
        state.search("산스크리트어", List::default())
    }),
    statement("search, two words", &[], |state| {
        state.search("디자인 고급", List::default())
    }),
    statement("search, one word but not another", &[], |state| {
        state.search("디자인 -고급", List::default())
    }),
    FREQUENT_AND_AVAILABLE,
    statement("detail", OWN, State::detail),
    statement("own payments", OWN, |state| state.payments("", None, None, None, None)),
    statement("own payments, filtered", OWN, |state| {
        let query = "?status=paid&payment_type=test&from=2020-01-01&to=2099-12-31";
        state.payments(
            query,
            Some("paid"),
            Some("test"),
            Some(("2020-01-01", "2099-12-31")),
            None,
        )
    }),
    statement("own payments, search", &[], |state| {
        let query = format!("?search={}", encoded("고급"));
        state.payments(&query, None, None, None, Some("고급"))
    }),
    statement("one own payment", &[], State::payment),
    Request {
        name: "login",
        bounds: &[],
        ask: State::login,
        limited: false,
    },
    // What logins take from everybody else: only the lists are measured.
    Request {
        name: "list, while half of the connections log in",
        bounds: &[],
        ask: |state| match state.user % 2 {
            0 => Some(Ask {
                is_measured: false,
                ..state.login()?
            }),
            _ => state.list(List::default()),
        },
        limited: false,
    },
    statement("apply, many items", MANY_ITEMS, |state| state.register(0)),
    statement("cancel", MANY_ITEMS, State::cancel),
    statement("enrol, many items", MANY_ITEMS, |state| state.register(1)),
    statement("cancel (courses)", MANY_ITEMS, State::cancel),
    statement(
        "apply and cancel, one item",
        &[Bound::PerSecond(400.0)],
        |state| match state.payments_made.is_empty() {
            true => state.register_for(0, 0),
            false => state.cancel(),
        },
    ),
    MIXED,
];

/// One request.
pub struct Ask {
    pub method: Method,
    /// The path with its query.
    pub path: String,
    pub body: Option<String>,
    /// The statement, without what all have in common, and its parameters.
    pub statement: (&'static str, Vec<Parameter>),
    /// Whether it is the writer who asks.
    pub by_writer: bool,
    /// Whether how long it takes counts.
    pub is_measured: bool,
    effect: Effect,
}

/// A parameter of a statement.
pub type Parameter = Box<dyn ToSql + Sync + Send>;

enum Effect {
    Nothing,
    Registered,
}

/// The parameters of a list.
#[derive(Clone, Copy)]
struct List {
    page: i64,
    available: bool,
    popular: bool,
}

impl List {
    const fn page(page: i64) -> Self {
        Self {
            page,
            available: false,
            popular: false,
        }
    }

    /// As the URL has it.
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

const AVAILABLE_ONLY: List = List {
    available: true,
    ..List::page(1)
};

const POPULAR: List = List {
    popular: true,
    ..List::page(1)
};

/// Something to register for.
#[derive(Clone)]
pub struct Item {
    pub id: i64,
    pub price: String,
}

/// What a worker knows and has done.
pub struct State {
    /// Who reads.
    pub user: i64,
    /// Who registers and cancels: another one, so that a reader's own payments stay as many as they were.
    pub writer: i64,
    pub email: String,
    /// Exams and courses that it can register for.
    pub items: [Vec<Item>; 2],
    /// Items in the database, for details.
    pub rows: i64,
    /// Pages of the list.
    pub pages: i64,
    /// Payments of the user.
    pub payments: Vec<i64>,
    pub random: fastrand::Rng,
    next_item: [usize; 2],
    payments_made: VecDeque<i64>,
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

    fn read(&self, path: String, call: &'static str, parameters: Vec<Parameter>) -> Option<Ask> {
        let (method, body) = (Method::GET, None);
        Some(Ask {
            method,
            path,
            body,
            statement: (call, parameters),
            by_writer: false,
            is_measured: true,
            effect: Effect::Nothing,
        })
    }

    fn list(&self, list: List) -> Option<Ask> {
        self.list_of(&format!("?{}", list.query()), list, None)
    }

    fn search(&self, words: &str, list: List) -> Option<Ask> {
        let query = format!("?search={}&{}", encoded(words), list.query());
        self.list_of(query.trim_end_matches('&'), list, Some(words.to_owned()))
    }

    fn list_of(&self, query: &str, list: List, words: Option<String>) -> Option<Ask> {
        let parameters: Vec<Parameter> = vec![
            Box::new(self.user),
            Box::new(list.page),
            Box::new(list.available),
            Box::new(words),
            Box::new(list.popular),
        ];
        self.read(format!("/tests/{query}"), "list_test($1, $2, $3, $4, $5)", parameters)
    }

    fn detail(&mut self) -> Option<Ask> {
        let id = self.random.i64(1..=self.rows);
        self.read(
            format!("/tests/{id}/"),
            "get_test($1, $2)",
            vec![Box::new(self.user), Box::new(id)],
        )
    }

    fn payments(
        &self,
        query: &str,
        status: Option<&'static str>,
        kind: Option<&'static str>,
        days: Option<(&'static str, &'static str)>,
        words: Option<&'static str>,
    ) -> Option<Ask> {
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

    /// A page of what is available now, as the writer sees it.
    pub fn items_page(&self, kind: usize, page: i64) -> Option<Ask> {
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
        Some(Ask {
            by_writer: true,
            ..self.read(format!("/{path}/?status=available&page={page}"), call, parameters)?
        })
    }

    /// The default list.
    pub fn first_page(&self) -> Option<Ask> {
        self.list(List::default())
    }

    /// The newest payments of the user.
    pub fn payments_page(&self) -> Option<Ask> {
        self.payments("", None, None, None, None)
    }

    fn payment(&mut self) -> Option<Ask> {
        let id = *self.random.choice(&self.payments)?;
        self.read(
            format!("/me/payments/{id}/"),
            "get_payment($1, $2)",
            vec![Box::new(self.user), Box::new(id)],
        )
    }

    /// A login with the password of all demo users.
    pub fn login(&mut self) -> Option<Ask> {
        Some(Ask {
            method: Method::POST,
            path: "/login/".to_owned(),
            body: Some(json!({"email": self.email, "password": DEMO_PASSWORD}).to_string()),
            statement: ("credentials($1)", vec![Box::new(self.email.clone())]),
            by_writer: false,
            is_measured: true,
            effect: Effect::Nothing,
        })
    }

    fn register(&mut self, kind: usize) -> Option<Ask> {
        // Item 0 is for the requests that all go to one item.
        let next = self.next_item[kind] % self.items[kind].len().saturating_sub(1).max(1) + 1;
        self.next_item[kind] = next;
        self.register_for(kind, next)
    }

    fn register_for(&mut self, kind: usize, item: usize) -> Option<Ask> {
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
        Some(Ask {
            method: Method::POST,
            path: path.replace("ID", &item.id.to_string()),
            body: Some(json!({"amount": item.price, "payment_method": "card"}).to_string()),
            statement: (call, parameters),
            by_writer: true,
            is_measured: true,
            effect: Effect::Registered,
        })
    }

    fn cancel(&mut self) -> Option<Ask> {
        // The oldest first: whoever registers for one thing after another comes back to it some day.
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
        Some(Ask {
            method: Method::POST,
            path: format!("/payments/{id}/cancel/"),
            body: Some("{}".to_owned()),
            statement: ("cancel_payment($1, $2, $3, $4, $5, $6)", parameters),
            by_writer: true,
            is_measured: true,
            effect: Effect::Nothing,
        })
    }

    /// Keeps what a good answer tells, for requests to come.
    ///
    /// # Errors
    /// When it does not tell what it must.
    pub fn learn(&mut self, ask: &Ask, reply: &Reply) -> anyhow::Result<()> {
        if let Effect::Registered = ask.effect {
            let body: Value = serde_json::from_slice(&reply.body)?;
            self.payments_made
                .push_back(body["payment_id"].as_i64().context("no payment_id in the answer")?);
        }
        Ok(())
    }
}

fn encoded(words: &str) -> String {
    url::form_urlencoded::byte_serialize(words.as_bytes()).collect()
}
