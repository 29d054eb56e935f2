//! The host's start, and the size of the component.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{
    Request,
    header::{AUTHORIZATION, HOST},
};
use http_body_util::{BodyExt, Full};

use crate::{
    connection::connect,
    goal::{Goal, median},
    server::{Server, Stores},
    token::access_token,
};

/// Milliseconds for the first request after a start.
const FIRST_REQUEST_MS: f64 = 50.0;
const STARTS: usize = 5;

/// Bytes of the component.
///
/// A quarter of it are the pages of the documentation, which gzip has compressed already (0.77 MB); another 0.19 MB are
/// Unicode's tables, without which two accounts could look the same. What is left is code, of which no crate beside the
/// component's own has more than 0.1 MB. Optimizing that for size would slow down every request.
const COMPONENT: u64 = 3_400_000;

/// Starts the host several times and sends each one request.
///
/// # Errors
/// When the host does not start, or the response is not as expected.
pub(crate) async fn starts(program: &Path, stores: &Stores, user: i64) -> anyhow::Result<Goal> {
    let token = access_token(user, &stores.jwt_secret)?;
    let (mut listening, mut first) = (Vec::new(), Vec::new());
    // Start 0 is not measured: it compiles the component if no cache has it.
    for start in 0..=STARTS {
        let begun = Instant::now();
        let server = Server::start_host(program, stores).await?;
        let listens = begun.elapsed();
        let took = first_request(&server, &token).await?;
        if start > 0 {
            listening.push(listens.as_secs_f64() * 1e3);
            first.push(took.as_secs_f64() * 1e3);
        }
        server.stop().await?;
    }
    let (listening, first) = median(listening).zip(median(first)).context("no start was measured")?;
    Ok(Goal {
        what: format!("first request after the start, median of {STARTS}"),
        bound: format!("≤ {FIRST_REQUEST_MS} ms"),
        measured: format!("{first:.1} ms; it listens {listening:.0} ms after the process began"),
        is_reached: first <= FIRST_REQUEST_MS,
    })
}

/// Connects, reads a list, and returns how long both took.
async fn first_request(server: &Server, token: &str) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let mut sender = connect(&server.url).await?;
    let request = Request::get("/tests/")
        .header(HOST, server.url.authority())
        .header(AUTHORIZATION, format!("Bearer {token}"));
    let response = sender.send_request(request.body(Full::<Bytes>::default())?).await?;
    let status = response.status();
    response.into_body().collect().await?;
    let took = begun.elapsed();
    ensure!(status.is_success(), "the first request was answered {status}");
    Ok(took)
}

/// Compares the size of the component with its bound.
///
/// # Errors
/// When the file is missing.
pub(crate) fn component_size(file: &Path) -> anyhow::Result<Goal> {
    let bytes = std::fs::metadata(file).context("the component is not built")?.len();
    Ok(Goal {
        what: "component".to_owned(),
        bound: format!("≤ {:.1} MB", COMPONENT as f64 / 1e6),
        measured: format!("{:.2} MB", bytes as f64 / 1e6),
        is_reached: bytes <= COMPONENT,
    })
}
