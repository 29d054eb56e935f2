//! How long an instance lives, and how many requests it serves.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::time::{Sleep, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use wasmtime::{Store, StoreContextMut, component::GuestTaskId};
use wasmtime_wasi_http::handler::{ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus};

use super::{cpu_fairness::CpuShare, guest::Guest};
use crate::{log, settings::Limits};

/// The time between the response 504 and the end of the instance that did not respond. If the instance ended first, the
/// client would not get the response.
const EXPIRATION_DELAY: Duration = Duration::from_secs(2);

/// The time in which an instance sends the rest of a response that has begun. A client that stops reading ends it before.
const SENDING: Duration = Duration::from_secs(3600);

/// Ends an instance that is idle, or has worked on the same thing for too long.
pub(crate) struct Expiration {
    idle: Duration,
    busy: Duration,
    timer: Pin<Box<Sleep>>,
    deadline: Instant,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    killed: Pin<Box<WaitForCancellationFutureOwned>>,
    cpu_share: CpuShare,
}

impl Expiration {
    pub(super) fn new(
        limits: &Limits,
        stopping: CancellationToken,
        killed: CancellationToken,
        cpu_share: CpuShare,
    ) -> Self {
        Self {
            idle: limits.instance_idle,
            busy: limits.request_timeout + EXPIRATION_DELAY,
            timer: Box::pin(sleep(Duration::ZERO)),
            deadline: Instant::now(),
            stopping: Box::pin(stopping.cancelled_owned()),
            killed: Box::pin(killed.cancelled_owned()),
            cpu_share,
        }
    }
}

impl WorkerExpiration for Expiration {
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>, status: WorkerStatus, start: Instant) -> Poll<()> {
        // wasmtime polls this whenever the instance has nothing to compute.
        self.cpu_share.release();
        let idle = status == WorkerStatus::Idle;
        let stopped = self.stopping.as_mut().poll(context).is_ready();
        if self.killed.as_mut().poll(context).is_ready() || (idle && stopped) {
            return Poll::Ready(());
        }
        let deadline = start
            + match status {
                WorkerStatus::Idle => self.idle,
                WorkerStatus::Requests => self.busy,
                WorkerStatus::PostReturn => self.busy.max(SENDING),
            };
        if deadline != self.deadline {
            self.deadline = deadline;
            self.timer.set(sleep_until(deadline.into()));
        }
        self.timer.as_mut().poll(context)
    }
}

/// The requests that one instance accepts.
pub(crate) struct Capacity {
    requests: usize,
    concurrency: usize,
    request_timeout: Duration,
}

impl Capacity {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            requests: limits.instance_requests,
            concurrency: limits.instance_concurrency,
            request_timeout: limits.request_timeout,
        }
    }
}

impl WorkerState for Capacity {
    type StoreData = Guest;
    type RequestData = ();

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        if total >= self.requests {
            ShouldAccept::Never
        } else if concurrent >= self.concurrency {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, Guest>,
        (): (),
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        Box::pin(sleep(self.request_timeout))
    }

    fn drop(&self, store: Store<Guest>, result: wasmtime::Result<()>) {
        if let Err(error) = result {
            log::write(
                "error",
                "an instance failed, with all its requests",
                json!({ "error": format!("{error:?}") }),
            );
        }
        drop(store);
    }
}
