//! The negative controls: without one of its guards, a storm does harm, and is seen to do it.

use sugang_tests::{COURSE, EXAM, PORTONE_WEBHOOK_SECRET, Plan};

use super::storm::{Storm, seed};

/// Expects one of the complaints to contain this.
fn assert_complains(wrong: &[String], about: &str) {
    assert!(wrong.iter().any(|wrong| wrong.contains(about)), "{wrong:#?}");
}

#[tokio::test]
async fn approving_orders_that_expire_lose_seats_and_money() {
    let storm = Storm::gather(40).await;
    storm.lose_events();
    for (guard, without) in [
        ("status = 'held' or", "status in ('held', 'approving') or"),
        // None waits until it has expired, so that many are on their way.
        (
            "expires_at < clock_timestamp()",
            "(expires_at < clock_timestamp() or status = 'approving')",
        ),
    ] {
        storm.break_function("expire_orders", guard, without).await;
    }
    // Some are under way for so long that a sweep is sure to meet them.
    for _ in 0..10 {
        storm.gateway.plan_confirmation(Plan::AnswerLate(500));
    }
    assert_complains(&storm.blow(seed(), 5).await, "ours None, theirs Some");
}

#[tokio::test]
async fn silence_that_is_taken_for_a_refusal_loses_money() {
    let storm = Storm::gather(40).await;
    storm.lose_events();
    let settle = "if p_outcome = 'captured' and t.payment_id is null then";
    let control = format!("if p_outcome = 'unknown' then p_outcome := 'declined'; end if; {settle}");
    storm.break_function("settle", settle, &control).await;
    // Chance alone brings hardly two of them.
    for _ in 0..10 {
        storm.gateway.plan_confirmation(Plan::LoseAnswer);
        storm.gateway.plan_look_up(Plan::FailBefore);
    }
    assert_complains(&storm.blow(seed(), 5).await, "ours None, theirs Some");
}

#[tokio::test]
async fn seats_that_are_held_and_not_counted_are_sold_twice() {
    let storm = Storm::gather(60).await;
    for kind in [EXAM, COURSE].map(|kind| kind.payment_type) {
        let counted = "new.registration_count + new.held_count <=";
        let guard = format!("guard_{kind}_seats");
        storm.break_function(&guard, counted, "new.registration_count <=").await;
        for function in [format!("do_register_{kind}"), format!("do_preorder_{kind}")] {
            let counted = "item.registration_count + item.held_count";
            storm
                .break_function(&function, counted, "item.registration_count")
                .await;
        }
    }
    assert_complains(&storm.blow(seed(), 5).await, "capacity");
}

#[tokio::test]
async fn an_amount_that_is_not_compared_gives_seats_away() {
    let mut storm = Storm::gather(40).await;
    storm.gateway.be_careless();
    storm.crowd.habits.tampering = 50;
    let wrong = storm.blow(seed(), 3).await;
    assert!(wrong.is_empty(), "what is too little is set aside: {wrong:#?}");

    let mut storm = Storm::gather(40).await;
    storm.gateway.be_careless();
    storm.crowd.habits.tampering = 50;
    let constraint = "alter table sugang.payment_attempts drop constraint payment_attempts_captured_is_price";
    storm.app.run(constraint, &[]).await;
    storm
        .break_function("capture", "and paid = o.price and paid = t.amount", "")
        .await;
    assert_complains(&storm.blow(seed(), 3).await, "captured_is_price");
}

#[tokio::test]
async fn a_refund_that_is_sent_again_under_another_key_is_made_twice() {
    let storm = Storm::gather(40).await;
    let key = "'idempotency_key', r.idempotency_key";
    storm
        .break_function("refund_to_send", key, "'idempotency_key', sugang.new_reference()")
        .await;
    assert_complains(&storm.blow(seed(), 8).await, "not asked for");
}

/// Each copy of an event is another one, and each is looked up.
#[tokio::test]
async fn an_event_without_its_key_is_taken_again_and_again() {
    let storm = Storm::gather(40).await;
    storm.app.run("drop index sugang.gateway_events_key", &[]).await;
    let once = "on conflict (gateway, event_key) do nothing ";
    storm.break_function("receive_event", once, "").await;
    assert_complains(&storm.blow(seed(), 4).await, "second_event");
}

/// No money moves for a forged event, since only a look-up is believed. But what its gateway has proven and what an impostor
/// tells cannot be told apart any more.
#[tokio::test]
async fn proofs_that_are_not_checked_let_forged_events_in() {
    let mut storm = Storm::gather(40).await;
    let proof = "coalesce(sha256";
    storm
        .break_function("is_forged", proof, "false and coalesce(sha256")
        .await;
    // To a service that checks no signature, each is the right one.
    storm.crowd.habits.secret = PORTONE_WEBHOOK_SECRET;
    storm.crowd.habits.forging = 100;
    let wrong = storm.blow(seed(), 4).await;
    assert_complains(&wrong, "events with a forged proof were taken");
    let harm = wrong.iter().filter(|wrong| !wrong.contains("is_forged")).count();
    assert_eq!(harm, 1, "no money has moved for one: {wrong:#?}");
}

/// The gateway gives back whatever it is asked for, so that the service alone keeps the sum.
#[tokio::test]
async fn parts_that_are_not_added_up_exceed_the_payment() {
    let mut storm = Storm::gather(30).await;
    storm.gateway.be_careless();
    storm.crowd.habits.refunding = 90;
    let constraint = "alter table payments drop constraint payments_partly_refunded_known";
    storm.app.run(constraint, &[]).await;
    let sum = "when p_amount > rest then 'refund_too_large'";
    storm.break_function("do_refund_payment", sum, "").await;
    assert_complains(&storm.blow(seed(), 16).await, "refunded_beyond_payment");
}
