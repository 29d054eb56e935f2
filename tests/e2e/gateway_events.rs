//! `POST /webhooks/{gateway}/`: what payment gateways tell by themselves.

use std::{
    future::IntoFuture,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures::future::join_all;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use sugang_tests::{
    Answer, App, Call, EXAM, Item, PORTONE_WEBHOOK_SECRET, Plan, STRIPE_SECRET, TossServer, User, assert_answer,
};
use tokio::time::sleep;

use crate::{
    storm::assert_audit,
    toss::{SWEEP_SECRET, agree, approve, assert_books, get, start, with},
};

pub const LOOK_UP: &str = "GET /v1/payments/orders/";

/// An event of Toss about an order.
fn event<'a>(app: &'a App, id: &str, reference: &Value) -> Call<'a> {
    let body = json!({
        "eventType": "PAYMENT_STATUS_CHANGED", "createdAt": "2026-11-26T10:00:00.000000",
        "data": {"paymentKey": "tgen", "orderId": reference, "status": "DONE", "secret": null},
    });
    app.post("/webhooks/toss/")
        .header("tosspayments-webhook-transmission-id", id)
        .json(&body)
}

/// Waits until a query has this answer.
async fn until(app: &App, query: &str, expected: &str) {
    let begun = Instant::now();
    while app.one::<String>(query, &[]).await != expected {
        assert!(begun.elapsed() < Duration::from_secs(15), "{query} never is {expected}");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn until_paid(app: &App) {
    until(
        app,
        "select string_agg(distinct status, ',') from sugang.orders",
        "paid",
    )
    .await;
}

async fn until_events_are_done(app: &App) {
    let query = "select string_agg(distinct status, ',') from sugang.gateway_events";
    until(app, query, "done").await;
}

/// Orders and their events as they are stored.
async fn events(app: &App) -> Value {
    app.rows("select gateway, event_key, status, outcome, is_signed, tries from sugang.gateway_events order by id")
        .await
}

/// An order that was approved, the outcome of which is lost. Returns its id and the attempt's reference.
async fn lost(app: &App, toss: &TossServer, user: &User) -> (i64, Value) {
    let item = app.add(EXAM, Item::default()).await;
    let (order, key) = agree(app, toss, EXAM, item, user).await;
    toss.plan_confirmation(Plan::LoseAnswer);
    toss.plan_look_up(Plan::FailBefore);
    assert_eq!(approve(app, order, &key, user).await.status, 202);
    toss.calls();
    let reference = get(app, order, user).await["reference"].clone();
    (order, reference)
}

/// Delivers one event seven times, and returns how often the gateway was looked up.
async fn deliver_seven_times(app: &App, toss: &TossServer) -> usize {
    let minsu = app.user("minsu").await;
    let (_, reference) = lost(app, toss, &minsu).await;
    let answers = join_all((0..7).map(|_| event(app, "transmission-1", &reference).into_future())).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    until_paid(app).await;
    until_events_are_done(app).await;
    toss.calls().iter().filter(|call| call.starts_with(LOOK_UP)).count()
}

#[tokio::test]
async fn an_event_settles_once_what_no_answer_has_told() {
    let (toss, app) = start().await;
    assert_eq!(deliver_seven_times(&app, &toss).await, 1);
    insta::assert_json_snapshot!(events(&app).await, @r#"
    [
      {
        "event_key": "transmission-1",
        "gateway": "toss",
        "is_signed": false,
        "outcome": "captured",
        "status": "done",
        "tries": 1
      }
    ]
    "#);
    assert_books(&app, &toss, 45_000).await;
}

/// The negative control: without the key of an event, each delivery is another one.
#[tokio::test]
async fn without_its_key_an_event_takes_effect_seven_times() {
    let (toss, app) = start().await;
    let function: String = app
        .one("select pg_get_functiondef('sugang.receive_event'::regproc)", &[])
        .await;
    let without = function.replace("on conflict (gateway, event_key) do nothing ", "");
    assert_ne!(without, function);
    app.run("drop index sugang.gateway_events_key", &[]).await;
    app.run(&without, &[]).await;
    assert!(
        deliver_seven_times(&app, &toss).await > 1,
        "the test would not see an event that takes effect twice"
    );
}

#[tokio::test]
async fn the_answer_does_not_wait_for_the_gateway() {
    let (toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let (_, reference) = lost(&app, &toss, &minsu).await;
    toss.plan_look_up(Plan::AnswerLate(3_000));
    let answer = event(&app, "transmission-1", &reference).await;
    let after: String = app.one("select status from sugang.orders", &[]).await;
    assert_answer!(answer, @r#"
    {
      "status": "200 OK",
      "body": {}
    }
    "#);
    assert_eq!(after, "approving");
    until_paid(&app).await;
    assert_books(&app, &toss, 45_000).await;
}

#[tokio::test]
async fn an_event_that_comes_before_the_approval_changes_nothing() {
    let (toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let (order, key) = agree(&app, &toss, EXAM, item, &minsu).await;
    let reference = get(&app, order, &minsu).await["reference"].clone();
    event(&app, "early", &reference).await;
    until_events_are_done(&app).await;
    assert_eq!(get(&app, order, &minsu).await["status"], "held");
    assert_eq!(approve(&app, order, &key, &minsu).await.json()["status"], "paid");
    // Late, and in another order.
    for id in ["late", "later"] {
        event(&app, id, &reference).await;
    }
    until_events_are_done(&app).await;
    let outcomes = app
        .rows("select event_key, outcome from sugang.gateway_events order by id")
        .await;
    assert_eq!(
        outcomes,
        json!([{"event_key": "early", "outcome": "not_executed"}, {"event_key": "late", "outcome": "captured"},
               {"event_key": "later", "outcome": "captured"}])
    );
    assert_books(&app, &toss, 45_000).await;
}

/// What an event says is not believed: Toss has not taken the money.
#[tokio::test]
async fn an_event_that_lies_changes_nothing() {
    let (toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let (order, _) = agree(&app, &toss, EXAM, item, &minsu).await;
    let reference = get(&app, order, &minsu).await["reference"].clone();
    assert_eq!(event(&app, "forged", &reference).await.status, 200);
    until_events_are_done(&app).await;
    assert_eq!(get(&app, order, &minsu).await["status"], "held");
    assert_books(&app, &toss, 0).await;
}

#[tokio::test]
async fn the_sweep_looks_up_what_no_instance_has() {
    let (toss, app) = start().await;
    let minsu = app.user("minsu").await;
    let (order, reference) = lost(&app, &toss, &minsu).await;
    toss.plan_look_up(Plan::FailBefore);
    event(&app, "transmission-1", &reference).await;
    let looked_up = "select count(*)::text from sugang.gateway_events where status = 'due'";
    until(&app, looked_up, "1").await;
    let begun = Instant::now();
    while !toss.calls().iter().any(|call| call.starts_with(LOOK_UP)) {
        assert!(begun.elapsed() < Duration::from_secs(15), "nothing looks it up");
        sleep(Duration::from_millis(20)).await;
    }
    // Until the look-up before has been settled, its row is locked, and passed over.
    loop {
        app.run("update sugang.gateway_events set lease_until = clock_timestamp()", &[])
            .await;
        let swept = app.post("/internal/sweep/").bearer(SWEEP_SECRET).await;
        if swept.json()["events"] == 1 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "{swept:?}");
    }
    assert_eq!(get(&app, order, &minsu).await["status"], "paid");
    assert_eq!(
        app.post("/internal/sweep/").bearer(SWEEP_SECRET).await.json()["events"],
        0
    );
    assert_books(&app, &toss, 45_000).await;
}

#[tokio::test]
async fn an_event_about_nothing_is_kept_for_some_days() {
    let (_toss, app) = start().await;
    let answer = event(&app, "unknown", &json!("sugang_of_another_service")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(app.post("/webhooks/toss/").json(&json!({})).await.status, 200);
    let statuses = "select string_agg(status, ',') from sugang.gateway_events";
    assert_eq!(app.one::<String>(statuses, &[]).await, "ignored,ignored");
    let past = "update sugang.gateway_events set received_at = clock_timestamp() - interval '30 days 1 minute'
                where event_key = 'unknown'";
    app.run(past, &[]).await;
    app.post("/internal/sweep/").bearer(SWEEP_SECRET).await;
    assert_eq!(
        app.one::<i64>("select count(*) from sugang.gateway_events", &[]).await,
        1
    );
    assert_audit(&app).await;
}

/// Toss tells of a deposit, with a secret.
async fn tell_of_deposit(app: &App, toss: &TossServer, secrets: [&str; 2]) -> [Answer; 2] {
    let minsu = app.user("minsu").await;
    let (_, reference) = lost(app, toss, &minsu).await;
    app.run("update sugang.payment_attempts set secret = 'ps_right'", &[])
        .await;
    let deposit = |secret| {
        let body = json!({"createdAt": "2026-11-26T10:00:00", "secret": secret, "status": "DONE",
                          "transactionKey": "t", "orderId": reference});
        app.post("/webhooks/toss/").json(&body)
    };
    let [first, second] = secrets.map(deposit);
    [first.await, second.await]
}

#[tokio::test]
async fn a_deposit_is_proven_by_its_secret() {
    let (toss, app) = start().await;
    let [forged, right] = tell_of_deposit(&app, &toss, ["ps_wrong", "ps_right"]).await;
    assert_answer!(forged, @r#"
    {
      "status": "401 Unauthorized",
      "www-authenticate": "Bearer",
      "body": {
        "code": "invalid_signature",
        "detail": "서명이 올바르지 않습니다.",
        "request_id": "[request id]"
      }
    }
    "#);
    assert_eq!(right.status, 200);
    assert_eq!(
        app.one::<i64>("select count(*) from sugang.gateway_events", &[]).await,
        1
    );
    until_paid(&app).await;
    assert_books(&app, &toss, 45_000).await;
}

/// PostgreSQL takes no NUL in a text, and the session that was sent one would be closed.
#[tokio::test]
async fn a_secret_that_can_be_none_is_a_wrong_one() {
    let (toss, app) = start().await;
    let long = "s".repeat(201);
    let [nul, long] = tell_of_deposit(&app, &toss, ["\0", &long]).await;
    for answer in [nul, long] {
        assert_eq!((answer.status.as_u16(), answer.code()), (401, "invalid_signature"));
    }
}

/// The negative control.
#[tokio::test]
async fn without_the_check_a_forged_event_is_stored() {
    let (toss, app) = start().await;
    let unchecked = "create or replace function sugang.is_forged(t sugang.payment_attempts, p_secret text)
                     returns boolean language sql immutable as 'select false'";
    app.run(unchecked, &[]).await;
    let [forged, _] = tell_of_deposit(&app, &toss, ["ps_wrong", "ps_right"]).await;
    assert_eq!(forged.status, 200, "the test would not see a forged event");
}

#[tokio::test]
async fn what_nothing_proves_has_a_limit() {
    let toss = TossServer::start().await.expect("there is a free port");
    let app = with(&toss).with("unproven_events_per_address", 3).start().await;
    for n in 0..3 {
        assert_eq!(event(&app, &n.to_string(), &json!("nothing")).await.status, 200);
    }
    let refused = event(&app, "4", &json!("nothing")).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "rate_limited"));
}

/// A secret with which PortOne signs nothing, in Base64.
const IMPOSTOR: &str = "bm90IHRoZSBzZWNyZXQgb2YgdGhlIHZlY3Rvcg==";

const PAID: &str = r#"{"type":"Transaction.Paid","data":{"paymentId":"sugang_1"}}"#;

/// An event of PortOne, signed by Standard Webhooks.
fn signed<'a>(app: &'a App, id: &str, secret: &str, sent_seconds_ago: u64, body: &str) -> Call<'a> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let timestamp = now - sent_seconds_ago;
    let secret = BASE64_STANDARD.decode(secret).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    app.post("/webhooks/portone/")
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp.to_string())
        .header("webhook-signature", format!("v1,{signature}"))
}

/// The service with PortOne, which signs its events with one of these secrets.
async fn portone(secrets: &str) -> App {
    App::with("payment_gateways", "card=portone")
        .with("portone_url", "http://127.0.0.1:9")
        .with("portone_secret", "secret")
        .with("portone_webhook_secret", secrets)
        .start()
        .await
}

/// Sends four events that PortOne has not signed, or not so. Returns the answers.
async fn forge_at_portone(app: &App) -> [Answer; 4] {
    [
        signed(app, "msg_1", IMPOSTOR, 0, PAID).json_text(PAID).await,
        signed(app, "msg_2", PORTONE_WEBHOOK_SECRET, 400, PAID)
            .json_text(PAID)
            .await,
        signed(app, "msg_3", PORTONE_WEBHOOK_SECRET, 0, PAID)
            .json_text(PAID.replace('1', "2"))
            .await,
        app.post("/webhooks/portone/").json_text(PAID).await,
    ]
}

/// The keys of the events that are stored.
async fn keys(app: &App) -> Vec<String> {
    let keys = "select coalesce(array_agg(event_key order by id), '{}') from sugang.gateway_events";
    app.one(keys, &[]).await
}

#[tokio::test]
async fn a_signature_proves_an_event() {
    let app = portone(PORTONE_WEBHOOK_SECRET).await;
    for answer in &forge_at_portone(&app).await {
        assert_eq!((answer.status.as_u16(), answer.code()), (401, "invalid_signature"));
    }
    assert_eq!(keys(&app).await, [""; 0]);
    for _ in 0..2 {
        let answer = signed(&app, "msg_1", PORTONE_WEBHOOK_SECRET, 0, PAID)
            .json_text(PAID)
            .await;
        assert_eq!(answer.status, 200);
    }
    insta::assert_json_snapshot!(events(&app).await, @r#"
    [
      {
        "event_key": "msg_1",
        "gateway": "portone",
        "is_signed": true,
        "outcome": null,
        "status": "ignored",
        "tries": 1
      }
    ]
    "#);
}

/// The negative control: a service that trusts the impostor's secret as well takes what the impostor has signed, and only that.
#[tokio::test]
async fn with_the_impostors_secret_a_forged_event_of_portone_is_stored() {
    let app = portone(&format!("{PORTONE_WEBHOOK_SECRET},{IMPOSTOR}")).await;
    let statuses = forge_at_portone(&app).await.map(|answer| answer.status.as_u16());
    assert_eq!(statuses, [200, 401, 401, 401], "the test would not see a forged event");
    assert_eq!(keys(&app).await, ["msg_1"]);
}

const SUCCEEDED: &str = r#"{"id":"evt_1","type":"payment_intent.succeeded","data":{"object":{"id":"pi_1"}}}"#;
const STRIPE_WEBHOOK_SECRET: &str = "whsec_0123456789abcdef0123456789abcdef";
const STRIPE_IMPOSTOR: &str = "whsec_fedcba9876543210fedcba9876543210";

/// The service with Stripe, which signs its events with one of these secrets.
async fn stripe(secrets: &str) -> App {
    App::with("payment_gateways", "card=stripe")
        .with("stripe_url", "http://127.0.0.1:9")
        .with("stripe_secret", STRIPE_SECRET)
        .with("stripe_publishable_key", "pk_test_1")
        .with("stripe_webhook_secret", secrets)
        .start()
        .await
}

/// An event of Stripe, signed with a secret some seconds ago.
async fn tell_of_intent(app: &App, secret: &str, sent_seconds_ago: u64, body: &str) -> Answer {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let timestamp = now - sent_seconds_ago;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{timestamp}.{SUCCEEDED}").as_bytes());
    let signature = mac.finalize().into_bytes();
    let signature: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
    app.post("/webhooks/stripe/")
        .header("stripe-signature", format!("t={timestamp},v1={signature}"))
        .json_text(body)
        .await
}

/// Sends four events that Stripe has not signed, or not so. Returns the answers.
async fn forge_at_stripe(app: &App) -> [Answer; 4] {
    [
        tell_of_intent(app, STRIPE_IMPOSTOR, 0, SUCCEEDED).await,
        tell_of_intent(app, STRIPE_WEBHOOK_SECRET, 400, SUCCEEDED).await,
        tell_of_intent(app, STRIPE_WEBHOOK_SECRET, 0, &SUCCEEDED.replace('1', "2")).await,
        app.post("/webhooks/stripe/").json_text(SUCCEEDED).await,
    ]
}

#[tokio::test]
async fn stripes_signature_proves_an_event() {
    let app = stripe(STRIPE_WEBHOOK_SECRET).await;
    for answer in &forge_at_stripe(&app).await {
        assert_eq!((answer.status.as_u16(), answer.code()), (401, "invalid_signature"));
    }
    assert_eq!(keys(&app).await, [""; 0]);
    for _ in 0..2 {
        let told = tell_of_intent(&app, STRIPE_WEBHOOK_SECRET, 0, SUCCEEDED).await;
        assert_eq!(told.status, 200);
    }
    assert_eq!(keys(&app).await, ["evt_1"]);
}

/// The negative control.
#[tokio::test]
async fn with_the_impostors_secret_a_forged_event_of_stripe_is_stored() {
    let app = stripe(&format!("{STRIPE_WEBHOOK_SECRET},{STRIPE_IMPOSTOR}")).await;
    let statuses = forge_at_stripe(&app).await.map(|answer| answer.status.as_u16());
    assert_eq!(statuses, [200, 401, 401, 401], "the test would not see a forged event");
    assert_eq!(keys(&app).await, ["evt_1"]);
}

/// Paths that do not exist, and what is no event.
#[tokio::test]
async fn only_configured_gateways_send_events() {
    let app = App::start().await;
    for gateway in ["toss", "portone", "kakaopay", "manual"] {
        let answer = app.post(format!("/webhooks/{gateway}/")).json(&json!({})).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (404, "not_found"), "{gateway}");
    }
    let (_toss, app) = start().await;
    let answers: [Answer; 3] = [
        app.post("/webhooks/toss/").json_text("{").await,
        app.post("/webhooks/toss/").json_text("[]").await,
        app.post("/webhooks/toss/").json_text(vec![b' '; 70_000]).await,
    ];
    let statuses = answers.map(|answer| answer.brief());
    insta::assert_json_snapshot!(statuses, @r#"
    [
      "400 malformed_json | 요청 본문이 올바른 JSON 객체가 아닙니다.",
      "400 malformed_json | 요청 본문이 올바른 JSON 객체가 아닙니다.",
      "413 payload_too_large | 요청 본문이 너무 큽니다."
    ]
    "#);
    assert_eq!(app.get("/webhooks/toss/").await.header("allow"), "POST, OPTIONS");
}
