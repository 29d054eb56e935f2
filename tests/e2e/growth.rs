//! Tables that every request or change adds to stay short.

use rstest::rstest;
use sugang_tests::{App, COURSE, EXAM, Item, Kind};

/// Makes changes of one item that searches can see, each in a transaction of its own.
async fn change(app: &App, kind: Kind, times: u32) {
    let changes = format!(
        "do $$ begin
             for n in 1..{times} loop
                 update {} set title = '낱말 ' || n where id = 1;
                 commit;
             end loop;
         end $$",
        kind.items
    );
    app.database().batch_execute(&changes).await.unwrap();
}

async fn search_changes(app: &App, kind: Kind) -> i64 {
    let count = "select count(*) from sugang.search_changes where kind = $1";
    app.one(count, &[&kind.payment_type]).await
}

/// Without a search, only the changes themselves can prune.
#[rstest]
#[tokio::test]
async fn changes_are_pruned_without_a_search(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    app.add(kind, Item::default()).await;
    change(&app, kind, 10_000).await;
    let left = search_changes(&app, kind).await;
    assert!(left < 12_000, "{left} of 20,000 are left");

    // What that would show: nothing prunes.
    let keep = "create or replace function sugang.prune_search_changes(p_kind text) returns void language sql as ''";
    app.database().batch_execute(keep).await.unwrap();
    change(&app, kind, 10_000).await;
    assert!(search_changes(&app, kind).await >= left + 20_000);
}

/// A count that was stored long ago needs all changes since. They are given up beyond 10,000, and it is taken again.
#[rstest]
#[tokio::test]
async fn a_stored_count_does_not_keep_all_changes(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let add = format!(
        "insert into {} (title, price, start_at, end_at, created_at, updated_at)
         select '낱말 ' || n, 100, '2020-01-01', '2099-01-01', now(), now() from generate_series(1, 1500) n",
        kind.items
    );
    app.run(&add, &[]).await;
    let count = async || app.get(format!("{}?search=낱말", kind.path)).by(&minsu).await.json()["count"].clone();
    assert_eq!(count().await, 1500);
    change(&app, kind, 10_000).await;
    let left = search_changes(&app, kind).await;
    assert!((1..12_000).contains(&left), "{left} of 20,000 are left");

    app.run(
        &format!("update {} set title = '다른 말' where id <= 7", kind.items),
        &[],
    )
    .await;
    app.run(
        "update sugang.search_counts set counted_at = counted_at - interval '1 minute'",
        &[],
    )
    .await;
    assert_eq!(count().await, 1493);
}

/// One transaction that changes everything leaves one row for all of it.
#[rstest]
#[tokio::test]
async fn a_large_transaction_is_recorded_as_one(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let add = format!(
        "insert into {} (title, price, start_at, end_at, created_at, updated_at)
         select '낱말 ' || n, 100, '2020-01-01', '2099-01-01', now(), now() from generate_series(1, 5000) n",
        kind.items
    );
    app.run(&add, &[]).await;
    let count = async || app.get(format!("{}?search=낱말", kind.path)).by(&minsu).await.json()["count"].clone();
    assert_eq!(count().await, 5000);
    app.run(
        &format!("update {} set title = '다른 말' where id <= 2500", kind.items),
        &[],
    )
    .await;
    let left = search_changes(&app, kind).await;
    assert!(left <= 1_010, "{left} of 5,000 are recorded");
    app.run(
        "update sugang.search_counts set counted_at = counted_at - interval '1 minute'",
        &[],
    )
    .await;
    assert_eq!(count().await, 2500);
}

/// A period that moves through the hours leaves no row behind in each.
#[rstest]
#[tokio::test]
async fn hours_without_an_item_are_not_kept(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    app.add(kind, Item::default()).await;
    let rows = "select count(*) from sugang.bucket_counts";
    let before: i64 = app.one(rows, &[]).await;
    let moves = format!(
        "do $$ begin
             for n in 1..500 loop
                 update {} set start_at = start_at + interval '1 day', end_at = end_at + interval '1 day';
             end loop;
         end $$",
        kind.items
    );
    app.database().batch_execute(&moves).await.unwrap();
    assert_eq!(app.one::<i64>(rows, &[]).await, before);
    app.run(&format!("delete from {}", kind.items), &[]).await;
    assert_eq!(app.one::<i64>(rows, &[]).await, 0);
}
