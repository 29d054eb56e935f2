//! The user's own payments.

use super::{Error, Keyed, List, Request, Session};
use crate::types::{Cancel, Cancelled, Date, Payment, PaymentId, PaymentStatus, PaymentType};

/// Which payments are listed. The default is all of them; the order is newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PaymentFilter {
    /// Only those with this status.
    pub status: Option<PaymentStatus>,
    /// Only those for this.
    pub payment_type: Option<PaymentType>,
    /// Only those paid on this day or later.
    pub from: Option<Date>,
    /// Only those paid on this day or earlier.
    pub to: Option<Date>,
    /// Only those for something whose title has these words, as in [`Filter`](crate::Filter).
    pub search: Option<String>,
}

/// The user's own payments.
#[derive(Debug, Clone)]
pub struct Payments(Session);

impl Payments {
    pub(super) fn new(session: Session) -> Self {
        Self(session)
    }

    /// Those that pass the filter, page by page or as one stream.
    pub fn list(&self, filter: &PaymentFilter) -> List<Payment> {
        let parameters = [
            ("status", filter.status.map(|status| status.to_string())),
            ("payment_type", filter.payment_type.map(|kind| kind.to_string())),
            ("from", filter.from.map(|day| day.to_string())),
            ("to", filter.to.map(|day| day.to_string())),
            ("search", filter.search.clone()),
        ];
        let query = parameters
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        List::new(self.0.clone(), "api/me/payments/".to_owned(), query)
    }

    /// One of them.
    ///
    /// # Errors
    /// [`NotFound`](crate::types::ErrorCode::NotFound), also for another user's.
    pub async fn get(&self, id: PaymentId) -> Result<Payment, Error> {
        self.0
            .send(&Request::get(format!("api/me/payments/{id}/"), Vec::new()))
            .await
    }

    /// Cancels a payment and the registration that it paid for.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `NotFound`, `NotOwner`, `AlreadyCancelled`, `ItemCompleted`, and `Busy`
    /// if it stayed so over all attempts.
    pub fn cancel(&self, id: PaymentId, cancel: Cancel) -> Keyed<Cancel, Cancelled> {
        Keyed::new(self.0.clone(), format!("api/payments/{id}/cancel/"), cancel)
    }
}
