//! The kinds of request that are measured, and the goals of each.

use crate::request::{AVAILABLE_ONLY, List, POPULAR, Request, State, encoded};

/// A kind of request.
pub(crate) struct Scenario {
    /// Its name in the report.
    pub name: &'static str,
    pub bounds: &'static [Bound],
    /// Makes the next request; `None` when the worker has no item or payment left for it.
    pub next: fn(&mut State) -> Option<Request>,
    /// Whether a request is one SQL statement and nothing else, so that there is a limit to compare it with.
    pub has_limit: bool,
}

/// A goal of a scenario on the host, with 32 connections on two processors.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    /// At least this fraction of the limit's requests per second.
    OfLimit(f64),
    /// At most this many milliseconds at the 99th percentile.
    P99(f64),
    /// At the median at most this many times as long as the scenario of this name.
    Times(f64, &'static str),
    /// At least this many requests per second.
    PerSecond(f64),
}

const LIST: &str = "list";
const AVAILABLE: &str = "available";
const READS: &[Bound] = &[Bound::OfLimit(0.4), Bound::P99(40.0)];
const OWN: &[Bound] = &[Bound::OfLimit(0.4), Bound::P99(25.0)];
const PAGES: &[Bound] = &[Bound::Times(3.0, LIST)];
const SEARCHES: &[Bound] = &[Bound::P99(60.0)];
const MANY_ITEMS: &[Bound] = &[Bound::PerSecond(800.0)];

const fn statement(name: &'static str, bounds: &'static [Bound], next: fn(&mut State) -> Option<Request>) -> Scenario {
    Scenario {
        name,
        bounds,
        next,
        has_limit: true,
    }
}

/// Reads and changes in the proportions of a busy day.
pub(crate) const MIXED: Scenario = statement("mixed, 90 % reads", &[], |state| match state.random.u8(0..100) {
    0..30 => state.list(List::default()),
    30..40 => state.list(AVAILABLE_ONLY),
    40..50 => state.list(POPULAR),
    50..60 => state.search("디자인", List::default()),
    60..80 => state.detail(),
    80..90 => state.payments("", None, None, None, None),
    _ => change(state),
});

/// Registrations and cancellations by turns.
pub(crate) const CHANGES: Scenario = statement("apply and cancel, many items", &[], change);

fn change(state: &mut State) -> Option<Request> {
    match state.payments_made.len() > 4 {
        true => state.cancel(),
        false => state.register(0),
    }
}

/// The most expensive search: a word in 10 % of the rows, only what is available, sorted by popularity.
pub(crate) const FREQUENT_AND_AVAILABLE: Scenario =
    statement("search, available, popular", &[Bound::P99(80.0)], |state| {
        state.search(
            "디자인",
            List {
                available: true,
                ..POPULAR
            },
        )
    });

/// Two words of which each is in 10 % of the rows or more.
pub(crate) const TWO_WORDS: Scenario = statement("search, two words", SEARCHES, |state| {
    state.search("디자인 고급", List::default())
});
pub(crate) const NOT_ANOTHER: Scenario = statement("search, one word but not another", SEARCHES, |state| {
    state.search("디자인 -고급", List::default())
});

/// Every scenario. 디자인 occurs in 10 % of the titles and descriptions, 산스크리트어 in six of a million.
pub(crate) const SCENARIOS: &[Scenario] = &[
    statement(LIST, READS, |state| state.list(List::default())),
    statement("list, page 2", PAGES, |state| state.list(List::page(2))),
    statement("list, page 1,000", PAGES, |state| {
        state.list(List::page(state.pages.min(1_000)))
    }),
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
    TWO_WORDS,
    NOT_ANOTHER,
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
    Scenario {
        name: "login",
        bounds: &[],
        next: State::login,
        has_limit: false,
    },
    // What logins cost the other requests: only the lists are measured.
    Scenario {
        name: "list, while half of the connections log in",
        bounds: &[],
        next: |state| match state.user % 2 {
            0 => Some(Request {
                is_measured: false,
                ..state.login()?
            }),
            _ => state.list(List::default()),
        },
        has_limit: false,
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
