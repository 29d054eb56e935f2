//! The count of a search that is taken in pieces, over several statements.

use futures::future::join_all;
use rstest::rstest;
use sugang_tests::{App, COURSE, EXAM, Kind, User};

/// Items that are counted in one piece.
const PIECE: u32 = 300;

/// Makes pieces small, and lets a statement begin further ones for `patience`. The items that have not ended are too many
/// to be looked up.
async fn set_pieces(app: &App, patience: &str) {
    let pieces = format!(
        "create or replace function sugang.search_count_piece() returns bigint language sql immutable
             as $$ select {PIECE}::bigint $$;
         create or replace function sugang.search_count_patience() returns interval language sql immutable
             as $$ select interval '{patience}' $$;
         create or replace function sugang.search_count_look_ups() returns bigint language sql immutable
             as $$ select 100::bigint $$"
    );
    app.database().batch_execute(&pieces).await.unwrap();
}

/// Replaces a part of a function of the kind.
pub async fn edit_function(app: &App, kind: Kind, function: &str, from: &str, to: &str) {
    let signature = format!("sugang.{}_{function}", kind.payment_type);
    let before: String = app
        .one(&format!("select pg_get_functiondef('{signature}'::regproc)"), &[])
        .await;
    assert!(before.contains(from), "{signature} has {from:?}");
    app.database().batch_execute(&before.replace(from, to)).await.unwrap();
}

/// Adds 3,000 items, one in each hour: nine of ten have the word 사전.
pub async fn fill(app: &App, kind: Kind) {
    let fill = format!(
        "insert into {} (title, price, start_at, end_at, created_at, updated_at)
         select concat_ws(' ', case when n % 10 > 0 then '사전' end, case when n % 2 = 0 then '둘' end), 1, '2020-01-01',
                case when n % 5 = 0 then timestamptz '2021-01-01' else '2099-01-01' end,
                timestamptz '2024-01-01' + n * interval '1 h', now()
         from generate_series(1, 3000) n",
        kind.items
    );
    app.run(&fill, &[]).await;
}

/// Edits that move items into, out of, and within what is counted already; `{at}` is some time in the list, `{id}` some
/// item.
const EDITS: [&str; 9] = [
    "insert into {items} (title, price, start_at, end_at, created_at) values ('사전 둘', 1, '2020-01-01', '2099-01-01', {at})",
    "insert into {items} (title, price, start_at, end_at) values ('사전', 1, '2020-01-01', '2099-01-01')",
    "delete from {items} where id between {id} and {id} + 3",
    "update {items} set title = case when title like '사전%' then '하나' else '사전 둘' end where id between {id} and {id} + 5",
    "update {items} set hidden = not hidden where id between {id} and {id} + 3",
    "update {items} set created_at = {at} where id between {id} and {id} + 5",
    "update {items} set created_at = {at}, title = '사전 셋' where id between {id} and {id} + 5",
    "update {items} set end_at = case when end_at > now() then timestamptz '2021-01-01' else '2099-01-01' end
         where id between {id} and {id} + 5",
    "update {items} set id = id + 100000 where id = {id}",
];

/// One of them.
pub fn random_edit(kind: Kind, random: &mut fastrand::Rng) -> String {
    let edit = EDITS[random.usize(..EDITS.len())];
    let at = format!(
        "timestamptz '2024-01-01' + {} * interval '1 min'",
        random.u32(0..180_000)
    );
    edit.replace("{items}", kind.items)
        .replace("{id}", &random.u32(1..3000).to_string())
        .replace("{at}", &at)
}

/// Counts searches piece by piece, with an edit before each, and returns how many results are not what a sequential count
/// finds at that moment.
async fn wrong_counts(app: &App, kind: Kind, random: &mut fastrand::Rng) -> usize {
    let name = kind.payment_type;
    let late = app.connect().await;
    let mut wrong = 0;
    for (words, available) in [("사전", false), ("사전", true), ("둘 or 사전", true), ("-셋넷", false)] {
        app.run("delete from sugang.search_counts", &[]).await;
        let mut pieces = 1;
        let counted = loop {
            let edit = random_edit(kind, random);
            // One in three is committed after the piece.
            let is_late = random.u32(0..3) == 0;
            if is_late {
                late.batch_execute("begin").await.unwrap();
                late.batch_execute(&edit).await.unwrap();
            } else {
                app.run(&edit, &[]).await;
            }
            let count = format!("select sugang.{name}_search_count($1, sugang.search_query($2), now())");
            let counted: Option<i64> = app.one(&count, &[&available, &words]).await;
            if let Some(counted) = counted {
                let matching = format!(
                    "select count(*) from sugang.{name}_search s join {} i on i.id = item_id
                     where s.search_vector @@ sugang.search_query($1) and (not $2 or now() between start_at and end_at)",
                    kind.items
                );
                wrong += usize::from(app.one::<i64>(&matching, &[&words, &available]).await != counted);
            }
            if is_late {
                late.batch_execute("commit").await.unwrap();
            }
            if counted.is_some() {
                break counted;
            }
            pieces += 1;
        };
        // What no item has is few, and counted at once.
        assert_eq!(pieces > 5, words != "-셋넷", "{words}: {counted:?} in {pieces} pieces");
    }
    wrong
}

#[rstest]
#[tokio::test]
async fn a_count_in_pieces_is_exact_whatever_is_edited_meanwhile(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    set_pieces(&app, "0 s").await;
    fill(&app, kind).await;
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..4 {
        assert_eq!(wrong_counts(&app, kind, &mut random).await, 0, "seed {seed}");
    }

    // The control: every edit is taken for one of what is counted already.
    let place = "(c.created_at, c.item_id) < (k.next_created_at, k.next_item_id)";
    edit_function(&app, kind, "adjust_search_counts", place, "true").await;
    let mut wrong = 0;
    for _ in 0..4 {
        wrong += wrong_counts(&app, kind, &mut random).await;
    }
    assert!(wrong > 0, "seed {seed}");
}

/// Searches until the count is known, and tells it with the number of requests that were answered 503 before.
async fn search(app: &App, kind: Kind, user: &User, words: &str) -> (Option<i64>, usize) {
    for refused in 0..100 {
        let answer = app.get(format!("{}?search={words}", kind.path)).by(user).await;
        if answer.status == 200 {
            return (answer.json()["count"].as_i64(), refused);
        }
        assert_eq!(
            (answer.status.as_u16(), answer.code(), answer.header("retry-after")),
            (503, "unavailable", "1")
        );
    }
    (None, 100)
}

#[rstest]
#[tokio::test]
async fn concurrent_requests_share_the_pieces(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    set_pieces(&app, "0 s").await;
    fill(&app, kind).await;
    let answers = join_all((0..20).map(|_| search(&app, kind, &minsu, "사전"))).await;
    for (count, _) in answers {
        assert_eq!(count, Some(2_700));
    }
    // So few of most that they are counted after those that it excludes, in pieces as well.
    assert_eq!(search(&app, kind, &minsu, "-사전").await.0, Some(300));
}

/// Each row takes as long as if it was read from a slow disk.
#[rstest]
#[tokio::test]
async fn a_count_that_takes_longer_than_a_statement_may_is_finished(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::with("database_timeout_ms", 1_000).start().await;
    let minsu = app.user("minsu").await;
    fill(&app, kind).await;
    for (function, condition) in [
        ("count_at_once", "s.search_vector @@ $1"),
        ("count_piece", "s.search_vector @@ $2"),
    ] {
        let slow = format!("{condition} and pg_sleep(0.0005) is not null");
        edit_function(&app, kind, function, condition, &slow).await;
    }

    // The control: a statement that goes on for as long as it takes leaves nothing when it is ended.
    set_pieces(&app, "1 h").await;
    for _ in 0..4 {
        let answer = app.get(format!("{}?search=사전", kind.path)).by(&minsu).await;
        assert_eq!(answer.status, 503);
    }

    set_pieces(&app, "0.1 s").await;
    let (count, refused) = search(&app, kind, &minsu, "사전").await;
    assert_eq!(count, Some(2_700));
    assert!(refused > 0, "no statement took too long");
}
