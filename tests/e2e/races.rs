//! Concurrent requests for the same things: no user pays twice, no seat is sold twice, no change is lost.

use futures::future::{join, join_all};
use rstest::rstest;
use sugang_tests::{App, COURSE, EXAM, Item, Kind, Link};

use crate::{
    storm::{Asked, Storm, assert_audit, audit, broken_meanwhile, summary},
    support::{Hold, cancel, paid, register, tally},
};

/// The state of Redis during the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Redis {
    Up,
    Flushed,
    Away,
}

/// Sends ten concurrent requests with Redis in this state, and counts the responses by status.
async fn ten_times<'a>(app: &'a App, redis: Redis, ask: impl Fn() -> sugang_tests::Call<'a>) -> Vec<(u16, usize)> {
    if redis == Redis::Away {
        app.redis().set(Link::Cut);
    }
    let asked = async { join_all((0..10).map(|_| ask().into_future())).await };
    let flushing = async {
        if redis == Redis::Flushed {
            let client = redis::Client::open(app.redis_url()).expect("an address");
            let mut connection = client.get_multiplexed_async_connection().await.expect("Redis answers");
            loop {
                redis::cmd("FLUSHDB")
                    .exec_async(&mut connection)
                    .await
                    .expect("Redis answers");
            }
        }
        std::future::pending::<()>().await;
    };
    let answers = tokio::select! {
        answers = asked => answers,
        () = flushing => unreachable!("it never ends"),
    };
    assert!(
        answers
            .iter()
            .all(|answer| [200, 201, 400, 409].contains(&answer.status.as_u16())),
        "{answers:?}"
    );
    app.redis().set(Link::Up);
    tally(&answers)
}

#[rstest]
#[tokio::test]
async fn one_of_ten_equal_registrations_succeeds(
    #[values(EXAM, COURSE)] kind: Kind,
    #[values(Redis::Up, Redis::Flushed, Redis::Away)] redis: Redis,
) {
    let app = App::proxied().start().await;
    let minsu = app.user("minsu").await;
    for round in 1..=5 {
        let id = app
            .add(
                kind,
                Item {
                    capacity: Some(7),
                    ..Item::default()
                },
            )
            .await;
        let statuses = ten_times(&app, redis, || register(&app, kind, id, &minsu)).await;
        assert_eq!(statuses[0], (201, 1), "{statuses:?}");
        let payments: i64 = app.one("select count(*) from payments", &[]).await;
        assert_eq!(payments, round);
        let item = app.get(kind.item(id)).by(&minsu).await;
        assert_eq!(
            (&item.json()["registration_count"], &item.json()["remaining"]),
            (&1.into(), &6.into())
        );
    }
}

#[rstest]
#[tokio::test]
async fn one_of_ten_equal_cancellations_succeeds(
    #[values(EXAM, COURSE)] kind: Kind,
    #[values(Redis::Up, Redis::Flushed, Redis::Away)] redis: Redis,
) {
    let app = App::proxied().start().await;
    let (minsu, jiyoung) = (app.user("minsu").await, app.user("jiyoung").await);
    let id = app.add(kind, Item::default()).await;
    register(&app, kind, id, &jiyoung).await;
    for _ in 1..=5 {
        let payment = paid(&register(&app, kind, id, &minsu).await);
        let statuses = ten_times(&app, redis, || cancel(&app, payment, &minsu)).await;
        assert_eq!(statuses[0], (200, 1), "{statuses:?}");
        let item = app.get(kind.item(id)).by(&minsu).await;
        assert_eq!(item.json()["registration_count"], 1);
    }
}

/// A cancellation and a registration for the same item take effect in either order, but never half of each.
#[rstest]
#[tokio::test]
async fn cancelling_races_registering_again(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let mut payment = paid(&register(&app, kind, id, &minsu).await);
    let (mut before, mut after) = (0, 0);
    for round in 0..20 {
        let again = async {
            // Varies which of the two comes first.
            tokio::time::sleep(std::time::Duration::from_micros(round * 150)).await;
            register(&app, kind, id, &minsu).await
        };
        let (cancelled, again) = join(cancel(&app, payment, &minsu).into_future(), again).await;
        assert_eq!(cancelled.status, 200);
        payment = match again.status.as_u16() {
            201 => {
                after += 1;
                paid(&again)
            }
            _ => {
                assert_eq!(again.code(), "already_registered");
                before += 1;
                paid(&register(&app, kind, id, &minsu).await)
            }
        };
        assert_audit(&app).await;
    }
    assert!(before + after == 20, "{before} before, {after} after");
}

/// The Django service takes none of our locks. If it was first, a constraint refuses our write, and a second look tells
/// what it has written.
#[rstest]
#[tokio::test]
async fn registering_races_the_django_service(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(kind, Item::default()).await;
    let Kind {
        registrations,
        item_id,
        active,
        ..
    } = kind;
    let other = Hold::new(
        &app,
        &format!(
            "insert into {registrations} (user_id, {item_id}, status) values ({}, {id}, '{active}')",
            minsu.id
        ),
    )
    .await;

    let (answer, ()) = join(register(&app, kind, id, &minsu).into_future(), async {
        other.is_waited_for().await;
        other.commit().await;
    })
    .await;

    assert_eq!((answer.status.as_u16(), answer.code()), (400, "already_registered"));
    assert_eq!(app.rows("select * from payments").await, serde_json::json!([]));
}

#[rstest]
#[tokio::test]
async fn three_hundred_users_share_a_hundred_seats(#[values(EXAM, COURSE)] kind: Kind) {
    let app = App::with("database_timeout_ms", DATABASE_TIMEOUT_MS).start().await;
    let id = app
        .add(
            kind,
            Item {
                capacity: Some(100),
                ..Item::default()
            },
        )
        .await;
    let mut users = Vec::new();
    for n in 0..300 {
        users.push(app.user(&format!("user{n}")).await);
    }

    let answers = join_all(users.iter().map(|user| register(&app, kind, id, user).into_future())).await;

    assert_eq!(tally(&answers), [(201, 100), (409, 200)]);
    assert!(
        answers
            .iter()
            .all(|answer| answer.status == 201 || answer.code() == "sold_out")
    );
    let item = app.get(kind.item(id)).by(&users[0]).await;
    assert_eq!(
        (&item.json()["registration_count"], &item.json()["remaining"]),
        (&100.into(), &0.into())
    );
    assert_audit(&app).await;
}

const USERS: usize = 50;
const REQUESTS: usize = 2_400;

/// On a slow machine, statements of a storm queue for a long time. None of them may time out.
const DATABASE_TIMEOUT_MS: u64 = 25_000;

/// All users register for the same few items, cancel, and register again.
#[rstest]
#[tokio::test]
async fn a_storm_leaves_consistent_data(#[values(Link::Up, Link::Cut)] redis: Link) {
    let app = App::proxied()
        .with("database_timeout_ms", DATABASE_TIMEOUT_MS)
        .start()
        .await;
    app.redis().set(redis);
    let storm = Storm::gather(&app, USERS).await;

    let answers = storm.rage(&app, REQUESTS).await;

    assert!(answers.len() >= REQUESTS);
    let summary = summary(&answers);
    let of = |asked, status| -> i64 {
        let same = summary.iter().filter(|((a, s, _), _)| (*a, *s) == (asked, status));
        same.map(|(_, n)| *n as i64).sum()
    };
    for ((asked, status, code), n) in &summary {
        let allowed: &[&str] = match (asked, status) {
            (Asked::Register, 201) | (Asked::Cancel | Asked::Complete, 200) => &[""],
            (Asked::Register, 400) => &["already_registered"],
            (Asked::Register, 409) => &["busy", "sold_out"],
            (Asked::Cancel, 400) => &["already_cancelled", "item_completed"],
            (Asked::Cancel, 409) => &["busy"],
            (Asked::Complete, 400) => &["already_completed", "registration_cancelled"],
            (Asked::Complete, 404) => &["not_registered"],
            _ => &[],
        };
        assert!(allowed.contains(&code.as_str()), "{n} times {asked:?} {status} {code}");
    }
    // Without any conflict the storm would prove nothing.
    for (asked, status) in [
        (Asked::Register, 201),
        (Asked::Register, 400),
        (Asked::Register, 409),
        (Asked::Cancel, 200),
        (Asked::Cancel, 400),
        (Asked::Complete, 200),
    ] {
        assert!(of(asked, status) > 0, "{summary:#?}");
    }
    let payments = app
        .rows("select status, count(*) from payments group by status order by status desc")
        .await;
    let registered = of(Asked::Register, 201);
    let cancelled = of(Asked::Cancel, 200);
    assert_eq!(
        payments,
        serde_json::json!([
            {"status": "paid", "count": registered - cancelled},
            {"status": "cancelled", "count": cancelled},
        ])
    );
    let completed: i64 = app
        .one(
            "select (select count(*) from test_registrations where status = 'completed')
                  + (select count(*) from course_registrations where status = 'completed')",
            &[],
        )
        .await;
    assert_eq!(completed, of(Asked::Complete, 200));
    assert_eq!(broken_meanwhile(&app).await, [0, 0]);
    assert_audit(&app).await;
}

/// The negative control: without locks and constraints, the same storm must break the data.
#[tokio::test]
async fn without_locks_and_constraints_a_storm_breaks_the_data() {
    let app = App::proxied().start().await;
    app.redis().set(Link::Cut);
    take_the_guards_out(&app).await;
    let storm = Storm::gather(&app, USERS).await;

    storm.rage(&app, REQUESTS).await;

    let [paid_twice, oversold] = broken_meanwhile(&app).await;
    assert!(
        paid_twice > 0 && oversold > 0,
        "{paid_twice} paid twice, {oversold} were oversold"
    );
    let findings = audit(&app).await;
    assert!(
        findings.iter().any(|finding| finding.check == "second_registration"),
        "{findings:#?}"
    );
}

/// A pause before the writing: a fast machine seldom meets a gap of a few instructions.
const PAUSE: &str = "perform pg_sleep(0.002); if registration.id is null then";

/// Takes the advisory locks, the row locks, the guard of the seats and the constraints out of this test's database.
async fn take_the_guards_out(app: &App) {
    app.database()
        .batch_execute(
            "drop index payments_one_active;
             drop index idx_test_reg_unique;
             drop index idx_course_reg_unique;
             drop trigger sugang_seats on tests;
             drop trigger sugang_seats on courses;",
        )
        .await
        .expect("the guards have these names");
    for (function, guards) in [
        ("do_register_test", &["advisory", "row", "pause"][..]),
        ("do_register_course", &["advisory", "row", "pause"]),
        ("lock_payment", &["advisory", "row"]),
        ("cancel_test_registration", &["row"]),
        ("cancel_course_registration", &["row"]),
    ] {
        let find = format!("select pg_get_functiondef('sugang.{function}'::regproc)");
        let mut definition: String = app.one(&find, &[]).await;
        for guard in guards {
            let without = match *guard {
                "advisory" => replace_line(&definition, "perform pg_advisory_xact_lock", ""),
                "row" => definition.replace(" for update", ""),
                _ => replace_line(&definition, "if registration.id is null then", PAUSE),
            };
            assert_ne!(without, definition, "{function} has no {guard} any more");
            definition = without;
        }
        app.run(&definition, &[]).await;
    }
}

fn replace_line(text: &str, beginning: &str, line: &str) -> String {
    text.lines()
        .map(|old| if old.trim().starts_with(beginning) { line } else { old })
        .collect::<Vec<_>>()
        .join("\n")
}
