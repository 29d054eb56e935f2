//! Refunds whose outcome is not known at once, through the SDK's client.

use std::time::Duration;

use futures::future::join;
use sugang_sdk::{
    Client, Keyed,
    types::{Cancel, Cancelled, ErrorCode, PaymentId, Settlement},
};
use sugang_tests::{EXAM, PASSWORD, Plan};

use super::shop::{At, Shop};

/// Longer than any wait that ends by itself.
const LONG: Duration = Duration::from_secs(60);

/// A request to cancel what minsu has paid.
async fn cancel(shop: &Shop) -> Keyed<Cancel, Settlement<Cancelled>> {
    let client = Client::new(shop.app.base.clone()).unwrap();
    let session = client.login(&shop.minsu.email, PASSWORD).await.unwrap();
    session.payments().cancel(PaymentId(shop.payment), Cancel::default())
}

#[tokio::test]
async fn a_client_waits_until_the_money_is_known_to_have_gone_back() {
    let shop = Shop::open(At::Toss, EXAM).await;
    shop.gateway.plan(&shop.line(), Plan::LoseRequest);
    let cancel = cancel(&shop).await;
    let key = cancel.key().clone();
    let pending = cancel.wait(Duration::ZERO).await.unwrap().done().unwrap_err();
    assert_eq!(pending.payment_id, PaymentId(shop.payment));
    let again = self::cancel(&shop).await.idempotency_key(key);
    let (settlement, swept) = join(again.wait(LONG), shop.sweep()).await;
    assert_eq!(swept["refunds"], 1, "{swept}");
    assert_eq!(settlement.unwrap().done().unwrap().payment_id, pending.payment_id);
    shop.assert_books(45_000, 0).await;
}

#[tokio::test]
async fn a_client_learns_that_the_gateway_refuses() {
    let shop = Shop::open(At::Toss, EXAM).await;
    shop.gateway.plan(&shop.line(), Plan::LoseRequest);
    let cancel = cancel(&shop).await;
    let key = cancel.key().clone();
    assert!(cancel.wait(Duration::ZERO).await.unwrap().done().is_err());
    shop.give_back_in_console(45_000);
    let again = self::cancel(&shop).await.idempotency_key(key);
    let (settlement, swept) = join(again.wait(LONG), shop.sweep()).await;
    assert_eq!(swept["refunds"], 1, "{swept}");
    assert_eq!(settlement.unwrap_err().code(), Some(&ErrorCode::RefundDeclined));
}
