//! `spin:redis/redis@3.0.0`.
//!
//! All guests share one connection to each address: commands that stand alone can be answered in any company. A command
//! that changes or blocks its connection (`MULTI`, `SELECT`, `BLPOP`, …) gives the guest's connection a socket of its
//! own, from then on. A shared connection that broke, or that left a command without an answer, is replaced for the
//! next command; the command itself is never sent twice.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisError, Value,
    aio::MultiplexedConnection,
};
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::task::TaskTracker;
use wasmtime::component::{Accessor, HasSelf, Resource};

use crate::{
    bindings::spin::redis::redis::{
        Error, Host, HostConnection, HostConnectionWithStore, Payload, RedisParameter, RedisResult,
    },
    outbound::Rules,
    settings::RedisLimits,
    worker::Guest,
};

/// Addresses with a connection of their own.
const SERVERS: usize = 64;

/// Commands after which a connection is another one than before, or that keep it busy.
const OWN_SOCKET: [&str; 33] = [
    "ASKING",
    "AUTH",
    "BLMOVE",
    "BLMPOP",
    "BLPOP",
    "BRPOP",
    "BRPOPLPUSH",
    "BZMPOP",
    "BZPOPMAX",
    "BZPOPMIN",
    "CLIENT",
    "DISCARD",
    "EXEC",
    "HELLO",
    "MULTI",
    "READONLY",
    "READWRITE",
    "RESET",
    "SELECT",
    "SWAPDB",
    "UNWATCH",
    "WAIT",
    "WAITAOF",
    "WATCH",
    "XREAD",
    "XREADGROUP",
    "SCRIPT",
    "FUNCTION",
    "DEBUG",
    "QUIT",
    "REPLICAOF",
    "SLAVEOF",
    "SHUTDOWN",
];

/// Commands whose answers do not come one for one.
const REFUSED: [&str; 9] = [
    "MONITOR",
    "PSUBSCRIBE",
    "PSYNC",
    "PUNSUBSCRIBE",
    "SSUBSCRIBE",
    "SUBSCRIBE",
    "SUNSUBSCRIBE",
    "SYNC",
    "UNSUBSCRIBE",
];

/// The Redis servers that the guests of one server opened.
pub(crate) struct Servers {
    limits: RedisLimits,
    tasks: TaskTracker,
    servers: Mutex<HashMap<String, Arc<Server>>>,
}

/// One address.
struct Server {
    info: ConnectionInfo,
    limits: RedisLimits,
    tasks: TaskTracker,
    shared: Mutex<Option<Link>>,
    connecting: tokio::sync::Mutex<()>,
    own_sockets: Arc<Semaphore>,
}

/// An open socket.
#[derive(Clone)]
struct Link {
    connection: MultiplexedConnection,
    broken: Arc<AtomicBool>,
    _permit: Option<Arc<OwnedSemaphorePermit>>,
}

/// A guest's connection.
pub struct Connection {
    server: Arc<Server>,
    own: Arc<tokio::sync::Mutex<Option<Link>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn other(error: impl ToString) -> Error {
    Error::Other(error.to_string())
}

impl Servers {
    pub(crate) fn new(limits: RedisLimits) -> Self {
        Self {
            limits,
            tasks: TaskTracker::new(),
            servers: Mutex::default(),
        }
    }

    async fn open(&self, address: &str, rules: &Rules) -> Result<Connection, Error> {
        let server = self.server(address, rules)?;
        server.shared().await?;
        Ok(Connection {
            server,
            own: Arc::default(),
        })
    }

    fn server(&self, address: &str, rules: &Rules) -> Result<Arc<Server>, Error> {
        let mut servers = lock(&self.servers);
        if let Some(server) = servers.get(address) {
            return Ok(server.clone());
        }
        if self.tasks.is_closed() || servers.len() >= SERVERS {
            return Err(Error::TooManyConnections);
        }
        let info = address.into_connection_info().map_err(|_| Error::InvalidAddress)?;
        match info.addr() {
            ConnectionAddr::Tcp(host, port) if rules.allow("redis", host, *port) => {}
            ConnectionAddr::Tcp(host, port) => {
                return Err(other(format!(
                    "redis://{host}:{port} is not in the component's allowed_outbound_hosts"
                )));
            }
            ConnectionAddr::TcpTls { .. } => {
                return Err(other(
                    "the address asks for TLS, which this host does not have; use redis://",
                ));
            }
            _ => return Err(Error::InvalidAddress),
        }
        let server = Arc::new(Server {
            info,
            limits: self.limits.clone(),
            tasks: self.tasks.clone(),
            shared: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            own_sockets: Arc::new(Semaphore::new(self.limits.connections)),
        });
        servers.insert(address.to_owned(), server.clone());
        Ok(server)
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        self.tasks.close();
        lock(&self.servers).clear();
        self.tasks.wait().await;
    }
}

impl Server {
    async fn shared(&self) -> Result<Link, Error> {
        let current = || lock(&self.shared).clone().filter(|link| !link.broken.load(Relaxed));
        if let Some(link) = current() {
            return Ok(link);
        }
        self.in_time(async {
            let _one_at_a_time = self.connecting.lock().await;
            if let Some(link) = current() {
                return Ok(link);
            }
            let link = self.connect().await?;
            *lock(&self.shared) = Some(link.clone());
            Ok(link)
        })
        .await
    }

    async fn own(&self) -> Result<Link, Error> {
        let permit = self
            .own_sockets
            .clone()
            .try_acquire_owned()
            .map_err(|_| Error::TooManyConnections)?;
        let link = self.in_time(self.connect()).await?;
        Ok(Link {
            _permit: Some(Arc::new(permit)),
            ..link
        })
    }

    async fn in_time<T>(&self, opening: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let limit = self.limits.connect_timeout;
        timeout(limit, opening)
            .await
            .unwrap_or_else(|_| Err(other(format!("Redis did not answer within {limit:?}"))))
    }

    async fn connect(&self) -> Result<Link, Error> {
        let ConnectionAddr::Tcp(host, port) = self.info.addr() else {
            return Err(Error::InvalidAddress);
        };
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(other)?;
        stream.set_nodelay(true).map_err(other)?;
        // Both waits are bounded here.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let settings = self.info.redis_settings();
        let (connection, driver) = MultiplexedConnection::new_with_config(settings, stream, config)
            .await
            .map_err(other)?;
        let broken = Arc::new(AtomicBool::new(false));
        let ended = broken.clone();
        self.tasks.spawn(async move {
            driver.await;
            ended.store(true, Relaxed);
        });
        Ok(Link {
            connection,
            broken,
            _permit: None,
        })
    }
}

impl Link {
    /// Sends a command. If its answer is not read, also because the guest gave up first, the link is not used again: a
    /// missing answer is the only sign of a server that hangs, and a new connection the only cure.
    async fn send(mut self, command: &Cmd, limit: Duration) -> Result<Value, Error> {
        struct Doubt {
            broken: Arc<AtomicBool>,
            resolved: bool,
        }
        impl Drop for Doubt {
            fn drop(&mut self) {
                if !self.resolved {
                    self.broken.store(true, Relaxed);
                }
            }
        }
        let mut doubt = Doubt {
            broken: self.broken.clone(),
            resolved: false,
        };
        let answer = timeout(limit, self.connection.send_packed_command(command)).await;
        let answer = answer.map_err(|_| other(format!("Redis did not answer within {limit:?}")))?;
        doubt.resolved = !answer.as_ref().is_err_and(RedisError::is_unrecoverable_error);
        answer.map_err(failed)
    }
}

impl Connection {
    async fn run(&self, command: Cmd, own_socket: bool) -> Result<Value, Error> {
        let mut own = self.own.lock().await;
        if own_socket && own.is_none() {
            *own = Some(self.server.own().await?);
        }
        let link = match &*own {
            Some(link) if link.broken.load(Relaxed) => return Err(other("the connection to Redis was lost")),
            Some(link) => link.clone(),
            None => {
                drop(own);
                return self
                    .server
                    .shared()
                    .await?
                    .send(&command, self.server.limits.response_timeout)
                    .await;
            }
        };
        // Kept locked: what a transaction or a blocking command waits for must not be mixed with another command.
        link.send(&command, self.server.limits.response_timeout).await
    }
}

/// What the guest learns of an error of Redis or of the way to it.
fn failed(error: RedisError) -> Error {
    let wrong_type = error.code() == Some("WRONGTYPE")
        || error
            .detail()
            .is_some_and(|detail| detail.contains("not an integer or out of range"));
    match wrong_type {
        true => Error::TypeError,
        false => other(error),
    }
}

fn command<'a>(name: &str, arguments: impl IntoIterator<Item = &'a [u8]>) -> Cmd {
    let mut command = redis::cmd(name);
    for argument in arguments {
        command.arg(argument);
    }
    command
}

/// The results of `execute` are flat, so nested ones are laid one after the other.
fn flatten(value: Value, results: &mut Vec<RedisResult>) -> Result<(), Error> {
    match value {
        Value::Nil => results.push(RedisResult::Nil),
        Value::Int(number) => results.push(RedisResult::Int64(number)),
        Value::BulkString(bytes) => results.push(RedisResult::Binary(bytes)),
        Value::SimpleString(text) => results.push(RedisResult::Status(text)),
        Value::Okay => results.push(RedisResult::Status("OK".to_owned())),
        Value::Double(number) => results.push(RedisResult::Binary(number.to_string().into_bytes())),
        Value::Boolean(value) => results.push(RedisResult::Int64(value.into())),
        Value::VerbatimString { text, .. } => results.push(RedisResult::Binary(text.into_bytes())),
        Value::BigNumber(digits) => results.push(RedisResult::Binary(digits)),
        Value::Array(values) | Value::Set(values) => {
            values.into_iter().try_for_each(|value| flatten(value, results))?;
        }
        Value::Map(pairs) => {
            for (key, value) in pairs {
                flatten(key, results)?;
                flatten(value, results)?;
            }
        }
        Value::Attribute { data, .. } => flatten(*data, results)?,
        Value::ServerError(error) => return Err(failed(error.into())),
        _ => return Err(other("this kind of answer has no value in this interface")),
    }
    Ok(())
}

fn integer(value: &Value) -> Result<i64, Error> {
    match value {
        Value::Int(number) => Ok(*number),
        _ => Err(Error::TypeError),
    }
}

fn count(value: &Value) -> Result<u32, Error> {
    integer(value)?.try_into().map_err(|_| Error::TypeError)
}

impl Host for Guest {}

impl HostConnection for Guest {
    async fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

/// Runs one command on a guest's connection.
async fn run<T: Send>(
    accessor: &Accessor<T, HasSelf<Guest>>,
    connection: &Resource<Connection>,
    command: Cmd,
    own_socket: bool,
) -> Result<Value, Error> {
    let connection = accessor.with(|mut guest| {
        let connection = guest
            .get()
            .table
            .get(connection)
            .map_err(|_| other("there is no such connection"))?;
        Ok::<_, Error>(Connection {
            server: connection.server.clone(),
            own: connection.own.clone(),
        })
    })?;
    connection.run(command, own_socket).await
}

fn bytes(texts: &[String]) -> impl Iterator<Item = &[u8]> {
    texts.iter().map(String::as_bytes)
}

impl<T: Send> HostConnectionWithStore<T> for HasSelf<Guest> {
    async fn open(accessor: &Accessor<T, Self>, address: String) -> Result<Resource<Connection>, Error> {
        let stores = accessor.with(|mut guest| guest.get().stores.clone());
        let connection = stores.redis.open(&address, &stores.rules).await?;
        accessor
            .with(|mut guest| guest.get().table.push(connection))
            .map_err(|_| Error::TooManyConnections)
    }

    async fn publish(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        channel: String,
        payload: Payload,
    ) -> Result<(), Error> {
        run(
            accessor,
            &connection,
            command("PUBLISH", [channel.as_bytes(), &payload]),
            false,
        )
        .await
        .map(|_| ())
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        key: String,
    ) -> Result<Option<Payload>, Error> {
        match run(accessor, &connection, command("GET", [key.as_bytes()]), false).await? {
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
        run(accessor, &connection, command("SET", [key.as_bytes(), &value]), false)
            .await
            .map(|_| ())
    }

    async fn incr(accessor: &Accessor<T, Self>, connection: Resource<Connection>, key: String) -> Result<i64, Error> {
        integer(&run(accessor, &connection, command("INCR", [key.as_bytes()]), false).await?)
    }

    async fn del(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        keys: Vec<String>,
    ) -> Result<u32, Error> {
        count(&run(accessor, &connection, command("DEL", bytes(&keys)), false).await?)
    }

    async fn sadd(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        key: String,
        values: Vec<String>,
    ) -> Result<u32, Error> {
        let arguments = [key.as_bytes()].into_iter().chain(bytes(&values));
        count(&run(accessor, &connection, command("SADD", arguments), false).await?)
    }

    async fn smembers(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        key: String,
    ) -> Result<Vec<String>, Error> {
        let value = run(accessor, &connection, command("SMEMBERS", [key.as_bytes()]), false).await?;
        redis::from_redis_value(value).map_err(|_| Error::TypeError)
    }

    async fn srem(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        key: String,
        values: Vec<String>,
    ) -> Result<u32, Error> {
        let arguments = [key.as_bytes()].into_iter().chain(bytes(&values));
        count(&run(accessor, &connection, command("SREM", arguments), false).await?)
    }

    async fn execute(
        accessor: &Accessor<T, Self>,
        connection: Resource<Connection>,
        name: String,
        arguments: Vec<RedisParameter>,
    ) -> Result<Vec<RedisResult>, Error> {
        let is = |list: &[&str]| list.iter().any(|listed| listed.eq_ignore_ascii_case(&name));
        if is(&REFUSED) {
            return Err(other(format!(
                "{name} has no place on a connection that answers command by command"
            )));
        }
        let mut command = redis::cmd(&name);
        for argument in arguments {
            match argument {
                RedisParameter::Int64(number) => command.arg(number),
                RedisParameter::Binary(bytes) => command.arg(bytes),
            };
        }
        let mut results = Vec::new();
        flatten(
            run(accessor, &connection, command, is(&OWN_SOCKET)).await?,
            &mut results,
        )?;
        Ok(results)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_answers_are_flat() {
        let nested = Value::Array(vec![
            Value::Int(1),
            Value::Array(vec![Value::Nil, Value::BulkString(b"x".to_vec())]),
            Value::Map(vec![(Value::Okay, Value::Boolean(true))]),
        ]);
        let mut results = Vec::new();
        flatten(nested, &mut results).unwrap();
        assert_eq!(
            format!("{results:?}"),
            "[Int64(1), Nil, Binary([120]), Status(\"OK\"), Int64(1)]"
                .replace("Int64", "RedisResult::Int64")
                .replace("Nil", "RedisResult::Nil")
                .replace("Binary", "RedisResult::Binary")
                .replace("Status", "RedisResult::Status")
        );
    }

    #[tokio::test]
    async fn an_address_is_checked_before_it_is_opened() {
        let servers = Servers::new(RedisLimits::default());
        let rules = Rules::parse(&["redis://allowed:*".to_owned()]).unwrap();
        assert!(servers.server("redis://allowed:6000/1", &rules).is_ok());
        for (address, expected) in [
            ("redis://other", "redis://other:6379 is not in"),
            ("rediss://allowed", "InvalidAddress"),
            ("redis+unix:///tmp/x", "InvalidAddress"),
            ("nonsense", "InvalidAddress"),
        ] {
            let error = format!("{:?}", servers.server(address, &rules).err());
            assert!(error.contains(expected), "{address}: {error}");
        }
    }
}
