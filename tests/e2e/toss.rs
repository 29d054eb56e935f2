//! Orders that are paid over Toss Payments, whatever is lost, late or doubled on the way. A stand-in with books of its own
//! takes Toss's place.

use std::{
    future::IntoFuture,
    time::{Duration, Instant},
};

use futures::future::{join, join_all};
use rstest::rstest;
use serde_json::{Value, json};
use sugang_tests::{
    Answer, App, Builder, COURSE, Call, EXAM, Item, Kind, Plan, TOSS_SECRET, TossServer, User, assert_answer,
};
use tokio::time::sleep;

use crate::{
    deposits::start_for,
    storm::assert_audit,
    support::{cancel, expected_status, operator, payment, tally},
};

const CONFIRM: &str = "POST /v1/payments/confirm";
/// The secret of the sweep.
pub const SWEEP_SECRET: &str = "0123456789abcdef";

/// The service with Toss for cards.
pub fn with(toss: &TossServer) -> Builder {
    App::with("payment_gateways", "card=toss")
        .with("toss_url", toss.url())
        .with("toss_secret", TOSS_SECRET)
        .with("gateway_timeout_ms", 4000)
        .with("sweep_secret", SWEEP_SECRET)
}

/// The same, with a stand-in of its own.
pub async fn start() -> (TossServer, App) {
    let toss = TossServer::start().await.expect("there is a free port");
    let app = with(&toss).start().await;
    (toss, app)
}

/// Holds a seat, and has the user agree in the payment window. Returns the order's id and the window's key.
pub async fn agree(app: &App, toss: &TossServer, kind: Kind, item: i64, user: &User) -> (i64, String) {
    let path = format!("{}preorder/", kind.item(item));
    let order = app.post(path).by(user).json(&payment("45000.00", "card")).await;
    assert_eq!(order.status, 201, "{order:?}");
    (order.json()["id"].as_i64().unwrap(), authenticate(toss, order.json()))
}

/// The key that the payment window hands over for the current attempt of an order.
pub fn authenticate(toss: &TossServer, order: &Value) -> String {
    toss.authenticate(order["reference"].as_str().unwrap(), 45_000)
}

/// A request to pay an order with the key of its window.
pub fn approve<'a>(app: &'a App, order: i64, key: &str, user: &User) -> Call<'a> {
    app.post(format!("/orders/{order}/approve/"))
        .by(user)
        .json(&json!({ "payment_key": key }))
}

/// An order, as its user sees it.
pub async fn get(app: &App, order: i64, user: &User) -> Value {
    app.get(format!("/orders/{order}/")).by(user).await.json().clone()
}

/// Sweeps, once the time has come to look after what no request has settled.
pub async fn sweep(app: &App) -> Answer {
    app.run(
        "update sugang.payment_attempts set lease_until = clock_timestamp() where lease_until is not null",
        &[],
    )
    .await;
    let swept = app.post("/internal/sweep/").bearer(SWEEP_SECRET).await;
    assert_eq!(swept.status, 200, "{swept:?}");
    swept
}

/// Expects that the gateway has taken what the service has been paid, and that everything adds up.
pub async fn assert_books(app: &App, toss: &TossServer, expected: i64) {
    let paid: i64 = app
        .one(
            "select coalesce(sum(amount), 0)::bigint from payments where status = 'paid'",
            &[],
        )
        .await;
    assert_eq!((paid, toss.taken()), (expected, expected));
    assert_audit(app).await;
}

#[rstest]
#[tokio::test]
async fn an_order_is_paid(#[values(EXAM, COURSE)] kind: Kind) {
    let (toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(kind, Item::default()).await;
    let (order, key) = agree(&app, &toss, kind, item, &minsu).await;
    let paid = approve(&app, order, &key, &minsu).await;
    assert_eq!(
        (paid.status.as_u16(), &paid.json()["status"]),
        (200, &json!("paid")),
        "{paid:?}"
    );
    assert_eq!(toss.calls(), [CONFIRM]);
    let payment = app
        .rows("select amount::text, payment_method, external_transaction_id, status from payments")
        .await;
    assert_eq!(
        payment,
        json!([{"amount": "45000.00", "payment_method": "card", "external_transaction_id": key, "status": "paid"}])
    );
    assert_books(&app, &toss, 45_000).await;
}

/// Toss takes 100 characters.
#[tokio::test]
async fn a_window_shows_the_beginning_of_a_long_title() {
    let (_toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let title = "가".repeat(255);
    let item = Item {
        title: &title,
        ..Item::default()
    };
    let item = app.add(EXAM, item).await;
    let body = payment("45000.00", "card");
    let order = app.post(EXAM.preorder(item)).by(&minsu).json(&body).await;
    assert_eq!(order.json()["title"], title);
    assert_eq!(order.json()["window"]["order_name"], "가".repeat(100));
}

/// Toss's ids have up to 200 characters, of which the row of a payment takes 100.
#[tokio::test]
async fn an_order_with_a_long_id_is_paid_found_and_given_back() {
    let (toss, app) = start().await;
    toss.lengthen_ids(200);
    let (minsu, operator) = (app.user("minsu").await, operator(&app).await);
    let item = app.add(EXAM, Item::default()).await;
    let (order, key) = agree(&app, &toss, EXAM, item, &minsu).await;
    assert_eq!(key.len(), 200);
    let paid = approve(&app, order, &key, &minsu).await;
    assert_eq!(paid.json()["status"], "paid", "{paid:?}");
    assert_books(&app, &toss, 45_000).await;
    let stored: String = app.one("select external_transaction_id from payments", &[]).await;
    assert!(stored.len() == 100 && stored.starts_with(&key[..35]), "{stored}");
    let path = format!("/api/operator/payments/?external_id={key}");
    let found = app.get(path).by(&operator).await;
    assert_eq!(found.json()["results"][0]["id"], paid.json()["payment_id"], "{found:?}");
    assert_eq!(cancel(&app, 1, &minsu).await.status, 200);
    assert_eq!(toss.given(), 45_000);
    assert_audit(&app).await;
}

#[tokio::test]
async fn a_key_that_is_longer_than_any_id_is_refused() {
    let (toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let (order, _) = agree(&app, &toss, EXAM, item, &minsu).await;
    let refused = approve(&app, order, &"k".repeat(201), &minsu).await;
    assert_eq!(
        (refused.status.as_u16(), refused.json()["payment_key"].is_array()),
        (400, true),
        "{refused:?}"
    );
    assert_eq!(get(&app, order, &minsu).await["status"], "held");
}

/// What the answer to the approval is, whether the gateway is looked up at once, and the calls.
#[rstest]
#[case::answer_lost(Plan::LoseAnswer, 200)]
#[case::failed_after_executing(Plan::FailAfter, 200)]
#[case::garbage(Plan::Garbage, 200)]
#[case::late(Plan::AnswerLate(500), 200)]
#[case::too_late(Plan::AnswerLate(8_000), 200)]
#[case::request_lost(Plan::LoseRequest, 202)]
#[case::failed_before_executing(Plan::FailBefore, 202)]
#[tokio::test]
async fn whatever_is_lost_the_money_is_taken_once(#[case] plan: Plan, #[case] status: u16) {
    let (toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let item = app
        .add(
            EXAM,
            Item {
                capacity: Some(1),
                ..Item::default()
            },
        )
        .await;
    let (order, key) = agree(&app, &toss, EXAM, item, &minsu).await;
    toss.plan_confirmation(plan);
    let answer = approve(&app, order, &key, &minsu).await;
    let status = expected_status(plan, status, &answer);
    assert_eq!(answer.status, status, "{answer:?}");
    if status == 202 {
        assert_eq!(answer.json()["status"], "approving");
        // Asking again neither sends again nor changes anything.
        let again = approve(&app, order, &key, &minsu).await;
        assert_eq!(
            (again.status.as_u16(), &again.json()["status"]),
            (202, &json!("approving"))
        );
        let sora = app.user("sora").await;
        let other = app
            .post(format!("/tests/{item}/preorder/"))
            .by(&sora)
            .json(&payment("45000.00", "card"))
            .await;
        assert_eq!(
            other.code(),
            "sold_out",
            "the seat is held while the outcome is unknown"
        );
        assert_eq!(sweep(&app).await.json()["looked_up"], 1);
    }
    assert_eq!(get(&app, order, &minsu).await["status"], "paid");
    let confirmed = toss.calls().into_iter().filter(|call| call == CONFIRM).count();
    let executes = !matches!(plan, Plan::LoseRequest | Plan::FailBefore);
    assert_eq!(
        confirmed,
        if executes { 1 } else { 2 },
        "what was executed is not sent again"
    );
    assert_books(&app, &toss, 45_000).await;
}

#[tokio::test]
async fn what_stays_unknown_keeps_its_seat_until_it_is_known() {
    let (toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let (order, key) = agree(&app, &toss, EXAM, item, &minsu).await;
    toss.plan_confirmation(Plan::LoseAnswer);
    for _ in 0..3 {
        toss.plan_look_up(Plan::FailBefore);
    }
    assert_eq!(approve(&app, order, &key, &minsu).await.status, 202);
    app.run(
        "update sugang.orders set expires_at = clock_timestamp() - interval '1 hour'",
        &[],
    )
    .await;
    for _ in 0..2 {
        sweep(&app).await;
        assert_eq!(get(&app, order, &minsu).await["status"], "approving");
    }
    let cancelled = app.post(format!("/orders/{order}/cancel/")).by(&minsu).await;
    assert_eq!(cancelled.code(), "order_in_progress");
    sweep(&app).await;
    assert_eq!(get(&app, order, &minsu).await["status"], "paid");
    assert_eq!(sweep(&app).await.json()["looked_up"], 0);
    assert_books(&app, &toss, 45_000).await;
}

/// The user has paid the price, and a person has given a part back before anything tells of the approval.
#[tokio::test]
async fn what_was_given_back_before_the_approval_was_known_is_a_refund() {
    let (toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let (order, key) = agree(&app, &toss, EXAM, item, &minsu).await;
    toss.plan_confirmation(Plan::LoseAnswer);
    toss.plan_look_up(Plan::FailBefore);
    assert_eq!(approve(&app, order, &key, &minsu).await.status, 202);
    let reference = get(&app, order, &minsu).await["reference"].clone();
    toss.give_back("toss", reference.as_str().expect("it has an attempt"), 10_000);
    for _ in 0..2 {
        sweep(&app).await;
        assert_eq!(get(&app, order, &minsu).await["status"], "paid");
    }
    let refunds = "select status, amount::text from sugang.refunds";
    assert_eq!(
        app.rows(refunds).await,
        json!([{"status": "external", "amount": "10000.00"}])
    );
    assert_books(&app, &toss, 45_000).await;
    assert_eq!(cancel(&app, 1, &minsu).await.status, 200);
    assert_eq!(toss.given(), 45_000);
    assert_audit(&app).await;
}

/// No money is left for a seat.
#[tokio::test]
async fn what_was_given_back_whole_before_the_approval_was_known_pays_nothing() {
    let (toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let (order, key) = agree(&app, &toss, EXAM, item, &minsu).await;
    toss.plan_confirmation(Plan::LoseAnswer);
    toss.plan_look_up(Plan::FailBefore);
    assert_eq!(approve(&app, order, &key, &minsu).await.status, 202);
    let reference = get(&app, order, &minsu).await["reference"].clone();
    toss.give_back("toss", reference.as_str().expect("it has an attempt"), 45_000);
    sweep(&app).await;
    assert_eq!(get(&app, order, &minsu).await["declined_code"], "CANCELED");
    assert_audit(&app).await;
}

#[tokio::test]
async fn a_declined_payment_takes_no_money_and_may_be_tried_again() {
    let (toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let (order, key) = agree(&app, &toss, EXAM, item, &minsu).await;
    toss.refuse(403, "REJECT_CARD_COMPANY");
    let first = approve(&app, order, &key, &minsu)
        .header("idempotency-key", "first")
        .await;
    assert_answer!(first, @r#"
    {
      "status": "402 Payment Required",
      "body": {
        "code": "payment_declined",
        "error": "결제가 거절되었습니다. 다른 결제 수단으로 다시 시도해주세요",
        "request_id": "[request id]"
      }
    }
    "#);
    let again = approve(&app, order, &key, &minsu)
        .header("idempotency-key", "first")
        .await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotency-replayed")),
        (402, "true")
    );
    let held = get(&app, order, &minsu).await;
    assert_eq!(
        (&held["status"], &held["declined_code"]),
        (&json!("held"), &json!("REJECT_CARD_COMPANY"))
    );
    assert_eq!(toss.calls(), [CONFIRM], "a definite refusal is not looked up");
    assert_books(&app, &toss, 0).await;
    let key = authenticate(&toss, &held);
    assert_eq!(approve(&app, order, &key, &minsu).await.json()["status"], "paid");
    assert_books(&app, &toss, 45_000).await;
}

#[tokio::test]
async fn a_gateway_that_cannot_be_reached_leaves_the_order_as_it_was() {
    let (toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let (order, key) = agree(&app, &toss, EXAM, item, &minsu).await;
    drop(toss);
    let first = approve(&app, order, &key, &minsu)
        .header("idempotency-key", "first")
        .await;
    assert_answer!(first, @r#"
    {
      "status": "503 Service Unavailable",
      "retry-after": "1",
      "body": {
        "code": "unavailable",
        "detail": "잠시 후 다시 시도해주세요.",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_eq!(get(&app, order, &minsu).await["status"], "held");
    let again = approve(&app, order, &key, &minsu)
        .header("idempotency-key", "first")
        .await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotency-replayed")),
        (503, ""),
        "it is tried again"
    );
}

#[tokio::test]
async fn an_approval_needs_the_key_of_its_own_payment_window() {
    let (toss, app) = start().await;
    let (minsu, sora) = (app.user("minsu").await, app.user("sora").await);
    let item = app.add(EXAM, Item::default()).await;
    let (order, key) = agree(&app, &toss, EXAM, item, &minsu).await;
    let (other, others_key) = agree(&app, &toss, EXAM, item, &sora).await;
    let without = app.post(format!("/orders/{order}/approve/")).by(&minsu).await;
    assert_eq!(
        (without.status.as_u16(), without.json()["payment_key"].is_array()),
        (400, true),
        "{without:?}"
    );
    assert_eq!(approve(&app, other, &others_key, &sora).await.status, 200);
    let stolen = approve(&app, order, &others_key, &minsu).await;
    assert_eq!((stolen.status.as_u16(), stolen.code()), (409, "payment_key_used"));
    assert_eq!(approve(&app, order, &key, &minsu).await.json()["status"], "paid");
    assert_books(&app, &toss, 90_000).await;
}

/// Toss knows no payment by this key. No invented key holds a seat for ever.
#[rstest]
#[tokio::test]
async fn an_invented_key_holds_its_seat_no_longer_than_others(#[values("toss", "portone")] gateway: &str) {
    let (toss, app) = start_for("card", gateway).await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let order = app.post(format!("{}preorder/", EXAM.item(item))).by(&minsu);
    let order = order.json(&payment("45000.00", "card")).await.json()["id"]
        .as_i64()
        .expect("it is held");
    if gateway == "toss" {
        toss.refuse(404, "NOT_FOUND_PAYMENT");
    }
    assert_eq!(approve(&app, order, "tgen_invented", &minsu).await.status, 202);
    sweep(&app).await;
    let held = get(&app, order, &minsu).await;
    assert_eq!(held["status"], "held");
    let code = if gateway == "toss" {
        "NOT_FOUND_PAYMENT"
    } else {
        "PAYMENT_NOT_FOUND"
    };
    assert_eq!(held["declined_code"], code);
    app.run("update sugang.orders set expires_at = clock_timestamp()", &[])
        .await;
    sweep(&app).await;
    assert_eq!(get(&app, order, &minsu).await["status"], "expired");
    assert_audit(&app).await;
}

/// Gateways take whole won.
#[tokio::test]
async fn a_price_with_a_fraction_is_not_paid_over_a_gateway() {
    let (toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    app.run("update tests set price = 45000.50", &[]).await;
    let order = app.post(format!("{}preorder/", EXAM.item(item))).by(&minsu);
    let refused = order.json(&payment("45000.50", "card")).await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (409, "payment_method_unavailable")
    );
    assert_books(&app, &toss, 0).await;
}

/// Sends ten equal approvals at once, and returns the answers and how often the gateway was asked.
async fn approve_ten_times(app: &App, toss: &TossServer, late_ms: u64) -> (Vec<Answer>, usize) {
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let (order, key) = agree(app, toss, EXAM, item, &minsu).await;
    toss.plan_confirmation(Plan::AnswerLate(late_ms));
    let answers = join_all((0..10).map(|_| approve(app, order, &key, &minsu).into_future())).await;
    (answers, toss.calls().len())
}

#[tokio::test]
async fn ten_equal_approvals_are_sent_once() {
    let (toss, app) = start().await;
    let (answers, calls) = approve_ten_times(&app, &toss, 300).await;
    assert!(
        tally(&answers).iter().all(|(status, _)| [200, 202].contains(status)),
        "{answers:?}"
    );
    assert!(answers.iter().any(|answer| answer.json()["status"] == "paid"));
    assert_eq!(calls, 1);
    assert_books(&app, &toss, 45_000).await;
}

/// The negative control: an order under approval is approved again.
#[tokio::test]
async fn without_the_state_of_approving_equal_approvals_are_sent_again() {
    let (toss, app) = start().await;
    let function: String = app
        .one("select pg_get_functiondef('sugang.do_begin_approval'::regproc)", &[])
        .await;
    let without = function
        .replace("when o.status in ('approving', 'awaiting_deposit') then 'accepted'", "")
        .replace("o.status <> 'held'", "o.status not in ('held', 'approving')");
    assert_ne!(without, function);
    app.run(&without, &[]).await;
    let (_, calls) = approve_ten_times(&app, &toss, 2_000).await;
    assert!(calls > 1, "the test would not see an approval that is sent twice");
}

/// A dozen users, each with another misfortune, and two sweeps at once.
#[tokio::test]
async fn the_books_of_both_sides_agree_to_the_won() {
    let (toss, app) = start().await;
    let item = app.add(EXAM, Item::default()).await;
    let plans = [
        Plan::LoseRequest,
        Plan::LoseAnswer,
        Plan::FailBefore,
        Plan::FailAfter,
        Plan::Garbage,
        Plan::AnswerLate(200),
    ];
    for plan in plans.into_iter().chain(plans) {
        toss.plan_confirmation(plan);
        toss.plan_look_up(plan);
    }
    let mut orders = Vec::new();
    for n in 0..12 {
        let user = app.user(&format!("user{n}")).await;
        let (order, key) = agree(&app, &toss, EXAM, item, &user).await;
        orders.push((order, key, user));
    }
    join_all(
        orders
            .iter()
            .map(|(order, key, user)| approve(&app, *order, key, user).into_future()),
    )
    .await;
    let unsettled = "select count(*) from sugang.orders where status <> 'paid'";
    for _ in 0..20 {
        if app.one::<i64>(unsettled, &[]).await == 0 {
            break;
        }
        futures::join!(sweep(&app), sweep(&app));
    }
    assert_eq!(app.one::<i64>(unsettled, &[]).await, 0);
    assert_books(&app, &toss, 12 * 45_000).await;
}

#[tokio::test]
async fn a_gateway_that_hangs_takes_no_place_of_other_requests() {
    let toss = TossServer::start().await.expect("there is a free port");
    let app = with(&toss)
        .with("gateway_timeout_ms", 6000)
        .limits(|limits| (limits.requests, limits.outbound_requests) = (1, 2))
        .start()
        .await;
    let item = app.add(EXAM, Item::default()).await;
    let mut orders = Vec::new();
    for n in 0..4 {
        let user = app.user(&format!("user{n}")).await;
        let (order, key) = agree(&app, &toss, EXAM, item, &user).await;
        toss.plan_confirmation(Plan::AnswerLate(10_000));
        toss.plan_look_up(Plan::AnswerLate(10_000));
        orders.push((["/orders", "/api/orders"][n % 2], order, key, user));
    }
    // In each spelling, which has the same places.
    let approvals = orders.iter().map(|(path, order, key, user)| {
        let call = app.post(format!("{path}/{order}/approve")).by(user);
        call.json(&json!({ "payment_key": key })).into_future()
    });
    let minsu = app.user("minsu").await;
    let lists = async {
        while toss.calls().is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
        let begun = Instant::now();
        for _ in 0..20 {
            assert_eq!(app.get("/tests/").by(&minsu).await.status, 200);
        }
        begun.elapsed()
    };
    let (answers, lists) = join(join_all(approvals), lists).await;
    assert_eq!(tally(&answers), [(202, 4)]);
    assert!(
        lists < Duration::from_secs(5),
        "they have waited for the gateway: {lists:?}"
    );
}

#[tokio::test]
async fn a_gateway_without_its_settings_stops_the_start() {
    let app = App::start().await;
    let why = app.refuses("payment_gateways", "card=toss").await;
    assert!(why.contains("toss_url and toss_secret must be set"), "{why}");
    let why = app.refuses("toss_url", "https://api.example").await;
    assert!(why.contains("toss_secret must be set, as toss_url is"), "{why}");
}
