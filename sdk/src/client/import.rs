//! Files from which operators create exams or courses.

use std::{future::IntoFuture, marker::PhantomData};

use futures::{FutureExt, future::BoxFuture};
use reqwest::Method;

use super::{Error, IdempotencyKey, ItemId, Request, Retry, Session};
use crate::types::ItemsCreated;

/// How a file of exams or courses is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// CSV, whose first line names the columns.
    Csv,
    /// JSON Lines: one JSON object a line.
    JsonLines,
}

impl FileFormat {
    fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv",
            Self::JsonLines => "application/x-ndjson",
        }
    }

    pub(super) fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::JsonLines => "jsonl",
        }
    }
}

/// A file that is sent when this is awaited, with an idempotency key as [`Keyed`](super::Keyed) has one.
#[must_use = "a request is sent when it is awaited"]
#[derive(Debug)]
pub struct Import<Id> {
    session: Session,
    path: String,
    format: FileFormat,
    file: Vec<u8>,
    dry_run: bool,
    key: IdempotencyKey,
    items: PhantomData<fn() -> Id>,
}

impl<Id> Import<Id> {
    pub(super) fn new(session: Session, path: String, format: FileFormat, file: Vec<u8>) -> Self {
        Self {
            session,
            path,
            format,
            file,
            dry_run: false,
            key: IdempotencyKey::random(),
            items: PhantomData,
        }
    }

    /// Only checks the file: the answer says how many items it would create.
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Sets the key, instead of a random one.
    pub fn idempotency_key(mut self, key: IdempotencyKey) -> Self {
        self.key = key;
        self
    }

    /// Returns the key of the request.
    pub fn key(&self) -> &IdempotencyKey {
        &self.key
    }
}

impl<Id: ItemId> IntoFuture for Import<Id> {
    type Output = Result<ItemsCreated<Id>, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move {
            let query = match self.dry_run {
                true => vec![("dry_run", "true".to_owned())],
                false => Vec::new(),
            };
            let request = Request {
                method: Method::POST,
                body: Some(self.file),
                media_type: self.format.media_type(),
                retry: Retry::Keyed(self.key),
                ..Request::get(self.path, query)
            };
            self.session.send(&request).await
        }
        .boxed()
    }
}
