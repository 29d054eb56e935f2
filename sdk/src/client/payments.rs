//! The user's own payments.

use super::{Error, Keyed, List, Request, Session, list::given};
use crate::types::{Cancel, Cancelled, Date, Payment, PaymentId, PaymentStatus, PaymentType, Settlement};

/// Selects payments. The default lists all of them; the order is newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PaymentFilter {
    /// Only payments with this status.
    pub status: Option<PaymentStatus>,
    /// Only payments for this kind of item.
    pub payment_type: Option<PaymentType>,
    /// Only payments made on this day or later.
    pub from: Option<Date>,
    /// Only payments made on this day or earlier.
    pub to: Option<Date>,
    /// Only payments for an item whose title has these words, as in [`Filter`](crate::Filter).
    pub search: Option<String>,
}

/// The user's own payments.
#[derive(Debug, Clone)]
pub struct Payments(Session);

impl Payments {
    pub(super) fn new(session: Session) -> Self {
        Self(session)
    }

    /// Lists the payments that match the filter, page by page or as one stream.
    pub fn list(&self, filter: &PaymentFilter) -> List<Payment> {
        let query = given([
            ("status", filter.status.map(|status| status.to_string())),
            ("payment_type", filter.payment_type.map(|kind| kind.to_string())),
            ("from", filter.from.map(|day| day.to_string())),
            ("to", filter.to.map(|day| day.to_string())),
            ("search", filter.search.clone()),
        ]);
        List::new(self.0.clone(), "api/me/payments/".to_owned(), query)
    }

    /// Returns one payment.
    ///
    /// # Errors
    /// [`NotFound`](crate::types::ErrorCode::NotFound), also for a payment of another user.
    pub async fn get(&self, id: PaymentId) -> Result<Payment, Error> {
        self.0
            .send(&Request::get(format!("api/me/payments/{id}/"), Vec::new()))
            .await
    }

    /// Cancels a payment and the registration that it paid for. Where a gateway holds the money, it gives it back first: it
    /// is pending while the gateway's answer is not known, and the same request with the same key tells later; [`Keyed::wait`]
    /// sends it until then.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `NotFound`, `NotOwner`, `AlreadyCancelled`, `ItemCompleted`,
    /// `RefundInProgress`, `RefundDeclined` with the gateway's code in
    /// [`ErrorText::Reason`](crate::types::ErrorText::Reason), and `Busy` if all attempts met it.
    pub fn cancel(&self, id: PaymentId, cancel: Cancel) -> Keyed<Cancel, Settlement<Cancelled>> {
        Keyed::new(self.0.clone(), format!("api/payments/{id}/cancel/"), cancel)
    }
}
