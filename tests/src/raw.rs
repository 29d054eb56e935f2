use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::App;

/// Longer than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client that writes bytes by hand, as slowly and as wrongly as a test wants.
pub struct RawClient {
    stream: TcpStream,
    received: Vec<u8>,
}

/// A response, as it came.
#[derive(Debug)]
pub struct RawResponse {
    /// Its status.
    pub status: u16,
    /// Everything above its body.
    pub head: String,
    /// Its body.
    pub body: Vec<u8>,
}

impl RawClient {
    /// Opens a connection to any address.
    ///
    /// # Panics
    /// Nothing listens there.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.expect("the service listens"))
    }

    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a socket has options");
        Self {
            stream,
            received: Vec::new(),
        }
    }

    /// Sends bytes. What fails here fails because the service has closed the connection, which a test sees when it reads.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.ok();
    }

    /// Closes the writing side: the client sends nothing more, and still reads.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.ok();
    }

    /// Goes away at once, as a program that is killed does.
    pub fn reset(self) {
        self.stream.set_zero_linger().expect("a socket has options");
    }

    /// Reads the next response; `None` if the service has closed the connection instead.
    ///
    /// # Panics
    /// If neither comes.
    pub async fn response(&mut self) -> Option<RawResponse> {
        self.read_response(false).await
    }

    /// Reads the response to a HEAD.
    pub async fn response_to_head(&mut self) -> Option<RawResponse> {
        self.read_response(true).await
    }

    async fn read_response(&mut self, to_head: bool) -> Option<RawResponse> {
        let end = loop {
            match self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None if self.receive().await => {}
                None => return None,
            }
        };
        let head = String::from_utf8(self.received.drain(..end).collect()).expect("a head is ASCII");
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status: {head}"));
        let mut response = RawResponse {
            status,
            head,
            body: Vec::new(),
        };
        if !to_head && status >= 200 && ![204, 304].contains(&status) {
            let length = response.header("content-length").parse();
            let length = length.unwrap_or_else(|_| panic!("no length: {}", response.head));
            while self.received.len() < length {
                assert!(self.receive().await, "the body ends early: {}", response.head);
            }
            response.body = self.received.drain(..length).collect();
        }
        Some(response)
    }

    /// Reads until the service closes the connection, and returns what had not been read.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.receive().await {}
        std::mem::take(&mut self.received)
    }

    async fn receive(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.received)).await;
        // A reset is an end as well.
        read.expect("the service answers or closes the connection").unwrap_or(0) > 0
    }
}

impl RawResponse {
    /// The values of a header, with commas between them.
    pub fn header(&self, name: &str) -> String {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let values = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values.map(|(_, value)| value.trim()).collect::<Vec<_>>().join(", ")
    }

    /// The JSON body.
    ///
    /// # Panics
    /// If it has none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of an error, after checking that it looks like every other error; empty for a response without a body.
    ///
    /// # Panics
    /// If it does not.
    pub fn code(&self) -> String {
        if self.status < 400 || self.body.is_empty() {
            return String::new();
        }
        let body = self.json();
        assert_eq!(body["request_id"], self.header("x-request-id").as_str(), "{self:?}");
        assert_eq!(self.header("x-content-type-options"), "nosniff", "{self:?}");
        assert!(body.as_object().is_some_and(|body| body.len() > 2), "no text: {self:?}");
        assert!(!self.header("date").is_empty(), "{self:?}");
        body["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl App {
    /// The address that the service listens on.
    pub fn address(&self) -> SocketAddr {
        let address = self.base.trim_start_matches("http://").parse();
        address.expect("an address and a port")
    }

    /// Opens a connection.
    pub async fn connection(&self) -> RawClient {
        RawClient::connect(self.address()).await
    }

    /// Opens a connection from another address of this machine, such as `127.0.0.2`. It is no trusted
    /// proxy, as `127.0.0.1` is.
    pub async fn connection_from(&self, client: [u8; 4]) -> RawClient {
        RawClient::new(self.socket(client).await)
    }

    /// The socket of such a connection.
    pub async fn socket(&self, client: [u8; 4]) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((client, 0).into()).expect("an address of this machine");
        socket.connect(self.address()).await.expect("the service listens")
    }
}
