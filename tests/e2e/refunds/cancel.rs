//! `POST /payments/{id}/cancel/` where a gateway holds the money.

use std::future::IntoFuture;

use futures::future::join;
use rstest::rstest;
use serde_json::json;
use sugang_tests::{COURSE, EXAM, Kind, Plan, assert_answer};

use super::shop::{At, Shop, status};
use crate::support::{cancel, expected_status, payment};

#[rstest]
#[tokio::test]
async fn the_gateway_gives_it_back_first(
    #[values(At::Toss, At::KakaoPay, At::Stripe)] at: At,
    #[values(EXAM, COURSE)] kind: Kind,
) {
    let shop = Shop::open(at, kind).await;
    let cancelled = cancel(&shop.app, shop.payment, &shop.minsu).await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    let keys: Vec<_> = cancelled.json().as_object().unwrap().keys().collect();
    assert_eq!(keys, ["cancelled_at", "message", "payment_id"], "as without a gateway");
    assert_eq!(shop.asked(), 1);
    assert_eq!(
        shop.books().await,
        ("cancelled".to_owned(), vec!["done 45000.00".to_owned()])
    );
    shop.assert_books(45_000, 0).await;
    let again = cancel(&shop.app, shop.payment, &shop.minsu).await;
    assert_eq!(status(&again), (400, "already_cancelled"));
}

/// What the answer is, and whether the gateway has given the money back by then.
#[rstest]
#[case::answer_lost(Plan::LoseAnswer, 200)]
#[case::failed_after_executing(Plan::FailAfter, 200)]
#[case::garbage(Plan::Garbage, 200)]
#[case::late(Plan::AnswerLate(500), 200)]
#[case::too_late(Plan::AnswerLate(8_000), 200)]
#[case::request_lost(Plan::LoseRequest, 202)]
#[case::failed_before_executing(Plan::FailBefore, 202)]
#[case::under_way(Plan::Conflict, 202)]
#[tokio::test]
async fn whatever_is_lost_the_money_goes_back_once(
    #[values(At::Toss, At::KakaoPay, At::Stripe)] at: At,
    #[case] plan: Plan,
    #[case] expected: u16,
) {
    let shop = Shop::open(at, EXAM).await;
    shop.gateway.plan(&shop.line(), plan);
    let first = cancel(&shop.app, shop.payment, &shop.minsu).await;
    let expected = expected_status(plan, expected, &first);
    assert_eq!(first.status, expected, "{first:?}");
    let mut asked = shop.asked();
    if expected == 202 {
        assert_eq!(first.json()["status"], "sent");
        let again = cancel(&shop.app, shop.payment, &shop.minsu).await;
        assert_eq!((again.status, again.json()), (first.status, first.json()));
        let sora = shop.app.user("sora").await;
        let body = payment("45000.00", at.method());
        let other = shop.app.post(EXAM.preorder(shop.item)).by(&sora).json(&body).await;
        assert_eq!(
            other.code(),
            "sold_out",
            "the seat is kept while the outcome is unknown"
        );
        let completed = shop
            .app
            .post(format!("/tests/{}/complete/", shop.item))
            .by(&shop.minsu)
            .await;
        assert_eq!(status(&completed), (409, "refund_in_progress"));
        shop.assert_books(0, 1).await;
        assert_eq!(shop.sweep().await["refunds"], 1);
        asked += shop.asked();
        assert_eq!(asked, 2, "only the sweep has sent it again");
    } else {
        assert_eq!(asked, 1, "what was executed is not sent again");
    }
    assert_eq!(shop.books().await.0, "cancelled");
    assert_eq!(shop.sweep().await["refunds"], 0);
    shop.assert_books(45_000, 0).await;
}

#[rstest]
#[tokio::test]
async fn a_repeated_request_learns_what_has_become_of_it(#[values(At::Toss, At::KakaoPay, At::Stripe)] at: At) {
    let shop = Shop::open(at, EXAM).await;
    shop.gateway.plan(&shop.line(), Plan::LoseRequest);
    let send = |reason: &str| {
        cancel(&shop.app, shop.payment, &shop.minsu)
            .header("idempotency-key", "first")
            .json(&json!({ "refund_reason": reason }))
    };
    assert_eq!(send("변심").await.status, 202);
    assert_eq!(status(&send("다른 이유").await), (422, "idempotency_key_reused"));
    shop.sweep().await;
    let known = send("변심").await;
    assert_eq!(
        (known.status.as_u16(), known.header("idempotency-replayed")),
        (200, "true")
    );
    shop.assert_books(45_000, 0).await;
}

/// What the reason is, and how often the gateway is asked.
#[rstest]
#[case::toss(At::Toss, "ALREADY_CANCELED_PAYMENT", 1)]
#[case::kakaopay(At::KakaoPay, "exceeds_what_is_left", 0)]
#[case::stripe(At::Stripe, "charge_already_refunded", 1)]
#[tokio::test]
async fn a_refusal_leaves_all_as_it_was(#[case] at: At, #[case] reason: &str, #[case] asked: usize) {
    let shop = Shop::open(at, EXAM).await;
    shop.give_back_in_console(45_000);
    let refused = cancel(&shop.app, shop.payment, &shop.minsu).await;
    assert_eq!(status(&refused), (409, "refund_declined"));
    assert_eq!(refused.json()["reason"], reason);
    if at == At::Toss {
        assert_answer!(refused, @r#"
        {
          "status": "409 Conflict",
          "body": {
            "code": "refund_declined",
            "error": "결제 대행사가 환불을 거절했습니다",
            "reason": "ALREADY_CANCELED_PAYMENT",
            "request_id": "[request id]"
          }
        }
        "#);
    }
    assert_eq!(
        shop.books().await,
        (
            "paid".to_owned(),
            vec!["refused 45000.00".to_owned(), "external 45000.00".to_owned()]
        ),
        "what was given back elsewhere is noted"
    );
    shop.assert_books(45_000, 1).await;
    // Nothing is left to give back.
    assert_eq!(cancel(&shop.app, shop.payment, &shop.minsu).await.status, 200);
    assert_eq!(shop.asked(), asked);
    shop.assert_books(45_000, 0).await;
}

#[rstest]
#[tokio::test]
async fn a_gateway_that_hangs_keeps_the_seat_until_it_answers(#[values(At::Toss, At::KakaoPay, At::Stripe)] at: At) {
    let shop = Shop::open(at, COURSE).await;
    shop.gateway.plan(&shop.line(), Plan::AnswerLate(6_000));
    shop.plan_look_up(Plan::FailBefore);
    for _ in 0..2 {
        shop.gateway.plan(at.look_up(), Plan::FailBefore);
    }
    assert_eq!(cancel(&shop.app, shop.payment, &shop.minsu).await.status, 202);
    for _ in 0..2 {
        shop.sweep().await;
        assert_eq!(
            shop.books().await,
            ("paid".to_owned(), vec!["sent 45000.00".to_owned()])
        );
    }
    shop.sweep().await;
    assert_eq!(shop.asked(), 1, "it is not sent again before it is looked up");
    shop.assert_books(45_000, 0).await;
}

#[rstest]
#[tokio::test]
async fn a_request_and_a_sweep_settle_it_once(#[values(At::Toss, At::KakaoPay, At::Stripe)] at: At) {
    let shop = Shop::open(at, EXAM).await;
    shop.gateway.plan(&shop.line(), Plan::AnswerLate(1_000));
    let (cancelled, _) = join(cancel(&shop.app, shop.payment, &shop.minsu).into_future(), async {
        while shop.books().await.1.is_empty() {}
        shop.sweep().await
    })
    .await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    shop.assert_books(45_000, 0).await;
}

#[tokio::test]
async fn what_was_paid_in_to_an_account_needs_one() {
    let shop = Shop::open(At::Toss, EXAM).await;
    let paid_in = "update sugang.payment_attempts set due_at = clock_timestamp()";
    shop.app.run(paid_in, &[]).await;
    let without = cancel(&shop.app, shop.payment, &shop.minsu).await;
    assert_eq!(status(&without), (400, "invalid"));
    assert!(without.json()["refund_account"].is_array(), "{without:?}");
    assert_eq!(shop.asked(), 0);
    let account = json!({"refund_account": {"bank": "20", "account_number": "1002123456789", "holder": "김민수"}});
    let cancelled = cancel(&shop.app, shop.payment, &shop.minsu).json(&account).await;
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    let kept = "select count(*) from sugang.refunds where account is not null";
    assert_eq!(shop.app.one::<i64>(kept, &[]).await, 0, "the account is not kept");
    shop.assert_books(45_000, 0).await;
}

/// It is not kept, and not sent to the gateway, which may refuse it.
#[tokio::test]
async fn an_account_that_nothing_needs_is_dropped() {
    let shop = Shop::open(At::Toss, EXAM).await;
    shop.gateway.plan(&shop.line(), Plan::LoseRequest);
    shop.gateway.plan(At::Toss.look_up(), Plan::FailBefore);
    let account = json!({"refund_account": {"bank": "20", "account_number": "1002123456789", "holder": "김민수"}});
    let cancelled = cancel(&shop.app, shop.payment, &shop.minsu).json(&account).await;
    assert_eq!(cancelled.status, 202, "{cancelled:?}");
    let kept = "select status, account from sugang.refunds";
    assert_eq!(shop.app.rows(kept).await, json!([{"status": "sent", "account": null}]));
    shop.sweep().await;
    shop.assert_books(45_000, 0).await;
}
