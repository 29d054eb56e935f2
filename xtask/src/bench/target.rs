//! Who is asked: a server of the API over HTTP, or the database directly.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http::{
    Request as HttpRequest, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};
use tokio_postgres::{Client, Statement};
use url::Url;

use super::{
    Users,
    requests::{Ask, Item, Request, State},
};
use crate::{database, project, seed::demo_email, stores::free_port};

/// Longer than any answer may take; the bench must end.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Longer than a run takes: what ends before is not registered for.
const LONGEST_RUN: TimeDelta = TimeDelta::hours(3);

/// The number of a worker's writer is so much higher than that of its reader.
const WRITERS: i64 = 500;

/// Pages of available items that a worker looks through for something to register for.
const ITEM_PAGES: i64 = 25;

/// Somebody to ask, with the workers that do.
pub struct Target {
    /// Its name in the report.
    pub name: String,
    /// One for each connection.
    pub workers: Vec<Worker>,
    /// Whether it is the database itself.
    pub is_limit: bool,
    pub server: Option<Server>,
    rows: i64,
}

impl Target {
    /// Starts a host of our own on a free port.
    pub async fn host(program: &Path, stores: &Stores, name: &str, users: Users) -> anyhow::Result<Self> {
        let server = Server::start(program, stores).await?;
        Self::ours(server, name, users).await
    }

    /// Starts `spin` of the PATH.
    pub async fn spin(stores: &Stores, users: Users) -> anyhow::Result<Self> {
        let server = Server::start_spin(stores).await?;
        Self::ours(server, "spin", users).await
    }

    async fn ours(server: Server, name: &str, users: Users) -> anyhow::Result<Self> {
        let mut target = Self::other(name, &server.url, users).await?;
        target.server = Some(server);
        Ok(target)
    }

    /// A server that somebody else runs.
    pub async fn other(name: &str, url: &Url, users: Users) -> anyhow::Result<Self> {
        let mut workers = Vec::new();
        for number in users.first..users.first + users.count {
            workers.push(
                Worker::over_http(url, number)
                    .await
                    .with_context(|| format!("{name} ({url})"))?,
            );
        }
        let rows = workers.first().map_or(0, |worker| worker.state.rows);
        Ok(Self {
            name: name.to_owned(),
            workers,
            is_limit: false,
            server: None,
            rows,
        })
    }

    /// The database of `served`, without anything before it.
    pub async fn limit(served: &Self, database_url: &str, name: &str, users: Users) -> anyhow::Result<Self> {
        let mut workers = Vec::new();
        for number in users.first..users.first + users.count {
            workers.push(Worker::over_sql(database_url, number, served.rows).await?);
        }
        Ok(Self {
            name: name.to_owned(),
            workers,
            is_limit: true,
            server: None,
            rows: served.rows,
        })
    }

    /// Whether the request can be asked here.
    pub fn knows(&self, request: &Request) -> bool {
        request.limited || !self.is_limit
    }

    /// CPU time of the process until now, where it is ours.
    pub fn cpu(&self) -> anyhow::Result<Option<Duration>> {
        self.server.as_ref().map(Server::cpu).transpose()
    }

    /// Its largest resident memory until now in bytes, where it is ours.
    pub fn memory(&self) -> anyhow::Result<Option<u64>> {
        let memory = self.server.as_ref().map(Server::memory).transpose()?;
        Ok(memory.map(|(_, highest)| highest))
    }

    /// Ends it, where it is ours.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.workers.clear();
        match self.server {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }
}

/// What a server of ours works on.
pub struct Stores {
    pub database_url: String,
    pub redis_url: String,
    pub jwt_secret: String,
}

/// A server that we started.
pub struct Server {
    pub url: Url,
    process: Child,
}

impl Server {
    /// Starts a host of our own on a free port and waits until it listens.
    pub async fn start(program: &Path, stores: &Stores) -> anyhow::Result<Self> {
        let log = program.with_file_name("bench-host.log");
        let log = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(program);
        command
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(log);
        let mut process = Self::spawn(command, stores)?;
        let mut lines = BufReader::new(process.stdout.take().context("the host has no output")?).lines();
        let url = loop {
            let line = timeout(PATIENCE, lines.next_line())
                .await
                .context("the host does not start")??;
            let line = line.context("the host ended; start it by hand to see why")?;
            if let Some(url) = line.strip_prefix("Serving on ") {
                break url.parse()?;
            }
        };
        // Whatever it prints later must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { url, process })
    }

    async fn start_spin(stores: &Stores) -> anyhow::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let mut command = Command::new("spin");
        command
            .args(["up", "--quiet", "--listen", &address.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Self::spawn(command, stores)?;
        let begun = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            ensure!(begun.elapsed() < PATIENCE, "spin does not start");
            sleep(Duration::from_millis(50)).await;
        }
        let url = format!("http://{address}").parse()?;
        Ok(Self { url, process })
    }

    fn spawn(mut command: Command, stores: &Stores) -> anyhow::Result<Child> {
        command
            .current_dir(project::root()?)
            .env("SPIN_VARIABLE_DATABASE_URL", &stores.database_url)
            .env("SPIN_VARIABLE_REDIS_URL", &stores.redis_url)
            .env("SPIN_VARIABLE_JWT_SECRET", &stores.jwt_secret)
            // Counted, but never too many: the load comes from one address.
            .env("SPIN_VARIABLE_LOGIN_ATTEMPTS_PER_ADDRESS", "1000000000")
            .stdin(Stdio::null())
            // Spin serves in a process below this one; they end together.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", command.as_std().get_program().display()))
    }

    fn id(&self) -> anyhow::Result<u32> {
        self.process.id().context("the server has ended")
    }

    /// CPU time until now. (Spin serves in a process below the one that we started, so this tells little of it.)
    fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id()?))?;
        // After the name in parentheses, which may hold blanks: utime and stime are the 12th and 13th.
        let fields = stat.rsplit(')').next().context("an odd /proc/stat")?.split_whitespace();
        let ticks = fields.skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.context("no clock")?;
        Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
    }

    /// Resident memory in bytes: now, and at its highest until now.
    pub fn memory(&self) -> anyhow::Result<(u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()?))?;
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            kilobytes
                .map(|kilobytes| kilobytes * 1024)
                .context("an odd /proc/status")
        };
        Ok((bytes("VmRSS:")?, bytes("VmHWM:")?))
    }

    /// Ends it.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.id()?)?);
        nix::sys::signal::killpg(id, nix::sys::signal::Signal::SIGTERM)?;
        timeout(PATIENCE, self.process.wait())
            .await
            .context("the server does not stop")??;
        Ok(())
    }
}

/// One connection, and the demo user who uses it.
pub struct Worker {
    pub state: State,
    connection: Connection,
}

enum Connection {
    Http {
        url: Url,
        sender: SendRequest<Full<Bytes>>,
        /// The reader's and the writer's.
        tokens: Option<[String; 2]>,
    },
    Sql {
        url: String,
        client: Client,
        prepared: Vec<(&'static str, Statement)>,
    },
}

/// An answer.
pub struct Reply {
    /// Whether it is the answer that was meant to come.
    pub ok: bool,
    /// The HTTP status, or the statement's outcome.
    pub status: String,
    pub body: Bytes,
}

impl Reply {
    /// The beginning of the body.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).chars().take(200).collect()
    }
}

#[derive(Deserialize)]
struct LoginAnswer {
    access: String,
    user: LoginUser,
}

#[derive(Deserialize)]
struct LoginUser {
    id: i64,
}

#[derive(Deserialize)]
struct ItemAnswer {
    id: i64,
    price: String,
    is_registered: bool,
    end_at: DateTime<Utc>,
    #[serde(default)]
    remaining: Option<i64>,
}

#[derive(Deserialize)]
struct IdAnswer {
    id: i64,
}

/// A list comes with its envelope over HTTP, and without from the database.
#[derive(Deserialize)]
#[serde(untagged)]
enum ListAnswer<T> {
    Envelope { count: i64, results: Vec<T> },
    Results(Vec<T>),
}

impl Worker {
    async fn over_http(url: &Url, number: i64) -> anyhow::Result<Self> {
        let connection = Connection::Http {
            url: url.clone(),
            sender: connected(url).await?,
            tokens: None,
        };
        let mut worker = Self {
            state: State::new((0, 0), String::new(), Default::default(), 0, Vec::new()),
            connection,
        };
        let mut logins = Vec::new();
        // The reader last: it is he who logs in again.
        for number in [WRITERS + number, number] {
            worker.state.email = demo_email(number);
            let login = worker.state.login();
            let answer = worker.ask::<LoginAnswer>(login).await;
            logins.push(answer.with_context(|| format!("{} cannot log in", worker.state.email))?);
        }
        let [writer, reader] =
            <[LoginAnswer; 2]>::try_from(logins).map_err(|_| anyhow::anyhow!("there are two logins"))?;
        (worker.state.user, worker.state.writer) = (reader.user.id, writer.user.id);
        if let Connection::Http { tokens, .. } = &mut worker.connection {
            *tokens = Some([reader, writer].map(|login| format!("Bearer {}", login.access)));
        }
        worker.look_around(0).await?;
        Ok(worker)
    }

    async fn over_sql(url: &str, number: i64, rows: i64) -> anyhow::Result<Self> {
        let client = database::connect(url).await?;
        let email = demo_email(number);
        let user = async |email: &str| {
            let user = client
                .query_opt("select id from users where email = $1", &[&email])
                .await?;
            anyhow::Ok(user.with_context(|| format!("there is no {email}"))?.get::<_, i64>(0))
        };
        let users = (user(&email).await?, user(&demo_email(WRITERS + number)).await?);
        let connection = Connection::Sql {
            url: url.to_owned(),
            client,
            prepared: Vec::new(),
        };
        let mut worker = Self {
            state: State::new(users, email, Default::default(), rows, Vec::new()),
            connection,
        };
        worker.look_around(rows).await?;
        Ok(worker)
    }

    /// Learns what there is: how many items, which of them the user can register for, and his payments.
    async fn look_around(&mut self, rows: i64) -> anyhow::Result<()> {
        let mut rows = rows;
        let (users, email) = ((self.state.user, self.state.writer), self.state.email.clone());
        let until = Utc::now() + LONGEST_RUN;
        let mut items = [Vec::new(), Vec::new()];
        for (kind, items) in items.iter_mut().enumerate() {
            for page in 1..=ITEM_PAGES {
                let ask = self.state.items_page(kind, page);
                match self.ask::<ListAnswer<ItemAnswer>>(ask).await? {
                    ListAnswer::Envelope { results, .. } | ListAnswer::Results(results) => items.extend(
                        results
                            .into_iter()
                            .filter(|item| !item.is_registered && item.remaining.is_none() && item.end_at > until)
                            .map(|item| Item {
                                id: item.id,
                                price: item.price,
                            }),
                    ),
                }
            }
            ensure!(
                items.len() > 1,
                "there is too little to register for: is the database seeded, and not weeks ago?"
            );
        }
        let payments = self.state.payments_page();
        let payments = match self.ask::<ListAnswer<IdAnswer>>(payments).await? {
            ListAnswer::Envelope { results, .. } | ListAnswer::Results(results) => results,
        };
        let all = self.state.first_page();
        if let ListAnswer::Envelope { count, .. } = self.ask::<ListAnswer<IdAnswer>>(all).await? {
            rows = count;
        }
        let payments = payments.into_iter().map(|payment| payment.id).collect();
        self.state = State::new(users, email, items, rows, payments);
        Ok(())
    }

    async fn ask<T: for<'a> Deserialize<'a>>(&mut self, ask: Option<Ask>) -> anyhow::Result<T> {
        let ask = ask.context("there is nothing to ask")?;
        let reply = self.send(&ask).await?;
        ensure!(
            reply.ok,
            "{} {}: {} {}",
            ask.method,
            ask.path,
            reply.status,
            reply.text()
        );
        Ok(serde_json::from_slice(&reply.body)?)
    }

    /// Sends one request and reads its answer to the end.
    pub async fn send(&mut self, ask: &Ask) -> anyhow::Result<Reply> {
        timeout(PATIENCE, self.connection.send(ask))
            .await
            .context("no answer")?
    }

    /// Replaces a connection that failed.
    pub async fn reconnect(&mut self) -> anyhow::Result<()> {
        match &mut self.connection {
            Connection::Http { url, sender, .. } => *sender = connected(url).await?,
            Connection::Sql { url, client, prepared } => {
                *client = database::connect(url).await?;
                prepared.clear();
            }
        }
        Ok(())
    }
}

impl Connection {
    async fn send(&mut self, ask: &Ask) -> anyhow::Result<Reply> {
        match self {
            Self::Http { url, sender, tokens } => {
                let mut request = HttpRequest::builder().method(&ask.method).uri(&ask.path);
                request = request.header(HOST, url.authority());
                if let Some([reader, writer]) = tokens {
                    request = request.header(AUTHORIZATION, if ask.by_writer { &*writer } else { &*reader });
                }
                let body = match &ask.body {
                    Some(body) => {
                        request = request.header(CONTENT_TYPE, "application/json");
                        Full::from(body.clone())
                    }
                    None => Full::default(),
                };
                sender.ready().await?;
                let response = sender.send_request(request.body(body)?).await?;
                let status = response.status();
                let body = response.into_body().collect().await?.to_bytes();
                let ok = matches!(status, StatusCode::OK | StatusCode::CREATED);
                Ok(Reply {
                    ok,
                    status: status.as_str().to_owned(),
                    body,
                })
            }
            Self::Sql { client, prepared, .. } => {
                let (call, parameters) = &ask.statement;
                let statement = match prepared.iter().find(|(known, _)| known == call) {
                    Some((_, statement)) => statement.clone(),
                    None => {
                        // As the component asks for it.
                        let rest = match call.split_once('_') {
                            Some(("list", _)) => ", count, page, pages",
                            Some(("get", _)) => "",
                            _ => ", replayed",
                        };
                        let text = format!("select outcome, body{rest} from sugang.{call}");
                        let statement = client.prepare(&text).await?;
                        prepared.push((call, statement.clone()));
                        statement
                    }
                };
                let parameters = parameters.iter().map(|parameter| &**parameter as _).collect::<Vec<_>>();
                let row = client.query_one(&statement, &parameters).await?;
                let (outcome, body): (String, Option<String>) = (row.get(0), row.get(1));
                Ok(Reply {
                    ok: outcome == "ok",
                    status: outcome,
                    body: body.unwrap_or_default().into(),
                })
            }
        }
    }
}

/// Opens a connection to a server.
pub async fn connected(url: &Url) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let Some(host) = url.host_str() else {
        bail!("{url} names no host")
    };
    let stream = TcpStream::connect((host, url.port_or_known_default().unwrap_or(80)));
    let stream = timeout(PATIENCE, stream).await.context("no connection")??;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}
