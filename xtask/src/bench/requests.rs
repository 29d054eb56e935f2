//! What is asked: each kind of request as HTTP and as the statement that the component sends for it.

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
    /// The next one of it; none when the worker has nothing left to ask it with.
    pub ask: fn(&mut State) -> Option<Ask>,
    /// Whether it is one statement and nothing else, so that there is a limit to compare it with.
    pub limited: bool,
}

const fn statement(name: &'static str, ask: fn(&mut State) -> Option<Ask>) -> Request {
    Request {
        name,
        ask,
        limited: true,
    }
}

/// Every kind of request. 디자인 stands in 10 % of the titles and descriptions, 산스크리트어 in six of a million.
pub const REQUESTS: &[Request] = &[
    statement("list", |state| state.list("", List::default())),
    statement("list, page 2", |state| {
        state.list(
            "?page=2",
            List {
                page: 2,
                ..List::default()
            },
        )
    }),
    statement("list, page 1,000", |state| {
        state.list(
            "?page=1000",
            List {
                page: 1_000,
                ..List::default()
            },
        )
    }),
    statement("list, page in the middle", |state| {
        let page = state.pages / 2;
        state.list(
            &format!("?page={page}"),
            List {
                page,
                ..List::default()
            },
        )
    }),
    statement("list, last page", |state| {
        state.list(
            "?page=last",
            List {
                page: 0,
                ..List::default()
            },
        )
    }),
    statement("available", |state| {
        state.list(
            "?status=available",
            List {
                available: true,
                ..List::default()
            },
        )
    }),
    statement("popular", |state| {
        state.list(
            "?sort=popular",
            List {
                popular: true,
                ..List::default()
            },
        )
    }),
    statement("search, frequent word", |state| state.search("디자인", List::default())),
    statement("search, rare word", |state| {
        state.search("산스크리트어", List::default())
    }),
    statement("search, two words", |state| {
        state.search("디자인 고급", List::default())
    }),
    statement("search, one word but not another", |state| {
        state.search("디자인 -고급", List::default())
    }),
    statement("search, available, popular", |state| {
        state.search(
            "디자인",
            List {
                available: true,
                popular: true,
                ..List::default()
            },
        )
    }),
    statement("detail", State::detail),
    statement("own payments", |state| state.payments("", None, None, None, None)),
    statement("own payments, filtered", |state| {
        let query = "?status=paid&payment_type=test&from=2020-01-01&to=2099-12-31";
        state.payments(
            query,
            Some("paid"),
            Some("test"),
            Some(("2020-01-01", "2099-12-31")),
            None,
        )
    }),
    statement("own payments, search", |state| {
        let query = format!("?search={}", encoded("고급"));
        state.payments(&query, None, None, None, Some("고급"))
    }),
    statement("one own payment", State::payment),
    Request {
        name: "login",
        ask: State::login,
        limited: false,
    },
    statement("apply, many items", |state| state.register(0)),
    statement("cancel", State::cancel),
    statement("enrol, many items", |state| state.register(1)),
    statement("cancel (courses)", State::cancel),
    statement("apply and cancel, one item", |state| {
        match state.payments_made.is_empty() {
            true => state.register_for(0, 0),
            false => state.cancel(),
        }
    }),
    statement("mixed, 90 % reads", |state| match state.random.u8(0..100) {
        0..30 => state.list("", List::default()),
        30..40 => state.list(
            "?status=available",
            List {
                available: true,
                ..List::default()
            },
        ),
        40..50 => state.list(
            "?sort=popular",
            List {
                popular: true,
                ..List::default()
            },
        ),
        50..60 => state.search("디자인", List::default()),
        60..80 => state.detail(),
        80..90 => state.payments("", None, None, None, None),
        _ if state.payments_made.len() > 4 => state.cancel(),
        _ => state.register(0),
    }),
];

/// One request.
pub struct Ask {
    pub method: Method,
    /// The path with its query.
    pub path: String,
    pub body: Option<String>,
    /// The statement, without what all have in common, and its parameters.
    pub statement: (&'static str, Vec<Parameter>),
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

impl Default for List {
    fn default() -> Self {
        Self {
            page: 1,
            available: false,
            popular: false,
        }
    }
}

/// Something to register for.
#[derive(Clone)]
pub struct Item {
    pub id: i64,
    pub price: String,
}

/// What a worker knows and has done.
pub struct State {
    /// Who it is.
    pub user: i64,
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
    payments_made: Vec<i64>,
    changes: u64,
}

impl State {
    pub fn new(user: i64, email: String, items: [Vec<Item>; 2], rows: i64, payments: Vec<i64>) -> Self {
        Self {
            user,
            email,
            items,
            rows,
            pages: (rows / 20).max(1),
            payments,
            random: fastrand::Rng::with_seed(user.unsigned_abs()),
            next_item: [0, 0],
            payments_made: Vec::new(),
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
            effect: Effect::Nothing,
        })
    }

    fn list(&self, query: &str, list: List) -> Option<Ask> {
        self.list_of(query, list, None)
    }

    fn search(&self, words: &str, list: List) -> Option<Ask> {
        let status = if list.available { "&status=available" } else { "" };
        let sort = if list.popular { "&sort=popular" } else { "" };
        self.list_of(
            &format!("?search={}{status}{sort}", encoded(words)),
            list,
            Some(words.to_owned()),
        )
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

    /// A page of what is available now.
    pub fn items_page(&self, kind: usize, page: i64) -> Option<Ask> {
        let (path, call) = [
            ("tests", "list_test($1, $2, $3, $4, $5)"),
            ("courses", "list_course($1, $2, $3, $4, $5)"),
        ][kind];
        let parameters: Vec<Parameter> = vec![
            Box::new(self.user),
            Box::new(page),
            Box::new(true),
            Box::new(None::<String>),
            Box::new(false),
        ];
        self.read(format!("/{path}/?status=available&page={page}"), call, parameters)
    }

    /// The default list.
    pub fn first_page(&self) -> Option<Ask> {
        self.list("", List::default())
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
            Box::new(self.user),
            Box::new(item.id),
            Box::new(item.price.clone()),
            Box::new("card"),
            Box::new("1000"),
            Box::new("100000000"),
            Box::new(format!("sugang_bench_{}", uuid::Uuid::new_v4().simple())),
            Box::new(format!("bench-{}-{}", self.user, self.changes)),
            Box::new(None::<String>),
            Box::new(None::<String>),
        ];
        Some(Ask {
            method: Method::POST,
            path: path.replace("ID", &item.id.to_string()),
            body: Some(json!({"amount": item.price, "payment_method": "card"}).to_string()),
            statement: (call, parameters),
            effect: Effect::Registered,
        })
    }

    fn cancel(&mut self) -> Option<Ask> {
        let id = self.payments_made.pop()?;
        self.changes += 1;
        let parameters: Vec<Parameter> = vec![
            Box::new(self.user),
            Box::new(id),
            Box::new(None::<String>),
            Box::new(format!("bench-{}-{}", self.user, self.changes)),
            Box::new(None::<String>),
            Box::new(None::<String>),
        ];
        Some(Ask {
            method: Method::POST,
            path: format!("/payments/{id}/cancel/"),
            body: Some("{}".to_owned()),
            statement: ("cancel_payment($1, $2, $3, $4, $5, $6)", parameters),
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
                .push(body["payment_id"].as_i64().context("no payment_id in the answer")?);
        }
        Ok(())
    }
}

fn encoded(words: &str) -> String {
    url::form_urlencoded::byte_serialize(words.as_bytes()).collect()
}
