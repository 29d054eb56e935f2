//! The user's own orders.

use std::time::Duration;

use super::{Error, Keyed, List, Request, Session, list::given, outcomes::Pauses};
use crate::types::{ApproveOrder, Date, Order, OrderId, OrderStatus, PaymentType};

/// Selects orders. The default lists all of them; the order is newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderFilter {
    /// Only orders with this status.
    pub status: Option<OrderStatus>,
    /// Only orders for this kind of item.
    pub item_type: Option<PaymentType>,
    /// Only orders made on this day or later.
    pub from: Option<Date>,
    /// Only orders made on this day or earlier.
    pub to: Option<Date>,
}

/// The user's own orders. [`Items::preorder`](super::Items::preorder) makes one.
#[derive(Debug, Clone)]
pub struct Orders(Session);

impl Orders {
    pub(super) fn new(session: Session) -> Self {
        Self(session)
    }

    /// Lists the orders that match the filter, page by page or as one stream.
    pub fn list(&self, filter: &OrderFilter) -> List<Order> {
        let query = given([
            ("status", filter.status.map(|status| status.to_string())),
            ("item_type", filter.item_type.map(|kind| kind.to_string())),
            ("from", filter.from.map(|day| day.to_string())),
            ("to", filter.to.map(|day| day.to_string())),
        ]);
        List::new(self.0.clone(), "api/me/orders/".to_owned(), query)
    }

    /// Returns one order.
    ///
    /// # Errors
    /// [`NotFound`](crate::types::ErrorCode::NotFound), also for an order of another user.
    pub async fn get(&self, id: OrderId) -> Result<Order, Error> {
        let request = Request::get(format!("api/orders/{id}/"), Vec::new());
        self.0.send(&request).await
    }

    /// Pays an order. Its status tells the outcome: `paid`, or `approving` while it is not known, or `awaiting_deposit` with
    /// what to pay where. [`Keyed::wait`] sends it and waits for the outcome.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `NotFound`, `OrderEnded`, `AmountMismatch`, `AlreadyRegistered`, and what the
    /// gateway causes: `PaymentDeclined`, after which the order has a new `reference`; `PaymentKeyUsed`; `Unavailable`, if
    /// nothing was sent to it.
    pub fn approve(&self, id: OrderId, approve: ApproveOrder) -> Keyed<ApproveOrder, Order> {
        Keyed::new(self.0.clone(), format!("api/orders/{id}/approve/"), approve)
    }

    /// Waits until it is known what has become of the payment of an order, for at most `limit`, and returns the order as it is
    /// then: still `approving` if the time was not enough, and `held` again if the gateway has declined, with its reason in
    /// `declined_code`. A deposit may take days: it is not waited for.
    ///
    /// # Errors
    /// Those of [`Orders::get`].
    pub async fn known(&self, id: OrderId, limit: Duration) -> Result<Order, Error> {
        let mut pauses = Pauses::within(limit);
        loop {
            let order = self.get(id).await?;
            if order.status != OrderStatus::Approving || !pauses.pause().await {
                return Ok(order);
            }
        }
    }

    /// Cancels an order that is not paid, which frees its seat.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `NotFound`, `AlreadyPaid`, `OrderInProgress`, `OrderEnded`.
    pub fn cancel(&self, id: OrderId) -> Keyed<serde_json::Map<String, serde_json::Value>, Order> {
        let path = format!("api/orders/{id}/cancel/");
        Keyed::new(self.0.clone(), path, serde_json::Map::new())
    }
}
