use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use url::Url;

use crate::runtime;

/// What a [`Proxy`] does with its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Passes everything on.
    Up,
    /// Ends what is open and closes what is opened.
    Cut,
    /// Passes everything on, this many milliseconds later in each direction.
    Slow(u64),
    /// Keeps what is open and takes what is opened, but passes nothing on until it is up again, as a frozen server does.
    Hung,
}

/// Stands between the service and one store.
pub struct Proxy {
    url: Url,
    target: watch::Sender<(String, u16)>,
    link: watch::Sender<Link>,
    /// How often the network has lost all connections.
    losses: watch::Sender<u64>,
    executed: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens in front of the store at `target`.
    ///
    /// # Errors
    /// The URL has no host, or there is no free port.
    pub async fn in_front_of(target: &Url) -> anyhow::Result<Self> {
        let (leads_to, target_now) = watch::channel(address(target)?);
        let (link, watched) = watch::channel(Link::Up);
        let (losses, lost) = watch::channel(0);
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let mut url = target.clone();
        url.set_host(Some("127.0.0.1"))?;
        url.set_port(Some(listener.local_addr()?.port()))
            .ok()
            .context("the store's URL can have a port")?;
        let executed = Arc::new(AtomicU64::new(0));
        let counted = target.scheme().starts_with("postgres");
        let counter = executed.clone();
        let accepting = runtime().spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let statements = counted.then(|| Statements::new(counter.clone()));
                let (before, mut lost) = (*lost.borrow(), lost.clone());
                let target = target_now.borrow().clone();
                let passing = pass(client, target, watched.clone(), statements);
                tokio::spawn(async move {
                    let mut passing = std::pin::pin!(passing);
                    let lost = async { lost.wait_for(|losses| *losses > before).await.is_ok() };
                    let is_lost = tokio::select! {
                        () = &mut passing => false,
                        is_lost = lost => is_lost,
                    };
                    if is_lost {
                        // The sockets stay open, and nothing passes them any more.
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        Ok(Self {
            url,
            target: leads_to,
            link,
            losses,
            executed,
            accepting,
        })
    }

    /// The statements that the service has sent to PostgreSQL until now.
    pub fn statements(&self) -> u64 {
        self.executed.load(Ordering::Relaxed)
    }

    /// Where the service finds the store now.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Leads connections that are opened from now on to another store, as an address does that follows the primary.
    ///
    /// # Panics
    /// The URL has no host.
    pub fn lead_to(&self, target: &Url) {
        self.target.send_replace(address(target).expect("a store's URL"));
    }

    /// Loses all open connections as a network does, without a word to either side. Those to come work.
    pub fn lose_connections(&self) {
        self.losses.send_modify(|losses| *losses += 1);
    }

    /// Changes the link, of open connections and of those to come.
    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }
}

fn address(store: &Url) -> anyhow::Result<(String, u16)> {
    let host = store.host_str().context("the store's URL has a host")?;
    let default_port = if store.scheme().starts_with("postgres") {
        5432
    } else {
        6379
    };
    Ok((host.to_owned(), store.port().unwrap_or(default_port)))
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Reads along what a client tells PostgreSQL.
struct Statements {
    executed: Arc<AtomicU64>,
    /// The type and length of a message, as far as they were read. The first message has no type.
    head: Vec<u8>,
    typed: bool,
    /// Bytes of the message that are still to come.
    body: usize,
}

impl Statements {
    fn new(executed: Arc<AtomicU64>) -> Self {
        Self {
            executed,
            head: Vec::new(),
            typed: false,
            body: 0,
        }
    }

    fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let passed = self.body.min(bytes.len());
            self.body -= passed;
            bytes = &bytes[passed..];
            let Some((&byte, rest)) = bytes.split_first() else {
                return;
            };
            self.head.push(byte);
            bytes = rest;
            let type_length = usize::from(self.typed);
            let Some(length) = self.head.get(type_length..).and_then(|length| length.try_into().ok()) else {
                continue;
            };
            // The length counts itself. A simple query, or the execution of a prepared one.
            self.body = u32::from_be_bytes(length) as usize - 4;
            // A request for TLS, before the first message proper. The tests' store refuses it, and both go on in plain.
            let asks_for_tls = !self.typed && self.body == 4;
            if self.typed && matches!(self.head[0], b'Q' | b'E') {
                self.executed.fetch_add(1, Ordering::Relaxed);
            }
            self.typed = !asks_for_tls;
            self.head.clear();
        }
    }
}

async fn pass(client: TcpStream, target: (String, u16), link: watch::Receiver<Link>, statements: Option<Statements>) {
    let mut cut = link.clone();
    let both_ways = async {
        let store = TcpStream::connect(target).await?;
        // Without a delay of its own, so that a measured wait is the service's.
        client.set_nodelay(true)?;
        store.set_nodelay(true)?;
        let (client_read, client_write) = client.into_split();
        let (store_read, store_write) = store.into_split();
        tokio::try_join!(
            copy(client_read, store_write, link.clone(), statements),
            copy(store_read, client_write, link, None)
        )
    };
    tokio::select! {
        _ = both_ways => {}
        _ = cut.wait_for(|link| *link == Link::Cut) => {}
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut link: watch::Receiver<Link>,
    mut statements: Option<Statements>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return to.shutdown().await;
        }
        let Ok(now) = link.wait_for(|link| *link != Link::Hung).await.map(|link| *link) else {
            return Ok(());
        };
        if let Link::Slow(ms) = now {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        if let Some(statements) = &mut statements {
            statements.read(&buffer[..n]);
        }
        to.write_all(&buffer[..n]).await?;
    }
}
