//! Exams and courses. The code is the same for both; the type of the id selects the paths, by [`ItemId`].

use std::{fmt::Display, marker::PhantomData};

use serde::de::DeserializeOwned;

use super::{Error, Keyed, List, Request, Retry, Session};
use crate::types::{Completed, CourseId, ExamId, Item, Order, Preorder, Register, Registered, Sort};

/// The id of an item that users register for. Each kind of item has its own id type, and so its own implementation.
pub trait ItemId: Copy + Display + DeserializeOwned + Send + Sync + 'static {
    /// The first segment of the kind's paths.
    const PATH: &'static str;
    /// The last segment of the path that registers for an item.
    const REGISTER: &'static str;
}

impl ItemId for ExamId {
    const PATH: &'static str = "tests";
    const REGISTER: &'static str = "apply";
}

impl ItemId for CourseId {
    const PATH: &'static str = "courses";
    const REGISTER: &'static str = "enroll";
}

/// Selects and orders a list of exams or courses. The default lists all of them, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only items in their registration period now.
    pub available: bool,
    /// Only items whose title or description has all of these words. `or` between words admits either, `"…"` is a
    /// phrase, and `-` excludes a word.
    pub search: Option<String>,
    /// The order of the list.
    pub sort: Sort,
}

impl Filter {
    /// The parameters of a list.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = Vec::new();
        if self.available {
            query.push(("status", "available".to_owned()));
        }
        if let Some(words) = &self.search {
            query.push(("search", words.clone()));
        }
        if self.sort == Sort::Popular {
            query.push(("sort", "popular".to_owned()));
        }
        query
    }
}

/// The exams or the courses of the service.
#[derive(Debug, Clone)]
pub struct Items<Id> {
    session: Session,
    kind: PhantomData<fn() -> Id>,
}

impl<Id: ItemId> Items<Id> {
    pub(super) fn new(session: Session) -> Self {
        Self {
            session,
            kind: PhantomData,
        }
    }

    /// Lists the items that match the filter, page by page or as one stream.
    pub fn list(&self, filter: &Filter) -> List<Item<Id>> {
        List::new(self.session.clone(), format!("api/{}/", Id::PATH), filter.query())
    }

    /// Returns one item.
    ///
    /// # Errors
    /// [`NotFound`](crate::types::ErrorCode::NotFound).
    pub async fn get(&self, id: Id) -> Result<Item<Id>, Error> {
        self.session
            .send(&Request::get(format!("api/{}/{id}/", Id::PATH), Vec::new()))
            .await
    }

    /// Marks the user's own registration as completed.
    ///
    /// The request is not retried once it may have arrived, because a second one would fail.
    ///
    /// # Errors
    /// [`NotRegistered`](crate::types::ErrorCode::NotRegistered),
    /// [`AlreadyCompleted`](crate::types::ErrorCode::AlreadyCompleted),
    /// [`RegistrationCancelled`](crate::types::ErrorCode::RegistrationCancelled).
    pub async fn complete(&self, id: Id) -> Result<Completed, Error> {
        let path = format!("api/{}/{id}/complete/", Id::PATH);
        self.session
            .send(&Request::post(path, &serde_json::Map::new(), Retry::Never)?)
            .await
    }

    /// Registers for an item and pays. [`Items::apply`] and [`Items::enroll`] are the names for one kind.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `Invalid`, `NotFound`, `AlreadyRegistered`, `NotOpen`,
    /// `AmountMismatch`, `AmountOutOfBounds`, `SoldOut`, `OrderInProgress`, `PaymentRequired`, and `Busy` if all attempts
    /// met it.
    pub fn register(&self, id: Id, register: Register) -> Keyed<Register, Registered> {
        Keyed::new(
            self.session.clone(),
            format!("api/{}/{id}/{}/", Id::PATH, Id::REGISTER),
            register,
        )
    }

    /// Holds a seat of an item for the user, who pays it by [`Orders::approve`](super::Orders::approve). While the user has
    /// such an order, it is returned again.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `Invalid`, `PaymentMethodUnavailable`, `NotFound`, `AlreadyRegistered`,
    /// `AlreadyPaid`, `OrderInProgress`, `NotOpen`, `AmountMismatch`, `AmountOutOfBounds`, `SoldOut`, and `Busy` if all
    /// attempts met it.
    pub fn preorder(&self, id: Id, preorder: Preorder) -> Keyed<Preorder, Order> {
        let path = format!("api/{}/{id}/preorder/", Id::PATH);
        Keyed::new(self.session.clone(), path, preorder)
    }
}

impl Items<ExamId> {
    /// Applies for an exam and pays.
    ///
    /// # Errors
    /// Those of [`Items::register`].
    pub fn apply(&self, id: ExamId, register: Register) -> Keyed<Register, Registered> {
        self.register(id, register)
    }
}

impl Items<CourseId> {
    /// Enrols in a course and pays.
    ///
    /// # Errors
    /// Those of [`Items::register`].
    pub fn enroll(&self, id: CourseId, register: Register) -> Keyed<Register, Registered> {
        self.register(id, register)
    }
}
