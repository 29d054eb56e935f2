//! Exams and courses, written once: the type of an id tells the kind of its item, by [`ItemId`].

use std::{fmt::Display, marker::PhantomData};

use serde::de::DeserializeOwned;

use super::{Error, Keyed, List, Repeat, Request, Session};
use crate::types::{Completed, CourseId, ExamId, Item, Register, Registered, Sort};

/// The id of an item, whose type tells the kind of the item. Another kind is another implementation.
pub trait ItemId: Copy + Display + DeserializeOwned + Send + Sync + 'static {
    /// The name of the kind in paths.
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

/// Which exams or courses are listed, and in which order. The default is all of them, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those that are in their registration period now.
    pub available: bool,
    /// Only those whose title or description has these words: all of them, unless `or` stands between; `"…"` is a
    /// phrase, `-` excludes.
    pub search: Option<String>,
    /// The order.
    pub sort: Sort,
}

/// The exams or the courses.
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

    /// Those that pass the filter, page by page or as one stream.
    pub fn list(&self, filter: &Filter) -> List<Item<Id>> {
        let mut query = Vec::new();
        if filter.available {
            query.push(("status", "available".to_owned()));
        }
        if let Some(words) = &filter.search {
            query.push(("search", words.clone()));
        }
        if filter.sort == Sort::Popular {
            query.push(("sort", "popular".to_owned()));
        }
        List::new(self.session.clone(), format!("api/{}/", Id::PATH), query)
    }

    /// One of them.
    ///
    /// # Errors
    /// [`NotFound`](crate::types::ErrorCode::NotFound).
    pub async fn get(&self, id: Id) -> Result<Item<Id>, Error> {
        self.session
            .send(&Request::get(format!("api/{}/{id}/", Id::PATH), Vec::new()))
            .await
    }

    /// Marks the user's own registration as completed. It is not sent again once it may have arrived, since the second
    /// answer would be an error.
    ///
    /// # Errors
    /// [`NotRegistered`](crate::types::ErrorCode::NotRegistered),
    /// [`AlreadyCompleted`](crate::types::ErrorCode::AlreadyCompleted),
    /// [`RegistrationCancelled`](crate::types::ErrorCode::RegistrationCancelled).
    pub async fn complete(&self, id: Id) -> Result<Completed, Error> {
        let path = format!("api/{}/{id}/complete/", Id::PATH);
        self.session
            .send(&Request::post(path, &serde_json::Map::new(), Repeat::Never)?)
            .await
    }

    /// Registers for one and pays; [`Items::apply`] and [`Items::enroll`] by the name that all kinds share.
    ///
    /// # Errors
    /// [`ErrorCode`](crate::types::ErrorCode): `Invalid`, `NotFound`, `AlreadyRegistered`, `NotOpen`,
    /// `AmountMismatch`, `AmountOutOfBounds`, `SoldOut`, and `Busy` if it stayed so over all attempts.
    pub fn register(&self, id: Id, register: Register) -> Keyed<Register, Registered> {
        Keyed::new(
            self.session.clone(),
            format!("api/{}/{id}/{}/", Id::PATH, Id::REGISTER),
            register,
        )
    }
}

impl Items<ExamId> {
    /// Applies for an exam and pays.
    ///
    /// # Errors
    /// As [`Items::register`].
    pub fn apply(&self, id: ExamId, register: Register) -> Keyed<Register, Registered> {
        self.register(id, register)
    }
}

impl Items<CourseId> {
    /// Enrols in a course and pays.
    ///
    /// # Errors
    /// As [`Items::register`].
    pub fn enroll(&self, id: CourseId, register: Register) -> Keyed<Register, Registered> {
        self.register(id, register)
    }
}
