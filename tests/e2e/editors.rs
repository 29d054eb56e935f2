//! Operators and the Django service edit many items at once, beside each other and beside users: no request waits for what
//! is derived from the items, and it stays exact.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use fastrand::Rng;
use futures::future::{join, join_all, try_join_all};
use rstest::rstest;
use sugang_tests::{App, COURSE, EXAM, Kind};
use tokio::time::sleep;
use tokio_postgres::{Client, error::SqlState};

use crate::{
    storm::assert_audit,
    support::{Hold, register},
};

/// Adds open items of the usual price. Their periods differ in hour, day and month.
async fn add(app: &App, kind: Kind, n: i64) {
    let add = format!(
        "insert into {} (title, description, price, start_at, end_at)
         select '정보처리기사 ' || n, 'exam', 45000, timestamptz '2020-01-01' + n * interval '7 h',
                timestamptz '2090-01-01' + n * interval '11 h'
         from generate_series(1, $1::bigint) n",
        kind.items
    );
    app.run(&add, &[&n]).await;
}

/// The counts that the API shows: of all items, and of those that are open.
async fn counts(app: &App, kind: Kind) -> [i64; 2] {
    let reader = app.user(&format!("reader{}", fastrand::u64(..))).await;
    let count = async |query: &str| {
        let answer = app.get(format!("{}{query}", kind.path)).by(&reader).await;
        answer.json()["count"].as_i64().expect("a list has a count")
    };
    [count("").await, count("?status=available").await]
}

/// Asserts that the API shows what the table has, and that the audit finds nothing.
async fn assert_exact(app: &App, kind: Kind) {
    let shown = counts(app, kind).await;
    let counted = format!(
        "select array[count(*), count(*) filter (where now() between start_at and end_at)] from {} where not hidden",
        kind.items
    );
    assert_eq!(app.one::<Vec<i64>>(&counted, &[]).await, shown);
    assert_audit(app).await;
}

/// What a statement writes of the tables that are kept for counts and searches.
async fn derived(app: &App, kind: Kind) -> String {
    let versions = format!(
        "select concat_ws(' ', (select count(*) from sugang.search_changes), (select count(*) from sugang.bucket_changes),
                    (select md5(string_agg(xmin::text, ' ' order by edge, level, bucket)) from sugang.bucket_counts),
                    (select md5(string_agg(xmin::text, ' ' order by kind)) from sugang.available_counts),
                    (select md5(string_agg(xmin::text, ' ' order by item_id)) from sugang.{}_search))",
        kind.payment_type
    );
    app.one(&versions, &[]).await
}

#[rstest]
#[tokio::test]
async fn every_kind_of_edit_is_counted(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    add(&app, kind, 1_000).await;
    for edit in [
        "update {items} set start_at = start_at + interval '1 minute'",
        "update {items} set start_at = now() + interval '1 h' where id % 3 = 0",
        "update {items} set end_at = '2021-01-01' where id % 5 = 0",
        // Ends before it starts, and does so no more.
        "update {items} set end_at = '2019-01-01' where id % 7 = 0",
        "update {items} set start_at = '2020-01-01', end_at = 'infinity', created_at = '0044-03-15 BC' where id % 7 = 0",
        "update {items} set title = '새 ' || title, created_at = now(), end_at = '2088-01-01' where id % 11 = 0",
        "update {items} set id = id + 100000 where id % 13 = 0",
        "update {items} set start_at = '2020-01-01' where id < 0",
        "delete from {items} where id % 17 = 0",
        "insert into {items} (id, title, price, start_at, end_at)
             select n, 'new', 1, '2020-01-01', '2089-01-01' from generate_series(900, 1000) n
             on conflict (id) do update set end_at = '2087-01-01'",
        "merge into {items} i using (select generate_series(950, 1200) as n) s on i.id = n
             when matched then update set end_at = '2086-01-01'
             when not matched then insert (id, title, price, start_at, end_at)
                 values (600000 + n, 'merged', 1, '2020-01-01', '2089-01-01')",
        "begin; update {items} set end_at = '2030-01-01'; savepoint s; delete from {items}; rollback to s;
         update {items} set end_at = '2031-01-01' where id % 2 = 0; commit",
        "begin; update {items} set end_at = '2040-01-01'; rollback",
        "begin isolation level serializable; update {items} set end_at = '2032-01-01'; commit",
        "begin; set constraints all immediate; update {items} set end_at = '2033-01-01'; commit",
        // Within a trigger, as another program may have one.
        "create function move() returns trigger language plpgsql as
             'begin update {items} set end_at = ''2034-01-01'' where id < 300; return null; end';
         create trigger move after update on users execute function move();
         update users set is_active = true",
        "with moved as (update {items} set end_at = '2035-01-01' where id < 50 returning 1)
             insert into {items} (title, price, start_at, end_at)
             select 'new', 1, '2020-01-01', '2089-01-01' from moved",
        // Hidden, and shown: by itself, and together with everything else.
        "update {items} set hidden = true where id % 2 = 0",
        "update {items} set end_at = '2085-01-01', title = 'hidden' where id % 4 = 0",
        "update {items} set hidden = id % 3 = 0, start_at = '2019-01-01', title = title || ' ' where id % 5 < 3",
        "update {items} set hidden = true, id = id + 200000 where id % 19 = 0",
        "update {items} set hidden = false, id = id + 200000 where id % 23 = 0",
        "delete from {items} where id % 29 = 0",
        "insert into {items} (title, price, start_at, end_at, hidden)
             select 'new', 1, '2020-01-01', '2089-01-01', n % 2 = 0 from generate_series(1, 10) n",
        "create function hide() returns trigger language plpgsql as
             'begin update {items} set hidden = not hidden, end_at = ''2036-01-01'' where id < 400; return null; end';
         create trigger hide after update on users execute function hide();
         update users set is_active = true",
        "truncate {items} cascade",
        "insert into {items} (title, price, start_at, end_at)
             select 'new', 1, '2020-01-01', '2089-01-01' from generate_series(1, 10)",
    ] {
        let edit = edit.replace("{items}", kind.items);
        app.database()
            .batch_execute(&edit)
            .await
            .unwrap_or_else(|error| panic!("{edit}: {error:?}"));
        assert_exact(&app, kind).await;
    }
}

/// A count at all times: an imported file, and its removal.
#[tokio::test]
async fn a_file_of_ten_thousand_items_is_copied_and_deleted() {
    let app = App::start().await;
    let copy = "copy tests (title, price, start_at, end_at) from program
                'for n in $(seq 10000); do echo \"exam $n,1,2020-01-01,2090-01-$((n % 28 + 1))\"; done' (format csv)";
    app.run(copy, &[]).await;
    assert_exact(&app, EXAM).await;
    app.run("delete from tests where id % 2 = 0", &[]).await;
    assert_exact(&app, EXAM).await;
}

#[rstest]
#[tokio::test]
async fn an_edit_that_moves_no_period_writes_nothing_derived(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    add(&app, kind, 200).await;
    let edit = |change: &str| format!("update {} set {change}", kind.items);
    let before = derived(&app, kind).await;
    for change in [
        "price = price + 1",
        "capacity = 7",
        "updated_at = now()",
        // As Django's `save()` writes a row.
        "title = title, description = description, price = 7, start_at = start_at, end_at = end_at,
         created_at = created_at",
    ] {
        app.run(&edit(change), &[]).await;
        assert_eq!(derived(&app, kind).await, before, "{change}");
    }
    // That it would show.
    app.run(&edit("end_at = end_at + interval '1 h'"), &[]).await;
    assert_ne!(derived(&app, kind).await, before);
}

/// Sessions of editors. They look for a deadlock early.
async fn editors(app: &App, n: usize) -> Vec<Client> {
    let connect = async || {
        let editor = app.connect().await;
        editor.batch_execute("set deadlock_timeout = '20ms'").await?;
        Ok::<_, tokio_postgres::Error>(editor)
    };
    try_join_all((0..n).map(|_| connect())).await.expect("editors connect")
}

/// How transactions ended: by a commit, or by a deadlock.
#[derive(Default)]
struct Edits {
    committed: AtomicU32,
    deadlocks: AtomicU32,
}

/// Edits rows of one's own until `ended`: several of them in each statement, several statements in each transaction.
async fn edit(editor: &Client, kind: Kind, number: usize, of: usize, ended: &AtomicBool, edits: &Edits) {
    let mut rng = Rng::with_seed(number as u64);
    while !ended.load(Relaxed) {
        let statements: String = (0..3)
            .map(|_| {
                let days = rng.u32(..60);
                let own = format!("where id % {of} = {number} and id between {} and 600", rng.u32(..300));
                let edit = match rng.u8(..10) {
                    0 => format!("set title = '제목 ' || id {own}"),
                    1 => format!("set created_at = now() - interval '{days} days' {own}"),
                    2 => "set title = '새' where false".to_owned(),
                    _ => format!(
                        "set end_at = timestamptz '2090-01-01' + interval '{days} days' - id * interval '9 h' {own}"
                    ),
                };
                format!("update {} {edit};", kind.items)
            })
            .collect();
        match editor.batch_execute(&format!("begin; {statements} commit")).await {
            Ok(()) => {
                edits.committed.fetch_add(1, Relaxed);
            }
            Err(error) => {
                assert_eq!(error.code(), Some(&SqlState::T_R_DEADLOCK_DETECTED), "{error:?}");
                edits.deadlocks.fetch_add(1, Relaxed);
                editor.batch_execute("rollback").await.expect("a transaction can end");
            }
        }
    }
}

/// Does nothing for a while, and for longer on a busy machine, on which there is not `enough` yet.
pub(crate) async fn pass(lasts: Duration, enough: impl Fn() -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < lasts || (!enough() && begun.elapsed() < 20 * lasts) {
        sleep(Duration::from_millis(20)).await;
    }
}

/// A storm of editors, each with rows of one's own.
async fn storm(app: &App, kind: Kind, enough: impl Fn(&Edits) -> bool) -> Edits {
    let (ended, edits) = (AtomicBool::new(false), Edits::default());
    let sessions = editors(app, 6).await;
    let editing = sessions
        .iter()
        .enumerate()
        .map(|(n, editor)| edit(editor, kind, n, 6, &ended, &edits));
    let clock = async {
        pass(Duration::from_millis(1_500), || enough(&edits)).await;
        ended.store(true, Relaxed);
    };
    join(join_all(editing), clock).await;
    edits
}

#[rstest]
#[tokio::test]
async fn a_storm_of_editors_has_no_deadlock_and_exact_counts(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    add(&app, kind, 600).await;
    let users = join_all((0..4).map(async |n| app.user(&format!("user{n}")).await)).await;
    // These rows belong to no editor's loop: users register for the first, and a transaction stays open on the others.
    let add_own = format!(
        "insert into {} (id, title, price, start_at, end_at)
         select 1000 + n, 't', 45000, '2020-01-01', '2090-01-01' from generate_series(1, 12) n",
        kind.items
    );
    app.run(&add_own, &[]).await;
    let open = format!(
        "update {} set end_at = '2091-01-01', title = 'open' where id > 1010",
        kind.items
    );
    let open = Hold::new(&app, &open).await;
    let applying = users.iter().map(async |user| {
        for id in 1..=10 {
            assert_eq!(register(&app, kind, 1_000 + id, user).await.status, 201);
        }
    });
    let many = |edits: &Edits| edits.committed.load(Relaxed) > 20;
    let (edits, _) = join(storm(&app, kind, many), join_all(applying)).await;
    assert!(many(&edits), "only {:?} edits", edits.committed);
    assert_eq!(edits.deadlocks.into_inner(), 0);
    assert_exact(&app, kind).await;
    open.commit().await;
    assert_exact(&app, kind).await;
}

/// The control: a trigger that writes shared rows, as this service once had it.
#[tokio::test]
async fn shared_rows_would_make_editors_deadlock() {
    let app = App::start().await;
    add(&app, EXAM, 600).await;
    let shared = "create table shared as select n as hour, 0 as n from generate_series(0, 23) n;
                  create function share() returns trigger language plpgsql as 'begin
                      update shared set n = n + 1 where hour = extract(hour from new.end_at);
                      return null;
                  end';
                  create trigger share after update on tests for each row execute function share()";
    app.database().batch_execute(shared).await.expect("a control");
    let any = |edits: &Edits| edits.deadlocks.load(Relaxed) > 0;
    assert!(any(&storm(&app, EXAM, any).await));
}

/// Other edits, lists and registrations meet no lock of a transaction that stays open after it has edited its own rows.
#[rstest]
#[tokio::test]
async fn an_open_transaction_of_an_editor_delays_nobody_else(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    add(&app, kind, 400).await;
    let items = kind.items;
    let open = Hold::new(
        &app,
        &format!(
            "update {items} set start_at = '2021-05-05', end_at = '2079-01-01', title = 'open' where id > 200;
             delete from {items} where id > 390;
             insert into {items} (title, price, start_at, end_at) values ('new', 1, '2020-01-01', '2099-01-01')"
        ),
    )
    .await;
    let other = app.connect().await;
    other
        .batch_execute("set lock_timeout = '500ms'")
        .await
        .expect("a setting");
    let mut took = Duration::ZERO;
    for edit in [
        "update {items} set start_at = '2021-05-05', end_at = '2079-01-01', title = 'other' where id <= 100",
        "update {items} set end_at = '2019-01-01' where id <= 10",
        "delete from {items} where id = 1",
        "insert into {items} (title, price, start_at, end_at) values ('new', 1, '2020-01-01', '2099-01-01')",
    ] {
        let edit = edit.replace("{items}", items);
        let begun = Instant::now();
        other
            .batch_execute(&edit)
            .await
            .unwrap_or_else(|error| panic!("{edit}: {error:?}"));
        took += begun.elapsed();
        assert_exact(&app, kind).await;
    }
    let begun = Instant::now();
    assert_eq!(register(&app, kind, 150, &minsu).await.status, 201);
    took += begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    // Its changes have been counted neither too early nor not at all.
    assert_exact(&app, kind).await;
    open.commit().await;
    assert_exact(&app, kind).await;
}

/// What is left of commits that met each other does not grow: readers add it up, and edits and reads put it away.
#[rstest]
#[tokio::test]
async fn changes_of_counts_are_put_away(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    add(&app, kind, 100).await;
    let left = async || app.one::<i64>("select count(*) from sugang.bucket_changes", &[]).await;
    assert_eq!(left().await, 0);
    // While another session holds the lock, each commit leaves its changes.
    let lock = format!(
        "select from sugang.available_counts where kind = '{}' for update",
        kind.payment_type
    );
    let lock = Hold::new(&app, &lock).await;
    add(&app, kind, 150).await;
    app.run(&format!("delete from {} where id <= 20", kind.items), &[])
        .await;
    assert!(left().await > 150);
    assert_exact(&app, kind).await;
    lock.release().await;
    counts(&app, kind).await;
    assert_eq!(left().await, 0);
    assert_exact(&app, kind).await;
}

/// While editors edit, the triggers of before make way for those of now. No edit is counted twice or not at all.
#[tokio::test]
async fn the_triggers_are_replaced_while_editors_edit() {
    let app = App::start().await;
    let before = include_str!("../fixtures/item_triggers_of_v20.sql");
    app.database()
        .batch_execute(before)
        .await
        .expect("the schema of before");
    add(&app, EXAM, 600).await;
    let ended = AtomicBool::new(false);
    let sessions = editors(&app, 4).await;
    let editing = sessions.iter().enumerate().map(async |(n, editor)| {
        let mut edits = 0;
        while !ended.load(Relaxed) {
            // One row at a time: several at once would deadlock, as they did then.
            let edit = format!(
                "update tests set end_at = end_at + interval '5 h' where id = {}",
                n + 4 * (edits % 150) + 1
            );
            editor
                .batch_execute(&edit)
                .await
                .unwrap_or_else(|error| panic!("{error:?}"));
            edits += 1;
        }
        edits
    });
    let upgrade = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let applied = sugang_migrations::run(app.database_url())
            .await
            .expect("it is upgraded");
        tokio::time::sleep(Duration::from_millis(200)).await;
        ended.store(true, Relaxed);
        applied
    };
    let (edits, applied) = join(join_all(editing), upgrade).await;
    assert!(edits.iter().all(|edits| *edits > 5), "{edits:?}");
    assert_eq!(applied.len(), 2, "{applied:?}");
    assert_exact(&app, EXAM).await;
}
