//! Several sweeps at once, and the order of what is about one thing. With negative controls.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use futures::future::{join, join_all};
use sugang_tests::{EXAM, Item, Reply, User};
use tokio::time::sleep;

use super::{Arranged, start};
use crate::{
    storm::assert_audit,
    support::{cancel, register},
};

/// Three sweeps share what many users change meanwhile.
#[tokio::test]
async fn several_sweeps_at_once_deliver_each_once_and_in_order() {
    let all = start().await;
    let hook = all.hook("/", &[]).await;
    let id = all.app.add(EXAM, Item::default()).await;
    let users = join_all((0..12).map(|n| {
        let app = &all.app;
        async move { app.user(&format!("user{n}")).await }
    }))
    .await;
    let change = async |user: &User| {
        for _ in 0..3 {
            let payment = register(&all.app, EXAM, id, user).await.json()["payment_id"]
                .as_i64()
                .unwrap();
            assert_eq!(cancel(&all.app, payment, user).await.status, 200);
        }
    };
    let sweep = async || {
        for _ in 0..6 {
            all.sweep().await;
        }
    };
    join(join_all(users.iter().map(change)), join_all((0..3).map(|_| sweep()))).await;
    for _ in 0..20 {
        if all.sweep().await["delivered"] == 0 {
            break;
        }
    }
    let events = all.events(&hook);
    let mut seen = HashMap::new();
    let mut latest: HashMap<Option<i64>, String> = HashMap::new();
    for (key, event) in &events {
        *seen.entry(key).or_insert(0) += 1;
        if let Some(registration) = event.data.registration_id {
            let before = latest.insert(Some(registration.0), event.data.status.clone());
            assert_ne!(before.as_ref(), Some(&event.data.status), "out of order: {event:?}");
        }
    }
    assert!(seen.values().all(|n| *n == 1), "{seen:?}");
    // Registration and payment, their cancellations, and a refund; and the item that was opened.
    assert_eq!(events.len(), 12 * 3 * 5 + 1);
    assert_audit(&all.app).await;
}

/// Replaces a part of the function that claims deliveries, which must have it.
async fn break_claim(all: &Arranged, from: &str, to: &str) {
    let find = "select pg_get_functiondef('sugang.claim_deliveries'::regproc)";
    let function: String = all.app.one(find, &[]).await;
    let without = function.replace(from, to);
    assert_ne!(without, function);
    all.app.run(&without, &[]).await;
}

/// One sweep waits for the receiver's answer while another one begins. Returns how often the receiver was told.
async fn sweep_while_another_one_sends(all: &Arranged) -> usize {
    let _hook = all.hook("/", &["payment.paid"]).await;
    let minsu = all.app.user("minsu").await;
    let id = all.app.add(EXAM, Item::default()).await;
    register(&all.app, EXAM, id, &minsu).await;
    all.receiver.reply("/", Reply::Hang);
    let second = async {
        let mut received = 0;
        let begun = Instant::now();
        while received == 0 {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "the first sweep sends nothing"
            );
            sleep(Duration::from_millis(20)).await;
            received += all.receiver.take().len();
        }
        all.sweep().await;
        received
    };
    let (_, received) = join(all.sweep(), second).await;
    received + all.receiver.take().len()
}

#[tokio::test]
async fn what_one_sweep_is_sending_no_other_sends() {
    let all = start().await;
    assert_eq!(sweep_while_another_one_sends(&all).await, 1);
}

/// The negative control: what was claimed is due all the same.
#[tokio::test]
async fn without_the_lease_another_sweep_sends_it_again() {
    let all = start().await;
    break_claim(&all, "d.next_at <= moment", "d.next_at is not null").await;
    assert_eq!(
        sweep_while_another_one_sends(&all).await,
        2,
        "the test would not see a delivery that is sent twice"
    );
}

/// A registration is completed before its creation was delivered. Returns the number of events that are sent although the first
/// one of them fails.
async fn send_two_of_one_subject(all: &Arranged) -> usize {
    let _hook = all.hook("/", &["registration.created", "registration.completed"]).await;
    let minsu = all.app.user("minsu").await;
    let id = all.app.add(EXAM, Item::default()).await;
    register(&all.app, EXAM, id, &minsu).await;
    assert_eq!(all.app.post(EXAM.complete(id)).by(&minsu).await.status, 200);
    all.receiver.reply("/", Reply::Status(500));
    all.sweep().await;
    all.receiver.take().len()
}

#[tokio::test]
async fn what_is_about_one_thing_waits_for_what_was_before() {
    let all = start().await;
    assert_eq!(send_two_of_one_subject(&all).await, 1);
}

/// The negative control: what is pending before it is not asked for.
#[tokio::test]
async fn without_the_order_of_a_subject_what_follows_overtakes_what_fails() {
    let all = start().await;
    let is_first = "order by b.event_id limit 1) is null";
    break_claim(&all, is_first, "order by b.event_id limit 1) is distinct from 0").await;
    assert_eq!(
        send_two_of_one_subject(&all).await,
        2,
        "the test would not see events out of their order"
    );
}
