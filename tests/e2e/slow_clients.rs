//! Clients that send or read slowly, or do nothing: they take no place of others, and not for long.

use std::{
    future::IntoFuture,
    time::{Duration, Instant},
};

use futures::future::join_all;
use rstest::rstest;
use serde_json::json;
use sugang_tests::{App, PASSWORD, RawClient, User};
use tokio::time::{sleep, timeout};

use crate::support::{tally, while_registering};

/// Longer than a response takes on a busy machine, and shorter than the time that slow clients have in these tests.
const PROMPT: Duration = Duration::from_secs(5);

/// A request whose body does not come.
fn begun(path: &str, user: &User) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer {}\r\n\
         Content-Length: 100\r\n\r\n{{",
        user.access
    )
}

/// Sends a byte from time to time until the service answers, and returns the status.
async fn drip(client: &mut RawClient, byte: &str, pause: Duration) -> Option<u16> {
    loop {
        client.send(byte).await;
        if let Ok(response) = timeout(pause, client.response()).await {
            let response = response?;
            assert!(
                response.status != 408 || response.code() == "request_timeout",
                "{response:?}"
            );
            return Some(response.status);
        }
    }
}

#[rstest]
#[tokio::test]
async fn clients_that_send_their_bodies_slowly_take_no_place(
    #[values("/login/", "/api/auth/signup", "/lo%67in/", "/tests/1/apply/", "/token/refresh/")] path: &str,
) {
    let app = App::limited(|limits| {
        (limits.requests, limits.cpu_bound_requests) = (2, 1);
        limits.body_timeout = Duration::from_secs(30);
    })
    .await;
    let minsu = app.user("minsu").await;
    let slow = join_all((0..20).map(|_| async {
        let mut client = app.connection().await;
        client.send(begun(path, &minsu)).await;
        client
    }));
    let slow = slow.await;
    sleep(Duration::from_millis(200)).await;
    let account = json!({"email": minsu.email, "password": PASSWORD});
    let answers = timeout(
        PROMPT,
        join_all([
            app.post("/login/").json(&account).into_future(),
            app.get("/tests/").by(&minsu).into_future(),
            app.get("/healthz").into_future(),
        ]),
    );
    assert_eq!(tally(&answers.await.expect("others are served")), [(200, 3)]);
    drop(slow);
}

/// Negative control: a request that is whole does take the only place.
#[tokio::test]
async fn whole_requests_take_the_places_except_those_of_probes() {
    let app = App::limited(|limits| {
        limits.requests = 1;
        limits.request_wait_timeout = Duration::from_millis(200);
    })
    .await;
    let minsu = app.user("minsu").await;
    while_registering(&app, &minsu, async {
        assert_eq!(app.get("/tests/").by(&minsu).await.status, 503);
        for path in ["/healthz", "/readyz/", "/health%7a"] {
            assert_eq!(app.get(path).await.status, 200, "{path}");
        }
        assert_eq!(app.call("OPTIONS", "/tests/").await.status, 204);
    })
    .await;
}

#[tokio::test]
async fn a_body_has_a_deadline_and_a_rate() {
    let app = App::limited(|limits| {
        limits.body_timeout = Duration::from_secs(2);
        limits.min_rate = 20;
    })
    .await;
    let minsu = app.user("minsu").await;
    // Nothing comes; a byte comes now and then, which is too slow on average.
    for pause in [Duration::from_secs(30), Duration::from_millis(100)] {
        let mut client = app.connection().await;
        client.send(begun("/tests/1/apply/", &minsu)).await;
        let begun = Instant::now();
        assert_eq!(drip(&mut client, " ", pause).await, Some(408));
        assert!(begun.elapsed() >= Duration::from_millis(1_800), "{:?}", begun.elapsed());
        assert!(begun.elapsed() < 2 * PROMPT, "{:?}", begun.elapsed());
    }
    // A client that is slow, but not that slow.
    let mut client = app.connection().await;
    client.send(begun("/tests/1/apply/", &minsu)).await;
    for _ in 0..33 {
        sleep(Duration::from_millis(75)).await;
        client.send("   ").await;
    }
    assert_eq!(client.response().await.unwrap().status, 400);
    // In chunks, of which the last one does not come.
    let mut client = app.connection().await;
    client
        .send("POST /login/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
        .await;
    let response = client.response().await.unwrap();
    assert_eq!((response.status, response.code().as_str()), (408, "request_timeout"));
    assert_eq!(response.header("connection"), "close");
    assert!(client.rest().await.is_empty());
}

#[tokio::test]
async fn a_head_has_a_deadline_and_an_idle_connection_too() {
    let app = App::limited(|limits| {
        limits.head_timeout = Duration::from_millis(600);
        limits.idle_timeout = Duration::from_secs(4);
    })
    .await;
    // Bytes that come one by one do not move it.
    let mut client = app.connection().await;
    client
        .send("GET /tests/ HTTP/1.1\r\nHost: x\r\nAccept-Language: en\r\nX: ")
        .await;
    let begun = Instant::now();
    assert_eq!(drip(&mut client, "x", Duration::from_millis(50)).await, Some(408));
    assert!(
        (400..4000).contains(&begun.elapsed().as_millis()),
        "{:?}",
        begun.elapsed()
    );

    // A connection without a byte is closed without a word.
    let begun = Instant::now();
    assert!(app.connection().await.rest().await.is_empty());
    assert!(
        (400..4000).contains(&begun.elapsed().as_millis()),
        "{:?}",
        begun.elapsed()
    );

    // Between two requests it is kept longer.
    let mut client = app.connection().await;
    for _ in 0..2 {
        client.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(client.response().await.unwrap().status, 200);
        sleep(Duration::from_millis(900)).await;
    }
    let begun = Instant::now();
    assert!(client.rest().await.is_empty());
    assert!(begun.elapsed() < 2 * PROMPT, "{:?}", begun.elapsed());

    // Empty lines before a request are no request.
    let mut client = app.connection().await;
    assert_eq!(drip(&mut client, "\r\n", Duration::from_millis(50)).await, None);
}

#[tokio::test]
async fn clients_that_do_not_read_take_no_place() {
    let app = App::limited(|limits| {
        (limits.requests, limits.probe_requests) = (2, 1);
        // Less than two of these responses, which therefore must be one.
        limits.response_memory = 2 << 20;
        limits.write_timeout = Duration::from_secs(2);
    })
    .await;
    let minsu = app.user("minsu").await;
    let script = "GET /api/docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n";
    // The first of these kinds is checked below.
    let requests = [
        script.to_owned(),
        script.replace("\r\n\r\n", "\r\nAccept-Encoding: gzip\r\n\r\n"),
        script.replace("\r\n\r\n", "\r\nRange: bytes=0-1000000\r\n\r\n"),
        script.replace("GET", "HEAD"),
        "GET /api/schema/ HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "GET /nowhere/ HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
    ];
    let mut slow = join_all((0..24).map(|n| {
        let (app, requests) = (&app, &requests);
        async move {
            let mut client = app.connection().await;
            let request = &requests[n % requests.len()];
            let many = request.repeat(if n % requests.len() == 0 { 8 } else { 200 });
            _ = timeout(Duration::from_millis(500), client.send(many)).await;
            client
        }
    }))
    .await;
    sleep(Duration::from_millis(500)).await;
    for path in ["/tests/", "/healthz", "/api/docs/"] {
        let answer = timeout(PROMPT, app.get(path).by(&minsu).into_future()).await;
        assert_eq!(answer.expect("others are served").status, 200, "{path}");
    }
    // Their connections end, and they have not got everything.
    sleep(Duration::from_secs(3)).await;
    let whole = app.get("/api/docs/swagger-ui-bundle.js").await.body.len();
    for client in slow.iter_mut().step_by(requests.len()) {
        let received = client.rest().await.len();
        assert!(received < 8 * whole, "{received} of {}", 8 * whole);
    }
    // A client that reads, even if not at once, gets everything.
    let mut client = app.connection().await;
    client.send(script.repeat(2)).await;
    sleep(Duration::from_millis(500)).await;
    for _ in 0..2 {
        assert_eq!(client.response().await.unwrap().body.len(), whole);
    }
}

#[tokio::test]
async fn the_memory_for_waiting_bodies_is_bounded() {
    let app = App::limited(|limits| limits.request_memory = 64 << 10).await;
    let head = "POST /login/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n";
    let mut first = app.connection().await;
    first.send(format!("{head}{}", " ".repeat(50_000))).await;
    sleep(Duration::from_millis(300)).await;
    let mut second = app.connection().await;
    second.send(format!("{head}{}", " ".repeat(50_000))).await;
    let refused = second.response().await.unwrap();
    assert_eq!((refused.status, refused.code().as_str()), (503, "overloaded"));
    // Bodies of usual length are not concerned.
    assert_eq!(app.post("/login/").json_text("{}").await.status, 400);
    first.send(" ".repeat(10_000)).await;
    assert_eq!(first.response().await.unwrap().code(), "malformed_json");
}

#[tokio::test]
async fn an_address_has_a_bound_of_connections() {
    let app = App::limited(|limits| {
        limits.connections_per_address = 4;
        limits.trusted_proxies.clear();
    })
    .await;
    let mut open = join_all((0..4).map(|_| app.connection())).await;
    for client in &mut open {
        client.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(client.response().await.unwrap().status, 200);
    }
    assert!(app.connection().await.rest().await.is_empty());
    drop(open);
    let begun = Instant::now();
    loop {
        let mut client = app.connection().await;
        client.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        if client.response().await.is_some_and(|response| response.status == 200) {
            break;
        }
        assert!(begun.elapsed() < PROMPT, "closed connections count on");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_trusted_proxy_has_no_bound_of_connections() {
    let app = App::limited(|limits| {
        limits.connections_per_address = 1;
        limits.trusted_proxies = vec![[127, 0, 0, 1].into()];
    })
    .await;
    let mut open = join_all((0..4).map(|_| app.connection())).await;
    for client in &mut open {
        client.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert_eq!(client.response().await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn the_service_stops_in_time_with_slow_clients_around() {
    let mut app = App::limited(|limits| limits.shutdown_timeout = Duration::from_secs(5)).await;
    let minsu = app.user("minsu").await;
    let script = "GET /api/docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n";
    let bytes = [
        "",
        "GET /tests/ HT",
        &begun("/login/", &minsu),
        &script.repeat(8),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    let mut clients = Vec::new();
    for bytes in bytes {
        let mut client = app.connection().await;
        client.send(bytes).await;
        clients.push(client);
    }
    sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    app.restart().await;
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    for mut client in clients {
        client.rest().await;
    }
    assert_eq!(app.get("/tests/").by(&minsu).await.status, 200);
}
