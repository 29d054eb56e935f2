//! Time limits for calls to the stores.

use std::{future::Future, pin::pin, time::Duration};

use futures::future::{Either, select};

/// Returns the output of `work`, or `None` if it takes longer than `limit`; `work` is then dropped unfinished.
pub(super) async fn within<F: Future>(limit: Duration, work: F) -> Option<F::Output> {
    match select(pin!(work), pin!(spin_sdk::time::sleep(limit))).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}
