//! What operators do: exams and courses, payments, and figures. Users are in `users`.

use std::{marker::PhantomData, time::Duration};

use reqwest::Method;

use super::{
    Error, FileFormat, Filter, Import, ItemId, Keyed, List, ManagedOrders, ManagedUsers, ManagedWebhooks, Request,
    Session, list::given,
};
use crate::types::{
    AuditCheck, CancelRegistration, CompleteRegistrations, CourseId, Date, EditItem, ExamId, Figures, ItemFigures,
    ItemsCreated, ManagedItem, ManagedPayment, ManagedRegistration, Money, NewItem, NewRegistration, PaymentId,
    PaymentStatus, PaymentType, RefundPayment, Refunded, RegistrationCancelled, RegistrationChanged, RegistrationId,
    RegistrationStatus, RegistrationsCompleted, RepeatItem, Settlement, UserId, UserRights,
};

/// The time in which the service sends an audit.
const AUDIT_TIMEOUT: Duration = Duration::from_secs(3600);

/// The endpoints of operators. To a session of any other user they do not exist:
/// [`NotFound`](crate::types::ErrorCode::NotFound).
#[derive(Debug, Clone)]
pub struct Operator(Session);

impl Operator {
    pub(super) fn new(session: Session) -> Self {
        Self(session)
    }

    /// Returns the endpoints by which exams are managed.
    pub fn exams(&self) -> ManagedItems<ExamId> {
        ManagedItems::new(self.0.clone())
    }

    /// Returns the endpoints by which courses are managed.
    pub fn courses(&self) -> ManagedItems<CourseId> {
        ManagedItems::new(self.0.clone())
    }

    /// Returns the endpoints of the orders of all users.
    pub fn orders(&self) -> ManagedOrders {
        ManagedOrders::new(self.0.clone())
    }

    /// Returns the endpoints by which payments are looked at and given back.
    pub fn payments(&self) -> ManagedPayments {
        ManagedPayments(self.0.clone())
    }

    /// Returns the endpoints by which users are found, deactivated and activated.
    pub fn users(&self) -> ManagedUsers {
        ManagedUsers::new(self.0.clone())
    }

    /// Returns the endpoints of webhooks.
    pub fn webhooks(&self) -> ManagedWebhooks {
        ManagedWebhooks::new(self.0.clone())
    }

    /// Returns registrations and money by day, for at most 366 days.
    ///
    /// # Errors
    /// [`Invalid`](crate::types::ErrorCode::Invalid) for a period that is longer, or reversed.
    pub async fn figures(&self, of: &FiguresOf) -> Result<Figures, Error> {
        let request = Request::get("api/operator/figures/", of.query());
        self.0.send(&request).await
    }

    /// Audits seats, money, counts and history, which takes a minute for a million registrations.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `Busy` while another audit runs. A transport error if the audit could not be
    /// finished.
    pub async fn audit(&self) -> Result<Vec<AuditCheck>, Error> {
        let request = Request {
            timeout: Some(AUDIT_TIMEOUT),
            ..Request::get("api/operator/audit/", Vec::new())
        };
        self.0.receive(&request).await?.decode_lines()
    }

    /// Makes a user an operator.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `NotSuperuser`, and `NotFound` without such a user.
    pub fn make_operator(&self, user: UserId) -> Keyed<(), UserRights> {
        self.set_operator(Method::POST, user)
    }

    /// Takes the right of an operator.
    ///
    /// # Errors
    /// Those of [`Operator::make_operator`], and `TargetIsSuperuser`.
    pub fn unmake_operator(&self, user: UserId) -> Keyed<(), UserRights> {
        self.set_operator(Method::DELETE, user)
    }

    fn set_operator(&self, method: Method, user: UserId) -> Keyed<(), UserRights> {
        let path = format!("api/operator/users/{user}/operator/");
        Keyed::new(self.0.clone(), path, ()).method(method)
    }
}

/// Which registrations to list; by default all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistrationFilter {
    /// Only those with this status.
    pub status: Option<RegistrationStatus>,
    /// Only those made on this day (UTC) or later.
    pub from: Option<Date>,
    /// Only those made on this day (UTC) or earlier.
    pub to: Option<Date>,
}

impl RegistrationFilter {
    fn query(&self) -> Vec<(&'static str, String)> {
        given([
            ("status", self.status.map(|status| status.to_string())),
            ("from", self.from.map(|day| day.to_string())),
            ("to", self.to.map(|day| day.to_string())),
        ])
    }
}

/// What to sum up by day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FiguresOf {
    /// The first day (UTC).
    pub from: Date,
    /// The last day (UTC).
    pub to: Date,
    /// Only what is for this kind; all without.
    pub kind: Option<PaymentType>,
    /// Only what is for this exam or course. It needs the kind.
    pub item: Option<i64>,
}

impl FiguresOf {
    fn query(&self) -> Vec<(&'static str, String)> {
        given([
            ("from", Some(self.from.to_string())),
            ("to", Some(self.to.to_string())),
            ("kind", self.kind.map(|kind| kind.to_string())),
            ("item", self.item.map(|item| item.to_string())),
        ])
    }
}

/// Which payments of all users to list; by default all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManagedPaymentFilter {
    /// Only those of this user.
    pub user: Option<UserId>,
    /// Only those of the user with this e-mail address.
    pub email: Option<String>,
    /// Only those by which a payment gateway knows this id.
    pub external_id: Option<String>,
    /// Only those of this amount.
    pub amount: Option<Money>,
    /// Only those with this status.
    pub status: Option<PaymentStatus>,
    /// Only those paid on this day (UTC) or later.
    pub from: Option<Date>,
    /// Only those paid on this day (UTC) or earlier.
    pub to: Option<Date>,
}

impl ManagedPaymentFilter {
    fn query(&self) -> Vec<(&'static str, String)> {
        given([
            ("user", self.user.map(|user| user.to_string())),
            ("email", self.email.clone()),
            ("external_id", self.external_id.clone()),
            ("amount", self.amount.map(|amount| amount.to_string())),
            ("status", self.status.map(|status| status.to_string())),
            ("from", self.from.map(|day| day.to_string())),
            ("to", self.to.map(|day| day.to_string())),
        ])
    }
}

/// The exams or the courses of the service, for an operator.
#[derive(Debug, Clone)]
pub struct ManagedItems<Id> {
    session: Session,
    kind: PhantomData<fn() -> Id>,
}

impl<Id: ItemId> ManagedItems<Id> {
    fn new(session: Session) -> Self {
        Self {
            session,
            kind: PhantomData,
        }
    }

    /// Lists the items that users find and that match the filter, page by page or as one stream.
    pub fn list(&self, filter: &Filter) -> List<ManagedItem<Id>> {
        List::new(self.session.clone(), Self::all(), filter.query())
    }

    /// Lists the hidden items that match the filter. A search finds titles by a part of them.
    pub fn list_hidden(&self, filter: &Filter) -> List<ManagedItem<Id>> {
        let mut query = filter.query();
        query.push(("hidden", "true".to_owned()));
        List::new(self.session.clone(), Self::all(), query)
    }

    /// Lists the registrations for an item that match the filter, newest first.
    pub fn registrations(&self, id: Id, filter: &RegistrationFilter) -> List<ManagedRegistration> {
        let path = format!("{}registrations/", Self::one(id));
        List::new(self.session.clone(), path, filter.query())
    }

    /// Returns the figures of an item.
    ///
    /// # Errors
    /// [`NotFound`](crate::types::ErrorCode::NotFound).
    pub async fn figures(&self, id: Id) -> Result<ItemFigures, Error> {
        let path = format!("{}figures/", Self::one(id));
        self.session.send(&Request::get(path, Vec::new())).await
    }

    /// Returns the registrations for an item that match the filter as a CSV file.
    ///
    /// The file has the length that [`Builder::max_response_bytes`](super::Builder::max_response_bytes) permits.
    ///
    /// # Errors
    /// [`NotFound`](crate::types::ErrorCode::NotFound), and [`Error::TooLong`].
    pub async fn export_registrations(&self, id: Id, filter: &RegistrationFilter) -> Result<Vec<u8>, Error> {
        let path = format!("{}registrations.csv", Self::one(id));
        let received = self.session.receive(&Request::get(path, filter.query())).await?;
        Ok(received.body)
    }

    /// Returns all items as a file, from which [`ManagedItems::import`] creates them again.
    ///
    /// # Errors
    /// Those of [`ManagedItems::export_registrations`].
    pub async fn export(&self, format: FileFormat) -> Result<Vec<u8>, Error> {
        let path = format!("api/operator/{}.{}", Id::PATH, format.ending());
        Ok(self.session.receive(&Request::get(path, Vec::new())).await?.body)
    }

    /// Registers a user by hand.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `Invalid`, `NotFound`, `AlreadyRegistered`, `NotOpen` and `SoldOut`.
    pub fn register(&self, id: Id, new: NewRegistration) -> Keyed<NewRegistration, RegistrationChanged> {
        Keyed::new(self.session.clone(), format!("{}registrations/", Self::one(id)), new)
    }

    /// Completes a registration.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `NotFound`, `AlreadyCompleted` and `RegistrationCancelled`.
    pub fn complete(&self, id: Id, registration: RegistrationId) -> Keyed<(), RegistrationChanged> {
        let path = format!("{}registrations/{registration}/complete/", Self::one(id));
        Keyed::new(self.session.clone(), path, ())
    }

    /// Completes up to 1,000 registrations, or none of them.
    ///
    /// # Errors
    /// `InvalidRows`, with those that cannot be completed in [`ErrorText::Rows`](crate::types::ErrorText::Rows).
    pub fn complete_many(
        &self,
        id: Id,
        ids: Vec<RegistrationId>,
    ) -> Keyed<CompleteRegistrations, RegistrationsCompleted> {
        let path = format!("{}registrations/complete/", Self::one(id));
        Keyed::new(self.session.clone(), path, CompleteRegistrations { ids })
    }

    /// Cancels a registration, and gives its payment back or keeps it.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `Invalid`, `NotFound`, `ItemCompleted`, `RegistrationCancelled`,
    /// `RefundInProgress` and `RefundDeclined`.
    pub fn cancel(
        &self,
        id: Id,
        registration: RegistrationId,
        cancel: CancelRegistration,
    ) -> Keyed<CancelRegistration, Settlement<RegistrationCancelled>> {
        let path = format!("{}registrations/{registration}/cancel/", Self::one(id));
        Keyed::new(self.session.clone(), path, cancel)
    }

    /// Returns one item.
    ///
    /// # Errors
    /// [`NotFound`](crate::types::ErrorCode::NotFound).
    pub async fn get(&self, id: Id) -> Result<ManagedItem<Id>, Error> {
        self.session.send(&Request::get(Self::one(id), Vec::new())).await
    }

    /// Creates an item.
    ///
    /// # Errors
    /// [`Invalid`](crate::types::ErrorCode::Invalid), with a message for each wrong field.
    pub fn create(&self, item: NewItem) -> Keyed<NewItem, ManagedItem<Id>> {
        Keyed::new(self.session.clone(), Self::all(), item)
    }

    /// Creates all items of a file, or none.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `InvalidRows`, with what is wrong by line and column in
    /// [`ErrorText::Rows`](crate::types::ErrorText::Rows), and `PayloadTooLarge`.
    pub fn import(&self, format: FileFormat, file: impl Into<Vec<u8>>) -> Import<Id> {
        Import::new(
            self.session.clone(),
            format!("{}import/", Self::all()),
            format,
            file.into(),
        )
    }

    /// Creates copies of an item at regular intervals.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `Invalid` and `NotFound`.
    pub fn repeat(&self, id: Id, repeat: RepeatItem) -> Keyed<RepeatItem, ItemsCreated<Id>> {
        Keyed::new(self.session.clone(), format!("{}repeat/", Self::one(id)), repeat)
    }

    /// Edits some fields of an item, if it is still as it was read.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `Invalid`, `NotFound`, and `PreconditionFailed` if the item has changed.
    pub fn edit(&self, read: &ManagedItem<Id>, edit: EditItem) -> Keyed<EditItem, ManagedItem<Id>> {
        Keyed::new(self.session.clone(), Self::one(read.id), edit)
            .method(Method::PATCH)
            .if_match(&read.version)
    }

    /// Deletes an item, if it is still as it was read.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `ItemInUse` if registrations or payments refer to it, `NotFound`, and
    /// `PreconditionFailed` if the item has changed.
    pub fn delete(&self, read: &ManagedItem<Id>) -> Keyed<(), ()> {
        Keyed::new(self.session.clone(), Self::one(read.id), ())
            .method(Method::DELETE)
            .if_match(&read.version)
    }

    fn all() -> String {
        format!("api/operator/{}/", Id::PATH)
    }

    fn one(id: Id) -> String {
        format!("api/operator/{}/{id}/", Id::PATH)
    }
}

/// The payments of all users, for an operator.
#[derive(Debug, Clone)]
pub struct ManagedPayments(Session);

impl ManagedPayments {
    /// Lists the payments that match the filter, newest first.
    pub fn list(&self, filter: &ManagedPaymentFilter) -> List<ManagedPayment> {
        List::new(self.0.clone(), "api/operator/payments/".to_owned(), filter.query())
    }

    /// Returns the payments that match the filter as a CSV file, newest first.
    ///
    /// # Errors
    /// Those of [`ManagedItems::export`].
    pub async fn export(&self, filter: &ManagedPaymentFilter) -> Result<Vec<u8>, Error> {
        let request = Request::get("api/operator/payments.csv", filter.query());
        Ok(self.0.receive(&request).await?.body)
    }

    /// Returns one payment with its refunds.
    ///
    /// # Errors
    /// [`NotFound`](crate::types::ErrorCode::NotFound).
    pub async fn get(&self, id: PaymentId) -> Result<ManagedPayment, Error> {
        let path = format!("api/operator/payments/{id}/");
        self.0.send(&Request::get(path, Vec::new())).await
    }

    /// Gives a payment back, in whole or in part.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `Invalid`, `NotFound`, `AlreadyCancelled`, `RefundTooLarge` with what is
    /// left in [`ErrorText::Left`](crate::types::ErrorText::Left), and over a gateway `RefundInProgress` and
    /// `RefundDeclined`.
    pub fn refund(&self, id: PaymentId, refund: RefundPayment) -> Keyed<RefundPayment, Settlement<Refunded>> {
        Keyed::new(self.0.clone(), format!("api/operator/payments/{id}/refund/"), refund)
    }
}
