//! Deposits to virtual accounts, which come days later, late, never, or are taken back.

use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::{Value, json};
use sugang_tests::{
    Answer, App, EXAM, Item, PORTONE_SECRET, PORTONE_WEBHOOK_SECRET, Plan, TOSS_SECRET, TossServer, User, Way,
};
use tokio::time::sleep;

use crate::{
    gateway_events::LOOK_UP,
    storm::assert_audit,
    support::preorder,
    toss::{SWEEP_SECRET, get, sweep},
};

/// The service with a gateway for bank transfers.
async fn start(gateway: &str) -> (TossServer, App) {
    start_for("bank_transfer", gateway).await
}

/// The service with a gateway for a method of payment. The stand-in plays every gateway.
pub async fn start_for(method: &str, gateway: &str) -> (TossServer, App) {
    let bank = TossServer::start().await.expect("there is a free port");
    let secret = if gateway == "toss" { TOSS_SECRET } else { PORTONE_SECRET };
    let mut app = App::with("payment_gateways", format!("{method}={gateway}"))
        .with(&format!("{gateway}_url"), bank.url())
        .with(&format!("{gateway}_secret"), secret)
        .with("sweep_secret", SWEEP_SECRET);
    if gateway == "portone" {
        app = app.with("portone_webhook_secret", PORTONE_WEBHOOK_SECRET);
    }
    (bank, app.start().await)
}

/// Holds the one seat of an item, and has the gateway open an account for it. Returns the order.
async fn wait_for_deposit(app: &App, bank: &TossServer, gateway: &str, user: &User) -> Value {
    let item = app
        .add(
            EXAM,
            Item {
                capacity: Some(1),
                ..Item::default()
            },
        )
        .await;
    let held = preorder(app, EXAM, item, user).await;
    let key = bank.agree(gateway, reference(held.json()), 45_000, Way::VirtualAccount);
    let path = format!("/orders/{}/approve/", held.json()["id"]);
    let approved = app.post(path).by(user).json(&json!({ "payment_key": key })).await;
    assert_eq!(
        (approved.status.as_u16(), &approved.json()["status"]),
        (202, &json!("awaiting_deposit")),
        "{approved:?}"
    );
    deliver(app, bank).await;
    approved.json().clone()
}

fn reference(order: &Value) -> &str {
    order["reference"].as_str().expect("an order has an attempt")
}

/// Delivers what the gateway has to tell.
async fn deliver(app: &App, bank: &TossServer) {
    for event in bank.events() {
        assert_eq!(event.deliver(&app.base).await, Some(200));
    }
}

/// Waits until the order has this status. What is looked up after an event's answer ends with its instance: then the sweep
/// does it.
pub async fn until(app: &App, expected: &str) {
    until_order(app, 1, expected).await;
}

async fn until_order(app: &App, order: i64, expected: &str) {
    let status = format!("select status from sugang.orders where id = {order}");
    until_shown(app, &status, expected).await;
}

/// The same for any text.
async fn until_shown(app: &App, query: &str, expected: &str) {
    let begun = Instant::now();
    let mut sweeps_after = Duration::from_secs(3);
    loop {
        let shown: String = app.one(query, &[]).await;
        if shown == expected {
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(15),
            "{query}: it is {shown}, and never {expected}"
        );
        if begun.elapsed() > sweeps_after {
            sweeps_after *= 2;
            app.run("update sugang.gateway_events set lease_until = clock_timestamp()", &[])
                .await;
            sweep(app).await;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// What is booked, in its order.
async fn ledger(app: &App) -> Value {
    app.rows("select source, step, debit, credit, amount::text from sugang.ledger order by at, source_id, source")
        .await
}

async fn pay_in(app: &App, bank: &TossServer, gateway: &str, order: &Value) {
    assert!(bank.deposit(gateway, reference(order)), "the account takes it");
    deliver(app, bank).await;
    until(app, "paid").await;
}

async fn take_back(app: &App, bank: &TossServer, gateway: &str, order: &Value) {
    assert!(bank.take_back(gateway, reference(order)), "there was a deposit");
    deliver(app, bank).await;
}

#[rstest]
#[tokio::test]
async fn a_deposit_is_waited_for_and_pays(#[values("toss", "portone")] gateway: &str) {
    let (bank, app) = start(gateway).await;
    let minsu = app.user("minsu").await;
    let order = wait_for_deposit(&app, &bank, gateway, &minsu).await;
    assert_eq!(order["deposit"]["amount"], "45000.00");
    assert_eq!(order["expires_at"], order["deposit"]["due_at"]);
    assert_eq!(sweep(&app).await.json()["expired_deposits"], 0);
    pay_in(&app, &bank, gateway, &order).await;
    assert_eq!(bank.taken(), if gateway == "toss" { 45_000 } else { 0 });
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn a_deposit_without_an_event_is_looked_up_at_its_deadline(#[values("toss", "portone")] gateway: &str) {
    let (bank, app) = start(gateway).await;
    let minsu = app.user("minsu").await;
    let order = wait_for_deposit(&app, &bank, gateway, &minsu).await;
    assert!(bank.deposit(gateway, reference(&order)));
    bank.events();
    // What was told of the account may still be looked up.
    app.run("delete from sugang.gateway_events", &[]).await;
    app.run("update sugang.payment_attempts set due_at = clock_timestamp()", &[])
        .await;
    sweep(&app).await;
    assert_eq!(get(&app, 1, &minsu).await["status"], "paid");
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn an_account_that_is_never_paid_frees_its_seat(#[values("toss", "portone")] gateway: &str) {
    let (bank, app) = start(gateway).await;
    let (minsu, sora) = (app.user("minsu").await, app.user("sora").await);
    wait_for_deposit(&app, &bank, gateway, &minsu).await;
    // What was told of the account may still be looked up.
    app.run("delete from sugang.gateway_events", &[]).await;
    bank.advance(60 * 86_400);
    app.run("update sugang.payment_attempts set due_at = clock_timestamp()", &[])
        .await;
    app.run("update sugang.orders set expires_at = clock_timestamp()", &[])
        .await;
    assert_eq!(
        preorder(&app, EXAM, 1, &sora).await.code(),
        "sold_out",
        "it was not looked up yet"
    );
    sweep(&app).await;
    assert_eq!(get(&app, 1, &minsu).await["status"], "expired");
    assert_eq!(preorder(&app, EXAM, 1, &sora).await.status, 201);
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn a_deposit_that_is_taken_back_is_booked_out(#[values("toss", "portone")] gateway: &str) {
    let (bank, app) = start(gateway).await;
    let (minsu, sora) = (app.user("minsu").await, app.user("sora").await);
    let order = wait_for_deposit(&app, &bank, gateway, &minsu).await;
    pay_in(&app, &bank, gateway, &order).await;
    take_back(&app, &bank, gateway, &order).await;
    until(&app, "awaiting_deposit").await;
    let (booked, left) = (ledger(&app).await, registrations(&app).await);
    insta::allow_duplicates! {
        insta::assert_json_snapshot!(booked, @r#"
        [
          {
            "amount": "45000.00",
            "credit": "sales",
            "debit": "cash",
            "source": "payment",
            "step": "captured"
          },
          {
            "amount": "45000.00",
            "credit": "cash",
            "debit": "sales_returns",
            "source": "refund",
            "step": "reversed"
          }
        ]
        "#);
        insta::assert_json_snapshot!(left, @r#"
        [
          {
            "held_count": 1,
            "payment": "cancelled",
            "refund_reason": "the deposit was taken back",
            "registration_count": 0,
            "status": "cancelled"
          }
        ]
        "#);
    }
    assert_eq!(
        preorder(&app, EXAM, 1, &sora).await.code(),
        "sold_out",
        "the order holds the seat again"
    );
    assert_audit(&app).await;
    pay_in(&app, &bank, gateway, &order).await;
    let payments = app.rows("select id, status from payments order by id").await;
    assert_eq!(
        payments,
        json!([{"id": 1, "status": "cancelled"}, {"id": 2, "status": "paid"}])
    );
    assert_audit(&app).await;
}

/// With `#2` behind the id, the second payment's is too long for its row.
#[rstest]
#[tokio::test]
async fn a_deposit_with_a_long_id_comes_again(#[values("toss", "portone")] gateway: &str) {
    let (bank, app) = start(gateway).await;
    bank.lengthen_ids(if gateway == "toss" { 100 } else { 88 });
    let minsu = app.user("minsu").await;
    let order = wait_for_deposit(&app, &bank, gateway, &minsu).await;
    pay_in(&app, &bank, gateway, &order).await;
    take_back(&app, &bank, gateway, &order).await;
    until(&app, "awaiting_deposit").await;
    pay_in(&app, &bank, gateway, &order).await;
    let lengths = "select array_agg(length(external_transaction_id) order by id) from payments";
    assert_eq!(app.one::<Vec<i32>>(lengths, &[]).await, [100, 100]);
    assert_audit(&app).await;
}

/// Takes a deposit back, of which no event tells, and lets the sweep look a day later. Returns the order's status.
async fn look_a_day_later(app: &App, bank: &TossServer, gateway: &str, order: &Value) -> String {
    // What was told of the deposit may still be looked up, and would find out by itself.
    app.run("delete from sugang.gateway_events", &[]).await;
    assert!(bank.take_back(gateway, reference(order)), "there was a deposit");
    bank.events();
    let due = "update sugang.payment_attempts set reconcile_at = clock_timestamp() where reconcile_at is not null";
    app.run(due, &[]).await;
    assert_eq!(sweep(app).await.json()["reconciled"], 1);
    app.one("select status from sugang.orders where id = 1", &[]).await
}

/// Ends the time for a deposit, for which the gateway would wait longer. First, no event is left whose look-up goes on: it
/// would lock the attempt for a moment, and a sweep passes over what is locked.
async fn end_waiting(app: &App) {
    app.run("delete from sugang.gateway_events", &[]).await;
    app.run("update sugang.payment_attempts set due_at = clock_timestamp()", &[])
        .await;
    sweep(app).await;
}

/// No seat is held beyond the period, whatever the gateway's deadline is.
#[tokio::test]
async fn a_deposit_is_waited_for_until_the_period_ends() {
    let (bank, app) = start("toss").await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    app.run(
        "update tests set end_at = date_trunc('second', now()) + interval '1 hour'",
        &[],
    )
    .await;
    let held = preorder(&app, EXAM, item, &minsu).await;
    let key = bank.agree("toss", reference(held.json()), 45_000, Way::VirtualAccount);
    let path = format!("/orders/{}/approve/", held.json()["id"]);
    let approved = app.post(path).by(&minsu).json(&json!({ "payment_key": key })).await;
    let end = app.get("/tests/").by(&minsu).await.json()["results"][0]["end_at"].clone();
    assert_eq!(
        [&approved.json()["expires_at"], &approved.json()["deposit"]["due_at"]],
        [&end, &end]
    );
    end_waiting(&app).await;
    assert_eq!(get(&app, 1, &minsu).await["status"], "expired");
    assert_audit(&app).await;
}

#[rstest]
#[tokio::test]
async fn a_deposit_that_is_taken_back_without_an_event_is_found(#[values("toss", "portone")] gateway: &str) {
    let (bank, app) = start(gateway).await;
    let minsu = app.user("minsu").await;
    let order = wait_for_deposit(&app, &bank, gateway, &minsu).await;
    pay_in(&app, &bank, gateway, &order).await;
    assert_eq!(look_a_day_later(&app, &bank, gateway, &order).await, "awaiting_deposit");
    assert_eq!(ledger(&app).await[1]["step"], "reversed");
    assert_audit(&app).await;
    pay_in(&app, &bank, gateway, &order).await;
    assert_audit(&app).await;
}

/// It came too late for a seat, and its bank gives it back before anybody else does.
#[tokio::test]
async fn a_late_deposit_that_is_taken_back_is_owed_no_more() {
    let (bank, app) = start("toss").await;
    let (minsu, sora) = (app.user("minsu").await, app.user("sora").await);
    let order = wait_for_deposit(&app, &bank, "toss", &minsu).await;
    end_waiting(&app).await;
    assert_eq!(get(&app, 1, &minsu).await["status"], "expired");
    assert_eq!(preorder(&app, EXAM, 1, &sora).await.status, 201, "she gets the seat");
    assert!(bank.deposit("toss", reference(&order)), "the account takes it");
    deliver(&app, &bank).await;
    until_order(&app, 1, "refund_due").await;
    let owed = app.rows("select status, code from sugang.refunds").await;
    assert_eq!(owed, json!([{"status": "requested", "code": "account_required"}]));
    look_a_day_later(&app, &bank, "toss", &order).await;
    assert_eq!(get(&app, 1, &minsu).await["refund"]["status"], "done");
    assert_eq!(ledger(&app).await[1]["step"], "done");
    assert_audit(&app).await;

    assert!(bank.deposit("toss", reference(&order)), "the account takes it again");
    deliver(&app, &bank).await;
    until_shown(&app, REFUNDS, "done requested").await;
    look_a_day_later(&app, &bank, "toss", &order).await;
    assert_eq!(app.one::<String>(REFUNDS, &[]).await, "done done");
    assert_audit(&app).await;
}

/// How far the refunds are, in their order.
const REFUNDS: &str = "select string_agg(status, ' ' order by id) from sugang.refunds";

/// Of a deposit that came too late for a seat, a person has given a part back before the service learns of it.
#[rstest]
#[tokio::test]
async fn what_is_left_of_a_late_deposit_is_owed(
    #[values("toss", "portone")] gateway: &str,
    #[values(10_000, 22_500)] part: i64,
) {
    let (bank, app) = start(gateway).await;
    let (minsu, sora) = (app.user("minsu").await, app.user("sora").await);
    let order = wait_for_deposit(&app, &bank, gateway, &minsu).await;
    end_waiting(&app).await;
    assert_eq!(preorder(&app, EXAM, 1, &sora).await.status, 201, "she gets the seat");
    assert!(bank.deposit(gateway, reference(&order)), "the account takes it");
    bank.give_back(gateway, reference(&order), part);
    deliver(&app, &bank).await;
    until_order(&app, 1, "refund_due").await;
    let owed = "select string_agg(status || ' ' || amount::integer::text, ',') from sugang.refunds";
    let left = 45_000 - part;
    assert_eq!(app.one::<String>(owed, &[]).await, format!("requested {left}"));
    let account = json!({"refund_account": {"bank": "20", "account_number": "1002123456789", "holder": "김민수"}});
    let cancelled = app.post("/payments/1/cancel/").by(&minsu).json(&account).await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    let due = "update sugang.payment_attempts set reconcile_at = clock_timestamp() where reconcile_at is not null";
    app.run(due, &[]).await;
    sweep(&app).await;
    assert_eq!(app.one::<String>(owed, &[]).await, format!("done {left}"));
    assert_eq!(bank.entries(gateway)[reference(&order)].given, 45_000);
    assert_audit(&app).await;
}

/// Its payment was cancelled, and waits for the account to which the money goes. What the user pays in after that is owed
/// again.
#[rstest]
#[tokio::test]
async fn a_deposit_that_is_taken_back_after_its_payment_was_cancelled_is_owed_no_more(
    #[values("toss", "portone")] gateway: &str,
    #[values(false, true)] is_told: bool,
) {
    let (bank, app) = start(gateway).await;
    let minsu = app.user("minsu").await;
    let order = wait_for_deposit(&app, &bank, gateway, &minsu).await;
    pay_in(&app, &bank, gateway, &order).await;
    app.run("update payments set status = 'cancelled'", &[]).await;
    assert_eq!(
        app.rows("select status, code from sugang.refunds").await,
        json!([{"status": "requested", "code": "account_required"}])
    );
    if is_told {
        take_back(&app, &bank, gateway, &order).await;
        until_shown(&app, REFUNDS, "done").await;
    } else {
        look_a_day_later(&app, &bank, gateway, &order).await;
    }
    let shown = get(&app, 1, &minsu).await;
    assert_eq!(
        (&shown["status"], &shown["refund"]["status"]),
        (&json!("paid"), &json!("done"))
    );
    assert_audit(&app).await;

    assert!(bank.deposit(gateway, reference(&order)), "the account takes it again");
    deliver(&app, &bank).await;
    until_shown(&app, REFUNDS, "done requested").await;
    assert_eq!(
        app.rows("select id, status from payments order by id").await,
        json!([{"id": 1, "status": "cancelled"}, {"id": 2, "status": "cancelled"}])
    );
    look_a_day_later(&app, &bank, gateway, &order).await;
    assert_eq!(app.one::<String>(REFUNDS, &[]).await, "done done");
    assert_audit(&app).await;
}

/// The deposit is there before it was known to be waited for.
#[tokio::test]
async fn an_early_deposit_goes_back_to_an_account_too() {
    let (bank, app) = start("toss").await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let held = preorder(&app, EXAM, item, &minsu).await;
    let key = bank.agree("toss", reference(held.json()), 45_000, Way::VirtualAccount);
    bank.plan_confirmation(Plan::LoseAnswer);
    bank.plan_look_up(Plan::FailBefore);
    let path = format!("/orders/{}/approve/", held.json()["id"]);
    let approved = app.post(path).by(&minsu).json(&json!({ "payment_key": key })).await;
    assert_eq!(
        (approved.status.as_u16(), &approved.json()["status"]),
        (202, &json!("approving"))
    );
    assert!(bank.deposit("toss", reference(held.json())));
    bank.events();
    sweep(&app).await;
    assert_eq!(get(&app, 1, &minsu).await["status"], "paid");
    let cancel = |body: Value| app.post("/payments/1/cancel/").by(&minsu).json(&body);
    let without = cancel(json!({})).await;
    assert!(without.json()["refund_account"].is_array(), "{without:?}");
    let account =
        |number: &str| json!({"refund_account": {"bank": "20", "account_number": number, "holder": "김민수"}});
    // The bank has no such account, which Toss says with a code that is in no table.
    assert_eq!(cancel(account("00000000")).await.status, 202);
    app.run(
        "update sugang.refunds set due_at = clock_timestamp() where due_at is not null",
        &[],
    )
    .await;
    sweep(&app).await;
    let refused = app.rows("select status, code, account from sugang.refunds").await;
    assert_eq!(
        refused,
        json!([{"status": "refused", "code": "INVALID_REFUND_ACCOUNT_INFO", "account": null}]),
        "the account is not kept"
    );
    assert_eq!(cancel(account("1002123456789")).await.status, 200);
    assert_audit(&app).await;
}

/// Its payment was cancelled by another program, and the user has mistyped the account to which the money goes.
#[tokio::test]
async fn an_account_that_is_refused_is_corrected_for_what_is_owed() {
    let (bank, app) = start("toss").await;
    let minsu = app.user("minsu").await;
    let order = wait_for_deposit(&app, &bank, "toss", &minsu).await;
    pay_in(&app, &bank, "toss", &order).await;
    app.run("update payments set status = 'cancelled'", &[]).await;
    let cancel = |number: &str| {
        let account = json!({"bank": "20", "account_number": number, "holder": "김민수"});
        let call = app.post("/payments/1/cancel/").by(&minsu);
        call.json(&json!({ "refund_account": account }))
    };
    assert_eq!(cancel("00000000").await.status, 202);
    let due = "update sugang.refunds set due_at = clock_timestamp() where due_at is not null";
    app.run(due, &[]).await;
    sweep(&app).await;
    assert_eq!(
        app.rows("select status, code from sugang.refunds").await,
        json!([{"status": "requested", "code": "INVALID_REFUND_ACCOUNT_INFO"}])
    );
    let same = cancel("00000000").await;
    assert_eq!((same.status.as_u16(), same.code()), (409, "refund_declined"));
    assert_eq!(cancel("1002123456789").await.status, 200);
    assert_eq!(
        app.rows("select status, code, account from sugang.refunds").await,
        json!([{"status": "done", "code": null, "account": null}])
    );
    assert_audit(&app).await;
}

/// By then, its account takes nothing any more.
#[rstest]
#[tokio::test]
async fn a_deposit_that_is_taken_back_at_its_deadline_is_found(#[values("toss", "portone")] gateway: &str) {
    let (bank, app) = start(gateway).await;
    let minsu = app.user("minsu").await;
    let order = wait_for_deposit(&app, &bank, gateway, &minsu).await;
    pay_in(&app, &bank, gateway, &order).await;
    assert!(bank.take_back(gateway, reference(&order)));
    bank.advance(8 * 86_400);
    assert!(!bank.take_back(gateway, reference(&order)), "it has expired");
    bank.events();
    app.run("delete from sugang.gateway_events", &[]).await;
    let due = "update sugang.payment_attempts set reconcile_at = clock_timestamp() where reconcile_at is not null";
    app.run(due, &[]).await;
    sweep(&app).await;
    assert_eq!(get(&app, 1, &minsu).await["status"], "expired");
    assert_audit(&app).await;
}

/// What was given back is no deposit that was taken back, though no money is left at the gateway.
#[tokio::test]
async fn a_deposit_that_is_given_back_in_the_console_is_a_refund() {
    let (bank, app) = start("toss").await;
    let minsu = app.user("minsu").await;
    let order = wait_for_deposit(&app, &bank, "toss", &minsu).await;
    pay_in(&app, &bank, "toss", &order).await;
    app.run("delete from sugang.gateway_events", &[]).await;
    let key: String = app.one("select gateway_key from sugang.payment_attempts", &[]).await;
    let given = reqwest::Client::new()
        .post(format!("{}/v1/payments/{key}/cancel", bank.url()))
        .basic_auth(TOSS_SECRET, Some(""))
        .body(
            json!({ "cancelReason": "고객 변심", "refundReceiveAccount": {"bank": "20", "accountNumber": "1", "holderName": "김"} })
                .to_string(),
        );
    assert_eq!(given.send().await.expect("Toss answers").status(), 200);
    let due = "update sugang.payment_attempts set reconcile_at = clock_timestamp() where reconcile_at is not null";
    app.run(due, &[]).await;
    sweep(&app).await;
    assert_eq!(get(&app, 1, &minsu).await["status"], "paid", "a person decides");
    assert_eq!(ledger(&app).await[1]["step"], "external");
    assert_audit(&app).await;
}

/// It comes from an account that the gateway knows.
#[rstest]
#[tokio::test]
async fn a_transfer_is_given_back_without_an_account(#[values("toss", "portone")] gateway: &str) {
    let (bank, app) = start(gateway).await;
    let minsu = app.user("minsu").await;
    let item = app.add(EXAM, Item::default()).await;
    let held = preorder(&app, EXAM, item, &minsu).await;
    let key = bank.agree(gateway, reference(held.json()), 45_000, Way::Transfer);
    let path = format!("/orders/{}/approve/", held.json()["id"]);
    let approved = app.post(path).by(&minsu).json(&json!({ "payment_key": key })).await;
    assert_eq!(approved.json()["status"], "paid", "{approved:?}");
    let cancelled = app.post("/payments/1/cancel/").by(&minsu).await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    assert_eq!(bank.entries(gateway)[reference(held.json())].given, 45_000);
    assert_audit(&app).await;
}

/// Status of the registration, and of its payment.
async fn registrations(app: &App) -> Value {
    app.rows(
        "select r.status, p.status as payment, p.refund_reason, registration_count, held_count
         from test_registrations r join payments p on p.registration_id = r.id join tests t on t.id = r.test_id",
    )
    .await
}

#[tokio::test]
async fn what_is_completed_stays_without_its_deposit() {
    let (bank, app) = start("toss").await;
    let minsu = app.user("minsu").await;
    let order = wait_for_deposit(&app, &bank, "toss", &minsu).await;
    pay_in(&app, &bank, "toss", &order).await;
    assert_eq!(app.post("/tests/1/complete/").by(&minsu).await.status, 200);
    take_back(&app, &bank, "toss", &order).await;
    until(&app, "expired").await;
    insta::assert_json_snapshot!(registrations(&app).await, @r#"
    [
      {
        "held_count": 0,
        "payment": "cancelled",
        "refund_reason": "the deposit was taken back",
        "registration_count": 1,
        "status": "completed"
      }
    ]
    "#);
    let codes = app.rows("select status, code from sugang.payment_attempts").await;
    assert_eq!(codes, json!([{"status": "void", "code": "deposit_taken_back"}]));
    assert_audit(&app).await;
}

#[tokio::test]
async fn a_seat_that_an_operator_has_taken_away_is_not_held_again() {
    let (bank, app) = start("toss").await;
    let minsu = app.user("minsu").await;
    let order = wait_for_deposit(&app, &bank, "toss", &minsu).await;
    pay_in(&app, &bank, "toss", &order).await;
    app.run("update tests set end_at = clock_timestamp()", &[]).await;
    take_back(&app, &bank, "toss", &order).await;
    until(&app, "expired").await;
    insta::assert_json_snapshot!(registrations(&app).await, @r#"
    [
      {
        "held_count": 0,
        "payment": "cancelled",
        "refund_reason": "the deposit was taken back",
        "registration_count": 0,
        "status": "cancelled"
      }
    ]
    "#);
    assert_audit(&app).await;
}

/// Waits until Toss was looked up this often since it was last asked what it was called for.
async fn until_looked_up(bank: &TossServer, times: usize) {
    let (begun, mut seen) = (Instant::now(), 0);
    while seen < times {
        assert!(
            begun.elapsed() < Duration::from_secs(15),
            "{seen} of {times} look-ups came"
        );
        sleep(Duration::from_millis(20)).await;
        seen += bank.calls().iter().filter(|call| call.starts_with(LOOK_UP)).count();
    }
}

/// While a look-up still waits for its answer, which says that no deposit has come, one comes. Returns the order's status
/// once the old answer is there.
async fn answer_late(app: &App, bank: &TossServer) -> String {
    let minsu = app.user("minsu").await;
    let order = wait_for_deposit(app, bank, "toss", &minsu).await;
    // The next one is that which answers late: Toss told of the account twice.
    until_looked_up(bank, 2).await;
    app.run("delete from sugang.gateway_events", &[]).await;
    bank.plan_look_up(Plan::AnswerLate(4_000));
    let early = app
        .post("/webhooks/toss/")
        .json(&json!({"data": {"orderId": reference(&order)}}));
    let answer: Answer = early.await;
    assert_eq!(answer.status, 200);
    until_looked_up(bank, 1).await;
    let asked = Instant::now();
    pay_in(app, bank, "toss", &order).await;
    sleep(Duration::from_secs(5).saturating_sub(asked.elapsed())).await;
    app.one("select status from sugang.orders", &[]).await
}

#[tokio::test]
async fn an_old_answer_takes_nothing_back() {
    let (bank, app) = start("toss").await;
    assert_eq!(answer_late(&app, &bank).await, "paid");
    assert_audit(&app).await;
}

/// The negative control: the answer is taken for news.
#[tokio::test]
async fn without_the_time_of_the_look_up_an_old_answer_takes_a_deposit_back() {
    let (bank, app) = start("toss").await;
    let function: String = app
        .one("select pg_get_functiondef('sugang.do_settle_event'::regproc)", &[])
        .await;
    let without = function.replace(" and t.ended_at < e.claimed_at", "");
    assert_ne!(without, function);
    app.run(&without, &[]).await;
    answer_late(&app, &bank).await;
    until(&app, "awaiting_deposit").await;
}
