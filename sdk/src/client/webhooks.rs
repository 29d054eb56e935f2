//! Webhooks, for operators.

use reqwest::Method;

use super::{Error, Keyed, List, Request, Session, list::given};
use crate::types::{
    Delivery, DeliveryStatus, EditWebhook, NewWebhook, Pinged, Redeliver, Redelivered, Webhook, WebhookId,
};

const PATH: &str = "api/operator/webhooks/";

/// The webhooks. Superusers change them.
#[derive(Debug, Clone)]
pub struct ManagedWebhooks(Session);

impl ManagedWebhooks {
    pub(super) fn new(session: Session) -> Self {
        Self(session)
    }

    /// Lists the webhooks, page by page or as one stream.
    pub fn list(&self) -> List<Webhook> {
        List::new(self.0.clone(), PATH.to_owned(), Vec::new())
    }

    /// Gets one webhook.
    ///
    /// # Errors
    /// [`NotFound`](crate::types::ErrorCode::NotFound).
    pub async fn get(&self, id: WebhookId) -> Result<Webhook, Error> {
        self.0.send(&Request::get(format!("{PATH}{id}/"), Vec::new())).await
    }

    /// Creates a webhook. The result alone has its secret.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `Invalid`, `NotSuperuser`, `TooManyWebhooks`.
    pub fn create(&self, webhook: NewWebhook) -> Keyed<NewWebhook, Webhook> {
        Keyed::new(self.0.clone(), PATH.to_owned(), webhook)
    }

    /// Edits a webhook, pauses it, or makes it active again.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `Invalid`, `NotFound`, `NotSuperuser`.
    pub fn edit(&self, id: WebhookId, edit: EditWebhook) -> Keyed<EditWebhook, Webhook> {
        Keyed::new(self.0.clone(), format!("{PATH}{id}/"), edit).method(Method::PATCH)
    }

    /// Gives a webhook another secret, which the result alone has. For a day, the one from before signs as well.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `NotFound`, `NotSuperuser`.
    pub fn rotate_secret(&self, id: WebhookId) -> Keyed<(), Webhook> {
        Keyed::new(self.0.clone(), format!("{PATH}{id}/rotate/"), ())
    }

    /// Deletes a webhook with its deliveries.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `NotFound`, `NotSuperuser`.
    pub fn delete(&self, id: WebhookId) -> Keyed<(), ()> {
        Keyed::new(self.0.clone(), format!("{PATH}{id}/"), ()).method(Method::DELETE)
    }

    /// Sends an event of the type `ping`, once.
    ///
    /// # Errors
    /// [`NotFound`](crate::types::ErrorCode::NotFound). That the receiver cannot be reached is part of the result.
    pub fn ping(&self, id: WebhookId) -> Keyed<(), Pinged> {
        Keyed::new(self.0.clone(), format!("{PATH}{id}/ping/"), ())
    }

    /// Lists what a webhook was told of, newest first.
    pub fn deliveries(&self, id: WebhookId, status: Option<DeliveryStatus>) -> List<Delivery> {
        let query = given([("status", status.map(|status| status.to_string()))]);
        List::new(self.0.clone(), format!("{PATH}{id}/deliveries/"), query)
    }

    /// Has a delivery sent again, or all that have failed since a time.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `Invalid`, `NotFound`.
    pub fn redeliver(&self, id: WebhookId, which: Redeliver) -> Keyed<Redeliver, Redelivered> {
        Keyed::new(self.0.clone(), format!("{PATH}{id}/redeliver/"), which)
    }
}
