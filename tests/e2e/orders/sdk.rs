//! Orders whose outcome is not known at once, through the SDK's client.

use std::time::Duration;

use futures::future::join;
use sugang_sdk::{
    Client, Countdown, Session,
    types::{ApproveOrder, ErrorCode, ExamId, Money, Order, OrderStatus, PaymentMethod, Preorder},
};
use sugang_tests::{App, EXAM, Item, PASSWORD, Plan, TossServer};

use crate::toss;

/// Longer than any wait that ends by itself.
const LONG: Duration = Duration::from_secs(60);

struct Held {
    toss: TossServer,
    app: App,
    session: Session,
    order: Order,
}

impl Held {
    /// Holds a seat. The gateway has four seconds to answer.
    async fn start() -> Self {
        let toss = TossServer::start().await.expect("there is a free port");
        let app = toss::with(&toss).with("gateway_timeout_ms", 4000).start().await;
        let minsu = app.user("minsu").await;
        let exam = ExamId(app.add(EXAM, Item::default()).await);
        let client = Client::new(app.base.clone()).unwrap();
        let session = client.login(&minsu.email, PASSWORD).await.unwrap();
        let preorder = Preorder {
            amount: Money::won(45_000),
            payment_method: PaymentMethod::Card,
            return_url: None,
        };
        let order = session.exams().preorder(exam, preorder).await.unwrap();
        Self {
            toss,
            app,
            session,
            order,
        }
    }

    /// What the payment window returns.
    fn agree(&self) -> ApproveOrder {
        let window = self.order.window.as_ref().expect("the window can be opened");
        ApproveOrder {
            payment_key: Some(self.toss.authenticate(&window.reference, 45_000)),
            ..ApproveOrder::default()
        }
    }

    async fn wait(&self, approve: &ApproveOrder, limit: Duration) -> Order {
        let approval = self.session.orders().approve(self.order.id, approve.clone());
        approval.wait(limit).await.unwrap()
    }

    /// Waits for the outcome while the service sweeps.
    async fn wait_while_sweeping(&self, approve: &ApproveOrder) -> Order {
        let (order, swept) = join(self.wait(approve, LONG), toss::sweep(&self.app)).await;
        assert_eq!(swept.json()["looked_up"], 1, "{swept:?}");
        order
    }

    /// An approval whose answer is late, as every answer to a look-up.
    fn delay(&self) {
        self.toss.plan_confirmation(Plan::AnswerLate(9_000));
        self.toss.plan_look_up(Plan::FailBefore);
    }
}

#[tokio::test]
async fn a_client_waits_until_a_late_gateway_is_known_to_have_paid() {
    let held = Held::start().await;
    held.delay();
    let approve = held.agree();
    let unknown = held.wait(&approve, Duration::ZERO).await;
    assert!(unknown.status == OrderStatus::Approving, "{unknown:?}");
    let paid = held.wait_while_sweeping(&approve).await;
    assert!(
        paid.status == OrderStatus::Paid && paid.payment_id.is_some(),
        "{paid:?}"
    );
    toss::assert_books(&held.app, &held.toss, 45_000).await;
}

#[tokio::test]
async fn a_wait_for_an_approval_ends_at_its_limit_and_may_go_on_later() {
    let held = Held::start().await;
    held.delay();
    let approve = held.agree();
    let unknown = held.wait(&approve, Duration::from_secs(5)).await;
    assert!(unknown.status == OrderStatus::Approving, "{unknown:?}");
    toss::sweep(&held.app).await;
    let orders = held.session.orders();
    assert!(orders.known(held.order.id, LONG).await.unwrap().status == OrderStatus::Paid);
    toss::assert_books(&held.app, &held.toss, 45_000).await;
}

#[tokio::test]
async fn a_client_learns_of_a_decline_at_once_and_later() {
    let held = Held::start().await;
    held.toss.refuse(403, "REJECT_CARD_PAYMENT");
    let approval = held.session.orders().approve(held.order.id, held.agree());
    let declined = approval.wait(LONG).await.unwrap_err();
    assert_eq!(declined.code(), Some(&ErrorCode::PaymentDeclined));

    // The next attempt gets lost on its way, and is declined once it is sent again.
    let order = held.session.orders().get(held.order.id).await.unwrap();
    let held = Held { order, ..held };
    held.toss.plan_confirmation(Plan::LoseRequest);
    held.toss.refuse(403, "REJECT_CARD_COMPANY");
    let approve = held.agree();
    let unknown = held.wait(&approve, Duration::ZERO).await;
    assert!(unknown.status == OrderStatus::Approving, "{unknown:?}");
    let known = held.wait_while_sweeping(&approve).await;
    assert!(known.status == OrderStatus::Held, "{known:?}");
    assert_eq!(known.declined_code.as_deref(), Some("REJECT_CARD_COMPANY"));
    toss::assert_books(&held.app, &held.toss, 0).await;
}

#[tokio::test]
async fn a_countdown_ends_when_the_service_lets_the_seat_go() {
    let held = Held::start().await;
    let sooner = "update sugang.orders set expires_at = clock_timestamp() + interval '2 seconds'";
    held.app.run(sooner, &[]).await;
    let orders = held.session.orders();
    let order = orders.get(held.order.id).await.unwrap();
    let countdown = Countdown::of(&order);
    assert!(!countdown.left().is_zero() && countdown.left() <= Duration::from_secs(2));
    tokio::time::sleep(countdown.left()).await;
    assert!(countdown.left().is_zero());
    toss::sweep(&held.app).await;
    assert!(orders.get(order.id).await.unwrap().status == OrderStatus::Expired);
}
