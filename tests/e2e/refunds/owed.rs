//! What is owed without a request that waits for it: the sweep has the gateway give it back.

use rstest::rstest;
use serde_json::{Value, json};
use sugang_tests::{COURSE, Call, EXAM, Kind, Plan, User};

use super::shop::{At, Shop, status};
use crate::{
    storm::{assert_audit, audit},
    support::{cancel, operator, refund, shop},
};

const CANCEL: &str = "update payments set status = 'cancelled'";

#[rstest]
#[tokio::test]
async fn what_another_program_cancels_is_given_back(#[values(At::Toss, At::KakaoPay, At::Stripe)] at: At) {
    let shop = Shop::open(at, EXAM).await;
    shop.app.run(CANCEL, &[]).await;
    assert_eq!(shop.books().await.1, ["requested 45000.00"]);
    shop.assert_books(0, 0).await;
    let swept = shop.sweep().await;
    assert_eq!((&swept["refunds"], &swept["refunds_waiting"]), (&json!(1), &json!(0)));
    assert_eq!(shop.books().await.1, ["done 45000.00"]);
    assert_eq!(shop.asked(), 1);
    shop.assert_books(45_000, 0).await;
}

/// A refund that waited for a person, before KakaoPay and Stripe were asked.
#[rstest]
#[tokio::test]
async fn what_was_owed_before_the_migration_is_given_back(#[values(At::KakaoPay, At::Stripe)] at: At) {
    let shop = Shop::open(at, EXAM).await;
    shop.app.run(CANCEL, &[]).await;
    for as_before in [
        "update sugang.refunds set due_at = null",
        "update sugang.payment_attempts set reconcile_at = null",
        "delete from sugang.migrations where script = 'V42__refunds_over_kakaopay_and_stripe'",
    ] {
        shop.app.run(as_before, &[]).await;
    }
    let migrated = sugang_migrations::run(shop.app.database_url()).await;
    migrated.expect("it is migrated");
    let swept = crate::toss::sweep(&shop.app).await;
    assert_eq!(
        (&swept.json()["refunds"], &swept.json()["reconciled"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(shop.books().await.1, ["done 45000.00"]);
    shop.assert_books(45_000, 0).await;
}

/// Another program makes the payment paid again, which then owes nothing.
#[tokio::test]
async fn what_is_owed_no_more_is_looked_up_once() {
    let shop = Shop::open(At::Toss, EXAM).await;
    shop.app.run(CANCEL, &[]).await;
    shop.app.run("update payments set status = 'paid'", &[]).await;
    for looked_up in [1, 0] {
        assert_eq!(shop.sweep().await["refunds"], looked_up);
    }
    assert_eq!(shop.asked(), 0);
    assert_eq!(shop.books().await.1, ["refused 45000.00"]);
}

#[rstest]
#[tokio::test]
async fn several_sweeps_give_it_back_once(#[values(At::Toss, At::KakaoPay, At::Stripe)] at: At) {
    let shop = Shop::open(at, EXAM).await;
    shop.app.run(CANCEL, &[]).await;
    futures::join!(shop.sweep(), shop.sweep(), shop.sweep());
    shop.sweep().await;
    shop.assert_books(45_000, 0).await;
}

/// The operator has done in the gateway's console what the sweep would do.
#[rstest]
#[tokio::test]
async fn what_a_person_has_given_back_is_not_sent(#[values(At::Toss, At::KakaoPay, At::Stripe)] at: At) {
    let shop = Shop::open(at, EXAM).await;
    shop.app.run(CANCEL, &[]).await;
    shop.give_back_in_console(45_000);
    shop.sweep().await;
    assert_eq!(shop.books().await.1, ["done 45000.00"]);
    assert_eq!(shop.asked(), 0);
    shop.assert_books(45_000, 0).await;
}

#[rstest]
#[case::toss(At::Toss, "NOT_CANCELABLE_AMOUNT")]
#[case::kakaopay(At::KakaoPay, "-761")]
#[case::stripe(At::Stripe, "invalid_request_error")]
#[tokio::test]
async fn what_a_gateway_refuses_waits_for_a_person(#[case] at: At, #[case] code: &str) {
    let shop = Shop::open(at, EXAM).await;
    let operator = operator(&shop.app).await;
    shop.give_back_in_console(5_000);
    shop.app.run(CANCEL, &[]).await;
    assert_eq!(shop.sweep().await["refunds_waiting"], 1);
    assert_eq!(shop.books().await.1, ["requested 45000.00"], "it is still owed");
    let findings: Vec<_> = audit(&shop.app)
        .await
        .into_iter()
        .map(|finding| finding.check)
        .collect();
    assert_eq!(findings, ["refund_waits_for_a_person"]);
    assert_eq!(shop.sweep().await["refunds"], 0, "it is not sent again by itself");
    let shown = shop
        .app
        .get(format!("/api/operator/payments/{}/", shop.payment))
        .by(&operator)
        .await;
    assert_eq!(shown.json()["refunds"][0]["code"], code, "{shown:?}");
    let again = refund(&shop.app, shop.payment, &operator, &json!({"reason": "다시"})).await;
    assert_eq!(status(&again), (409, "refund_declined"));
    let note = json!({"reference": "계좌 이체 3"});
    let noted = shop
        .app
        .post("/api/operator/orders/1/refund/")
        .by(&operator)
        .json(&note)
        .await;
    assert_eq!(noted.json()["refund"]["status"], "done", "{noted:?}");
    assert_eq!(shop.sweep().await["refunds_waiting"], 0);
}

/// Late money, where only its user knows the account that it came from.
#[tokio::test]
async fn a_deposit_that_is_owed_waits_for_an_account() {
    let shop = Shop::open(At::Toss, EXAM).await;
    owe_deposit(&shop).await;
    assert_eq!(shop.sweep().await["refunds_waiting"], 1);
    let order = shop.app.get("/orders/1/").by(&shop.minsu).await;
    assert_eq!(order.json()["refund"]["code"], "account_required", "{order:?}");
    assert_eq!(
        status(&cancel(&shop.app, shop.payment, &shop.minsu).await),
        (400, "already_cancelled")
    );
    let sent = cancel(&shop.app, shop.payment, &shop.minsu)
        .json(&with_account(json!({})))
        .await;
    assert_eq!(sent.status, 200, "{sent:?}");
    shop.assert_books(45_000, 0).await;
}

/// Another program cancels what was paid in to an account.
async fn owe_deposit(shop: &Shop) {
    let paid_in = "update sugang.payment_attempts set due_at = clock_timestamp()";
    shop.app.run(paid_in, &[]).await;
    shop.app.run(CANCEL, &[]).await;
}

fn with_account(mut body: Value) -> Value {
    body["refund_account"] = json!({"bank": "20", "account_number": "1002123456789", "holder": "김민수"});
    body
}

#[tokio::test]
async fn a_user_who_repeats_a_request_for_what_is_owed_learns_what_has_become_of_it() {
    let shop = Shop::open(At::Toss, EXAM).await;
    owe_deposit(&shop).await;
    shop.gateway.plan(&shop.line(), Plan::FailBefore);
    let body = with_account(json!({}));
    let send = || cancel(&shop.app, shop.payment, &shop.minsu).json(&body);
    let send_with_key = || send().header("idempotency-key", "first");
    let first = send_with_key().await;
    assert_eq!(first.status, 202, "{first:?}");
    for again in [send_with_key().await, send().await] {
        assert_eq!((again.status, again.json()), (first.status, first.json()));
    }
    shop.sweep().await;
    assert_eq!(shop.asked(), 2, "only the sweep has sent it again");
    let known = send_with_key().await;
    assert_eq!(
        (known.status.as_u16(), known.header("idempotency-replayed")),
        (200, "true"),
        "{known:?}"
    );
    assert_eq!(status(&send().await), (400, "already_cancelled"));
    shop.assert_books(45_000, 0).await;
}

/// Whether too little is left at the gateway, what the operator learns after the sweep, and what the books have.
#[rstest]
#[case::done(false, (200, ""), "done 45000.00")]
#[case::refused(true, (409, "refund_declined"), "requested 45000.00")]
#[tokio::test]
async fn an_operator_who_repeats_a_refund_of_what_is_owed_learns_what_has_become_of_it(
    #[case] is_too_little_left: bool,
    #[case] expected: (u16, &str),
    #[case] booked: &str,
) {
    let shop = Shop::open(At::Toss, EXAM).await;
    let operator = operator(&shop.app).await;
    owe_deposit(&shop).await;
    if is_too_little_left {
        shop.give_back_in_console(5_000);
    }
    shop.gateway.plan(&shop.line(), Plan::FailBefore);
    let body = with_account(json!({"reason": "다시"}));
    let send = || refund(&shop.app, shop.payment, &operator, &body).header("idempotency-key", "again");
    for _ in 0..2 {
        assert_eq!(send().await.status, 202);
    }
    shop.sweep().await;
    assert_eq!(status(&send().await), expected);
    assert_eq!(shop.asked(), 2, "only the sweep has sent it again");
    assert_eq!(shop.books().await.1, [booked]);
}

/// A request that takes a refused refund over leaves the answer to the one before as it was.
#[tokio::test]
async fn each_request_for_what_is_owed_keeps_its_own_answer() {
    let shop = Shop::open(At::Toss, EXAM).await;
    let operator = operator(&shop.app).await;
    owe_deposit(&shop).await;
    shop.give_back_in_console(5_000);
    let body = with_account(json!({"reason": "다시"}));
    let send = |key: &str| refund(&shop.app, shop.payment, &operator, &body).header("idempotency-key", key);
    assert_eq!(status(&send("first").await), (409, "refund_declined"));
    shop.gateway.plan(&shop.line(), Plan::FailBefore);
    assert_eq!(send("second").await.status, 202);
    let first = send("first").await;
    assert_eq!(status(&first), (409, "refund_declined"));
    assert_eq!(first.header("idempotency-replayed"), "true");
    assert_eq!(shop.asked(), 2);
}

/// Notes that a refund of the first order was paid out.
fn note<'a>(shop: &'a Shop, operator: &User, body: &Value) -> Call<'a> {
    let call = shop.app.post("/api/operator/orders/1/refund/").by(operator);
    call.json(body)
}

/// A part is on its way while another program cancels the payment, and the gateway refuses it then.
async fn owe_part_and_rest(shop: &Shop, operator: &User) {
    shop.gateway.plan(&shop.line(), Plan::FailBefore);
    let part = json!({"amount": "10000", "reason": "교재 불량"});
    assert_eq!(refund(&shop.app, shop.payment, operator, &part).await.status, 202);
    shop.app.run(CANCEL, &[]).await;
    let early = note(shop, operator, &json!({"reference": "bank-1"})).await;
    assert_eq!(status(&early), (409, "no_refund_due"), "the sweep looks after both");
    let refused = "update sugang.refunds set status = 'requested', code = 'NOT_ALLOWED_PARTIAL_REFUND', due_at = null
                   where status = 'sent'";
    shop.app.run(refused, &[]).await;
}

#[tokio::test]
async fn a_note_leaves_to_the_sweep_what_it_sends() {
    let shop = Shop::open(At::Toss, EXAM).await;
    let operator = operator(&shop.app).await;
    owe_part_and_rest(&shop, &operator).await;
    let noted = note(&shop, &operator, &json!({"reference": "bank-10000"})).await;
    let refunds = &noted.json()["attempts"][0]["refunds"];
    assert_eq!(
        [&refunds[0]["reference"], &refunds[1]["status"]],
        ["bank-10000", "requested"],
        "{noted:?}"
    );
    assert_eq!(shop.books().await.1, ["done 10000.00", "requested 35000.00"]);
    shop.sweep().await;
    assert_eq!(shop.books().await.1, ["done 10000.00", "done 35000.00"]);
    assert_eq!(shop.given(), 35_000);
    assert_audit(&shop.app).await;
}

#[tokio::test]
async fn a_note_names_one_of_several_refunds_that_wait_for_a_person() {
    let shop = Shop::open(At::Toss, EXAM).await;
    let operator = operator(&shop.app).await;
    owe_part_and_rest(&shop, &operator).await;
    let refused = "update sugang.refunds set code = 'EXCEED_MAX_REFUND_DUE', due_at = null";
    shop.app.run(refused, &[]).await;
    let which = note(&shop, &operator, &json!({"reference": "bank-1"})).await;
    assert_eq!(status(&which), (400, "invalid"));
    assert!(which.json()["refund_id"].is_array(), "{which:?}");
    let by_id = |id: i64| json!({"reference": format!("bank-{id}"), "refund_id": id});
    assert_eq!(note(&shop, &operator, &by_id(2)).await.status, 200);
    assert_eq!(shop.books().await.1, ["requested 10000.00", "done 35000.00"]);
    assert_eq!(status(&note(&shop, &operator, &by_id(2)).await), (409, "no_refund_due"));
    assert_eq!(note(&shop, &operator, &by_id(1)).await.status, 200);
    assert_eq!(shop.books().await.1, ["done 10000.00", "done 35000.00"]);
    assert_audit(&shop.app).await;
}

/// Without a gateway that moves money, a person does, as before.
#[tokio::test]
async fn the_gateway_manual_is_left_to_a_person() {
    let app = shop().await;
    let (operator, minsu) = (operator(&app).await, app.user("minsu").await);
    let id = app.add(EXAM, sugang_tests::Item::default()).await;
    let order = crate::support::ordered(&crate::support::preorder(&app, EXAM, id, &minsu).await);
    let payment = crate::support::confirm(&app, order, &operator).await.json()["payment_id"]
        .as_i64()
        .unwrap();
    assert_eq!(cancel(&app, payment, &minsu).await.status, 200);
    let due = "select status || coalesce(code, '') || coalesce(due_at::text, '') from sugang.refunds";
    assert_eq!(app.one::<String>(due, &[]).await, "requested");
}

/// So is a part. Another operator notes it than the one who has asked for it.
#[tokio::test]
async fn a_part_at_the_gateway_manual_is_owed_until_it_is_noted() {
    let app = shop().await;
    let (operator, minsu) = (operator(&app).await, app.user("minsu").await);
    let id = app.add(EXAM, sugang_tests::Item::default()).await;
    let order = crate::support::ordered(&crate::support::preorder(&app, EXAM, id, &minsu).await);
    let confirmed = crate::support::confirm(&app, order, &operator).await;
    let payment = confirmed.json()["payment_id"].as_i64().unwrap();
    let part = json!({"amount": "5000", "reason": "교재 불량"});
    let send = || refund(&app, payment, &operator, &part).header("idempotency-key", "part");
    assert_eq!(send().await.json()["left"], "40000.00");
    let booked = "select coalesce(string_agg(step || ' ' || amount, ' '), '') from sugang.ledger
                  where source = 'refund'";
    assert_eq!(app.one::<String>(booked, &[]).await, "", "it was not sent yet");
    assert_audit(&app).await;

    let jiyoung = app.user("jiyoung").await;
    app.run("update users set is_staff = true where id = $1", &[&jiyoung.id])
        .await;
    let note = json!({"reference": "계좌 이체 5"});
    let path = format!("/api/operator/orders/{order}/refund/");
    let noted = app.post(path).by(&jiyoung).json(&note).await;
    assert_eq!(noted.json()["attempts"][0]["refunds"][0]["status"], "done", "{noted:?}");
    assert_eq!(app.one::<String>(booked, &[]).await, "done 5000.00");
    assert_eq!(send().await.header("idempotency-replayed"), "true");
    assert_audit(&app).await;
}

/// Two accounts of one person become one, as an operator does that with SQL.
#[rstest]
#[tokio::test]
async fn the_order_follows_its_payment_to_another_user(#[values(EXAM, COURSE)] kind: Kind) {
    let shop = Shop::open(At::Toss, kind).await;
    let jiyoung = shop.app.user("jiyoung").await;
    let delete = "delete from users where username = 'minsu'";
    for statement in [
        format!("update {} set user_id = {}", kind.registrations, jiyoung.id),
        format!("update payments set user_id = {}", jiyoung.id),
        delete.to_owned(),
    ] {
        shop.app.run(&statement, &[]).await;
    }
    let cancelled = cancel(&shop.app, shop.payment, &jiyoung).await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    assert_eq!(shop.asked(), 1, "the gateway gives it back");
    shop.assert_books(45_000, 0).await;
}

/// Without its order, nothing says which gateway holds the money.
#[rstest]
#[tokio::test]
async fn an_order_whose_money_a_gateway_holds_is_not_deleted(#[values(false, true)] is_owed: bool) {
    let shop = Shop::open(At::Toss, EXAM).await;
    if is_owed {
        shop.app.run(CANCEL, &[]).await;
    }
    let refused = shop.app.database().batch_execute("delete from sugang.orders").await;
    assert!(format!("{refused:?}").contains("orders_outcome_known"), "{refused:?}");
    shop.sweep().await;
    let given = if is_owed { 45_000 } else { 0 };
    shop.assert_books(given, i32::from(!is_owed)).await;
}

/// What takes a payment away: children first, as the Django service does it, or with its user.
const REMOVALS: [&str; 4] = [
    "delete from payments",
    "update payments set id = 77",
    "truncate payments",
    "alter table payments drop constraint payments_user_id_fkey,
        add foreign key (user_id) references users on delete cascade;
     alter table test_registrations drop constraint test_registrations_user_id_fkey,
        add foreign key (user_id) references users on delete cascade;
     delete from users where username = 'minsu'",
];

/// How far the money of a payment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Money {
    /// The gateway holds it, and no request has asked for it.
    Held,
    Requested,
    /// It is not known whether the gateway has given it back.
    Sent,
}

/// Without the payment, nothing would say what the gateway holds, and its refund would be booked out once more.
#[rstest]
#[tokio::test]
async fn a_payment_whose_money_is_not_settled_is_not_deleted(
    #[values(At::Toss, At::Stripe)] at: At,
    #[values(Money::Held, Money::Requested, Money::Sent)] money: Money,
) {
    let shop = Shop::open(at, EXAM).await;
    match money {
        Money::Held => {}
        Money::Requested => {
            shop.app.run(CANCEL, &[]).await;
        }
        Money::Sent => {
            shop.gateway.plan(&shop.line(), Plan::LoseAnswer);
            shop.plan_look_up(Plan::FailBefore);
            assert_eq!(cancel(&shop.app, shop.payment, &shop.minsu).await.status, 202);
        }
    }
    for removal in REMOVALS {
        let refused = shop.app.database().batch_execute(removal).await;
        assert!(
            format!("{refused:?}").contains("_outcome_known"),
            "{removal}: {refused:?}"
        );
    }
    if money == Money::Held {
        assert_eq!(cancel(&shop.app, shop.payment, &shop.minsu).await.status, 200);
    }
    shop.sweep().await;
    shop.assert_books(45_000, 0).await;
    shop.app.run("delete from payments", &[]).await;
    shop.assert_books(45_000, 0).await;
}

/// The negative control.
#[tokio::test]
async fn without_the_guard_a_deleted_payment_is_booked_out_twice() {
    let shop = Shop::open(At::Toss, EXAM).await;
    shop.app
        .run("drop trigger sugang_guard_deletion on payments", &[])
        .await;
    shop.app.run(CANCEL, &[]).await;
    shop.app.run("delete from payments", &[]).await;
    shop.sweep().await;
    let cash = "select sum(case 'cash' when debit then amount else -amount end)::bigint from sugang.ledger
                where 'cash' in (debit, credit)";
    assert_eq!(shop.app.one::<i64>(cash, &[]).await, -45_000);
}

/// What all of them may do goes on: no gateway has the money, and nothing is under way.
#[tokio::test]
async fn a_payment_that_no_gateway_holds_may_be_deleted() {
    let app = shop().await;
    let (operator, minsu) = (operator(&app).await, app.user("minsu").await);
    let mut payments = Vec::new();
    for _ in 0..2 {
        let id = app.add(EXAM, sugang_tests::Item::default()).await;
        let order = crate::support::ordered(&crate::support::preorder(&app, EXAM, id, &minsu).await);
        let confirmed = crate::support::confirm(&app, order, &operator).await;
        payments.push(confirmed.json()["payment_id"].as_i64().unwrap());
    }
    let delete = "delete from payments where id = $1";
    app.run(delete, &[&payments[0]]).await;
    assert_audit(&app).await;
    assert_eq!(cancel(&app, payments[1], &minsu).await.status, 200);
    let refused = app.database().execute(delete, &[&payments[1]]).await;
    assert!(format!("{refused:?}").contains("payments_outcome_known"), "{refused:?}");
    let note = json!({"reference": "계좌 이체 4"});
    let noted = app
        .post("/api/operator/orders/2/refund/")
        .by(&operator)
        .json(&note)
        .await;
    assert_eq!(noted.json()["refund"]["status"], "done", "{noted:?}");
    app.run(delete, &[&payments[1]]).await;
    assert_audit(&app).await;
}
