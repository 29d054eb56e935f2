//! What the process of a host costs: its start, and its memory under load.

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
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::sleep};

use super::{
    crowd::access_token,
    phase,
    report::{Kept, median},
    requests::MIXED,
    target::{Server, Stores, Target},
};

/// Milliseconds for the first request after a start.
const FIRST_REQUEST_MS: f64 = 50.0;
const STARTS: usize = 5;

/// Bytes that the component may have.
const COMPONENT: u64 = 2_000_000;

/// Bytes of memory under the mixed load.
const MEMORY: u64 = 150_000_000;
/// How much more memory counts as none: what an allocator keeps differs a little from minute to minute.
const FLAT: f64 = 1.1;
const SAMPLE: Duration = Duration::from_secs(5);

/// Starts a host a few times and asks it one thing.
///
/// # Errors
/// When it does not start, or does not answer as it should.
pub async fn starts(program: &Path, stores: &Stores, user: i64) -> anyhow::Result<Kept> {
    let token = access_token(user, &stores.jwt_secret)?;
    let (mut listening, mut first) = (Vec::new(), Vec::new());
    // The first one compiles the component, where nothing has before.
    for start in 0..=STARTS {
        let begun = Instant::now();
        let server = Server::start(program, stores).await?;
        let listens = begun.elapsed();
        let begun = Instant::now();
        let address = server.url.authority();
        let (mut sender, connection) = handshake(TokioIo::new(TcpStream::connect(address).await?)).await?;
        tokio::spawn(connection);
        let request = Request::get("/tests/")
            .header(HOST, address)
            .header(AUTHORIZATION, format!("Bearer {token}"));
        let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        let status = answer.status();
        answer.into_body().collect().await?;
        let answered = begun.elapsed();
        ensure!(status.is_success(), "the first request was answered {status}");
        if start > 0 {
            listening.push(listens.as_secs_f64() * 1e3);
            first.push(answered.as_secs_f64() * 1e3);
        }
        server.stop().await?;
    }
    let (listening, first) = median(listening).zip(median(first)).context("it was never started")?;
    Ok(Kept {
        what: format!("first request after the start, median of {STARTS}"),
        bound: format!("≤ {FIRST_REQUEST_MS} ms"),
        measured: format!("{first:.1} ms; it listens {listening:.0} ms after the process began"),
        kept: first <= FIRST_REQUEST_MS,
    })
}

/// The size of the component.
///
/// # Errors
/// When it is not there.
pub fn component(file: &Path) -> anyhow::Result<Kept> {
    let bytes = std::fs::metadata(file).context("the component is not built")?.len();
    Ok(Kept {
        what: "component".to_owned(),
        bound: format!("≤ {} MB", COMPONENT / 1_000_000),
        measured: format!("{:.2} MB", bytes as f64 / 1e6),
        kept: bytes <= COMPONENT,
    })
}

/// Keeps a host under the mixed load and looks at its memory.
///
/// # Errors
/// When an answer is not as it should be.
pub async fn soak(target: &mut Target, duration: Duration) -> anyhow::Result<Kept> {
    let begun = Instant::now();
    let mut samples = Vec::new();
    while begun.elapsed() < duration {
        let left = duration.saturating_sub(begun.elapsed()).min(SAMPLE);
        let figures = phase(target, &MIXED, left).await?.context("nobody to ask")?;
        ensure!(figures.errors.is_empty(), "{}", figures.errors.join("\n"));
        let server = target.server.as_ref().context("it is not ours")?;
        samples.push(server.memory()?.0);
        sleep(Duration::from_millis(1)).await;
    }
    // The first tenth fills pools and caches.
    let settled = samples.get(samples.len() / 10..).unwrap_or_default();
    let (early, late) = settled.split_at(settled.len() / 2);
    let highest = |samples: &[u64]| samples.iter().copied().max().unwrap_or_default();
    let (early, late, all) = (highest(early), highest(late), highest(&samples));
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    Ok(Kept {
        what: format!("memory under {} s of the mixed load", duration.as_secs()),
        bound: format!("≤ {} MB, flat", MEMORY / 1_000_000),
        measured: format!(
            "at most {:.0} MB in the first half, {:.0} MB in the second",
            megabytes(early),
            megabytes(late)
        ),
        kept: all <= MEMORY && late as f64 <= early as f64 * FLAT,
    })
}
