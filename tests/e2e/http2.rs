//! HTTP/2 with prior knowledge, as load balancers speak it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::{join_all, poll_fn};
use h2::client::{self, SendRequest};
use http::{Request, Response, Version};
use rstest::rstest;
use serde_json::{Value, json};
use sugang_tests::{App, EXAM, Item, PASSWORD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::support::payment;

const PATIENCE: Duration = Duration::from_secs(30);

/// A connection, and the task that drives it.
struct Client {
    send: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    async fn connect(app: &App) -> Self {
        Self::with(app, &client::Builder::new()).await
    }

    async fn with(app: &App, builder: &client::Builder) -> Self {
        let stream = TcpStream::connect(app.address()).await.expect("the service listens");
        let (send, connection) = builder.handshake(stream).await.expect("it speaks HTTP/2");
        Self {
            send,
            connection: tokio::spawn(connection),
        }
    }

    async fn ready(&self) -> SendRequest<Bytes> {
        self.send.clone().ready().await.expect("the connection is open")
    }

    async fn call(&self, request: http::request::Builder, body: &[u8]) -> Response<Vec<u8>> {
        let request = request.version(Version::HTTP_2).body(()).expect("a request");
        let (response, mut stream) = self
            .ready()
            .await
            .send_request(request, body.is_empty())
            .expect("a stream");
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body), true).expect("a body");
        }
        let response = timeout(PATIENCE, response).await.expect("in time").expect("a response");
        let (head, mut body) = response.into_parts();
        let mut whole = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.expect("a body");
            body.flow_control().release_capacity(data.len()).expect("it was taken");
            whole.extend_from_slice(&data);
        }
        Response::from_parts(head, whole)
    }
}

fn get(app: &App, path: &str) -> http::request::Builder {
    Request::get(format!("{}{path}", app.base))
}

fn code(response: &Response<Vec<u8>>) -> String {
    let body: Value = serde_json::from_slice(response.body()).expect("a JSON body");
    assert_eq!(body["request_id"], response.headers()["x-request-id"].to_str().unwrap());
    body["code"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn requests_are_answered_as_over_http_1() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    for _ in 0..21 {
        app.add(EXAM, Item::default()).await;
    }
    let client = Client::connect(&app).await;
    let bearer = format!("Bearer {}", minsu.access);
    let list = client
        .call(get(&app, "/tests/").header("authorization", &bearer), b"")
        .await;
    assert_eq!((list.status().as_u16(), list.version()), (200, Version::HTTP_2));
    let list: Value = serde_json::from_slice(list.body()).unwrap();
    assert_eq!(list["next"], format!("{}/tests/?page=2", app.base));

    let body = payment("45000.00", "card").to_string();
    let register = Request::post(format!("{}{}", app.base, EXAM.register(1)))
        .header("authorization", &bearer)
        .header("content-type", "application/json");
    assert_eq!(client.call(register, body.as_bytes()).await.status(), 201);

    let logins = join_all((0..8).map(|_| {
        let account = json!({"email": minsu.email, "password": PASSWORD}).to_string();
        let login = Request::post(format!("{}/login/", app.base)).header("content-type", "application/json");
        let client = &client;
        async move { client.call(login, account.as_bytes()).await.status().as_u16() }
    }));
    assert_eq!(logins.await, [200; 8]);

    let get_page = client.call(get(&app, "/api/docs/swagger-ui-bundle.js"), b"").await;
    let head = Request::head(format!("{}/api/docs/swagger-ui-bundle.js", app.base));
    let head = client.call(head, b"").await;
    assert_eq!(
        head.headers()["content-length"],
        get_page.body().len().to_string().as_str()
    );
    assert!(head.body().is_empty() && get_page.body().len() > 1 << 20);
    assert_eq!(client.call(get(&app, "/nope/"), b"").await.status(), 404);
}

/// The host stands in `:authority`.
#[tokio::test]
async fn a_host_that_is_not_allowed_is_refused() {
    let app = App::with("allowed_hosts", "127.0.0.1").start().await;
    let client = Client::connect(&app).await;
    assert_eq!(client.call(get(&app, "/nope/"), b"").await.status(), 404);
    let evil = client.call(Request::get("http://evil.example/nope/"), b"").await;
    assert_eq!(
        (evil.status().as_u16(), code(&evil).as_str()),
        (400, "host_not_allowed")
    );
}

#[tokio::test]
async fn malformed_requests_are_refused() {
    let app = App::start().await;
    let client = Client::connect(&app).await;
    let other = client
        .call(get(&app, "/tests/").header("host", "other.example"), b"")
        .await;
    assert_eq!((other.status().as_u16(), code(&other).as_str()), (400, "bad_request"));
    let expecting = client.call(get(&app, "/tests/").header("expect", "tea"), b"").await;
    assert_eq!(
        (expecting.status().as_u16(), code(&expecting).as_str()),
        (417, "expectation_failed")
    );
    let long = Request::post(format!("{}/login/", app.base)).header("content-type", "application/json");
    let long = client.call(long, &vec![b' '; 100_000]).await;
    assert_eq!(
        (long.status().as_u16(), code(&long).as_str()),
        (413, "payload_too_large")
    );
    assert_eq!(
        client.call(get(&app, "/healthz"), b"").await.status(),
        200,
        "the connection is kept"
    );
}

#[tokio::test]
async fn a_slow_body_has_a_deadline() {
    let app = App::limited(|limits| {
        limits.cpu_bound_requests = 1;
        limits.body_timeout = Duration::from_millis(700);
    })
    .await;
    let minsu = app.user("minsu").await;
    let client = Client::connect(&app).await;
    let login = || Request::post(format!("{}/login/", app.base)).header("content-type", "application/json");
    let (slow, _stream) = client
        .ready()
        .await
        .send_request(login().body(()).unwrap(), false)
        .unwrap();
    let account = json!({"email": minsu.email, "password": PASSWORD}).to_string();
    assert_eq!(
        client.call(login(), account.as_bytes()).await.status(),
        200,
        "it takes no place"
    );
    let slow = timeout(PATIENCE, slow).await.unwrap().unwrap();
    assert_eq!(slow.status(), 408);
}

#[tokio::test]
async fn a_client_that_does_not_read_takes_no_place_and_is_disconnected() {
    let app = App::limited(|limits| {
        limits.requests = 1;
        limits.write_timeout = Duration::from_secs(2);
    })
    .await;
    // It never grants more than it has at the beginning.
    let client = Client::connect(&app).await;
    let mut responses = Vec::new();
    for _ in 0..20 {
        let request = get(&app, "/api/docs/swagger-ui-bundle.js").body(()).unwrap();
        let (response, _) = client.ready().await.send_request(request, true).unwrap();
        responses.push(response);
    }
    sleep(Duration::from_millis(500)).await;
    let answer = timeout(Duration::from_secs(5), app.get("/api/docs/").into_future()).await;
    assert_eq!(answer.expect("others are served").status, 200);
    let begun = Instant::now();
    let ended = timeout(Duration::from_secs(15), client.connection).await;
    assert!(ended.is_ok(), "it is still connected after {:?}", begun.elapsed());
    drop(responses);
}

/// A client that grants each response one byte: the connection has all of it, and its client has nothing.
#[rstest]
#[case::a_file("/api/docs/swagger-ui-bundle.js")]
#[case::a_list("/tests/")]
#[tokio::test]
async fn a_client_that_grants_one_byte_is_disconnected(#[case] path: &str) {
    let app = App::limited(|limits| {
        limits.requests = 1;
        limits.write_timeout = Duration::from_secs(8);
    })
    .await;
    let minsu = app.user("minsu").await;
    for _ in 0..20 {
        app.add(EXAM, Item::default()).await;
    }
    let client = Client::with(&app, client::Builder::new().initial_window_size(1)).await;
    let bearer = format!("Bearer {}", minsu.access);
    let mut responses = Vec::new();
    for _ in 0..20 {
        let request = get(&app, path).header("authorization", &bearer).body(()).unwrap();
        let (response, _) = client.ready().await.send_request(request, true).unwrap();
        responses.push(response);
    }
    let heads = join_all(&mut responses).await;
    assert!(
        heads
            .iter()
            .all(|head| head.as_ref().is_ok_and(|head| head.status() == 200))
    );
    assert_eq!(app.get(path).by(&minsu).await.status, 200, "others are served");
    let ended = timeout(Duration::from_secs(30), client.connection).await;
    assert!(ended.is_ok(), "it is still connected");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let app = App::limited(|limits| limits.idle_timeout = Duration::from_millis(800)).await;
    let client = Client::connect(&app).await;
    assert_eq!(client.call(get(&app, "/healthz"), b"").await.status(), 200);
    let ended = timeout(Duration::from_secs(10), client.connection).await;
    assert!(ended.expect("it ends").unwrap().is_ok(), "with GOAWAY and no error");
}

/// CVE-2023-44487: requests that are taken back at once cost the client nothing and the server much.
#[tokio::test]
async fn a_client_that_resets_its_requests_is_disconnected() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    // HEADERS of `GET http://x/`, with the indexed fields of the static table, then RST_STREAM.
    for number in 0..2_000_u32 {
        let id = (2 * number + 1).to_be_bytes();
        let mut frames = vec![
            0, 0, 6, 1, 5, id[0], id[1], id[2], id[3], 0x82, 0x86, 0x84, 0x41, 1, b'x',
        ];
        frames.extend([0, 0, 4, 3, 0, id[0], id[1], id[2], id[3], 0, 0, 0, 8]);
        if stream.write_all(&frames).await.is_err() {
            break;
        }
    }
    let mut received = Vec::new();
    let closed = timeout(PATIENCE, stream.read_to_end(&mut received)).await;
    assert!(closed.is_ok(), "the connection is closed");
    assert_eq!(app.get("/tests/").by(&minsu).await.status, 200);
}

/// Frames that cost the client nothing, as fast as it can write them, without reading a reply.
#[rstest]
#[case::pings(&[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8], false)]
#[case::settings(&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 1, 0, 0, 16, 0], false)]
#[case::window_updates(&[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1], false)]
#[case::priorities(&[0, 0, 5, 2, 0, 0, 0, 0, 1, 0, 0, 0, 3, 16], false)]
#[case::unknown(&[0, 0, 0, 0x20, 0, 0, 0, 0, 0], false)]
// CVE-2024-27316: HEADERS whose end never comes.
#[case::continuations(&[0, 0, 1, 9, 0, 0, 0, 0, 1, 0x82], true)]
#[case::empty_continuations(&[0, 0, 0, 9, 0, 0, 0, 0, 1], true)]
#[tokio::test]
async fn a_flood_of_frames_does_not_stop_others(#[case] frame: &[u8], #[case] begins_headers: bool) {
    let app = App::limited(|limits| limits.head_timeout = Duration::from_secs(2)).await;
    let minsu = app.user("minsu").await;
    let flood = async || {
        let mut stream = TcpStream::connect(app.address()).await.unwrap();
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
        if begins_headers {
            bytes.extend([0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82]);
        }
        let frames = frame.repeat(1_000);
        stream.write_all(&bytes).await.ok();
        while stream.write_all(&frames).await.is_ok() {}
    };
    // A flood of headers ends by itself.
    let lasts = Duration::from_secs(if begins_headers { 30 } else { 1 });
    let floods = timeout(lasts, join_all((0..4).map(|_| flood())));
    let honest = async {
        for _ in 0..10 {
            let answer = timeout(Duration::from_secs(5), app.get("/tests/").by(&minsu).into_future()).await;
            assert_eq!(answer.expect("others are served").status, 200);
        }
    };
    let (ended, ()) = futures::future::join(floods, honest).await;
    assert!(ended.is_ok() || !begins_headers, "headers without an end have a bound");
}

#[tokio::test]
async fn a_connection_has_a_bound_of_concurrent_requests() {
    let app = App::limited(|limits| limits.streams = 3).await;
    let client = Client::connect(&app).await;
    assert_eq!(client.call(get(&app, "/healthz"), b"").await.status(), 200);
    assert_eq!(client.send.current_max_send_streams(), 3);
    let all = join_all((0..20).map(|_| async {
        let mut send = client.send.clone();
        poll_fn(|context| send.poll_ready(context)).await.unwrap();
        client.call(get(&app, "/healthz"), b"").await.status().as_u16()
    }));
    assert_eq!(all.await, [200; 20], "further ones wait");
}

/// `GOAWAY`, and the requests in flight end first.
#[tokio::test]
async fn a_connection_ends_in_order_when_the_service_stops() {
    let mut app = App::start().await;
    let client = Client::connect(&app).await;
    assert_eq!(client.call(get(&app, "/healthz"), b"").await.status(), 200);
    let request = get(&app, "/api/docs/swagger-ui-bundle.js").body(()).unwrap();
    let (response, _) = client.ready().await.send_request(request, true).unwrap();
    let response = response.await.unwrap();
    let read = async {
        sleep(Duration::from_millis(200)).await;
        let mut body = response.into_body();
        let mut length = 0;
        while let Some(data) = body.data().await {
            let data = data.expect("the rest of the body");
            body.flow_control().release_capacity(data.len()).unwrap();
            length += data.len();
        }
        length
    };
    let (length, ()) = futures::future::join(read, app.restart()).await;
    assert!(length > 1 << 20, "{length}");
    drop(client.send);
    assert!(timeout(PATIENCE, client.connection).await.unwrap().unwrap().is_ok());
}
