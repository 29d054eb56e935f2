//! Orders at the same moment: no seat is held twice, none is freed while money may come, nothing is paid twice.

use futures::future::{join, join_all};
use rstest::rstest;
use sugang_tests::{App, COURSE, EXAM, Item, Kind};

use super::preorder::counts;
use crate::{
    storm::{assert_audit, audit},
    support::{
        approve, cancel_order, confirm, let_expire, operator, ordered, preorder, register, shop, shop_with, tally,
    },
};

/// A hundred users, half of whom register in one step, want fifty seats.
async fn rush(app: &App, kind: Kind) -> Vec<(u16, usize)> {
    let capacity = Some(50);
    let id = app
        .add(
            kind,
            Item {
                capacity,
                ..Item::default()
            },
        )
        .await;
    let mut users = Vec::new();
    for n in 0..100 {
        users.push(app.user(&format!("user{n}")).await);
    }
    let calls = users.iter().enumerate().map(|(n, user)| match n % 2 {
        0 => preorder(app, kind, id, user).into_future(),
        _ => register(app, kind, id, user).into_future(),
    });
    tally(&join_all(calls).await)
}

#[rstest]
#[tokio::test]
async fn a_hundred_users_share_fifty_seats(#[values(EXAM, COURSE)] kind: Kind) {
    // They wait for one row.
    let app = shop_with(&[("database_timeout_ms", "25000")]).await;
    assert_eq!(rush(&app, kind).await, [(201, 50), (409, 50)]);
    let (registered, held) = counts(&app, kind, 1).await;
    assert_eq!(registered + held, 50);
    assert_audit(&app).await;
}

/// The negative control: a guard that forgets the seats that are held sells too many.
#[rstest]
#[tokio::test]
async fn without_held_seats_in_the_guard_too_many_are_sold(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    for function in ["guard_{kind}_seats()", "do_register_{kind}", "do_preorder_{kind}"] {
        let name = function.replace("{kind}", kind.payment_type);
        let name = name.trim_end_matches("()");
        let find = format!("select pg_get_functiondef(oid) from pg_proc where proname = '{name}'");
        let definition: String = app.one(&find, &[]).await;
        let without = definition
            .replace("item.registration_count + item.held_count", "item.registration_count")
            .replace(
                "new.registration_count + new.held_count <=",
                "new.registration_count <=",
            );
        assert_ne!(without, definition);
        app.run(&without, &[]).await;
    }
    let sold = rush(&app, kind).await;
    assert!(sold[0].1 > 50, "{sold:?}");
    let found: Vec<_> = audit(&app).await.into_iter().map(|finding| finding.check).collect();
    assert!(found.contains(&"capacity".to_owned()), "{found:?}");
}

#[rstest]
#[tokio::test]
async fn ten_preorders_of_one_user_make_one_order(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let minsu = app.user("minsu").await;
    for round in 1..=5 {
        let id = app.add(kind, Item::default()).await;
        let answers = join_all((0..10).map(|_| preorder(&app, kind, id, &minsu).into_future())).await;
        let made = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(made, 1, "{:?}", tally(&answers));
        assert_eq!(counts(&app, kind, id).await, (0, 1));
        assert_eq!(app.one::<i64>("select count(*) from sugang.orders", &[]).await, round);
    }
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn ten_approvals_and_confirmations_take_effect_once(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let (operator, minsu) = (operator(&app).await, app.user("minsu").await);
    for round in 1..=5 {
        let id = app.add(kind, Item::default()).await;
        let order = ordered(&preorder(&app, kind, id, &minsu).await);
        let calls = (0..10).map(|n| match n % 2 {
            0 => approve(&app, order, &minsu).into_future(),
            _ => confirm(&app, order, &operator).into_future(),
        });
        let answers = join_all(calls).await;
        assert!(
            answers
                .iter()
                .all(|answer| [200, 202, 409].contains(&answer.status.as_u16())),
            "{:?}",
            tally(&answers)
        );
        assert_eq!(counts(&app, kind, id).await, (1, 0));
        assert_eq!(app.one::<i64>("select count(*) from payments", &[]).await, round);
    }
    assert_audit(&app).await;
}

/// Either the order is paid and keeps its seat, or the other user has the seat and the money is owed back.
#[rstest]
#[tokio::test]
async fn a_late_confirmation_races_the_next_user(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let (operator, minsu, jiyoung) = (operator(&app).await, app.user("minsu").await, app.user("jiyoung").await);
    for round in 0..20 {
        let capacity = Some(1);
        let id = app
            .add(
                kind,
                Item {
                    capacity,
                    ..Item::default()
                },
            )
            .await;
        let order = ordered(&preorder(&app, kind, id, &minsu).await);
        let_expire(&app, order).await;
        let confirming = async {
            // Varies which of the two comes first.
            tokio::time::sleep(std::time::Duration::from_micros(round * 150)).await;
            confirm(&app, order, &operator).await
        };
        let (other, confirmed) = join(preorder(&app, kind, id, &jiyoung).into_future(), confirming).await;
        let outcome = (other.status.as_u16(), confirmed.json()["status"].as_str());
        assert!(
            [(201, Some("refund_due")), (409, Some("paid"))].contains(&outcome),
            "{outcome:?} {other:?} {confirmed:?}"
        );
    }
    assert_audit(&app).await;
}

/// One seat, several sweeps, an approval and a cancellation.
#[rstest]
#[tokio::test]
async fn expiry_races_approvals_and_cancellations(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let minsu = app.user("minsu").await;
    for round in 0..20 {
        let id = app.add(kind, Item::default()).await;
        let order = ordered(&preorder(&app, kind, id, &minsu).await);
        let_expire(&app, order).await;
        let sweep = "select outcome::text from sugang.sweep('sweep', 10)";
        let (approved, cancelled, ()) = futures::join!(
            approve(&app, order, &minsu).into_future(),
            cancel_order(&app, order, &minsu).into_future(),
            async {
                tokio::time::sleep(std::time::Duration::from_micros(round * 100)).await;
                app.run(sweep, &[]).await;
            }
        );
        for answer in [&approved, &cancelled] {
            assert!(
                [200, 202].contains(&answer.status.as_u16()) || answer.code() == "order_ended",
                "{answer:?}"
            );
        }
        let (registered, held) = counts(&app, kind, id).await;
        let live: i64 = app
            .one(
                "select count(*) from sugang.orders where is_live and id = $1",
                &[&order],
            )
            .await;
        assert_eq!((registered, i64::from(held)), (0, live));
    }
    assert_audit(&app).await;
}
