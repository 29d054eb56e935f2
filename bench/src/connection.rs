//! One connection of a worker: HTTP to a server, or SQL to the database.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{
    StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use sugang_migrations::function_call;
use tokio::{net::TcpStream, time::timeout};
use tokio_postgres::{Client, Statement};
use url::Url;

use crate::{postgres, request::Request};

/// Longer than any response may take: the bench must end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A connection, and what it takes to replace it.
pub(crate) enum Connection {
    Http(Http),
    Sql(Sql),
}

/// A connection to a server.
pub(crate) struct Http {
    url: Url,
    sender: SendRequest<Full<Bytes>>,
    /// The reader's and the writer's `Authorization`.
    pub tokens: Option<[String; 2]>,
}

/// A connection to the database.
pub(crate) struct Sql {
    url: String,
    pub client: Client,
    prepared: Vec<(&'static str, Statement)>,
}

/// A response.
pub(crate) struct Reply {
    /// Whether it is the response that was expected.
    pub is_ok: bool,
    /// The HTTP status, or the outcome of the SQL function.
    pub status: String,
    pub body: Bytes,
}

impl Reply {
    /// The beginning of the body.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).chars().take(200).collect()
    }
}

impl Connection {
    /// Sends one request and reads its response to the end.
    pub async fn send(&mut self, request: &Request) -> anyhow::Result<Reply> {
        let sent = async {
            match self {
                Self::Http(http) => http.send(request).await,
                Self::Sql(sql) => sql.send(request).await,
            }
        };
        timeout(PATIENCE, sent).await.context("no response")?
    }

    /// Replaces a connection that failed.
    pub async fn reconnect(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Http(http) => http.sender = connect(&http.url).await?,
            Self::Sql(sql) => *sql = Sql::open(&sql.url).await?,
        }
        Ok(())
    }
}

impl Http {
    /// Connects without tokens.
    pub async fn open(url: &Url) -> anyhow::Result<Self> {
        Ok(Self {
            url: url.clone(),
            sender: connect(url).await?,
            tokens: None,
        })
    }

    async fn send(&mut self, request: &Request) -> anyhow::Result<Reply> {
        let mut head = http::Request::builder().method(&request.method).uri(&request.path);
        head = head.header(HOST, self.url.authority());
        if let Some([reader, writer]) = &self.tokens {
            head = head.header(AUTHORIZATION, if request.by_writer { writer } else { reader });
        }
        let body = match &request.body {
            Some(body) => {
                head = head.header(CONTENT_TYPE, "application/json");
                Full::from(body.clone())
            }
            None => Full::default(),
        };
        self.sender.ready().await?;
        let response = self.sender.send_request(head.body(body)?).await?;
        let status = response.status();
        Ok(Reply {
            is_ok: matches!(status, StatusCode::OK | StatusCode::CREATED),
            status: status.as_str().to_owned(),
            body: response.into_body().collect().await?.to_bytes(),
        })
    }
}

impl Sql {
    /// Connects without prepared statements.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        Ok(Self {
            url: url.to_owned(),
            client: postgres::connect(url).await?,
            prepared: Vec::new(),
        })
    }

    async fn send(&mut self, request: &Request) -> anyhow::Result<Reply> {
        let (call, parameters) = &request.statement;
        let statement = self.prepare(call).await?;
        let parameters = parameters.iter().map(|parameter| &**parameter as _).collect::<Vec<_>>();
        let row = self.client.query_one(&statement, &parameters).await?;
        let (outcome, body): (String, Option<String>) = (row.get(0), row.get(1));
        Ok(Reply {
            is_ok: outcome == "ok",
            status: outcome,
            body: body.unwrap_or_default().into(),
        })
    }

    async fn prepare(&mut self, call: &'static str) -> anyhow::Result<Statement> {
        if let Some((_, statement)) = self.prepared.iter().find(|(known, _)| *known == call) {
            return Ok(statement.clone());
        }
        // The columns that the component selects.
        let rest = match call.split_once('_') {
            Some(("list", _)) => ", count, page, pages",
            Some(("get", _)) => "",
            _ => ", replayed",
        };
        let text = format!("select outcome, body{rest} from {}", function_call(call));
        let statement = self.client.prepare(&text).await?;
        self.prepared.push((call, statement.clone()));
        Ok(statement)
    }
}

/// Opens a connection to a server.
pub(crate) async fn connect(url: &Url) -> anyhow::Result<SendRequest<Full<Bytes>>> {
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
