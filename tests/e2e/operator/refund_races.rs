//! Refunds at the same moment as other refunds, cancellations, and the Django service: no more goes back than was paid.

use futures::future::{join, join_all};
use rstest::rstest;
use serde_json::json;
use sugang_tests::{App, COURSE, EXAM, Item, Kind};

use crate::{
    storm::{assert_audit, audit},
    support::{Hold, cancel, operator, paid, refund, register, tally},
};

/// How much of a payment was given back.
async fn given_back(app: &App, payment: i64) -> String {
    let sum = "select sum(amount)::text from sugang.refunds where payment_id = $1 and status <> 'refused'";
    app.one(sum, &[&payment]).await
}

/// Ten refunds of 10,000 for each of five payments of 45,000. Returns how many of them were made.
async fn refund_at_once(app: &App) -> Vec<(u16, usize)> {
    let (first, minsu) = (operator(app).await, app.user("minsu").await);
    let second = app.user("jiyoung").await;
    app.run("update users set is_superuser = true where id = $1", &[&second.id])
        .await;
    let mut answers = Vec::new();
    for _ in 0..5 {
        let id = app.add(EXAM, Item::default()).await;
        let payment = paid(&register(app, EXAM, id, &minsu).await);
        let part = json!({"amount": "10000.00", "reason": "교재 불량"});
        let refunds =
            (0..10).map(|n| refund(app, payment, if n % 2 == 0 { &first } else { &second }, &part).into_future());
        answers.extend(join_all(refunds).await);
    }
    tally(&answers)
}

#[tokio::test]
async fn two_operators_give_back_no_more_than_was_paid() {
    let app = App::start().await;

    assert_eq!(refund_at_once(&app).await, [(200, 5 * 4), (409, 5 * 6)]);

    for payment in 1..=5 {
        assert_eq!(given_back(&app, payment).await, "40000.00");
    }
    assert_audit(&app).await;
}

/// The negative control: without the locks and the constraint, they give back too much, and the audit finds it.
#[tokio::test]
async fn without_locks_and_constraint_too_much_is_given_back() {
    let app = App::start().await;
    let find = "select pg_get_functiondef('sugang.lock_payment'::regproc)";
    let definition: String = app.one(find, &[]).await;
    let without = definition
        .replace("perform pg_advisory_xact_lock(", "perform length(concat(")
        .replace(", p.user_id));", ", p.user_id)));")
        .replace(" for update;", "; perform pg_sleep(0.3);");
    assert_ne!(without, definition);
    app.run(&without, &[]).await;
    app.run(
        "alter table payments drop constraint payments_partly_refunded_known",
        &[],
    )
    .await;

    refund_at_once(&app).await;

    let found: Vec<_> = audit(&app).await.into_iter().map(|finding| finding.check).collect();
    assert!(found.contains(&"refunded_beyond_payment".to_owned()), "{found:?}");
}

#[rstest]
#[tokio::test]
async fn a_refund_races_a_cancellation(#[values(EXAM, COURSE)] kind: Kind, #[values(false, true)] whole: bool) {
    let app = App::start().await;
    let (operator, minsu) = (operator(&app).await, app.user("minsu").await);
    let id = app.add(kind, Item::default()).await;
    let body = match whole {
        true => json!({"reason": "폐강"}),
        false => json!({"reason": "폐강", "amount": "10000.00"}),
    };
    for round in 0..20 {
        let payment = paid(&register(&app, kind, id, &minsu).await);
        let cancelling = async {
            // Varies which of the two comes first.
            tokio::time::sleep(std::time::Duration::from_micros(round * 150)).await;
            cancel(&app, payment, &minsu).await
        };
        let (refunded, cancelled) = join(refund(&app, payment, &operator, &body).into_future(), cancelling).await;
        let statuses = (refunded.status.as_u16(), cancelled.status.as_u16());
        match whole {
            true => assert!([(200, 400), (400, 200)].contains(&statuses), "{statuses:?}"),
            false => assert!([(200, 200), (400, 200)].contains(&statuses), "{statuses:?}"),
        }
        assert_eq!(given_back(&app, payment).await, "45000.00");
    }
    assert_audit(&app).await;
}

/// The Django service takes none of our locks but that of the row.
#[rstest]
#[tokio::test]
async fn a_refund_races_the_django_service(
    #[values(EXAM, COURSE)] kind: Kind,
    #[values("10000.00", "45000.00")] amount: &str,
) {
    let app = App::start().await;
    let (operator, minsu) = (operator(&app).await, app.user("minsu").await);
    let id = app.add(kind, Item::default()).await;
    let payment = paid(&register(&app, kind, id, &minsu).await);
    let Kind { registrations, .. } = kind;
    let other = Hold::new(
        &app,
        &format!(
            "update payments set status = 'cancelled', cancelled_at = now() where id = {payment};
             update {registrations} set status = 'cancelled', cancelled_at = now()"
        ),
    )
    .await;

    let body = json!({"reason": "폐강", "amount": amount});
    let (answer, ()) = join(refund(&app, payment, &operator, &body).into_future(), async {
        other.is_waited_for().await;
        other.commit().await;
    })
    .await;

    assert_eq!((answer.status.as_u16(), answer.code()), (400, "already_cancelled"));
    assert_eq!(given_back(&app, payment).await, "45000.00");
    assert_audit(&app).await;
}

/// The other way round: the Django service saves the payment that it has read before the refund.
#[tokio::test]
async fn the_django_service_saves_a_payment_that_was_refunded_meanwhile() {
    let app = App::start().await;
    let (operator, minsu) = (operator(&app).await, app.user("minsu").await);
    let id = app.add(EXAM, Item::default()).await;
    let payment = paid(&register(&app, EXAM, id, &minsu).await);
    let save = |status: &str| {
        format!(
            "update payments set amount = 45000, status = '{status}', refund_reason = null,
                    cancelled_at = case when '{status}' = 'cancelled' then now() end where id = {payment}"
        )
    };
    let part = json!({"amount": "10000.00", "reason": "교재 불량"});
    assert_eq!(refund(&app, payment, &operator, &part).await.status, 200);

    for (status, expected) in [("paid", "10000.00"), ("cancelled", "45000.00"), ("paid", "10000.00")] {
        app.run(&save(status), &[]).await;
        assert_eq!(given_back(&app, payment).await, expected, "{status}");
        let found: Vec<_> = audit(&app).await.into_iter().map(|finding| finding.check).collect();
        // What it paid for was cancelled with it, and the Django service does not bring it back.
        let allowed = ["active_payment_without_active_registration"];
        assert!(found.iter().all(|check| allowed.contains(&check.as_str())), "{found:?}");
    }
}
