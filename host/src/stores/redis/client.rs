//! The client of one address: a shared connection, and dedicated ones.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use redis::{Cmd, RedisError, RedisResult, Value, aio::MultiplexedConnection};
use sugang_connect::redis::Connector;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::task::TaskTracker;

use super::{
    Error,
    commands::{Sharing, sharing},
    silence::{Finding, Silence, Watch},
};
use crate::{settings::RedisLimits, sync::lock};

pub(super) struct Client {
    connector: Connector,
    limits: RedisLimits,
    tasks: TaskTracker,
    shared: Mutex<Option<Link>>,
    silence: Arc<Silence>,
    connecting: tokio::sync::Mutex<()>,
    dedicated_permits: Arc<Semaphore>,
}

/// An open socket. A clone is the same one.
#[derive(Clone)]
struct Link {
    connection: MultiplexedConnection,
    broken: Arc<AtomicBool>,
    opened: Instant,
    _permit: Option<Arc<OwnedSemaphorePermit>>,
}

/// A connection as the component sees it. A clone is the same one.
#[derive(Clone)]
pub(crate) struct Connection {
    client: Arc<Client>,
    /// The address by which the component opened it.
    address: Arc<str>,
    dedicated: Arc<tokio::sync::Mutex<Option<Link>>>,
}

impl Client {
    pub(super) fn new(connector: Connector, limits: RedisLimits, tasks: TaskTracker) -> Self {
        Self {
            connector,
            tasks,
            shared: Mutex::default(),
            silence: Arc::default(),
            connecting: tokio::sync::Mutex::default(),
            dedicated_permits: Arc::new(Semaphore::new(limits.connections)),
            limits,
        }
    }

    /// The shared link, connected again if it broke.
    async fn shared(self: &Arc<Self>) -> Result<Link, Error> {
        match self.silence.find(Instant::now()) {
            Finding::Answers => self.connected().await,
            finding => {
                if finding == Finding::Probe {
                    let client = self.clone();
                    self.tasks.spawn(async move { client.probe().await });
                }
                Err(Error::other("SILENT: Redis has not answered for a while"))
            }
        }
    }

    /// Ends the silence if the server answers.
    async fn probe(&self) {
        let ping = async {
            let link = self.connected().await?;
            link.send(&redis::cmd("PING"), false, self.limits.response_timeout, None)
                .await
        };
        if self.in_time(ping).await.is_ok() {
            self.silence.end();
        }
    }

    async fn connected(&self) -> Result<Link, Error> {
        let current = || lock(&self.shared).clone().filter(|link| !link.broken.load(Relaxed));
        if let Some(link) = current() {
            return Ok(link);
        }
        self.in_time(async {
            let _one_at_a_time = self.connecting.lock().await;
            if let Some(link) = current() {
                return Ok(link);
            }
            let watch = self.silence.watch();
            let link = self.connect().await;
            watch.answered();
            let link = link?;
            *lock(&self.shared) = Some(link.clone());
            Ok(link)
        })
        .await
    }

    async fn dedicated(&self) -> Result<Link, Error> {
        let permit = self
            .dedicated_permits
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
            .unwrap_or_else(|_| Err(no_answer_within(limit)))
    }

    async fn connect(&self) -> Result<Link, Error> {
        let (connection, driver) = self.connector.connect().await.map_err(Error::other)?;
        let broken = Arc::new(AtomicBool::new(false));
        let ended = broken.clone();
        self.tasks.spawn(async move {
            driver.await;
            ended.store(true, Relaxed);
        });
        Ok(Link {
            connection,
            broken,
            opened: Instant::now(),
            _permit: None,
        })
    }
}

fn no_answer_within(limit: Duration) -> Error {
    Error::Other(format!("Redis did not answer within {limit:?}"))
}

/// The age from which a link to a server that only reads is replaced.
const READ_ONLY_LINK: Duration = Duration::from_secs(1);

/// Marks a link as broken when dropped, unless the reply has arrived.
struct BrokenUnlessAnswered {
    broken: Arc<AtomicBool>,
    answered: bool,
}

impl Drop for BrokenUnlessAnswered {
    fn drop(&mut self) {
        if !self.answered {
            self.broken.store(true, Relaxed);
        }
    }
}

impl Link {
    /// Sends a command, with `ASKING` before it if `asking`. A link whose reply was not read, be it that the component gave
    /// up first, is not used again: a missing reply is the only sign of a server that hangs, and a new connection the only
    /// cure.
    async fn send(
        mut self,
        command: &Cmd,
        asking: bool,
        limit: Duration,
        watch: Option<Watch>,
    ) -> Result<Value, Error> {
        let mut guard = BrokenUnlessAnswered {
            broken: self.broken.clone(),
            answered: false,
        };
        let reply = timeout(limit, self.reply(command, asking)).await;
        let reply = reply.map_err(|_| no_answer_within(limit))?;
        if let Some(watch) = watch {
            watch.answered();
        }
        let reply = reply.and_then(|value| match value {
            Value::ServerError(error) => Err(error.into()),
            value => Ok(value),
        });
        // A primary that was demoted: the address may lead to another server by now. Looked up once in a while.
        let is_stale = |error: &RedisError| error.code() == Some("READONLY") && self.opened.elapsed() > READ_ONLY_LINK;
        let is_lost = |error: &RedisError| error.is_unrecoverable_error() || is_stale(error);
        guard.answered = !reply.as_ref().is_err_and(is_lost);
        Ok(reply?)
    }

    async fn reply(&mut self, command: &Cmd, asking: bool) -> RedisResult<Value> {
        if !asking {
            return self.connection.send_packed_command(command).await;
        }
        let mut both = redis::pipe();
        both.cmd("ASKING").add_command(command.clone());
        // The reply to ASKING is skipped. No other command comes in between: both are one write.
        let replies = self.connection.send_packed_commands(&both, 1, 1).await?;
        Ok(replies.into_iter().next().unwrap_or(Value::Nil))
    }
}

impl Connection {
    pub(super) async fn open(client: Arc<Client>, address: &str) -> Result<Self, Error> {
        client.shared().await?;
        Ok(Self {
            client,
            address: address.into(),
            dedicated: Arc::default(),
        })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Executes the command `name` on this server.
    ///
    /// # Errors
    /// Redis refuses the command or does not answer in time, or the command does not work over such a connection.
    pub(super) async fn execute(&self, name: &str, command: &Cmd) -> Result<Value, Error> {
        self.send(name, command, false).await
    }

    /// Executes a command on the node that imports its key, as an `ASK` redirection demands it.
    ///
    /// # Errors
    /// Those of [`Self::execute`].
    pub(super) async fn execute_asking(&self, name: &str, command: &Cmd) -> Result<Value, Error> {
        self.send(name, command, true).await
    }

    async fn send(&self, name: &str, command: &Cmd, asking: bool) -> Result<Value, Error> {
        let sharing = sharing(name);
        if sharing == Sharing::Refused {
            return Err(Error::Other(format!(
                "{name} is not supported: its replies do not correspond to requests one by one"
            )));
        }
        let limit = self.client.limits.response_timeout;
        let mut dedicated = self.dedicated.lock().await;
        if sharing == Sharing::Dedicated && dedicated.is_none() {
            *dedicated = Some(self.client.dedicated().await?);
        }
        match &*dedicated {
            Some(link) if link.broken.load(Relaxed) => Err(Error::other("the connection to Redis was lost")),
            // Kept locked: no other command may come between those of a transaction or beside a blocking one.
            Some(link) => link.clone().send(command, asking, limit, None).await,
            None => {
                drop(dedicated);
                let link = self.client.shared().await?;
                let watch = self.client.silence.watch();
                link.send(command, asking, limit, Some(watch)).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sugang_protocol::store_url::RedisUrl;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    /// A server that answers `+OK` to whatever it reads, and counts its connections by their greeting.
    async fn server(silent: bool, response_timeout: Duration) -> (Arc<Client>, Arc<Semaphore>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("redis://{}", listener.local_addr().unwrap());
        let accepted = Arc::new(Semaphore::new(0));
        let counter = accepted.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counter.add_permits(1);
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                        if silent && text.contains("PING") {
                            continue;
                        }
                        // One reply for each command, which begins with the length of its array.
                        let commands = text.matches('*').count();
                        _ = stream.write_all("+OK\r\n".repeat(commands).as_bytes()).await;
                    }
                });
            }
        });
        let limits = RedisLimits {
            connections: 1,
            response_timeout,
            ..RedisLimits::default()
        };
        let connector = Connector::new(RedisUrl::parse(&address, "").unwrap()).unwrap();
        (Arc::new(Client::new(connector, limits, TaskTracker::new())), accepted)
    }

    async fn execute(connection: &Connection, name: &str) -> Result<Value, Error> {
        connection.execute(name, &redis::cmd(name)).await
    }

    #[tokio::test]
    async fn single_commands_share_a_connection_and_others_do_not() {
        let (client, accepted) = server(false, SOON).await;
        let (one, two) = (
            Connection::open(client.clone(), "").await.unwrap(),
            Connection::open(client.clone(), "").await.unwrap(),
        );
        execute(&one, "PING").await.unwrap();
        execute(&two, "PING").await.unwrap();
        assert_eq!(accepted.available_permits(), 1);

        execute(&one, "MULTI").await.unwrap();
        execute(&one, "PING").await.unwrap();
        assert_eq!(accepted.available_permits(), 2, "a dedicated one, from then on");
        assert!(matches!(execute(&two, "MULTI").await, Err(Error::TooManyConnections)));
        drop(one);
        execute(&two, "MULTI").await.unwrap();

        let refused = execute(&two, "SUBSCRIBE").await.unwrap_err().to_string();
        assert!(refused.contains("SUBSCRIBE is not supported"), "{refused}");
    }

    #[tokio::test]
    async fn a_connection_without_a_reply_is_replaced() {
        let (client, accepted) = server(true, SOON).await;
        let connection = Connection::open(client, "").await.unwrap();
        let error = execute(&connection, "PING").await.unwrap_err().to_string();
        assert_eq!(error, format!("Redis did not answer within {SOON:?}"));
        execute(&connection, "GET").await.unwrap();
        assert_eq!(accepted.available_permits(), 2);

        // An abandoned command leaves its reply to no other command.
        let abandoned = timeout(Duration::from_millis(5), execute(&connection, "PING")).await;
        assert!(abandoned.is_err());
        execute(&connection, "GET").await.unwrap();
        assert_eq!(accepted.available_permits(), 3);
    }

    #[tokio::test]
    async fn only_one_command_waits_for_a_silent_server() {
        let (client, _) = server(true, 3 * SOON).await;
        let connection = Connection::open(client, "").await.unwrap();
        execute(&connection, "GET").await.unwrap();
        assert!(execute(&connection, "PING").await.is_err());
        let error = execute(&connection, "GET").await.unwrap_err().to_string();
        assert_eq!(error, "SILENT: Redis has not answered for a while");
    }

    #[tokio::test]
    async fn a_lost_dedicated_connection_is_not_replaced() {
        let (client, _) = server(true, SOON).await;
        let connection = Connection::open(client, "").await.unwrap();
        execute(&connection, "MULTI").await.unwrap();
        assert!(execute(&connection, "PING").await.is_err());
        let error = execute(&connection, "GET").await.unwrap_err().to_string();
        assert_eq!(error, "the connection to Redis was lost");
    }
}
