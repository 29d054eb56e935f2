//! The memory of the host, under clients that make it hold as much as they can.

use std::{fs, future::IntoFuture, time::Duration};

use futures::future::{join, join_all, join3};
use h2::client;
use http::Request;
use serde_json::json;
use sugang_tests::{App, HostOptions, HostProcess, RawClient, User};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::support::add_long_list;

/// The bounds of the host that is tested, in MiB, as README.md adds them up.
const PROGRAM: usize = 160;
const EACH_REQUEST: usize = 4;
const EACH_HASH: usize = 32;

/// The limits of that host: requests and hashes in flight, connections, and MiB for requests and responses.
const IN_FLIGHT: usize = 48;
const HASHES: usize = 4;
const CONNECTIONS: usize = 512;
const REQUESTS: usize = 8;
const RESPONSES: usize = 8;

const DURATION: Duration = Duration::from_secs(6);

/// The most memory that the host has had, in MiB.
fn peak(host: &HostProcess) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", host.pid())).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok());
    kib.expect("Linux tells it") >> 10
}

/// Clients that send this and nothing more, and read nothing.
async fn silent(host: &HostProcess, clients: usize, bytes: &str) -> Vec<RawClient> {
    join_all((0..clients).map(|_| async {
        let mut client = RawClient::connect(([127, 0, 0, 1], host.port).into()).await;
        // What does not fit into the sockets is not sent.
        timeout(Duration::from_millis(500), client.send(bytes)).await.ok();
        client
    }))
    .await
}

/// Clients of HTTP/2 that take as many lists as they may, and read one byte of each.
async fn stingy(host: &HostProcess, clients: usize, user: &User) {
    let one = async || {
        let stream = TcpStream::connect(("127.0.0.1", host.port)).await.ok()?;
        let builder = client::Builder::new().initial_window_size(1).to_owned();
        let (mut send, connection) = builder.handshake::<_, bytes::Bytes>(stream).await.ok()?;
        let driven = tokio::spawn(connection);
        let mut unread = Vec::new();
        for _ in 0..64 {
            let list = Request::get(format!("{}/tests/", host.base()));
            let list = list
                .header("authorization", format!("Bearer {}", user.access))
                .body(())
                .ok()?;
            send = timeout(DURATION, send.ready()).await.ok()?.ok()?;
            unread.push(send.send_request(list, true).ok()?);
        }
        sleep(DURATION).await;
        driven.abort();
        Some(())
    };
    join_all((0..clients).map(|_| one())).await;
}

#[tokio::test]
async fn the_host_stays_within_its_memory_under_every_mix() {
    let app = App::start().await;
    let minsu = app.user("minsu").await;
    add_long_list(&app).await;
    let limits = [IN_FLIGHT, HASHES, CONNECTIONS, REQUESTS, RESPONSES].map(|limit| limit.to_string());
    let [in_flight, hashes, connections, requests, responses] = limits.each_ref().map(String::as_str);
    let arguments = [
        ("--max-requests", in_flight),
        ("--max-cpu-bound-requests", hashes),
        ("--max-connections", connections),
        ("--request-memory-mib", requests),
        ("--response-memory-mib", responses),
    ];
    let arguments: Vec<_> = arguments.iter().flat_map(|(flag, value)| [*flag, *value]).collect();
    let host = HostProcess::start(
        &app,
        HostOptions {
            arguments: &arguments,
            ..HostOptions::default()
        },
    );
    let base = host.base();
    let idle = peak(&host);

    let list = format!(
        "GET /tests/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        minsu.access
    );
    let head = format!("GET /tests/ HTTP/1.1\r\nHost: x\r\nX: {}", "x".repeat(30_000));
    let body = format!(
        "POST /login/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60001\r\n\r\n{}",
        " ".repeat(60_000)
    );
    let begun = Instant::now();
    let silent_clients = async {
        let clients = [
            silent(&host, 60, &list.repeat(32)).await,
            silent(&host, 120, &head).await,
            silent(&host, 120, &body).await,
            silent(
                &host,
                30,
                &"GET /api/docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n".repeat(8),
            )
            .await,
        ];
        sleep(DURATION.saturating_sub(begun.elapsed())).await;
        drop(clients);
    };
    // Each guesses at another account, so all of them are hashed.
    let logins = join_all((0..12).map(|n| {
        let (app, base) = (&app, &base);
        async move {
            let mut statuses = Vec::new();
            for m in 0..2 {
                let guess = json!({"email": format!("user{n}-{m}@example.com"), "password": "wrong-1"});
                statuses.push(app.post("/login/").at(base).json(&guess).await.status.as_u16());
            }
            statuses
        }
    }));
    let honest = async {
        let mut answered = 0;
        while begun.elapsed() < DURATION {
            let answer = app.get("/tests/1/").at(&base).by(&minsu).into_future();
            assert_eq!(answer.await.status, 200);
            answered += 1;
        }
        answered
    };
    let attacks = join(silent_clients, stingy(&host, 12, &minsu));
    let (_, logins, answered) = join3(attacks, logins, honest).await;

    let bound = PROGRAM + EACH_REQUEST * IN_FLIGHT + EACH_HASH * HASHES + REQUESTS + RESPONSES + CONNECTIONS / 16;
    let used = peak(&host);
    println!("{used} MiB of {bound}, {idle} before");
    assert!(used <= bound, "{used} MiB of {bound}");
    assert!(used >= idle + 60, "the mix is no mix: {used} MiB after {idle}");
    assert!(answered > 10, "{answered}");
    // Nothing trapped.
    let statuses = logins.concat();
    assert!(statuses.iter().all(|status| *status == 401), "{statuses:?}");
}
