//! Orders that are paid over KakaoPay, which opens the payment window itself and knows no idempotency keys. A stand-in with
//! books of its own takes KakaoPay's place.

use std::{future::IntoFuture, time::Duration};

use futures::future::{join, join_all};
use rstest::rstest;
use serde_json::{Value, json};
use sugang_tests::{
    Answer, App, COURSE, Call, EXAM, Item, KAKAOPAY_CID, KAKAOPAY_SECRET, KakaoPayServer, Kind, Plan, User,
};
use tokio::time::sleep;

use crate::{
    storm::assert_audit,
    support::{expected_status, payment, tally},
};

const READY: &str = "POST /online/v1/payment/ready";
const APPROVE: &str = "POST /online/v1/payment/approve";
const ORDER: &str = "POST /online/v1/payment/order";
const SWEEP_SECRET: &str = "0123456789abcdef";

async fn start() -> (KakaoPayServer, App) {
    let kakaopay = KakaoPayServer::start().await.expect("there is a free port");
    let app = App::with("payment_gateways", "kakaopay=kakaopay")
        .with("kakaopay_url", kakaopay.url())
        .with("kakaopay_secret", KAKAOPAY_SECRET)
        .with("kakaopay_cid", KAKAOPAY_CID)
        .with("kakaopay_return_url", "https://app.example/paid")
        .with("app_return_urls", "https://app.example/pay")
        .with("gateway_timeout_ms", 4000)
        .with("sweep_secret", SWEEP_SECRET)
        .start()
        .await;
    (kakaopay, app)
}

fn preorder<'a>(app: &'a App, kind: Kind, item: i64, user: &User) -> Call<'a> {
    let path = format!("{}preorder/", kind.item(item));
    app.post(path).by(user).json(&payment("45000.00", "kakaopay"))
}

/// Holds a seat, and has the user agree in the payment window. Returns the order's id and the window's token.
async fn agree(app: &App, kakaopay: &KakaoPayServer, kind: Kind, item: i64, user: &User) -> (i64, String) {
    let order = preorder(app, kind, item, user).await;
    assert_eq!(order.status, 201, "{order:?}");
    (
        order.json()["id"].as_i64().unwrap(),
        authenticate(kakaopay, order.json()),
    )
}

fn authenticate(kakaopay: &KakaoPayServer, order: &Value) -> String {
    kakaopay.authenticate(order["window"]["reference"].as_str().unwrap(), 45_000)
}

fn approve<'a>(app: &'a App, order: i64, token: &str, user: &User) -> Call<'a> {
    app.post(format!("/orders/{order}/approve/"))
        .by(user)
        .json(&json!({ "payment_key": token }))
}

async fn get(app: &App, order: i64, user: &User) -> Value {
    app.get(format!("/orders/{order}/")).by(user).await.json().clone()
}

/// Sweeps, once the time has come to look after what no request has settled.
async fn sweep(app: &App) -> Answer {
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
async fn assert_books(app: &App, kakaopay: &KakaoPayServer, expected: i64) {
    let paid: i64 = app
        .one(
            "select coalesce(sum(amount), 0)::bigint from payments where status = 'paid'",
            &[],
        )
        .await;
    assert_eq!((paid, kakaopay.taken()), (expected, expected));
    assert_audit(app).await;
}

fn count(calls: &[String], line: &str) -> usize {
    calls.iter().filter(|call| *call == line).count()
}

#[rstest]
#[tokio::test]
async fn an_order_is_paid(#[values(EXAM, COURSE)] kind: Kind) {
    let (kakaopay, app) = start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(kind, Item::default()).await;
    let order = preorder(&app, kind, item, &minsu).await;
    let window = &order.json()["window"];
    let tid: String = app
        .one("select gateway_key from sugang.payment_attempts where is_live", &[])
        .await;
    assert_eq!(
        window,
        &json!({
            "gateway": "kakaopay", "reference": order.json()["reference"], "order_name": order.json()["title"],
            "amount": "45000.00", "currency": "KRW",
            "redirect_pc_url": format!("{}/kakaopay/{tid}/pc", kakaopay.url()),
            "redirect_mobile_url": format!("{}/kakaopay/{tid}/mobile", kakaopay.url()),
            "redirect_app_url": format!("{}/kakaopay/{tid}/app", kakaopay.url()),
        })
    );
    let order_id = order.json()["id"].as_i64().unwrap();
    let token = authenticate(&kakaopay, order.json());
    let paid = approve(&app, order_id, &token, &minsu).await;
    assert_eq!(
        (paid.status.as_u16(), &paid.json()["status"], &paid.json()["window"]),
        (200, &json!("paid"), &Value::Null),
        "{paid:?}"
    );
    assert_eq!(kakaopay.calls(), [READY, APPROVE]);
    let payment = app
        .rows("select amount::text, payment_method, external_transaction_id, status from payments")
        .await;
    assert_eq!(
        payment,
        json!([{"amount": "45000.00", "payment_method": "kakaopay", "external_transaction_id": tid, "status": "paid"}])
    );
    assert_books(&app, &kakaopay, 45_000).await;
}

/// KakaoPay takes 100 characters.
#[tokio::test]
async fn a_window_shows_the_beginning_of_a_long_title() {
    let (_kakaopay, app) = start().await;
    let minsu = app.user("minsu").await;
    let title = "가".repeat(255);
    let item = Item {
        title: &title,
        ..Item::default()
    };
    let item = app.add(EXAM, item).await;
    let order = preorder(&app, EXAM, item, &minsu).await;
    assert_eq!(order.json()["window"]["order_name"], "가".repeat(100), "{order:?}");
}

/// Sends ten equal pre-orders while the gateway opens the window, and returns how often it was asked for one.
async fn preorder_ten_times(app: &App, kakaopay: &KakaoPayServer) -> usize {
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    kakaopay.plan(READY, Plan::AnswerLate(2_000));
    let mut calls = 0;
    let (first, ()) = join(preorder(app, EXAM, item, &minsu).into_future(), async {
        // The lock of the user and the item, which refuses what comes at the same moment, is free by then.
        while calls == 0 {
            sleep(Duration::from_millis(20)).await;
            calls += kakaopay.calls().len();
        }
        join_all((0..9).map(|_| preorder(app, EXAM, item, &minsu).into_future())).await;
    })
    .await;
    let is_open = |answer: &Answer| answer.json()["window"].is_object();
    assert!(is_open(&first), "{first:?}");
    assert!(is_open(&preorder(app, EXAM, item, &minsu).await));
    calls + kakaopay.calls().len()
}

#[tokio::test]
async fn a_window_is_opened_once() {
    let (kakaopay, app) = start().await;
    assert_eq!(preorder_ten_times(&app, &kakaopay).await, 1);
}

/// The negative control: a request opens a window that another one is opening.
#[tokio::test]
async fn without_the_lease_a_window_is_opened_again() {
    let (kakaopay, app) = start().await;
    let function: String = app
        .one("select pg_get_functiondef('sugang.begin_opening'::regproc)", &[])
        .await;
    let without = function.replace(" or t.lease_until > clock_timestamp()", "");
    assert_ne!(without, function);
    app.run(&without, &[]).await;
    assert!(
        preorder_ten_times(&app, &kakaopay).await > 1,
        "the test would not see a window that is opened twice"
    );
}

/// An answer that is repeated under its key has the window as well, and opens it if it has to.
#[rstest]
#[case::request_lost(Plan::LoseRequest)]
#[case::answer_lost(Plan::LoseAnswer)]
#[case::failed(Plan::FailBefore)]
#[case::failed_after_executing(Plan::FailAfter)]
#[case::garbage(Plan::Garbage)]
#[tokio::test]
async fn a_window_that_was_not_opened_is_opened_by_the_same_request(#[case] plan: Plan) {
    let (kakaopay, app) = start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    kakaopay.plan(READY, plan);
    let keyed = || preorder(&app, EXAM, item, &minsu).header("idempotency-key", "first");
    let first = keyed().await;
    assert_eq!(
        (first.status.as_u16(), &first.json()["status"], &first.json()["window"]),
        (201, &json!("held"), &Value::Null),
        "{first:?}"
    );
    let order = first.json()["id"].as_i64().unwrap();
    let early = approve(&app, order, "a-token", &minsu).await;
    assert_eq!(
        (early.status.as_u16(), early.json()["payment_key"].is_array()),
        (400, true),
        "{early:?}"
    );
    let again = keyed().await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotency-replayed")),
        (201, "true")
    );
    let token = authenticate(&kakaopay, again.json());
    assert_eq!(approve(&app, order, &token, &minsu).await.json()["status"], "paid");
    assert_eq!(kakaopay.calls(), [READY, READY, APPROVE]);
    assert_books(&app, &kakaopay, 45_000).await;
}

#[tokio::test]
async fn another_method_has_another_window() {
    let (kakaopay, app) = start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let (order, token) = agree(&app, &kakaopay, EXAM, item, &minsu).await;
    app.run("update tests set price = 50000", &[]).await;
    let changed = app
        .post(format!("/tests/{item}/preorder/"))
        .by(&minsu)
        .json(&payment("50000.00", "kakaopay"))
        .await;
    assert_eq!(changed.json()["window"]["amount"], "50000.00", "{changed:?}");
    let early = approve(&app, order, &token, &minsu).await;
    assert_eq!(early.status, 402, "its window was not closed with success: {early:?}");
    assert_books(&app, &kakaopay, 0).await;
}

/// What the answer to the approval is, and the calls for it.
#[rstest]
#[case::answer_lost(Plan::LoseAnswer, 200)]
#[case::failed_after_executing(Plan::FailAfter, 200)]
#[case::garbage(Plan::Garbage, 200)]
#[case::late(Plan::AnswerLate(500), 200)]
#[case::too_late(Plan::AnswerLate(8_000), 200)]
#[case::request_lost(Plan::LoseRequest, 202)]
#[case::failed_before_executing(Plan::FailBefore, 202)]
#[case::conflict(Plan::Conflict, 202)]
#[tokio::test]
async fn whatever_is_lost_the_money_is_taken_once(#[case] plan: Plan, #[case] status: u16) {
    let (kakaopay, app) = start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let (order, token) = agree(&app, &kakaopay, EXAM, item, &minsu).await;
    kakaopay.plan(APPROVE, plan);
    let answer = approve(&app, order, &token, &minsu).await;
    let status = expected_status(plan, status, &answer);
    assert_eq!(answer.status, status, "{answer:?}");
    if status == 202 {
        assert_eq!(get(&app, order, &minsu).await["status"], "approving");
        assert_eq!(sweep(&app).await.json()["looked_up"], 1);
    }
    assert_eq!(get(&app, order, &minsu).await["status"], "paid");
    let calls = kakaopay.calls();
    let is_late = plan == Plan::AnswerLate(500);
    assert_eq!(count(&calls, ORDER), usize::from(!is_late) + usize::from(status == 202));
    assert_eq!(
        count(&calls, APPROVE),
        if status == 202 { 2 } else { 1 },
        "it is not approved again unless a look-up says that it was not executed"
    );
    assert_books(&app, &kakaopay, 45_000).await;
}

#[tokio::test]
async fn a_declined_payment_is_looked_up_and_may_be_tried_again() {
    let (kakaopay, app) = start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let (order, token) = agree(&app, &kakaopay, EXAM, item, &minsu).await;
    kakaopay.refuse("USER_LOCKED");
    let refused = approve(&app, order, &token, &minsu).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (402, "payment_declined"));
    assert_eq!(kakaopay.calls(), [READY, APPROVE, ORDER]);
    let held = get(&app, order, &minsu).await;
    assert_eq!(
        (&held["status"], &held["declined_code"], &held["window"]),
        (&json!("held"), &json!("USER_LOCKED"), &Value::Null)
    );
    let opened = preorder(&app, EXAM, item, &minsu).await;
    assert_eq!(opened.status, 200);
    let token = authenticate(&kakaopay, opened.json());
    assert_eq!(approve(&app, order, &token, &minsu).await.json()["status"], "paid");
    assert_books(&app, &kakaopay, 45_000).await;
}

/// A refusal with a code that says nothing, while the user has agreed, is believed only once the gateway stays idle.
#[tokio::test]
async fn a_refusal_that_says_nothing_keeps_the_seat_until_it_is_certain() {
    let (kakaopay, app) = start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let (order, _) = agree(&app, &kakaopay, EXAM, item, &minsu).await;
    let unclear = approve(&app, order, "another-token", &minsu).await;
    assert_eq!(
        (unclear.status.as_u16(), &unclear.json()["status"]),
        (202, &json!("approving"))
    );
    sweep(&app).await;
    let held = get(&app, order, &minsu).await;
    assert_eq!(
        (&held["status"], &held["declined_code"]),
        (&json!("held"), &json!("-702"))
    );
    assert_books(&app, &kakaopay, 0).await;
}

#[tokio::test]
async fn an_approval_before_the_user_has_agreed_is_declined() {
    let (kakaopay, app) = start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let order = preorder(&app, EXAM, item, &minsu).await.json()["id"].as_i64().unwrap();
    let without = app.post(format!("/orders/{order}/approve/")).by(&minsu).await;
    assert_eq!(
        (without.status.as_u16(), without.json()["payment_key"].is_array()),
        (400, true)
    );
    assert_eq!(approve(&app, order, "a-token", &minsu).await.status, 402);
    assert_eq!(get(&app, order, &minsu).await["status"], "held");
    assert_books(&app, &kakaopay, 0).await;
}

#[tokio::test]
async fn a_browser_that_comes_back_without_a_token_pays_the_order() {
    let (kakaopay, app) = start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let mut body = payment("45000.00", "kakaopay");
    body["return_url"] = json!("https://app.example/pay");
    let order = app
        .post(format!("/tests/{item}/preorder/"))
        .by(&minsu)
        .json(&body)
        .await;
    let back = order.json()["return_url"].as_str().unwrap();
    let reference = order.json()["reference"].as_str().unwrap();
    assert_eq!(kakaopay.approval_url(reference).as_deref(), Some(back));
    let token = authenticate(&kakaopay, order.json());
    let path = &back[back.find("/orders/").unwrap()..];
    let returned = app.get(format!("{path}?pg_token={token}")).await;
    assert_eq!(
        (returned.status.as_u16(), returned.header("location")),
        (
            303,
            &*format!("https://app.example/pay?order={}&status=paid", order.json()["id"])
        )
    );
    assert_books(&app, &kakaopay, 45_000).await;
}

/// KakaoPay takes addresses of 255 characters, and that of the service has the app's.
#[tokio::test]
async fn an_address_that_is_too_long_for_the_window_is_refused() {
    let (kakaopay, app) = start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let returning = |length: usize| {
        let mut body = payment("45000.00", "kakaopay");
        body["return_url"] = json!(format!("{:x<length$}", "https://app.example/pay/"));
        app.post(EXAM.preorder(item)).by(&minsu).json(&body)
    };
    let refused = returning(300).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    let text = refused.json()["return_url"][0].as_str().expect("it names the field");
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let longest: usize = digits.parse().expect("it says how long it may be");
    assert!(longest >= 100, "{text}");
    assert_eq!(returning(longest + 1).await.status, 400);
    assert_eq!(kakaopay.calls(), [""; 0]);
    assert_eq!(app.one::<i64>("select count(*) from sugang.orders", &[]).await, 0);
    let held = returning(longest).await;
    assert!(held.json()["window"].is_object(), "{held:?}");
    let back = held.json()["return_url"].as_str().expect("it was asked for");
    assert!((254..=255).contains(&back.len()), "{back}");
}

#[tokio::test]
async fn ten_equal_approvals_are_sent_once() {
    let (kakaopay, app) = start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let (order, token) = agree(&app, &kakaopay, EXAM, item, &minsu).await;
    kakaopay.plan(APPROVE, Plan::AnswerLate(300));
    let at_once = (0..10).map(|_| approve(&app, order, &token, &minsu).into_future());
    let answers = join_all(at_once).await;
    assert!(
        tally(&answers).iter().all(|(status, _)| [200, 202].contains(status)),
        "{answers:?}"
    );
    assert_eq!(kakaopay.calls(), [READY, APPROVE]);
    assert_books(&app, &kakaopay, 45_000).await;
}
