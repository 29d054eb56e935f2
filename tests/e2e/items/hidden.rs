//! Items that an operator hides: users find none of them, and those who are registered keep what they have.

use std::{
    collections::BTreeMap,
    sync::atomic::{
        AtomicBool, AtomicU64, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
    time::Duration,
};

use fastrand::Rng;
use futures::future::{join, join_all};
use rstest::rstest;
use serde_json::Value;
use sugang_tests::{Answer, App, COURSE, EXAM, Item, Kind, User, assert_answer};
use tokio::time::sleep;

use super::list::{add, titles};
use crate::{
    editors::pass,
    storm::{assert_audit, audit},
    support::{Hold, cancel, paid, register},
};

async fn hide(app: &App, kind: Kind, hidden: bool, which: &str) {
    let hide = format!("update {} set hidden = $1 where {which}", kind.items);
    app.run(&hide, &[&hidden]).await;
}

#[rstest]
#[tokio::test]
async fn no_list_and_no_count_has_one(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    add(&app, kind, 60).await;
    let rename = format!("update {} set title = '요가 ' || title", kind.items);
    app.run(&rename, &[]).await;
    // The newest and the most popular ones.
    for id in 41..=60 {
        app.register(kind, &minsu, id, kind.active).await;
    }
    let seen = async || {
        let mut seen = Vec::new();
        for query in [
            "?",
            "?sort=popular",
            "?status=available",
            "?status=available&sort=popular",
            "?search=요가",
            "?search=요가&status=available&sort=popular",
            "?search=-필라테스",
        ] {
            let pages = join_all(["", "&page=2", "&page=last"].map(|page| {
                let path = format!("{}{query}{page}", kind.path);
                async { app.get(path).by(&minsu).await }
            }));
            let pages = pages.await;
            let count = pages[0].json()["count"].as_i64().expect("a list has a count");
            let firsts = pages.iter().map(|page| page.json()["results"][0]["id"].clone());
            seen.push((count, firsts.collect::<Vec<Value>>()));
        }
        seen
    };
    let before = seen().await;
    assert_eq!(before, vec![(60, vec![60.into(), 40.into(), 20.into()]); 7]);
    hide(&app, kind, true, "id > 20").await;
    assert_eq!(seen().await, vec![(20, vec![20.into(), Value::Null, 20.into()]); 7]);
    assert_audit(&app).await;
    hide(&app, kind, false, "true").await;
    assert_eq!(seen().await, before);
    hide(&app, kind, true, "true").await;
    assert_eq!(seen().await, vec![(0, vec![Value::Null; 3]); 7]);
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn one_is_not_found(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    hide(&app, kind, true, "true").await;
    let before = app.state().await;
    for answer in [
        app.get(kind.item(id)).by(&minsu).await,
        register(&app, kind, id, &minsu).await,
    ] {
        assert_answer!(answer, @r#"
        {
          "status": "404 Not Found",
          "body": {
            "code": "not_found",
            "detail": "찾을 수 없습니다.",
            "request_id": "[request id]"
          }
        }
        "#);
    }
    let complete = app.post(kind.complete(id)).by(&minsu).await;
    assert_eq!((complete.status.as_u16(), complete.code()), (404, "not_registered"));
    assert_eq!(app.state().await, before);
    hide(&app, kind, false, "true").await;
    assert_eq!(register(&app, kind, id, &minsu).await.status, 201);
}

#[rstest]
#[tokio::test]
async fn those_registered_keep_theirs(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let [minsu, jisu] = [app.user("minsu").await, app.user("jisu").await];
    let id = app.add(kind, Item::default()).await;
    let payment = paid(&register(&app, kind, id, &minsu).await);
    paid(&register(&app, kind, id, &jisu).await);
    let own = async || {
        let one = app.get(format!("/me/payments/{payment}/")).by(&minsu).await;
        let found = app.get("/me/payments/?search=정보처리기사").by(&minsu).await;
        (one.json().clone(), found.json().clone())
    };
    let before = own().await;
    hide(&app, kind, true, "true").await;
    assert_eq!(own().await, before);
    // Not even to those who are registered.
    assert_eq!(app.get(kind.item(id)).by(&minsu).await.status, 404);
    assert_eq!(register(&app, kind, id, &minsu).await.code(), "not_found");

    assert_eq!(cancel(&app, payment, &minsu).await.status, 200);
    assert_eq!(app.post(kind.complete(id)).by(&jisu).await.status, 200);
    assert_eq!(register(&app, kind, id, &minsu).await.code(), "not_found");
    assert_audit(&app).await;
    hide(&app, kind, false, "true").await;
    paid(&register(&app, kind, id, &minsu).await);
    let shown = app.get(kind.item(id)).by(&minsu).await;
    assert_eq!(shown.json()["registration_count"], 2);
    assert_audit(&app).await;
}

/// A cancellation waits for the row of the item, and goes on once it is hidden.
#[rstest]
#[tokio::test]
async fn one_may_be_cancelled_while_it_is_being_hidden(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let payment = paid(&register(&app, kind, id, &minsu).await);
    let hiding = Hold::new(&app, &format!("update {} set hidden = true", kind.items)).await;
    let (cancelled, ()) = join(cancel(&app, payment, &minsu).into_future(), async {
        hiding.is_waited_for().await;
        hiding.commit().await;
    })
    .await;
    assert_eq!(cancelled.status, 200);
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn a_database_from_before_hides_none(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    add(&app, kind, 30).await;
    paid(&register(&app, kind, 7, &minsu).await);
    let list = async || {
        app.get(format!("{}?status=available", kind.path))
            .by(&minsu)
            .await
            .json()
            .clone()
    };
    let before = list().await;
    app.database()
        .batch_execute(
            "alter table tests drop column hidden cascade;
             alter table courses drop column hidden cascade;
             create index tests_newest on tests (created_at desc, id desc) include (start_at, end_at);
             create index idx_course_dates on courses (start_at, end_at);
             delete from sugang.migrations where script = 'V26__hidden' or script like '%index_entries'",
        )
        .await
        .expect("it can be made old");
    let migrated = sugang_migrations::run(app.database_url())
        .await
        .expect("it is migrated");
    assert!(migrated.contains(&"V26__hidden (test)".to_owned()), "{migrated:?}");
    assert_eq!(list().await, before);
    assert_audit(&app).await;
    let partial = "select count(*) from pg_indexes where indexdef like '%WHERE (NOT hidden)'";
    assert_eq!(app.one::<i64>(partial, &[]).await, 6);
    hide(&app, kind, true, "id > 10").await;
    assert_eq!(list().await["count"], 10);
    assert_audit(&app).await;
}

const ITEMS: usize = 45;

/// When items are hidden and shown. A number is odd from the commit that hides the item until the statement that shows it.
struct Hiding {
    turns: [AtomicU64; ITEMS],
    seen: [AtomicUsize; REQUESTS.len()],
    has_ended: AtomicBool,
}

impl Hiding {
    fn turns(&self) -> Vec<u64> {
        self.turns.iter().map(|turn| turn.load(SeqCst)).collect()
    }

    /// Hides and shows items in turn: each editor has its own.
    async fn edit(&self, app: &App, kind: Kind, number: usize, of: usize) {
        let database = app.connect().await;
        let mut rng = Rng::with_seed(number as u64);
        while !self.has_ended.load(Relaxed) {
            let index = rng.usize(..ITEMS / of) * of + number;
            let hides = self.turns[index].load(SeqCst).is_multiple_of(2);
            if !hides {
                self.turns[index].fetch_add(1, SeqCst);
            }
            let set = ["", ", title = title || ' '", ", end_at = end_at + interval '1 h'"][rng.usize(..3)];
            let edit = format!("update {} set hidden = $1{set} where id = $2", kind.items);
            let edited = database.execute(&edit, &[&hides, &(index as i64 + 1)]).await;
            edited.unwrap_or_else(|error| panic!("{edit}: {error:?}"));
            if hides {
                self.turns[index].fetch_add(1, SeqCst);
            }
            sleep(Duration::from_millis(3)).await;
        }
    }

    /// Sends requests until the editors have ended.
    async fn watch(&self, app: &App, kind: Kind, user: &User, seed: u64) {
        let mut rng = Rng::with_seed(seed);
        while !self.has_ended.load(Relaxed) {
            let (name, query) = REQUESTS[rng.usize(..REQUESTS.len())];
            let id = rng.i64(1..=ITEMS as i64);
            let before = self.turns();
            let (answer, ids) = match name {
                "apply" => {
                    let answer = register(app, kind, id, user).await;
                    (answer.clone(), Vec::from_iter((answer.status == 201).then_some(id)))
                }
                "detail" => {
                    let answer = app.get(kind.item(id)).by(user).await;
                    (answer.clone(), Vec::from_iter((answer.status == 200).then_some(id)))
                }
                _ => {
                    let page = rng.u8(1..=3);
                    let answer = app.get(format!("{}{query}&page={page}", kind.path)).by(user).await;
                    (answer.clone(), shown(&answer))
                }
            };
            let after = self.turns();
            let is_hidden = |id: &&i64| {
                let index = **id as usize - 1;
                before[index] % 2 == 1 && before[index] == after[index]
            };
            let at = REQUESTS.iter().position(|(other, _)| *other == name);
            self.seen[at.expect("it is one of them")].fetch_add(ids.iter().filter(is_hidden).count(), Relaxed);
            if answer.status == 201 {
                cancel(app, paid(&answer), user).await;
            }
        }
    }

    /// How often a response had an item that was hidden all the time, by kind of request.
    fn seen(&self) -> BTreeMap<&'static str, usize> {
        let seen = REQUESTS.iter().zip(&self.seen);
        seen.map(|((name, _), seen)| (*name, seen.load(Relaxed))).collect()
    }
}

const REQUESTS: [(&str, &str); 7] = [
    ("list", "?"),
    ("available", "?status=available"),
    ("popular", "?sort=popular"),
    ("search", "?search=요가"),
    ("search popular", "?search=요가&status=available&sort=popular"),
    ("detail", ""),
    ("apply", ""),
];

/// The ids of a page; of none, where the list became shorter meanwhile.
fn shown(answer: &Answer) -> Vec<i64> {
    let results = answer.json()["results"].as_array();
    let ids = results.into_iter().flatten().map(|item| item["id"].as_i64());
    ids.map(|id| id.expect("an item has an id")).collect()
}

/// Users list, page, search and apply while editors hide and show, until users have seen `enough`. Returns how many hidden
/// items they saw, by request.
async fn storm(
    app: &App,
    kind: Kind,
    enough: impl Fn(&BTreeMap<&'static str, usize>) -> bool,
) -> BTreeMap<&'static str, usize> {
    let add = format!(
        "insert into {} (title, price, start_at, end_at, created_at)
         select '요가 ' || n, 45000, '2020-01-01', timestamptz '2090-01-01' + n * interval '7 h',
                timestamptz '2026-01-01' + n % 7 * interval '1 h'
         from generate_series(1, $1::bigint) n",
        kind.items
    );
    app.run(&add, &[&(ITEMS as i64)]).await;
    let users = join_all((0..6).map(async |n| app.user(&format!("user{n}")).await)).await;
    let hiding = Hiding {
        turns: [const { AtomicU64::new(0) }; ITEMS],
        seen: [const { AtomicUsize::new(0) }; REQUESTS.len()],
        has_ended: AtomicBool::new(false),
    };
    let editors = join_all((0..3).map(|n| hiding.edit(app, kind, n, 3)));
    let watchers = join_all(users.iter().zip(0..).map(|(user, n)| hiding.watch(app, kind, user, n)));
    let turns = || hiding.turns().iter().sum::<u64>();
    let clock = async {
        pass(Duration::from_secs(2), || turns() > 100 && enough(&hiding.seen())).await;
        hiding.has_ended.store(true, Relaxed);
    };
    join(editors, join(watchers, clock)).await;
    assert!(turns() > 100, "only {} turns", turns());
    hiding.seen()
}

#[rstest]
#[tokio::test]
async fn a_storm_of_hiding_shows_none(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let seen = storm(&app, kind, |_| true).await;
    assert!(seen.values().all(|n| *n == 0), "{seen:?}");
    let minsu = app.user("minsu").await;
    let there = format!("select count(*) from {} where not hidden", kind.items);
    let there: i64 = app.one(&there, &[]).await;
    for query in [
        "?",
        "?status=available",
        "?search=요가",
        "?search=요가&status=available",
    ] {
        let answer = app.get(format!("{}{query}", kind.path)).by(&minsu).await;
        assert_eq!(answer.json()["count"], there, "{query}");
        assert_eq!(titles(&answer).len(), there.min(20) as usize, "{query}");
    }
    assert_audit(&app).await;
}

/// The control: statements that do not ask, and a search that does not follow.
#[rstest]
#[tokio::test]
async fn a_storm_shows_what_is_not_left_out(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let functions = [
        "{kind}_json",
        "{kind}_newest_page",
        "{kind}_popular_page",
        "do_register_{kind}",
    ];
    for function in functions.map(|name| name.replace("{kind}", kind.payment_type)) {
        let find = format!("select pg_get_functiondef('sugang.{function}'::regproc)");
        let definition: String = app.one(&find, &[]).await;
        let without = definition.replace("not i.hidden", "true").replace("not hidden", "true");
        assert_ne!(without, definition, "{function} asks no more");
        let without = without
            .replace(", current_item.hidden", "")
            .replace(", item.hidden", "");
        app.run(&without, &[]).await;
    }
    let careless = format!("alter table {} disable trigger sugang_search_table_update", kind.items);
    app.run(&careless, &[]).await;
    let all = |seen: &BTreeMap<_, usize>| seen.values().all(|n| *n > 0);
    let seen = storm(&app, kind, all).await;
    assert!(all(&seen), "{seen:?}");
    let findings = audit(&app).await;
    assert!(
        findings.iter().any(|finding| finding.check == "search_table"),
        "{findings:?}"
    );
}
