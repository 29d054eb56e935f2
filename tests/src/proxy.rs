use std::net::SocketAddr;

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
    /// Keeps what is open and takes what is opened, but passes nothing on until it is up again, as a frozen server does.
    Hung,
}

/// Stands between the service and one store.
pub struct Proxy {
    url: Url,
    link: watch::Sender<Link>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens in front of the store at `target`.
    pub(crate) async fn in_front_of(target: &Url) -> anyhow::Result<Self> {
        let default_port = if target.scheme().starts_with("postgres") {
            5432
        } else {
            6379
        };
        let host = target.host_str().context("the store's URL has a host")?.to_owned();
        let port = target.port().unwrap_or(default_port);
        let (link, watched) = watch::channel(Link::Up);
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let mut url = target.clone();
        url.set_host(Some("127.0.0.1"))?;
        url.set_port(Some(listener.local_addr()?.port()))
            .ok()
            .context("the store's URL can have a port")?;
        let accepting = runtime().spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, (host.clone(), port), watched.clone()));
            }
        });
        Ok(Self { url, link, accepting })
    }

    /// Where the service finds the store now.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Changes the link, of open connections and of those to come.
    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(client: TcpStream, target: (String, u16), link: watch::Receiver<Link>) {
    let mut cut = link.clone();
    let both_ways = async {
        let store = TcpStream::connect(target).await?;
        // One byte more or less must not wait for another: the measured wait is then the service's own.
        client.set_nodelay(true)?;
        store.set_nodelay(true)?;
        let (client_read, client_write) = client.into_split();
        let (store_read, store_write) = store.into_split();
        tokio::try_join!(
            copy(client_read, store_write, link.clone()),
            copy(store_read, client_write, link)
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
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let n = from.read(&mut buffer).await?;
        if n == 0 {
            return to.shutdown().await;
        }
        if link.wait_for(|link| *link != Link::Hung).await.is_err() {
            return Ok(());
        }
        to.write_all(&buffer[..n]).await?;
    }
}
