//! Lists, page by page or as a stream over all pages.

use std::marker::PhantomData;

use futures::{Stream, StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;

use super::{Error, Request, Session};
use crate::types::{ErrorCode, PageOf};

/// The parameters of a list that are there.
pub(super) fn given<const N: usize>(parameters: [(&'static str, Option<String>); N]) -> Vec<(&'static str, String)> {
    let given = parameters.into_iter().filter_map(|(name, value)| Some((name, value?)));
    given.collect()
}

/// A list on the service. It sends no request before a page is read.
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

    /// Fetches one page, counted from 1. An empty list has one empty page.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidPage`] for a page after the last one.
    pub async fn page(&self, number: u64) -> Result<PageOf<T>, Error> {
        self.fetch(number.to_string()).await
    }

    /// Fetches the last page.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn last_page(&self) -> Result<PageOf<T>, Error> {
        self.fetch("last".to_owned()).await
    }

    /// Streams all pages, each of which is fetched when it is polled.
    ///
    /// Items that are added or removed meanwhile may move results from page to page.
    pub fn pages(self) -> impl Stream<Item = Result<PageOf<T>, Error>> {
        // Pages are counted, because following `next` would send the token to an address that a response names.
        stream::try_unfold((self, Some(1)), |(list, number)| async move {
            let Some(number) = number else { return Ok(None) };
            match list.page(number).await {
                Ok(page) => {
                    let following = page.next.is_some().then_some(number + 1);
                    Ok(Some((page, (list, following))))
                }
                // The list became shorter while it was being read.
                Err(error) if number > 1 && error.code() == Some(&ErrorCode::InvalidPage) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    /// Streams the results of all pages.
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
