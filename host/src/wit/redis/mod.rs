//! `spin:redis/redis@3.0.0`.

mod values;

use ::redis::{Cmd, Value};
use wasmtime::component::{Accessor, Resource};

use self::values::{count, flatten, integer};
use super::{
    HasView, View,
    bindings::spin::redis::redis::{
        Error, Host, HostConnection, HostConnectionWithStore, Payload, RedisParameter, RedisResult,
    },
};
use crate::stores::redis;

/// The resource `connection`.
pub struct Connection(redis::Connection);

impl From<redis::Error> for Error {
    fn from(error: redis::Error) -> Self {
        match error {
            redis::Error::TooManyConnections => Self::TooManyConnections,
            redis::Error::Redis(error) if values::is_type_error(&error) => Self::TypeError,
            redis::Error::Address(_) | redis::Error::Redis(_) | redis::Error::Other(_) => {
                Self::Other(error.to_string())
            }
        }
    }
}

impl Host for View<'_> {}

impl HostConnection for View<'_> {
    async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

/// Executes a command on the connection of an instance.
async fn execute<'a, T: Send>(
    accessor: &Accessor<T, HasView>,
    connection: &Resource<Connection>,
    name: &str,
    arguments: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Value, Error> {
    let mut command = ::redis::cmd(name);
    for argument in arguments {
        command.arg(argument);
    }
    send(accessor, connection, name, &command).await
}

async fn send<T: Send>(
    accessor: &Accessor<T, HasView>,
    connection: &Resource<Connection>,
    name: &str,
    command: &Cmd,
) -> Result<Value, Error> {
    let (stores, connection) = accessor.with(|mut instance| {
        let view = instance.get();
        let connection = view.table.get(connection);
        connection
            .map(|Connection(connection)| (view.stores.clone(), connection.clone()))
            .map_err(|_| Error::Other("there is no such connection".to_owned()))
    })?;
    Ok(stores.redis.execute(&connection, name, command).await?)
}

fn bytes(texts: &[String]) -> impl Iterator<Item = &[u8]> {
    texts.iter().map(String::as_bytes)
}

impl<T: Send> HostConnectionWithStore<T> for HasView {
    async fn open(accessor: &Accessor<T, Self>, address: String) -> Result<Resource<Connection>, Error> {
        let stores = accessor.with(|mut instance| instance.get().stores.clone());
        let connection = Connection(stores.redis.open(&address).await?);
        accessor
            .with(|mut instance| instance.get().table.push(connection))
            .map_err(|_| Error::TooManyConnections)
    }

    async fn publish(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        channel: String,
        payload: Payload,
    ) -> Result<(), Error> {
        let arguments = [channel.as_bytes(), &payload];
        execute(accessor, &connection, "PUBLISH", arguments).await.map(|_| ())
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        key: String,
    ) -> Result<Option<Payload>, Error> {
        match execute(accessor, &connection, "GET", [key.as_bytes()]).await? {
            Value::Nil => Ok(None),
            Value::BulkString(bytes) => Ok(Some(bytes)),
            _ => Err(Error::TypeError),
        }
    }

    async fn set(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        key: String,
        value: Payload,
    ) -> Result<(), Error> {
        let arguments = [key.as_bytes(), &value];
        execute(accessor, &connection, "SET", arguments).await.map(|_| ())
    }

    async fn incr(accessor: &Accessor<T, Self>, connection: Resource<Connection>, key: String) -> Result<i64, Error> {
        integer(&execute(accessor, &connection, "INCR", [key.as_bytes()]).await?)
    }

    async fn del(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        keys: Vec<String>,
    ) -> Result<u32, Error> {
        count(&execute(accessor, &connection, "DEL", bytes(&keys)).await?)
    }

    async fn sadd(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        key: String,
        values: Vec<String>,
    ) -> Result<u32, Error> {
        let arguments = [key.as_bytes()].into_iter().chain(bytes(&values));
        count(&execute(accessor, &connection, "SADD", arguments).await?)
    }

    async fn smembers(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        key: String,
    ) -> Result<Vec<String>, Error> {
        let value = execute(accessor, &connection, "SMEMBERS", [key.as_bytes()]).await?;
        ::redis::from_redis_value(value).map_err(|_| Error::TypeError)
    }

    async fn srem(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        key: String,
        values: Vec<String>,
    ) -> Result<u32, Error> {
        let arguments = [key.as_bytes()].into_iter().chain(bytes(&values));
        count(&execute(accessor, &connection, "SREM", arguments).await?)
    }

    async fn execute(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        name: String,
        arguments: Vec<RedisParameter>,
    ) -> Result<Vec<RedisResult>, Error> {
        let mut command = ::redis::cmd(&name);
        for argument in arguments {
            match argument {
                RedisParameter::Int64(number) => command.arg(number),
                RedisParameter::Binary(bytes) => command.arg(bytes),
            };
        }
        let mut results = Vec::new();
        flatten(send(accessor, &connection, &name, &command).await?, &mut results)?;
        Ok(results)
    }
}
