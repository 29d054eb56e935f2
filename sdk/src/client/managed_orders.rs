//! The orders of all users, for operators.

use super::{Keyed, List, Session, list::given};
use crate::types::{
    CancelOrder, ConfirmOrder, Date, ManagedOrder, OrderId, OrderStatus, PaymentType, RefundOrder, UserId,
};

/// Selects orders of all users. The default lists all of them; the order is newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManagedOrderFilter {
    /// Only orders of this user.
    pub user: Option<UserId>,
    /// Only orders of the user with this e-mail address.
    pub email: Option<String>,
    /// Only orders with this status.
    pub status: Option<OrderStatus>,
    /// Only orders for this kind of item.
    pub item_type: Option<PaymentType>,
    /// Only orders for the exam or course with this id.
    pub item: Option<i64>,
    /// Only orders made on this day or later.
    pub from: Option<Date>,
    /// Only orders made on this day or earlier.
    pub to: Option<Date>,
}

/// The orders of all users.
#[derive(Debug, Clone)]
pub struct ManagedOrders(Session);

impl ManagedOrders {
    pub(super) fn new(session: Session) -> Self {
        Self(session)
    }

    /// Lists the orders that match the filter, page by page or as one stream.
    pub fn list(&self, filter: &ManagedOrderFilter) -> List<ManagedOrder> {
        let query = given([
            ("user", filter.user.map(|user| user.to_string())),
            ("email", filter.email.clone()),
            ("status", filter.status.map(|status| status.to_string())),
            ("item_type", filter.item_type.map(|kind| kind.to_string())),
            ("item", filter.item.map(|item| item.to_string())),
            ("from", filter.from.map(|day| day.to_string())),
            ("to", filter.to.map(|day| day.to_string())),
        ]);
        List::new(self.0.clone(), "api/operator/orders/".to_owned(), query)
    }

    /// Confirms that the deposit of an order has arrived, which registers its user. If no seat is left, the status of the
    /// result is `refund_due`.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `Invalid`, `NotFound`, `AmountMismatch`, `AlreadyPaid`, `OrderEnded`,
    /// `GatewayDecides`, `ReferenceUsed`.
    pub fn confirm(&self, id: OrderId, confirm: ConfirmOrder) -> Keyed<ConfirmOrder, ManagedOrder> {
        Keyed::new(self.0.clone(), format!("api/operator/orders/{id}/confirm/"), confirm)
    }

    /// Cancels an order, which frees its seat.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `Invalid`, `NotFound`, `AlreadyPaid`, `OrderInProgress`, `OrderEnded`.
    pub fn cancel(&self, id: OrderId, cancel: CancelOrder) -> Keyed<CancelOrder, ManagedOrder> {
        Keyed::new(self.0.clone(), format!("api/operator/orders/{id}/cancel/"), cancel)
    }

    /// Notes that what is owed back of an order was paid out, by hand or in the gateway's own console.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `Invalid`, `NotFound`, `NoRefundDue`.
    pub fn refund(&self, id: OrderId, refund: RefundOrder) -> Keyed<RefundOrder, ManagedOrder> {
        Keyed::new(self.0.clone(), format!("api/operator/orders/{id}/refund/"), refund)
    }
}
