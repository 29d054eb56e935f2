//! The ledger follows every writer of payments, and refuses what does not add up.

use serde_json::json;
use sugang_tests::{App, EXAM, Item};
use tokio_postgres::error::SqlState;

use crate::{
    storm::assert_audit,
    support::{cancel, paid, register},
};

#[tokio::test]
async fn a_payment_and_its_cancellation_are_booked() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let id = app.add(EXAM, Item::default()).await;
    let payment = paid(&register(&app, EXAM, id, &minsu).await);
    assert_eq!(cancel(&app, payment, &minsu).await.status, 200);

    let ledger = "select source, source_id, step, payment_id, debit, credit, amount::text, actor_id,
                         request_id is not null as has_request from sugang.ledger order by at";
    assert_eq!(
        app.rows(ledger).await,
        json!([
            {"source": "payment", "source_id": 1, "step": "captured", "payment_id": 1, "debit": "cash", "credit": "sales",
             "amount": "45000.00", "actor_id": 1, "has_request": true},
            {"source": "refund", "source_id": 1, "step": "done", "payment_id": 1, "debit": "sales_returns",
             "credit": "cash", "amount": "45000.00", "actor_id": 1, "has_request": true},
        ])
    );
}

#[tokio::test]
async fn what_was_paid_and_given_back_before_is_booked() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    for _ in 0..2 {
        let id = app.add(EXAM, Item::default()).await;
        paid(&register(&app, EXAM, id, &minsu).await);
    }
    assert_eq!(cancel(&app, 2, &minsu).await.status, 200);
    let free = Item {
        price: "0.00",
        ..Item::default()
    };
    let id = app.add(EXAM, free).await;
    paid(&app.post(EXAM.register(id)).by(&minsu).json(&json!({})).await);
    assert_eq!(cancel(&app, 3, &minsu).await.status, 200);
    let make_old = "drop table sugang.ledger, sugang.refunds cascade;
         alter table payments drop column partly_refunded cascade, drop column refund_refused cascade;
         drop index payments_amount, payments_external_id_of_others, payments_of_item, users_email_prefix,
             users_username_prefix, sugang.audit_log_at;
         alter table sugang.payment_attempts drop column reconcile_at;
         delete from sugang.migrations where script in ('V27__ledger', 'V30__operator_reads', 'V31__refund_refused',
             'V37__counts_by_index', 'V41__gateway_refunds')";
    app.database()
        .batch_execute(make_old)
        .await
        .expect("it can be made old");

    sugang_migrations::run(app.database_url())
        .await
        .expect("it is migrated");

    assert_audit(&app).await;
    let ledger =
        "select source, source_id, step, payment_id, amount::text from sugang.ledger order by payment_id, source";
    assert_eq!(
        app.rows(ledger).await,
        json!([
            {"source": "payment", "source_id": 1, "step": "captured", "payment_id": 1, "amount": "45000.00"},
            {"source": "payment", "source_id": 2, "step": "captured", "payment_id": 2, "amount": "45000.00"},
            {"source": "refund", "source_id": 1, "step": "done", "payment_id": 2, "amount": "45000.00"},
        ])
    );
    assert_eq!(cancel(&app, 1, &minsu).await.status, 200);
    assert_audit(&app).await;
}

/// Each statement leaves good books, whatever was given back before. Payment 1 is given back in part.
#[tokio::test]
async fn the_books_follow_what_other_programs_do() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    for _ in 0..3 {
        let id = app.add(EXAM, Item::default()).await;
        paid(&register(&app, EXAM, id, &minsu).await);
    }
    for statement in [
        "insert into sugang.refunds (payment_id, amount, status) values (1, 10000, 'done')",
        "insert into sugang.refunds (payment_id, amount, status) values (1, 500, 'requested'), (1, 200, 'external')",
        "update sugang.refunds set status = 'sent' where status = 'requested'",
        "update sugang.refunds set status = 'refused' where status = 'sent'",
        "update payments set status = 'cancelled' where id = 1",
        "update payments set amount = 50000 where id = 1",
        "update payments set amount = 10200 where id = 1",
        "update payments set amount = 45000 where id = 1",
        "update payments set status = 'refunded' where id = 1",
        "update payments set status = 'paid' where id = 1; update test_registrations set status = 'applied'",
        "update payments set amount = 20000 where id = 1",
        "update payments set id = 77 where id = 1",
        "update payments set id = 78, amount = 30000 where id = 77",
        "update payments set amount = 25000, status = 'cancelled' where id = 78",
        "create table copied as table payments",
        "delete from payments",
        "insert into payments table copied; update test_registrations set status = 'applied' where id > 1",
        "delete from payments where id = 78",
        "insert into payments (id, user_id, payment_type, content_type_id, object_id, amount, payment_method)
            select id, user_id, payment_type, content_type_id, object_id, amount, payment_method from copied where id = 78;
         update test_registrations set status = 'applied'",
        "truncate payments restart identity",
        "insert into payments table copied; update test_registrations set status = 'applied' where id > 1",
        "insert into payments (user_id, payment_type, content_type_id, object_id, amount, payment_method, status,
                               partly_refunded)
            select user_id, payment_type, content_type_id, object_id, amount, payment_method, 'cancelled', 7 from copied
            where id = 78",
        // An import without triggers, which an operator writes down afterwards.
        "set session_replication_role = replica; delete from payments where id = 2;
         update payments set status = 'cancelled', cancelled_at = now(), amount = 500 where id = 3;
         set session_replication_role = origin;
         select sugang.log_unlogged_payments(); update test_registrations set status = 'cancelled'",
    ] {
        let done = app.database().batch_execute(statement).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        let findings = crate::storm::audit(&app).await;
        assert!(findings.is_empty(), "{statement}: {findings:#?}");
    }
}

#[tokio::test]
async fn what_does_not_add_up_is_refused() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    for _ in 0..2 {
        let id = app.add(EXAM, Item::default()).await;
        paid(&register(&app, EXAM, id, &minsu).await);
    }
    assert_eq!(cancel(&app, 2, &minsu).await.status, 200);
    app.run(
        "insert into sugang.refunds (payment_id, amount, status) values (1, 10000, 'done')",
        &[],
    )
    .await;
    let before = app.state().await;
    for (statement, expected) in [
        (
            "insert into sugang.refunds (payment_id, amount, status) values (1, 35000.01, 'requested')",
            SqlState::CHECK_VIOLATION,
        ),
        (
            "insert into sugang.refunds (payment_id, amount, status) values (1, 0, 'done')",
            SqlState::CHECK_VIOLATION,
        ),
        (
            "insert into sugang.refunds (payment_id, amount, status) values (1, 1, 'gone')",
            SqlState::CHECK_VIOLATION,
        ),
        (
            "insert into sugang.refunds (payment_id, amount, status) values (2, 1, 'done')",
            SqlState::CHECK_VIOLATION,
        ),
        (
            "insert into sugang.refunds (payment_id, amount, status) values (77, 1, 'done')",
            SqlState::CHECK_VIOLATION,
        ),
        (
            "insert into sugang.refunds (payment_id, amount, status, ends_payment) values (1, 1, 'done', true)",
            SqlState::CHECK_VIOLATION,
        ),
        (
            "update payments set amount = 9999 where id = 1",
            SqlState::CHECK_VIOLATION,
        ),
        (
            "update payments set partly_refunded = 0 where id = 1",
            SqlState::INSUFFICIENT_PRIVILEGE,
        ),
        ("update sugang.refunds set amount = 1", SqlState::INSUFFICIENT_PRIVILEGE),
        (
            "update sugang.refunds set payment_id = 2 where payment_id = 1",
            SqlState::INSUFFICIENT_PRIVILEGE,
        ),
        (
            "update sugang.refunds set status = 'refused'",
            SqlState::CHECK_VIOLATION,
        ),
        (
            "update sugang.refunds set status = 'requested'",
            SqlState::CHECK_VIOLATION,
        ),
    ] {
        let refused = app.database().batch_execute(statement).await;
        let code = refused.err().and_then(|error| error.code().cloned());
        assert_eq!(code, Some(expected), "{statement}");
    }
    assert_eq!(app.state().await, before);
    assert_audit(&app).await;
}
