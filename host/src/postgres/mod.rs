//! `spin:postgres/postgres@4.2.0`.

#![expect(
    clippy::result_large_err,
    reason = "the error is the interface's own, and an exception"
)]

mod pool;
mod turns;
mod types;

use std::{
    error::Error as _,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::{FutureExt as _, Stream as _, StreamExt as _, TryStreamExt as _};
use tokio::sync::oneshot;
use wasmtime::{
    StoreContextMut,
    component::{
        Accessor, Destination, FutureReader, HasSelf, Resource, StreamProducer, StreamReader, StreamResult, VecBuffer,
    },
};

use crate::{
    bindings::spin::postgres::postgres::{
        Column, DbError, Error, Host, HostConnection, HostConnectionBuilder, HostConnectionBuilderWithStore,
        HostConnectionWithStore, ParameterValue, QueryError, Row, RowSet,
    },
    worker::{Guest, Stores},
};

pub(crate) use pool::Pools;
use pool::{Lease, Running};

/// A guest's connection. Statements that are still running share it.
pub struct Connection(Arc<Lease>);

/// The address of a connection to come.
pub struct ConnectionBuilder {
    address: String,
}

/// Rows that are fetched before the guest gets its stream: most results then reach it in one piece.
const EAGER_ROWS: usize = 256;

fn connection_failed(message: impl Into<String>) -> Error {
    Error::ConnectionFailed(message.into())
}

/// What the guest learns of an error of the driver.
fn failed(error: tokio_postgres::Error) -> Error {
    let Some(database) = error.as_db_error() else {
        let text = describe(&error);
        return match error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>()) {
            true => connection_failed(text),
            false => Error::QueryFailed(QueryError::Text(text)),
        };
    };
    let line = database.line().map(|line| line.to_string());
    let extras = [
        ("column", database.column()),
        ("constraint", database.constraint()),
        ("routine", database.routine()),
        ("hint", database.hint()),
        ("table", database.table()),
        ("datatype", database.datatype()),
        ("schema", database.schema()),
        ("file", database.file()),
        ("line", line.as_deref()),
        ("where_", database.where_()),
    ];
    let extras = extras
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    Error::QueryFailed(QueryError::DbError(DbError {
        as_text: database.to_string(),
        severity: database.severity().to_owned(),
        code: database.code().code().to_owned(),
        message: database.message().to_owned(),
        detail: database.detail().map(ToOwned::to_owned),
        extras: extras.collect(),
    }))
}

/// The driver's message and its cause, which it keeps apart.
fn describe(error: &tokio_postgres::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

impl Stores {
    fn open_postgres(&self, address: &str) -> Result<Connection, Error> {
        self.postgres
            .open(address, &self.rules)
            .map(|lease| Connection(Arc::new(lease)))
    }
}

impl Guest {
    fn keep(&mut self, connection: Connection) -> Result<Resource<Connection>, Error> {
        self.table
            .push(connection)
            .map_err(|_| connection_failed("the instance holds too many resources"))
    }

    fn lease(&self, connection: &Resource<Connection>) -> Result<Arc<Lease>, Error> {
        let connection = self
            .table
            .get(connection)
            .map_err(|_| connection_failed("there is no such connection"))?;
        Ok(connection.0.clone())
    }

    fn address(&self, builder: &Resource<ConnectionBuilder>) -> Result<String, Error> {
        let builder = self
            .table
            .get(builder)
            .map_err(|_| Error::Other("there is no such builder".to_owned()))?;
        Ok(builder.address.clone())
    }
}

impl Host for Guest {}

impl HostConnectionBuilder for Guest {
    async fn new(&mut self, address: String) -> wasmtime::Result<Resource<ConnectionBuilder>> {
        Ok(self.table.push(ConnectionBuilder { address })?)
    }

    async fn set_ca_root(&mut self, _: Resource<ConnectionBuilder>, _: String) -> Result<(), Error> {
        Err(Error::Other(
            "this host has no TLS for PostgreSQL: a root certificate has no use here".to_owned(),
        ))
    }

    async fn build(&mut self, builder: Resource<ConnectionBuilder>) -> Result<Resource<Connection>, Error> {
        let address = self.address(&builder)?;
        self.open(address).await
    }

    async fn drop(&mut self, builder: Resource<ConnectionBuilder>) -> wasmtime::Result<()> {
        self.table.delete(builder)?;
        Ok(())
    }
}

impl<T: Send> HostConnectionBuilderWithStore<T> for HasSelf<Guest> {
    async fn build_async(
        accessor: &Accessor<T, Self>,
        builder: Resource<ConnectionBuilder>,
    ) -> Result<Resource<Connection>, Error> {
        let address = accessor.with(|mut guest| guest.get().address(&builder))?;
        Self::open_async(accessor, address).await
    }
}

impl HostConnection for Guest {
    async fn open(&mut self, address: String) -> Result<Resource<Connection>, Error> {
        let connection = self.stores.clone().open_postgres(&address)?;
        self.keep(connection)
    }

    async fn query(
        &mut self,
        connection: Resource<Connection>,
        statement: String,
        params: Vec<ParameterValue>,
    ) -> Result<RowSet, Error> {
        let lease = self.lease(&connection)?;
        let (statement, mut rows) = lease.start(&statement, &params).await?;
        let mut set = RowSet {
            columns: types::columns(statement.columns()),
            rows: Vec::new(),
        };
        let mut bytes = 0;
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            let row = types::row(&row)?;
            bytes += bounded(&row, bytes, &lease)?;
            set.rows.push(row);
        }
        Ok(set)
    }

    async fn execute(
        &mut self,
        connection: Resource<Connection>,
        statement: String,
        params: Vec<ParameterValue>,
    ) -> Result<u64, Error> {
        let lease = self.lease(&connection)?;
        execute(&lease, &statement, &params).await
    }

    async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

impl<T: Send> HostConnectionWithStore<T> for HasSelf<Guest> {
    async fn open_async(accessor: &Accessor<T, Self>, address: String) -> Result<Resource<Connection>, Error> {
        let stores = accessor.with(|mut guest| guest.get().stores.clone());
        let connection = stores.open_postgres(&address)?;
        accessor.with(|mut guest| guest.get().keep(connection))
    }

    async fn query_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        statement: String,
        params: Vec<ParameterValue>,
    ) -> Result<(Vec<Column>, StreamReader<Row>, FutureReader<Result<(), Error>>), Error> {
        let lease = accessor.with(|mut guest| guest.get().lease(&connection))?;
        let (statement, stream) = lease.start(&statement, &params).await?;
        let (outcome, result) = oneshot::channel();
        let mut rows = Rows {
            lease,
            stream: Some(stream),
            fetched: Vec::new(),
            outcome: Some(outcome),
        };
        rows.fetch_first().await;
        // A guest that drops the stream early does not ask how the rest would have gone.
        let result = async { wasmtime::error::Ok(result.await.unwrap_or(Ok(()))) };
        accessor.with(|mut store| {
            let cannot = |error: wasmtime::Error| Error::Other(error.to_string());
            let columns = types::columns(statement.columns());
            let rows = StreamReader::new(&mut store, rows).map_err(cannot)?;
            Ok((columns, rows, FutureReader::new(&mut store, result).map_err(cannot)?))
        })
    }

    async fn execute_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        statement: String,
        params: Vec<ParameterValue>,
    ) -> Result<u64, Error> {
        let lease = accessor.with(|mut guest| guest.get().lease(&connection))?;
        execute(&lease, &statement, &params).await
    }
}

async fn execute(lease: &Lease, statement: &str, params: &[ParameterValue]) -> Result<u64, Error> {
    let (_, mut rows) = lease.start(statement, params).await?;
    while rows.try_next().await.map_err(failed)?.is_some() {}
    Ok(rows.rows_affected().unwrap_or(0))
}

/// The size of a row, or an error when the result gets longer by it than it may.
fn bounded(row: &Row, before: usize, lease: &Lease) -> Result<usize, Error> {
    let size = row.iter().map(types::size).sum::<usize>();
    let limit = lease.result_bytes();
    match before + size > limit {
        true => Err(Error::QueryFailed(QueryError::Text(format!(
            "the result is longer than {limit} bytes"
        )))),
        false => Ok(size),
    }
}

/// The rows of a result on their way to the guest. How it ends is told once, through `outcome`.
struct Rows {
    lease: Arc<Lease>,
    stream: Option<Running>,
    fetched: Vec<Row>,
    outcome: Option<oneshot::Sender<Result<(), Error>>>,
}

impl Rows {
    /// Waits for the first row or the end, and takes what came with it.
    async fn fetch_first(&mut self) {
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

    /// Keeps a row; `false` when it was the end.
    fn take(&mut self, row: Option<Result<tokio_postgres::Row, tokio_postgres::Error>>) -> bool {
        let row = row.map(|row| {
            let row = types::row(&row.map_err(failed)?)?;
            bounded(&row, 0, &self.lease)?;
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
        // A guest may have dropped the result before.
        _ = self.outcome.take().map(|told| told.send(outcome));
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
