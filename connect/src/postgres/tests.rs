//! Connections to stand-ins of PostgreSQL.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;

const SSL_REQUEST: [u8; 4] = [4, 210, 22, 47];

/// The addresses of a name: this machine has all of them.
fn addresses<const N: usize>(port: u16, last: [u8; N]) -> Vec<SocketAddr> {
    last.map(|last| SocketAddr::from(([127, 0, 0, last], port))).to_vec()
}

/// Answers like a PostgreSQL without TLS, which lets each user in or refuses all of them. Counts what asks for TLS, and
/// what logs in.
#[derive(Clone, Default)]
struct StandIn {
    refuses: bool,
    asked: Arc<AtomicUsize>,
    logins: Arc<AtomicUsize>,
}

impl StandIn {
    /// Listens, and returns its port.
    async fn listen(&self) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stand_in = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(stand_in.clone().serve(stream));
            }
        });
        port
    }

    async fn serve(self, mut stream: TcpStream) {
        while let Ok(length) = stream.read_u32().await {
            let mut packet = vec![0; length as usize - 4];
            stream.read_exact(&mut packet).await.unwrap();
            if packet == SSL_REQUEST {
                self.asked.fetch_add(1, Relaxed);
                stream.write_all(b"N").await.unwrap();
                continue;
            }
            self.logins.fetch_add(1, Relaxed);
            let answer: &[u8] = match self.refuses {
                true => b"E\0\0\0\x23SFATAL\0VFATAL\0C28P01\0Mrefused\0\0",
                false => b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I",
            };
            stream.write_all(answer).await.unwrap();
            // The connection stays open until the other side ends it.
            _ = stream.read_to_end(&mut Vec::new()).await;
        }
    }
}

fn connector(url: &str, limit: Duration) -> Connector {
    let mut connector = Connector::new(PostgresUrl::parse(url, "").unwrap()).unwrap();
    connector.config.connect_timeout(limit);
    connector
}

/// Connects to the first host of a URL as if its name had these addresses.
async fn connected(connector: &Connector, addresses: &[SocketAddr]) -> Result<SocketAddr, String> {
    let limit = connector.config.get_connect_timeout().copied();
    let connecting = connector.connect_to_any(&connector.targets[0], addresses.to_vec(), limit);
    match connecting.await {
        Ok(opened) => Ok(opened.server.unwrap().address),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test]
async fn another_address_is_tried_where_one_is_silent_or_refuses() {
    const LIMIT: Duration = Duration::from_secs(2);
    let port = StandIn::default().listen().await;
    // The kernel takes the connection, and nothing answers.
    let silent = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let connector = connector("postgres://u@name/db", LIMIT);
    let [good, hung, closed]: [SocketAddr; 3] = addresses(port, [1, 2, 3]).try_into().unwrap();

    let began = Instant::now();
    assert_eq!(connected(&connector, &[closed, good]).await, Ok(good));
    assert!(began.elapsed() < LIMIT / 2, "a refusal costs no time");
    let began = Instant::now();
    assert_eq!(connected(&connector, &[hung, good]).await, Ok(good));
    assert!(began.elapsed() >= LIMIT / 2 && began.elapsed() < LIMIT);
    let began = Instant::now();
    assert_eq!(connected(&connector, &[hung, good]).await, Ok(good));
    assert!(began.elapsed() < LIMIT / 2, "it is remembered");
    drop(silent);
}

#[tokio::test]
async fn an_address_that_is_slow_is_not_given_up() {
    let port = StandIn::default().listen().await;
    let silent = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
    let connector = connector("postgres://u@name/db", Duration::from_secs(1));
    let [good, slow, hung]: [SocketAddr; 3] = addresses(port, [1, 2, 3]).try_into().unwrap();
    let other = TcpListener::bind(hung).await.unwrap();
    // It answers after its share of the time, and the next address never does.
    let passing = async {
        let (mut client, _) = silent.accept().await.unwrap();
        tokio::time::sleep(Duration::from_millis(700)).await;
        let mut server = TcpStream::connect(good).await.unwrap();
        _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    };
    let addresses = [slow, hung];
    let connected = tokio::select! {
        connected = connected(&connector, &addresses) => connected,
        () = passing => unreachable!("the connection is open"),
    };
    assert_eq!(connected, Ok(slow));
    drop(other);
}

#[tokio::test]
async fn a_server_that_is_silent_leaves_time_to_the_next_one() {
    const LIMIT: Duration = Duration::from_millis(300);
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (hung, good) = (silent.local_addr().unwrap().port(), StandIn::default().listen().await);
    let one = connector(&format!("postgres://u@127.0.0.1:{hung}/db"), LIMIT);
    let error = one.connect().await.err().unwrap().to_string();
    assert_eq!(error, "error connecting to server: no answer within 300ms");
    let both = connector(&format!("postgres://u@127.0.0.1:{hung},127.0.0.1:{good}/db"), LIMIT);
    let opened = both.connect().await.ok().unwrap();
    assert_eq!(opened.server.unwrap().address.port(), good);
}

#[tokio::test]
async fn what_a_server_says_is_told_rather_than_that_another_one_is_down() {
    let stand_in = StandIn {
        refuses: true,
        ..StandIn::default()
    };
    let port = stand_in.listen().await;
    let connector = connector("postgres://u@name/db", Duration::from_secs(2));
    for last in [[1, 3], [3, 1]] {
        let error = connected(&connector, &addresses(port, last)).await.unwrap_err();
        assert_eq!(error, "db error: FATAL: refused");
    }
    let error = connected(&connector, &addresses(port, [3, 4])).await.unwrap_err();
    assert!(error.contains("Connection refused"), "{error}");
}

/// As in libpq.
#[tokio::test]
async fn a_socket_ignores_sslmode_and_the_host_beside_it_does_not() {
    let new = |url: &str| Connector::new(PostgresUrl::parse(url, "").unwrap());
    for mode in ["require", "verify-ca", "verify-full"] {
        let files = format!("sslmode={mode}&sslrootcert=/nowhere");
        assert!(new(&format!("postgres://u@%2Fnowhere,%2Felsewhere/db?{files}")).is_ok());
        let error = new(&format!("postgres://u@%2Fnowhere,name/db?{files}")).err().unwrap();
        assert!(error.to_string().contains("cannot read /nowhere"), "{error}");
        let error = new(&format!("postgres://u@%2Fnowhere/db?hostaddr=127.0.0.1&{files}")).err();
        assert!(error.is_some(), "the address is connected to");
    }
    let stand_in = StandIn::default();
    let port = stand_in.listen().await;
    let url = format!("postgres://u@%2Fnowhere,127.0.0.1:{port}/db");
    let error = connector(&format!("{url}?sslmode=require"), Duration::from_secs(2))
        .connect()
        .await;
    let error = error.err().unwrap().to_string();
    assert!(error.contains("server does not support TLS"), "{error}");
    assert_eq!((stand_in.asked.load(Relaxed), stand_in.logins.load(Relaxed)), (1, 0));
    assert!(connector(&url, Duration::from_secs(2)).connect().await.is_ok());
    assert_eq!((stand_in.asked.load(Relaxed), stand_in.logins.load(Relaxed)), (2, 1));
}
