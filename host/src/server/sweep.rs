//! Requests the sweep of the component, by the clock of this host.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;

use super::service::Service;
use crate::log;

/// The least time between two sweeps.
const LEAST_PAUSE: Duration = Duration::from_millis(200);

/// What the response to a sweep says.
#[derive(Deserialize)]
struct Swept {
    again_in_seconds: u64,
}

/// Sweeps until the server stops: after `every`, and sooner if the component says that something is due before.
pub(super) async fn run(service: Arc<Service>, every: Duration) {
    let stopping = service.instances.stopping().clone();
    let mut pause = LEAST_PAUSE;
    let mut failed = false;
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = sleep(pause) => {}
        }
        match once(&service).await {
            Ok((_, again)) => {
                pause = again.clamp(LEAST_PAUSE, every.max(LEAST_PAUSE));
                failed = false;
            }
            Err(status) => {
                pause = every.max(LEAST_PAUSE);
                // Once, and not every time while a store is unavailable.
                if !failed {
                    log::write("warn", "the sweep failed", json!({ "status": status }));
                }
                failed = true;
            }
        }
    }
}

/// Sweeps once. Returns the body of the response, and when the next sweep has something to do.
///
/// # Errors
/// The status of another response.
pub(super) async fn once(service: &Service) -> Result<(String, Duration), u16> {
    let (status, body) = service.sweep().await;
    let swept: Swept = match status {
        200 => serde_json::from_slice(&body).map_err(|_| status)?,
        _ => return Err(status),
    };
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok((body, Duration::from_secs(swept.again_in_seconds)))
}
