//! Waiting for outcomes that the service does not know yet.

use std::time::Instant;

use super::*;

const PENDING: &str = r#"{"message":"…","payment_id":1,"refund_id":2,"amount":"1000.00","status":"sent"}"#;
const CANCELLED: &str = r#"{"message":"…","payment_id":1,"cancelled_at":"2026-11-01T00:00:00Z"}"#;
const REFUSED: &str = r#"{"error":"…","code":"refund_declined","reason":"NOT_CANCELABLE_PAYMENT","request_id":"r"}"#;
const APPROVE: &str = "POST /below/api/orders/1/approve/";
const LOOK: &str = "GET /below/api/orders/1/";
const CANCEL: &str = "POST /below/api/payments/1/cancel/";

const LONG: Duration = Duration::from_secs(60);

/// An order whose seat is held for ten more minutes by the server's clock, years from that of the test.
fn order(status: &str) -> String {
    format!(
        r#"{{"id":1,"item_type":"test","item_id":1,"title":"t","amount":"1000.00","payment_method":"card",
        "gateway":"toss","status":"{status}","created_at":"2001-01-01T00:00:00Z","expires_at":"2001-01-01T00:15:00Z",
        "ended_at":null,"payment_id":null,"registration_id":null,"reference":null,"window":null,"declined_code":null,
        "deposit":null,"refund":null,"now":"2001-01-01T00:05:00Z"}}"#
    )
}

/// A session with a server that has these answers.
async fn session(answers: impl IntoIterator<Item = Answer>) -> (Server, Session) {
    let server = Server::start(answers).await;
    let tokens = serde_json::from_str(LOGIN).unwrap();
    let session = server.client().resume(tokens);
    (server, session)
}

fn approve(session: &Session) -> Keyed<ApproveOrder, Order> {
    session.orders().approve(OrderId(1), ApproveOrder::default())
}

#[tokio::test]
async fn an_approval_waits_until_it_is_known() {
    for outcome in ["paid", "held", "awaiting_deposit", "expired"] {
        let answers = [(202, "approving"), (200, "approving"), (200, outcome)];
        let (server, session) = session(answers.map(|(status, word)| json(status, order(word)))).await;
        let known = approve(&session).wait(LONG).await.unwrap();
        assert_eq!(known.status.to_string(), outcome);
        assert_eq!(server.lines(), [APPROVE, LOOK, LOOK]);
    }
}

#[tokio::test]
async fn what_is_known_at_once_is_not_waited_for() {
    let (server, first) = session([json(200, order("paid"))]).await;
    assert!(approve(&first).wait(LONG).await.unwrap().status == OrderStatus::Paid);
    assert_eq!(server.lines(), [APPROVE]);
    let declined = r#"{"error":"…","code":"payment_declined","request_id":"r"}"#;
    let (server, second) = session([json(402, declined)]).await;
    let error = approve(&second).wait(LONG).await.unwrap_err();
    assert_eq!(error.code(), Some(&ErrorCode::PaymentDeclined));
    assert_eq!(server.lines(), [APPROVE]);
}

#[tokio::test]
async fn a_wait_ends_at_its_limit() {
    let (server, first) = session([json(202, order("approving")), json(200, order("approving"))]).await;
    assert!(approve(&first).wait(Duration::ZERO).await.unwrap().status == OrderStatus::Approving);
    assert_eq!(server.lines(), [APPROVE, LOOK], "the order is got once");
    let begun = Instant::now();
    let limit = Duration::from_millis(600);
    let (_server, second) = session((0..4).map(|_| json(202, PENDING))).await;
    let cancel = second.payments().cancel(PaymentId(1), Cancel::default());
    let pending = cancel.wait(limit).await.unwrap().done().unwrap_err();
    assert_eq!(pending.refund_id, RefundId(2));
    assert!(begun.elapsed() >= limit);
}

#[tokio::test]
async fn a_refund_is_asked_for_with_the_same_key_until_it_is_known() {
    for (status, body) in [(200, CANCELLED), (409, REFUSED)] {
        let (server, session) = session([json(202, PENDING), json(status, body)]).await;
        let cancel = session.payments().cancel(PaymentId(1), Cancel::default());
        match cancel.wait(LONG).await {
            Ok(settlement) => assert_eq!(settlement.done().unwrap().payment_id, PaymentId(1)),
            Err(error) => assert_eq!(error.code(), Some(&ErrorCode::RefundDeclined)),
        }
        let seen = server.seen();
        assert_eq!(server.lines(), [CANCEL; 2]);
        assert_eq!(seen[0].header("idempotency-key"), seen[1].header("idempotency-key"));
        assert_eq!(seen[0].body, seen[1].body);
    }
}

#[tokio::test]
async fn a_countdown_runs_by_the_clock_of_the_server() {
    let (_server, session) = session([json(200, order("held"))]).await;
    let order = session.orders().get(OrderId(1)).await.unwrap();
    let ten_minutes = Duration::from_secs(600);
    assert_eq!(order.time_left(), ten_minutes);
    let countdown = Countdown::of(&order);
    let first = countdown.left();
    assert!(first <= ten_minutes && first > ten_minutes - Duration::from_secs(60));
    while countdown.left() == first {
        tokio::task::yield_now().await;
    }
    assert!(countdown.left() < first);
    let late = Order {
        now: order.expires_at + chrono::Duration::seconds(1),
        ..order
    };
    assert_eq!(Countdown::of(&late).left(), Duration::ZERO);
}
