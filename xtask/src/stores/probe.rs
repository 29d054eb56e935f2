//! Whether a store answers.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use anyhow::bail;
use sugang_bench::postgres::connect;
use tokio::time::{sleep, timeout};

/// Long enough for the first start in a slow container.
pub const START_LIMIT: Duration = Duration::from_secs(90);

/// For one attempt to connect to a store that starts.
const ATTEMPT: Duration = Duration::from_secs(2);

/// The version of a PostgreSQL that answers.
pub async fn postgres_version(url: &str) -> anyhow::Result<String> {
    let client = connect(url).await?;
    Ok(client.query_one("show server_version", &[]).await?.get(0))
}

/// Sends `PING` to Redis.
pub async fn redis_ping(url: &str) -> anyhow::Result<()> {
    let mut connection = sugang_connect::redis::connect(url).await?;
    Ok(redis::cmd("PING").query_async(&mut connection).await?)
}

/// Waits until PostgreSQL answers queries; `is_alive` fails when it never will.
pub async fn wait_for_postgres(url: &str, is_alive: &mut dyn FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    wait_for("PostgreSQL", async || postgres_version(url).await.map(drop), is_alive).await
}

/// Waits until Redis answers; `is_alive` fails when it never will.
pub async fn wait_for_redis(url: &str, is_alive: &mut dyn FnMut() -> anyhow::Result<()>) -> anyhow::Result<()> {
    wait_for("Redis", async || redis_ping(url).await, is_alive).await
}

async fn wait_for(
    name: &str,
    probe: impl AsyncFn() -> anyhow::Result<()>,
    is_alive: &mut dyn FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        match timeout(ATTEMPT, probe()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) if begun.elapsed() > START_LIMIT => {
                return Err(error.context(format!("{name} does not answer")));
            }
            Err(_) if begun.elapsed() > START_LIMIT => bail!("{name} does not answer"),
            Ok(Err(_)) | Err(_) => is_alive()?,
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// A TCP port of the loopback address that is free at this moment.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
