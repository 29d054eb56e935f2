//! `spin:postgres/postgres@4.2.0`.

#![expect(
    clippy::result_large_err,
    reason = "the error type is generated, and errors are rare"
)]

mod error;
mod rows;
mod types;

use std::sync::Arc;

use futures::TryStreamExt as _;
use tokio::sync::oneshot;
use tokio_postgres::types::Type;
use wasmtime::component::{Accessor, FutureReader, Resource, StreamReader};

use self::{
    error::{connection_failed, from_driver},
    rows::Rows,
};
use super::{
    HasView, View,
    bindings::spin::postgres::postgres::{
        Column, Error, Host, HostConnection, HostConnectionBuilder, HostConnectionBuilderWithStore,
        HostConnectionWithStore, ParameterValue, Row, RowSet,
    },
};
use crate::stores::{
    Stores,
    postgres::{Lease, Parameters},
};

/// The resource `connection`. Statements that are still running share it.
pub struct Connection(Arc<Lease>);

/// The resource `connection-builder`.
pub struct ConnectionBuilder {
    address: String,
}

fn open(stores: &Stores, address: &str) -> Result<Connection, Error> {
    Ok(Connection(Arc::new(stores.postgres.open(address)?)))
}

impl View<'_> {
    fn push(&mut self, connection: Connection) -> Result<Resource<Connection>, Error> {
        self.table
            .push(connection)
            .map_err(|_| connection_failed("the instance holds too many resources"))
    }

    fn lease(&self, connection: &Resource<Connection>) -> Result<Arc<Lease>, Error> {
        let Connection(lease) = self
            .table
            .get(connection)
            .map_err(|_| connection_failed("there is no such connection"))?;
        Ok(lease.clone())
    }

    fn address(&self, builder: &Resource<ConnectionBuilder>) -> Result<String, Error> {
        let builder = self
            .table
            .get(builder)
            .map_err(|_| Error::Other("there is no such builder".to_owned()))?;
        Ok(builder.address.clone())
    }
}

impl Host for View<'_> {}

impl HostConnectionBuilder for View<'_> {
    async fn new(&mut self, address: String) -> wasmtime::Result<Resource<ConnectionBuilder>> {
        Ok(self.table.push(ConnectionBuilder { address })?)
    }

    async fn set_ca_root(&mut self, _: Resource<ConnectionBuilder>, _: String) -> Result<(), Error> {
        Err(Error::Other(
            "this host does not support TLS for PostgreSQL, so it cannot use a root certificate".to_owned(),
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

impl<T: Send> HostConnectionBuilderWithStore<T> for HasView {
    async fn build_async(
        accessor: &Accessor<T, Self>,
        builder: Resource<ConnectionBuilder>,
    ) -> Result<Resource<Connection>, Error> {
        let address = accessor.with(|mut instance| instance.get().address(&builder))?;
        Self::open_async(accessor, address).await
    }
}

impl HostConnection for View<'_> {
    async fn open(&mut self, address: String) -> Result<Resource<Connection>, Error> {
        let connection = open(self.stores, &address)?;
        self.push(connection)
    }

    async fn query(
        &mut self,
        connection: Resource<Connection>,
        statement: String,
        params: Vec<ParameterValue>,
    ) -> Result<RowSet, Error> {
        let lease = self.lease(&connection)?;
        let mut rows = lease.start(&statement, Values(&params)).await?;
        let mut set = RowSet {
            columns: types::columns(rows.columns()),
            rows: Vec::new(),
        };
        let mut bytes = 0;
        while let Some(row) = rows.try_next().await.map_err(from_driver)? {
            let (row, size) = rows::convert(&row, bytes, &lease)?;
            bytes += size;
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

impl<T: Send> HostConnectionWithStore<T> for HasView {
    async fn open_async(accessor: &Accessor<T, Self>, address: String) -> Result<Resource<Connection>, Error> {
        accessor.with(|mut instance| {
            let mut instance = instance.get();
            let connection = open(instance.stores, &address)?;
            instance.push(connection)
        })
    }

    async fn query_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        statement: String,
        params: Vec<ParameterValue>,
    ) -> Result<(Vec<Column>, StreamReader<Row>, FutureReader<Result<(), Error>>), Error> {
        let lease = accessor.with(|mut instance| instance.get().lease(&connection))?;
        let stream = lease.start(&statement, Values(&params)).await?;
        let columns = types::columns(stream.columns());
        let (outcome, result) = oneshot::channel();
        let mut rows = Rows::new(lease, stream, outcome);
        rows.fetch_first().await;
        // A component that drops the stream early does not learn how the rest would have ended.
        let result = async { wasmtime::error::Ok(result.await.unwrap_or(Ok(()))) };
        accessor.with(|mut store| {
            let failed = |error: wasmtime::Error| Error::Other(error.to_string());
            let rows = StreamReader::new(&mut store, rows).map_err(failed)?;
            Ok((columns, rows, FutureReader::new(&mut store, result).map_err(failed)?))
        })
    }

    async fn execute_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        statement: String,
        params: Vec<ParameterValue>,
    ) -> Result<u64, Error> {
        let lease = accessor.with(|mut instance| instance.get().lease(&connection))?;
        execute(&lease, &statement, &params).await
    }
}

/// The component's parameters of a statement.
struct Values<'a>(&'a [ParameterValue]);

impl Parameters for Values<'_> {
    type Parameter = types::Parameter;
    type Error = Error;

    fn own_types(&self) -> Vec<Type> {
        self.0.iter().map(types::own_type).collect()
    }

    fn text(&self, number: usize) -> Option<String> {
        match self.0.get(number.checked_sub(1)?)? {
            ParameterValue::Int64(value) => Some(value.to_string()),
            ParameterValue::Str(value) => Some(value.clone()),
            _ => None,
        }
    }

    fn null() -> types::Parameter {
        types::Parameter::NULL
    }

    fn bind(&self, types: &[Type]) -> Result<Vec<types::Parameter>, Error> {
        types::parameters(types, self.0)
    }
}

async fn execute(lease: &Lease, statement: &str, parameters: &[ParameterValue]) -> Result<u64, Error> {
    let mut rows = lease.start(statement, Values(parameters)).await?;
    while rows.try_next().await.map_err(from_driver)?.is_some() {}
    Ok(rows.rows_affected().unwrap_or(0))
}
