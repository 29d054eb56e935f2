//! The `Idempotency-Key` of `POST /orders/{id}/approve/` while no answer is known.

use std::{future::IntoFuture, time::Duration};

use futures::future::join;
use rstest::rstest;
use sugang_tests::{Answer, App, COURSE, Call, EXAM, Item, Kind, Plan, User};
use tokio::time::sleep;

use crate::{
    storm::assert_audit,
    support::{self, payment, shop},
    toss::{agree, approve, assert_books, authenticate, get, start, sweep},
};

const KEY: &str = "a-key";

/// A pre-order under the key of the approval.
fn preorder<'a>(app: &'a App, kind: Kind, item: i64, user: &User) -> Call<'a> {
    let body = payment("45000.00", "card");
    app.post(kind.preorder(item))
        .by(user)
        .json(&body)
        .header("idempotency-key", KEY)
}

/// Waits until the gateway is asked.
async fn until_sent(app: &App) {
    let sent = "select exists (select from sugang.payment_attempts where status = 'sent')";
    while !app.one::<bool>(sent, &[]).await {
        sleep(Duration::from_millis(20)).await;
    }
}

/// The status of an answer, the code of its error or the status of its order, and whether it was given before.
fn outcome(answer: &Answer) -> (u16, String, bool) {
    let key = if answer.status.is_success() { "status" } else { "code" };
    (
        answer.status.as_u16(),
        answer.json()[key].as_str().unwrap_or_default().to_owned(),
        answer.header("idempotency-replayed") == "true",
    )
}

fn is(status: u16, word: &str, replayed: bool) -> (u16, String, bool) {
    (status, word.to_owned(), replayed)
}

#[rstest]
#[tokio::test]
async fn a_key_is_that_of_the_approval_under_way(#[values(EXAM, COURSE)] kind: Kind) {
    let (toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let (item, other) = (
        app.add(kind, Item::default()).await,
        app.add(kind, Item::default()).await,
    );
    let (order, key) = agree(&app, &toss, kind, item, &minsu).await;
    let ask = |key: &str| approve(&app, order, key, &minsu).header("idempotency-key", KEY);
    toss.plan_confirmation(Plan::AnswerLate(1_500));

    let (first, (same, others)) = join(ask(&key).into_future(), async {
        until_sent(&app).await;
        let others = [ask("another").await, preorder(&app, kind, other, &minsu).await];
        (ask(&key).await, others)
    })
    .await;

    for answer in &others {
        assert_eq!(outcome(answer), is(422, "idempotency_key_reused", false));
    }
    assert_eq!(outcome(&same), is(202, "approving", false));
    assert_eq!(outcome(&first), is(200, "paid", false));
    assert_eq!(outcome(&ask(&key).await), is(200, "paid", true));
    let later = preorder(&app, kind, other, &minsu).await;
    assert_eq!(outcome(&later), is(422, "idempotency_key_reused", false));
    assert_eq!(app.one::<i64>("select count(*) from sugang.orders", &[]).await, 1);
    assert_books(&app, &toss, 45_000).await;
}

#[tokio::test]
async fn a_repetition_finds_what_the_sweep_has_learned() {
    let (toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let (item, other) = (
        app.add(EXAM, Item::default()).await,
        app.add(EXAM, Item::default()).await,
    );
    let (order, key) = agree(&app, &toss, EXAM, item, &minsu).await;
    let ask = || approve(&app, order, &key, &minsu).header("idempotency-key", KEY);
    toss.plan_confirmation(Plan::LoseAnswer);
    toss.plan_look_up(Plan::FailBefore);
    assert_eq!(outcome(&ask().await), is(202, "approving", false));
    let reused = is(422, "idempotency_key_reused", false);
    assert_eq!(outcome(&preorder(&app, EXAM, other, &minsu).await), reused);
    sweep(&app).await;
    assert_eq!(outcome(&ask().await), is(200, "paid", false));
    assert_eq!(outcome(&ask().await), is(200, "paid", true));
    assert_eq!(outcome(&preorder(&app, EXAM, other, &minsu).await), reused);
    assert_books(&app, &toss, 45_000).await;
}

/// No answer has told the client that the gateway has declined.
#[tokio::test]
async fn a_repetition_after_a_refusal_is_no_other_attempt() {
    let (toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let (order, _) = agree(&app, &toss, EXAM, item, &minsu).await;
    let ask = || approve(&app, order, "tgen_invented", &minsu).header("idempotency-key", KEY);
    toss.refuse(404, "NOT_FOUND_PAYMENT");
    assert_eq!(outcome(&ask().await), is(202, "approving", false));
    sweep(&app).await;
    assert_eq!(outcome(&ask().await), is(402, "payment_declined", false));
    assert_eq!(outcome(&ask().await), is(402, "payment_declined", true));
    let sent = "select count(*) from sugang.payment_attempts where sent_at is not null";
    assert_eq!(app.one::<i64>(sent, &[]).await, 1);
    let key = authenticate(&toss, &get(&app, order, &minsu).await);
    assert_eq!(
        outcome(&approve(&app, order, &key, &minsu).await),
        is(200, "paid", false)
    );
    assert_books(&app, &toss, 45_000).await;
}

#[tokio::test]
async fn what_was_not_sent_is_corrected_under_its_key() {
    let (toss, app) = start().await;
    let (minsu, sora) = (app.user("minsu").await, app.user("sora").await);
    let item = app.add(EXAM, Item::default()).await;
    let (other, others_key) = agree(&app, &toss, EXAM, item, &sora).await;
    assert_eq!(approve(&app, other, &others_key, &sora).await.status, 200);
    let (order, key) = agree(&app, &toss, EXAM, item, &minsu).await;
    let without = support::approve(&app, order, &minsu)
        .header("idempotency-key", KEY)
        .await;
    assert_eq!(outcome(&without), is(400, "invalid", false));
    let with = |key: &str| approve(&app, order, key, &minsu).header("idempotency-key", KEY);
    assert_eq!(outcome(&with(&others_key).await), is(409, "payment_key_used", false));
    assert_eq!(outcome(&with(&key).await), is(200, "paid", false));
    assert_books(&app, &toss, 90_000).await;
}

/// The key has expired meanwhile, and is another request's.
#[tokio::test]
async fn a_late_answer_takes_no_key_from_another_request() {
    let (toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let (item, other) = (
        app.add(EXAM, Item::default()).await,
        app.add(EXAM, Item::default()).await,
    );
    let (order, key) = agree(&app, &toss, EXAM, item, &minsu).await;
    let ask = || approve(&app, order, &key, &minsu).header("idempotency-key", KEY);
    toss.plan_confirmation(Plan::AnswerLate(1_500));
    let (first, made) = join(ask().into_future(), async {
        until_sent(&app).await;
        let expired = "update sugang.idempotency_keys set created_at = created_at - interval '25 hours'";
        app.run(expired, &[]).await;
        preorder(&app, EXAM, other, &minsu).await
    })
    .await;
    assert_eq!(outcome(&made), is(201, "held", false));
    assert_eq!(outcome(&first), is(200, "paid", false));
    let again = preorder(&app, EXAM, other, &minsu).await;
    assert_eq!(outcome(&again), is(201, "held", true));
    assert_eq!(again.json()["id"], made.json()["id"]);
    assert_eq!(outcome(&ask().await), is(422, "idempotency_key_reused", false));
    assert_books(&app, &toss, 45_000).await;
}

/// A deposit that an operator confirms is waited for under the key of its approval as well.
#[rstest]
#[tokio::test]
async fn a_key_is_that_of_the_approval_that_waits_for_a_deposit(#[values(EXAM, COURSE)] kind: Kind) {
    let app = shop().await;
    let (operator, minsu) = (support::operator(&app).await, app.user("minsu").await);
    let (item, other) = (
        app.add(kind, Item::default()).await,
        app.add(kind, Item::default()).await,
    );
    let order = support::ordered(&support::preorder(&app, kind, item, &minsu).await);
    let ask = || support::approve(&app, order, &minsu).header("idempotency-key", KEY);
    for _ in 0..2 {
        assert_eq!(outcome(&ask().await), is(202, "awaiting_deposit", false));
        let reused = preorder(&app, kind, other, &minsu).await;
        assert_eq!(outcome(&reused), is(422, "idempotency_key_reused", false));
    }
    assert_eq!(support::confirm(&app, order, &operator).await.json()["status"], "paid");
    assert_eq!(outcome(&ask().await), is(200, "paid", false));
    assert_eq!(outcome(&ask().await), is(200, "paid", true));
    assert_audit(&app).await;
    assert_eq!(app.one::<i64>("select count(*) from sugang.orders", &[]).await, 1);
}
