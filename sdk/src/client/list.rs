//! Lists: page by page, or as a stream over all pages.

use std::marker::PhantomData;

use futures::{Stream, StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;

use super::{Error, Request, Session};
use crate::types::{ErrorCode, PageOf};

/// A list on the service; nothing is asked before a page is.
#[derive(Debug, Clone)]
pub struct List<T> {
    session: Session,
    path: String,
    query: Vec<(&'static str, String)>,
    result: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> List<T> {
    pub(super) fn new(session: Session, path: String, query: Vec<(&'static str, String)>) -> Self {
        Self {
            session,
            path,
            query,
            result: PhantomData,
        }
    }

    /// One page, counted from 1. The first page of an empty list is there, and empty.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidPage`] for a page past the last one.
    pub async fn page(&self, number: u64) -> Result<PageOf<T>, Error> {
        self.fetch(number.to_string()).await
    }

    /// The last page.
    ///
    /// # Errors
    /// Only those that every call can meet.
    pub async fn last_page(&self) -> Result<PageOf<T>, Error> {
        self.fetch("last".to_owned()).await
    }

    /// All pages, each fetched when it is asked for. What is put in or taken out meanwhile may move results from page
    /// to page.
    pub fn pages(self) -> impl Stream<Item = Result<PageOf<T>, Error>> {
        // Counting pages, instead of following `next`, never sends the token to an address that an answer named.
        stream::try_unfold((self, Some(1)), |(list, number)| async move {
            let Some(number) = number else { return Ok(None) };
            match list.page(number).await {
                Ok(page) => {
                    let following = page.next.is_some().then_some(number + 1);
                    Ok(Some((page, (list, following))))
                }
                // The list became shorter while it was read.
                Err(error) if number > 1 && error.code() == Some(&ErrorCode::InvalidPage) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    /// All results of all pages.
    pub fn stream(self) -> impl Stream<Item = Result<T, Error>> {
        self.pages()
            .map_ok(|page| stream::iter(page.results).map(Ok))
            .try_flatten()
    }

    async fn fetch(&self, page: String) -> Result<PageOf<T>, Error> {
        let query = self.query.iter().cloned().chain([("page", page)]).collect();
        self.session.send(&Request::get(self.path.as_str(), query)).await
    }
}
