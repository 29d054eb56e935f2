//! One address takes what it likes, and leaves the rest to others: memory, places, requests of HTTP/2.
//!
//! The attacker is 127.0.0.2. Everybody else is 127.0.0.1, the machine itself, whose requests are those of many clients.

use std::{
    future::IntoFuture,
    time::{Duration, Instant},
};

use futures::future::join_all;
use h2::client;
use http::Request;
use rstest::rstest;
use sugang_tests::{App, EXAM, Item, RawClient, User};
use tokio::time::{sleep, timeout};

use crate::support::{Hold, add_long_list, payment};

const ATTACKER: [u8; 4] = [127, 0, 0, 2];
const OTHERS: [u8; 4] = [127, 0, 0, 1];
const PROMPT: Duration = Duration::from_secs(5);

fn list(user: &User) -> String {
    format!(
        "GET /tests/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        user.access
    )
}

/// Slow readers of long lists exhaust the memory for responses, if their address has no share of it. With the
/// negative control.
#[rstest]
#[case::of_one_address(ATTACKER, 200)]
#[case::of_all(OTHERS, 503)]
#[tokio::test]
async fn slow_readers_of_one_address_leave_memory_to_others(#[case] attacker: [u8; 4], #[case] expected: u16) {
    let app = App::limited(|limits| limits.response_memory = 4 << 20).await;
    let minsu = app.user("minsu").await;
    add_long_list(&app).await;
    let length = app.get("/tests/").by(&minsu).await.body.len();
    assert!((100 << 10..1 << 20).contains(&length), "{length}");
    // More responses than the memory and the sockets hold.
    let slow: Vec<RawClient> = join_all((0..60).map(|_| async {
        let mut client = app.connection_from(attacker).await;
        client.send(list(&minsu).repeat(8)).await;
        client
    }))
    .await;
    sleep(Duration::from_millis(1500)).await;
    let begun = Instant::now();
    while app.get("/tests/").by(&minsu).await.status != expected && begun.elapsed() < 3 * PROMPT {
        sleep(Duration::from_millis(100)).await;
    }
    for _ in 0..3 {
        let answer = timeout(PROMPT, app.get("/tests/").by(&minsu).into_future()).await;
        assert_eq!(answer.expect("others are answered").status, expected);
        // What is short needs no such memory, and files are there once.
        for path in ["/tests/1/", "/healthz", "/api/docs/swagger-ui-bundle.js"] {
            assert_eq!(app.get(path).by(&minsu).await.status, 200, "{path}");
        }
    }
    drop(slow);
}

/// Requests that wait, as for a row that an operator has locked, occupy the places of their address. With the negative
/// control.
#[rstest]
#[case::of_one_address(ATTACKER, 200)]
#[case::of_all(OTHERS, 503)]
#[tokio::test]
async fn requests_of_one_address_leave_places_to_others(#[case] attacker: [u8; 4], #[case] expected: u16) {
    let app = App::limited(|limits| {
        limits.requests = 4;
        limits.request_wait_timeout = Duration::from_millis(300);
    })
    .await;
    let id = app.add(EXAM, Item::default()).await;
    let hold = Hold::item(&app, id).await;
    let body = payment("45000.00", "card").to_string();
    let mut waiting = Vec::new();
    for n in 0..8 {
        let user = app.user(&format!("user{n}")).await;
        let mut client = app.connection_from(attacker).await;
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}",
            EXAM.register(id),
            user.access
        );
        let head = format!(
            "{head}\r\nContent-Type: application/json\r\nContent-Length: {}",
            body.len()
        );
        client.send(format!("{head}\r\n\r\n{body}")).await;
        waiting.push(client);
    }
    hold.is_waited_for().await;
    sleep(Duration::from_millis(200)).await;
    let minsu = app.user("minsu").await;
    let answer = timeout(PROMPT, app.get("/tests/").by(&minsu).into_future()).await;
    assert_eq!(answer.expect("others are answered").status, expected);
    hold.release().await;
    let mut statuses = Vec::new();
    for client in &mut waiting {
        statuses.push(client.response().await.expect("an answer").status);
    }
    // Each was begun or refused, and none was lost.
    assert!(
        statuses.iter().all(|status| [201, 503].contains(status)),
        "{statuses:?}"
    );
    let registered = statuses.iter().filter(|status| **status == 201).count() as i64;
    assert_eq!(app.one::<i64>("select count(*) from payments", &[]).await, registered);
}

#[tokio::test]
async fn requests_over_http2_count_like_connections() {
    let app = App::limited(|limits| limits.connections_per_address = 3).await;
    let (mut send, connection) = client::handshake(app.socket(ATTACKER).await)
        .await
        .expect("it speaks HTTP/2");
    tokio::spawn(connection);
    // Their bodies do not come.
    let mut streams = Vec::new();
    for _ in 0..10 {
        send = send.ready().await.expect("the connection is open");
        let login = Request::post(format!("{}/login/", app.base)).header("content-type", "application/json");
        streams.push(send.send_request(login.body(()).unwrap(), false).expect("a stream"));
    }
    let refused = join_all(streams.drain(3..).map(|(response, _)| timeout(PROMPT, response))).await;
    for response in refused {
        assert_eq!(response.expect("at once").expect("a response").status(), 503);
    }
    assert_eq!(app.get("/healthz").await.status, 200);
    // Once they are over, others begin.
    drop(streams);
    let begun = Instant::now();
    loop {
        let get = Request::get(format!("{}/healthz", app.base)).body(()).unwrap();
        send = send.ready().await.unwrap();
        let (response, _) = send.send_request(get, true).unwrap();
        if response.await.unwrap().status() == 200 {
            break;
        }
        assert!(begun.elapsed() < PROMPT, "requests that are over count on");
        sleep(Duration::from_millis(20)).await;
    }
}
