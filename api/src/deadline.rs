//! A bound on the time that anything outside may take.

use std::{future::Future, pin::pin, time::Duration};

use futures::future::{Either, select};

/// What `work` gives, or none when it takes longer than `limit`; it is then dropped where it stands.
pub async fn within<F: Future>(limit: Duration, work: F) -> Option<F::Output> {
    match select(pin!(work), pin!(spin_sdk::time::sleep(limit))).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}
