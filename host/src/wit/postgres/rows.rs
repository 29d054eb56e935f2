//! The rows of a result, as a stream.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::{FutureExt as _, Stream as _, StreamExt as _};
use tokio::sync::oneshot;
use wasmtime::{
    StoreContextMut,
    component::{Destination, StreamProducer, StreamResult, VecBuffer},
};

use super::{error::from_driver, types};
use crate::{
    stores::postgres::{Lease, RunningStatement},
    wit::bindings::spin::postgres::postgres::{Error, QueryError, Row},
};

/// Rows that are fetched before the component gets its stream, so that most results reach it in one piece.
const EAGER_ROWS: usize = 256;

/// Converts a row, and returns it with its size in bytes.
///
/// # Errors
/// A value cannot be expressed, or the result, `before` bytes long so far, gets longer than the lease allows.
pub(super) fn convert(row: &tokio_postgres::Row, before: usize, lease: &Lease) -> Result<(Row, usize), Error> {
    let row = types::row(row)?;
    let size = row.iter().map(types::size).sum::<usize>();
    let limit = lease.result_bytes();
    match before + size > limit {
        true => Err(Error::QueryFailed(QueryError::Text(format!(
            "the result is longer than {limit} bytes"
        )))),
        false => Ok((row, size)),
    }
}

/// The rows of a result on their way to the component. `outcome` receives once how the result ended.
pub(super) struct Rows {
    lease: Arc<Lease>,
    stream: Option<RunningStatement>,
    fetched: Vec<Row>,
    outcome: Option<oneshot::Sender<Result<(), Error>>>,
}

impl Rows {
    pub(super) fn new(
        lease: Arc<Lease>,
        stream: RunningStatement,
        outcome: oneshot::Sender<Result<(), Error>>,
    ) -> Self {
        Self {
            lease,
            stream: Some(stream),
            fetched: Vec::new(),
            outcome: Some(outcome),
        }
    }

    /// Waits for the first row or the end, and takes what arrived with it.
    pub(super) async fn fetch_first(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let mut row = stream.next().await;
        loop {
            if !self.take(row) || self.fetched.len() >= EAGER_ROWS {
                return;
            }
            let Some(next) = self.stream.as_mut().and_then(|stream| stream.next().now_or_never()) else {
                return;
            };
            row = next;
        }
    }

    /// Keeps a row. Returns `false` at the end of the result.
    fn take(&mut self, row: Option<Result<tokio_postgres::Row, tokio_postgres::Error>>) -> bool {
        let row = row.map(|row| {
            let (row, _) = convert(&row.map_err(from_driver)?, 0, &self.lease)?;
            Ok(row)
        });
        let outcome = match row {
            Some(Ok(row)) => {
                self.fetched.push(row);
                return true;
            }
            Some(Err(error)) => Err(error),
            None => Ok(()),
        };
        self.stream = None;
        // The component may have dropped the result before.
        _ = self.outcome.take().map(|sender| sender.send(outcome));
        false
    }
}

impl<D> StreamProducer<D> for Rows {
    type Item = Row;
    type Buffer = VecBuffer<Row>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, Row, VecBuffer<Row>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if destination.remaining(store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        if self.fetched.is_empty()
            && let Some(stream) = &mut self.stream
        {
            let row = match Pin::new(stream).poll_next(context) {
                Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
                row => ready!(row),
            };
            self.take(row);
        }
        destination.set_buffer(mem::take(&mut self.fetched).into());
        Poll::Ready(Ok(match self.stream {
            Some(_) => StreamResult::Completed,
            None => StreamResult::Dropped,
        }))
    }
}
