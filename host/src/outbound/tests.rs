//! The client, against servers on this machine.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use bytes::Bytes;
use http_body_util::{Empty, Full};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::*;

/// Long enough for anything that happens at once on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// A time that passes in a test.
const SHORT: Duration = Duration::from_millis(50);

/// A server that answers each connection by this.
async fn server<A, F>(answer: A) -> SocketAddr
where
    A: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    address
}

/// A server that reads a request, writes this text, and keeps the connection.
async fn server_of(text: &'static str) -> SocketAddr {
    server(async move |mut stream: TcpStream| {
        while stream.read(&mut [0; 4096]).await? > 0 {
            stream.write_all(text.as_bytes()).await?;
        }
        Ok(())
    })
    .await
}

fn client(entry: &str, limits: OutboundLimits) -> Client {
    let allowed = AllowedHosts::parse(&[entry.to_owned()]).unwrap();
    Client::new(Arc::new(allowed), &limits).unwrap()
}

fn local(limits: OutboundLimits) -> Client {
    client("http://127.0.0.1:*", limits)
}

fn short() -> OutboundLimits {
    OutboundLimits {
        connect_timeout: SHORT,
        first_byte_timeout: SHORT,
        between_bytes_timeout: SHORT,
        ..OutboundLimits::default()
    }
}

async fn get(client: &Client, url: &str) -> Result<Bytes, Error> {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let request = Request::get(url).body(body).unwrap();
    let exchange = async {
        let response = client.send(request, RequestOptions::default()).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    };
    timeout(PATIENCE, exchange).await.expect("the client has timeouts")
}

/// What a request for `url` fails with.
async fn failure_of(client: &Client, url: &str) -> String {
    format!("{:?}", get(client, url).await.expect_err(url))
}

#[tokio::test]
async fn a_request_arrives_and_connections_are_kept() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let address = server(move |mut stream: TcpStream| {
        counted.fetch_add(1, SeqCst);
        async move {
            let mut request = vec![0; 4096];
            loop {
                let length = stream.read(&mut request).await?;
                let text = String::from_utf8_lossy(&request[..length]).into_owned();
                if length == 0 {
                    return Ok(());
                }
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
                stream.write_all(head.as_bytes()).await?;
            }
        }
    })
    .await;
    let client = local(OutboundLimits::default());
    for _ in 0..3 {
        let body = Full::from("an order").map_err(|never| match never {}).boxed_unsync();
        let request = Request::post(format!("http://{address}/v1/payments?a=b"))
            .body(body)
            .unwrap();
        let response = client.send(request, RequestOptions::default()).await.unwrap();
        let echo = response.into_body().collect().await.unwrap().to_bytes();
        let echo = String::from_utf8_lossy(&echo).into_owned();
        assert!(
            echo.starts_with("POST /v1/payments?a=b HTTP/1.1\r\n") && echo.ends_with("\r\n\r\nan order"),
            "{echo}"
        );
        // The connection goes back to the pool once its task has run.
        sleep(SHORT).await;
    }
    assert_eq!(connections.load(SeqCst), 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let address =
        server_of("HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 5\r\n\r\nthere")
            .await;
    assert_eq!(
        get(&local(short()), &format!("http://{address}/")).await.unwrap(),
        "there"
    );
}

#[tokio::test]
async fn what_the_manifest_does_not_allow_is_not_opened() {
    let address = server_of("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let (url, port) = (format!("http://{address}/"), address.port());
    for (entry, expected) in [
        ("http://127.0.0.2:*", "HttpRequestDenied"),
        ("https://127.0.0.1:*", "HttpRequestDenied"),
        ("http://127.0.0.1:1", "HttpRequestDenied"),
        ("http://*:*", "DestinationIpProhibited"),
        ("*://*:*", "DestinationIpProhibited"),
    ] {
        assert_eq!(failure_of(&client(entry, short()), &url).await, expected, "{entry}");
    }
    let named = client("http://localhost:*", OutboundLimits::default());
    assert_eq!(get(&named, &format!("http://localhost:{port}/")).await.unwrap(), "ok");
    assert_eq!(
        failure_of(&named, &url).await,
        "HttpRequestDenied",
        "another spelling of the same server"
    );
    assert_eq!(
        failure_of(&client("http://*:*", short()), &format!("http://localhost:{port}/")).await,
        "DestinationIpProhibited"
    );
}

#[tokio::test]
async fn a_server_that_fails_is_told_from_one_that_was_not_reached() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = local(short());
    assert_eq!(
        failure_of(&client, &format!("http://{closed}/")).await,
        "ConnectionRefused"
    );
    assert_eq!(
        failure_of(&client, "http://user@127.0.0.1/").await,
        "HttpRequestUriInvalid"
    );
    for (answer, expected) in [
        ("", "ConnectionReadTimeout"),
        ("garbage\r\n\r\n", "HttpProtocolError"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
            "ConnectionReadTimeout",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
            "HttpResponseIncomplete",
        ),
    ] {
        let address = server_of(answer).await;
        assert_eq!(
            failure_of(&client, &format!("http://{address}/")).await,
            expected,
            "{answer}"
        );
    }
    let hangs_up = server(async |mut stream: TcpStream| stream.read(&mut [0; 4096]).await.map(drop)).await;
    assert_eq!(
        failure_of(&client, &format!("http://{hangs_up}/")).await,
        "ConnectionTerminated"
    );
}

#[tokio::test]
async fn a_body_is_bounded() {
    let address = server_of("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789").await;
    let limited = |response_bytes| {
        local(OutboundLimits {
            response_bytes,
            ..OutboundLimits::default()
        })
    };
    let url = format!("http://{address}/");
    assert_eq!(get(&limited(10), &url).await.unwrap(), "0123456789");
    assert_eq!(failure_of(&limited(9), &url).await, "HttpResponseBodySize(None)");
}

#[tokio::test]
async fn a_server_that_hangs_takes_places_of_its_own_alone() {
    let hanging = server_of("").await;
    let other = server_of("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let client = local(OutboundLimits {
        requests: 1,
        connect_timeout: SHORT,
        first_byte_timeout: PATIENCE,
        ..OutboundLimits::default()
    });
    let hanging = format!("http://{hanging}/");
    let waits = get(&client, &hanging);
    let others = async {
        sleep(SHORT).await;
        assert_eq!(failure_of(&client, &hanging).await, "ConnectionLimitReached");
        assert_eq!(get(&client, &format!("http://{other}/")).await.unwrap(), "ok");
    };
    tokio::select! {
        _ = waits => panic!("the server hangs"),
        () = others => {}
    }
}

/// A server with a certificate for `name`, and the file of its authority.
async fn encrypted_server(name: &str) -> (SocketAddr, tempfile::NamedTempFile) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let address = server(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await?;
            while stream.read(&mut [0; 4096]).await? > 0 {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .await?;
            }
            Ok(())
        }
    })
    .await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority.pem()).unwrap();
    (address, file)
}

#[tokio::test]
async fn a_certificate_must_be_trusted_and_for_the_host() {
    let (address, file) = encrypted_server("localhost").await;
    let (_, others) = encrypted_server("localhost").await;
    let client = |authorities: &tempfile::NamedTempFile| {
        let limits = OutboundLimits {
            authorities: Some(authorities.path().to_owned()),
            ..OutboundLimits::default()
        };
        let entries = ["https://localhost:*", "https://127.0.0.1:*"].map(str::to_owned);
        Client::new(Arc::new(AllowedHosts::parse(&entries).unwrap()), &limits).unwrap()
    };
    let url = format!("https://localhost:{}/", address.port());
    assert_eq!(get(&client(&file), &url).await.unwrap(), "ok");
    assert_eq!(failure_of(&client(&others), &url).await, "TlsProtocolError");
    assert_eq!(
        failure_of(&client(&file), &format!("https://{address}/")).await,
        "TlsProtocolError"
    );
}

#[tokio::test]
async fn a_handshake_belongs_to_the_time_of_connecting() {
    let address = server_of("").await;
    let (_, file) = encrypted_server("localhost").await;
    let client = client(
        "https://127.0.0.1:*",
        OutboundLimits {
            connect_timeout: SHORT,
            authorities: Some(file.path().to_owned()),
            ..OutboundLimits::default()
        },
    );
    assert_eq!(
        failure_of(&client, &format!("https://{address}/")).await,
        "ConnectionTimeout"
    );
}

#[tokio::test]
async fn a_file_of_authorities_that_cannot_be_read_stops_the_start() {
    let limits = OutboundLimits {
        authorities: Some("/nowhere.pem".into()),
        ..OutboundLimits::default()
    };
    let start = |entry: &str| Client::new(Arc::new(AllowedHosts::parse(&[entry.to_owned()]).unwrap()), &limits);
    let error = start("https://a.example").err().unwrap().to_string();
    assert!(error.contains("/nowhere.pem"), "{error}");
    assert!(start("http://a.example").is_ok(), "it is read only where it is needed");
}
