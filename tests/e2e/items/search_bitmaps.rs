//! Frequent words have bitmaps, which the sweep makes before a user searches.

use futures::future::join_all;
use rstest::rstest;
use serde_json::Value;
use sugang_tests::{App, COURSE, EXAM, Kind, User};

use super::count_pieces::{edit_function, fill, random_edit};

const SECRET: &str = "0123456789abcdef";

async fn start() -> App {
    App::with("sweep_secret", SECRET).start().await
}

/// Replaces what a function without arguments returns.
async fn set(app: &App, function: &str, result: &str) {
    let set = format!(
        "do $do$ begin
             execute (select replace(pg_get_functiondef(oid), btrim(prosrc, E' \\n'), $r$select {result}$r$)
                      from pg_proc where oid = 'sugang.{function}()'::regprocedure);
         end $do$"
    );
    app.database().batch_execute(&set).await.unwrap();
}

/// Has bitmaps made of the words that 1,200 items have, in pieces of 600, one in each sweep.
async fn set_ahead(app: &App) {
    for (function, result) in [
        ("search_ahead_from", "1200::bigint"),
        ("search_ahead_sample", "1000000::bigint"),
        ("search_ahead_piece", "600::bigint"),
        ("search_ahead_patience", "interval '0'"),
        ("search_ahead_pause", "interval '0'"),
        ("search_ahead_age", "interval '0'"),
    ] {
        set(app, function, result).await;
    }
}

/// Sweeps, and tells in how many seconds the next sweep has something to do.
async fn sweep(app: &App) -> Option<u64> {
    let call = app.post("/internal/sweep/");
    let answer = call.header("authorization", format!("Bearer {SECRET}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["again_in_seconds"].as_u64()
}

/// Sweeps until all is counted, and tells how many sweeps that took.
async fn sweep_until_counted(app: &App) -> usize {
    for sweeps in 1..100 {
        if sweep(app).await > Some(1) {
            return sweeps;
        }
    }
    panic!("the sweep does not end to count");
}

/// Makes each match take long that a search counts.
async fn slow_down(app: &App, kind: Kind) {
    for (function, condition) in [
        ("count_few", "search_vector @@ p_query"),
        ("count_at_once", "s.search_vector @@ $1"),
        ("count_piece", "s.search_vector @@ $2"),
    ] {
        let slow = format!("{condition} and pg_sleep(0.01) is not null");
        edit_function(app, kind, function, condition, &slow).await;
    }
}

async fn search(app: &App, kind: Kind, user: &User, words: &str, status: &str) -> (u16, Value) {
    let query = url::form_urlencoded::byte_serialize(words.as_bytes()).collect::<String>();
    let path = format!("{}?search={query}&status={status}", kind.path);
    let answer = app.get(path).by(user).await;
    (answer.status.as_u16(), answer.json()["count"].clone())
}

/// What a search finds, counted by reading all items.
async fn matching(app: &App, kind: Kind, words: &str, status: &str) -> i64 {
    let matching = format!(
        "select count(*) from sugang.{}_search s join {} i on i.id = item_id
         where s.search_vector @@ sugang.search_query($1) and ($2 = '' or now() between start_at and end_at)",
        kind.payment_type, kind.items
    );
    app.one(&matching, &[&words, &status]).await
}

#[rstest]
#[tokio::test]
async fn the_first_search_for_a_frequent_word_finds_its_count(#[values(EXAM, COURSE)] kind: Kind) {
    let app = start().await;
    let minsu = app.user("minsu").await;
    fill(&app, kind).await;
    slow_down(&app, kind).await;

    // The control: no sweep has counted.
    assert_eq!(search(&app, kind, &minsu, "사전", "").await.0, 503);
    app.run("delete from sugang.search_counts", &[]).await;
    assert!(sweep(&app).await > Some(1), "a small catalogue has no bitmaps");
    assert_eq!(search(&app, kind, &minsu, "사전", "").await.0, 503);
    app.run("delete from sugang.search_counts", &[]).await;

    set_ahead(&app).await;
    assert!(sweep_until_counted(&app).await > 3, "in pieces");
    for (words, status) in [
        ("사전", ""),
        ("사전", "available"),
        ("둘", ""),
        ("-사전", ""),
        ("-둘", "available"),
        ("둘 사전", ""),
        ("사전 -둘", "available"),
        ("둘 or 사전", ""),
        ("둘 or -사전", "available"),
        ("사전 --둘", ""),
        ("사전 ---둘", ""),
    ] {
        let expected = matching(&app, kind, words, status).await;
        assert_eq!(
            search(&app, kind, &minsu, words, status).await,
            (200, expected.into()),
            "{words} {status}"
        );
    }
    assert_eq!(wrong_now(&app, kind).await, 0);
}

/// How many counts by bitmaps, with the changes since, are not what a sequential count finds at this moment.
async fn wrong_now(app: &App, kind: Kind) -> usize {
    let name = kind.payment_type;
    let wrong = format!(
        "select count(*) from unnest(array['사전', '둘', '둘 사전', '사전 -둘', '둘 or 사전', '둘 -사전']) search
         cross join (values (false), (true)) a (available)
         cross join lateral (select sugang.search_query(search) as wanted) q
         cross join lateral (
             select (sugang.{name}_adjust_search_count(known, wanted, now())).n
             from (select sugang.{name}_count_in_bitmaps(available, wanted) as known offset 0) k) counted
         where counted.n <> (
             select count(*) from sugang.{name}_search s join {} i on i.id = item_id
             where s.search_vector @@ wanted and (not available or now() between start_at and end_at))",
        kind.items
    );
    usize::try_from(app.one::<i64>(&wrong, &[]).await).unwrap()
}

/// Whether searches have bitmaps to use.
async fn has_bitmaps(app: &App, kind: Kind) -> bool {
    let in_use = format!(
        "select (sugang.{}_count_in_bitmaps(false, sugang.search_query('둘 -사전'))).n is not null",
        kind.payment_type
    );
    app.one(&in_use, &[]).await
}

/// How many counts by bitmaps are wrong while these are made and kept, and items are edited.
async fn wrong_counts(app: &App, kind: Kind, random: &mut fastrand::Rng) -> usize {
    let late = app.connect().await;
    app.run("delete from sugang.search_bitmap_sets", &[]).await;
    let (mut found, mut edits, mut finished) = (0, 0, 0);
    // An edit of an id makes the bitmaps begin again.
    while edits < 40 || finished < 5 {
        let edit = random_edit(kind, random);
        let is_late = random.u32(0..3) == 0;
        if is_late {
            late.batch_execute("begin").await.unwrap();
            late.batch_execute(&edit).await.unwrap();
        } else {
            app.run(&edit, &[]).await;
        }
        sweep(app).await;
        finished += usize::from(has_bitmaps(app, kind).await);
        found += wrong_now(app, kind).await;
        if is_late {
            late.batch_execute("commit").await.unwrap();
        }
        found += wrong_now(app, kind).await;
        edits += 1;
        assert!(edits < 1_000, "the sweep does not end to count");
    }
    found
}

#[rstest]
#[tokio::test]
async fn bitmaps_are_exact_whatever_is_edited_meanwhile(#[values(EXAM, COURSE)] kind: Kind) {
    let app = start().await;
    set_ahead(&app).await;
    fill(&app, kind).await;
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..3 {
        assert_eq!(wrong_counts(&app, kind, &mut random).await, 0, "seed {seed}");
    }

    // The control: no edit is looked at.
    let unseen = "not pg_visible_in_snapshot(c.xid, p_set.snapshot)";
    edit_function(&app, kind, "renew_bitmaps", unseen, "false").await;
    let mut wrong = 0;
    for _ in 0..3 {
        wrong += wrong_counts(&app, kind, &mut random).await;
    }
    assert!(wrong > 0, "seed {seed}");
}

/// A transaction of many changes makes bitmaps useless. They are made again, but not after each such transaction.
#[rstest]
#[tokio::test]
async fn bitmaps_are_made_again_after_a_large_change(#[values(EXAM, COURSE)] kind: Kind) {
    let app = start().await;
    let minsu = app.user("minsu").await;
    set_ahead(&app).await;
    fill(&app, kind).await;
    sweep_until_counted(&app).await;
    slow_down(&app, kind).await;
    let many = format!("update {} set title = '사전 둘' where id % 3 = 0", kind.items);
    app.run(&many, &[]).await;

    // Old enough that they are not shown as they are.
    app.run(
        "update sugang.search_counts set counted_at = counted_at - interval '1 minute'",
        &[],
    )
    .await;

    // The control: the pause since the counts were taken is not over.
    set(&app, "search_ahead_pause", "interval '1 h'").await;
    assert_eq!(sweep_until_counted(&app).await, 1);
    assert_eq!(search(&app, kind, &minsu, "사전", "").await.0, 503);

    set(&app, "search_ahead_pause", "interval '0'").await;
    sweep(&app).await;
    // Another one while they are being counted.
    app.run(&many, &[]).await;
    sweep_until_counted(&app).await;
    sweep_until_counted(&app).await;
    for status in ["", "available"] {
        let expected = matching(&app, kind, "사전", status).await;
        assert_eq!(search(&app, kind, &minsu, "사전", status).await, (200, expected.into()));
    }
    assert_eq!(wrong_now(&app, kind).await, 0);
}

#[rstest]
#[tokio::test]
async fn sweeps_at_the_same_time_share_the_work(#[values(EXAM, COURSE)] kind: Kind) {
    let app = start().await;
    set_ahead(&app).await;
    fill(&app, kind).await;
    while join_all((0..4).map(|_| sweep(&app))).await.contains(&Some(1)) {}
    assert_eq!(wrong_now(&app, kind).await, 0);
    assert!(has_bitmaps(&app, kind).await);
}

/// Where a day's periods begin and end at once, as after a pause of the sweeps, they are caught up with in steps.
#[rstest]
#[tokio::test]
async fn bitmaps_catch_up_with_time_in_steps(#[values(EXAM, COURSE)] kind: Kind) {
    let app = start().await;
    set_ahead(&app).await;
    set(&app, "search_ahead_edges", "100::bigint").await;
    fill(&app, kind).await;
    let spread = format!(
        "update {} set start_at = now() - interval '1 h' + id % 3000 * interval '1 s', end_at = '2099-01-01'
         where id % 2 = 0",
        kind.items
    );
    app.run(&spread, &[]).await;
    sweep_until_counted(&app).await;
    let back = "update sugang.search_bitmap_sets set as_of = as_of - interval '30 min'";
    let moved = format!(
        "update sugang.search_bitmaps m set bits = m.bits & ~(
             select bit_or(sugang.bit_of(id)) from {}
             where start_at > now() - interval '30 min' and start_at <= now() and sugang.block_of(id) = m.block)
         where place = -1",
        kind.items
    );
    app.run(back, &[]).await;
    app.run(&moved, &[]).await;
    assert!(sweep_until_counted(&app).await > 5, "in steps");
    assert!(has_bitmaps(&app, kind).await);
    assert_eq!(wrong_now(&app, kind).await, 0);
}

/// Bitmaps of items whose ids are far from each other would take more room than the items.
#[rstest]
#[tokio::test]
async fn ids_far_from_each_other_have_no_bitmaps(#[values(EXAM, COURSE)] kind: Kind) {
    let app = start().await;
    set_ahead(&app).await;
    fill(&app, kind).await;
    app.run(&format!("update {} set id = id * 100000", kind.items), &[])
        .await;
    for _ in 0..10 {
        sweep(&app).await;
    }
    assert!(!has_bitmaps(&app, kind).await);

    // The control: any distance will do.
    set(&app, "search_bitmap_density", "1::bigint").await;
    sweep_until_counted(&app).await;
    assert!(has_bitmaps(&app, kind).await);
    assert_eq!(wrong_now(&app, kind).await, 0);
}

/// What users have searched for has a bitmap as well, once its first count is known: a phrase, for instance.
#[rstest]
#[tokio::test]
async fn what_users_search_for_has_bitmaps_too(#[values(EXAM, COURSE)] kind: Kind) {
    let app = start().await;
    let minsu = app.user("minsu").await;
    set_ahead(&app).await;
    fill(&app, kind).await;
    assert_eq!(
        search(&app, kind, &minsu, r#""사전 둘""#, "").await,
        (200, 1_200.into())
    );
    sweep_until_counted(&app).await;
    slow_down(&app, kind).await;
    app.run(
        &format!("update {} set title = title || ' 둘' where id % 2 = 1", kind.items),
        &[],
    )
    .await;
    sweep_until_counted(&app).await;
    sweep_until_counted(&app).await;
    app.run(
        "update sugang.search_counts set counted_at = counted_at - interval '1 minute'",
        &[],
    )
    .await;
    let expected = matching(&app, kind, r#""사전 둘""#, "").await;
    assert_eq!(
        search(&app, kind, &minsu, r#""사전 둘""#, "").await,
        (200, expected.into())
    );
}

/// Few of the items with a frequent word can be taken any more: their number is exact and costs no look at all others.
#[rstest]
#[tokio::test]
async fn few_available_items_are_counted_at_once(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::with("database_timeout_ms", 3_000).start().await;
    let minsu = app.user("minsu").await;
    fill(&app, kind).await;
    let end = format!("update {} set end_at = '2021-01-01' where id <= 2900", kind.items);
    app.run(&end, &[]).await;
    slow_down(&app, kind).await;
    let count = async || search(&app, kind, &minsu, "사전", "available").await;

    // The control: all items with the word are looked up.
    set(&app, "search_count_look_ups", "50::bigint").await;
    assert_eq!(count().await.0, 503);
    app.run("delete from sugang.search_counts", &[]).await;

    set(&app, "search_count_look_ups", "200::bigint").await;
    assert_eq!(
        count().await,
        (200, matching(&app, kind, "사전", "available").await.into())
    );
}

/// A small count that took long is kept; it follows every change at once, as one that is not kept does.
#[rstest]
#[tokio::test]
async fn a_small_count_that_is_kept_is_exact(#[values(EXAM, COURSE)] kind: Kind) {
    let app = start().await;
    let minsu = app.user("minsu").await;
    set(&app, "search_count_cheap", "interval '0'").await;
    fill(&app, kind).await;
    app.run(&format!("update {} set title = '하나' where id > 900", kind.items), &[])
        .await;
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut wrong_after_edits = async || {
        let mut wrong = 0;
        for _ in 0..30 {
            app.run(&random_edit(kind, &mut random), &[]).await;
            for status in ["", "available"] {
                let expected = matching(&app, kind, "사전", status).await;
                wrong += usize::from(search(&app, kind, &minsu, "사전", status).await != (200, expected.into()));
            }
        }
        wrong
    };
    assert_eq!(wrong_after_edits().await, 0, "seed {seed}");
    let kept = "select count(*) from sugang.search_counts where n between 1 and 1000";
    assert_eq!(app.one::<i64>(kept, &[]).await, 2, "seed {seed}");

    // The control: it is shown for as long as a large one.
    let shown = "or known.n <= sugang.search_count_exact_limit()";
    let stored = "select pg_get_functiondef('sugang.stored_search_count'::regproc)";
    let stored: String = app.one(stored, &[]).await;
    assert!(stored.contains(shown));
    app.database().batch_execute(&stored.replace(shown, "")).await.unwrap();
    assert!(wrong_after_edits().await > 0, "seed {seed}");
}
