//! The part of the sweep that tells webhooks of changes.

use std::time::Instant;

use futures::{StreamExt, stream::FuturesUnordered};
use serde::Deserialize;

use crate::{
    context::RequestContext,
    error::ApiError,
    store::{
        Outcome,
        webhook_functions::{ClaimDeliveries, SettleDelivery, webhooks},
    },
    webhooks::Claimed,
};

/// The most deliveries that are under way to one webhook.
const EACH: i64 = 4;

/// What a call of the sweep did.
#[derive(Default)]
pub(super) struct Delivered {
    /// How many tries were made, whatever became of them.
    pub(super) tries: usize,
    /// In how many seconds the next one is due, if there is a webhook.
    pub(super) again_in_seconds: Option<u64>,
}

#[derive(Deserialize)]
struct Claims {
    deliveries: Vec<Claimed>,
    again_in_seconds: Option<u64>,
}

/// Delivers what is due. Whenever a try has ended, its place is free for another one, so a receiver that hangs delays no
/// other. The call ends a little after the time for one answer.
pub(super) async fn deliver(ctx: &RequestContext<'_>) -> Result<Delivered, ApiError> {
    let limit = ctx.state.config.webhook_timeout;
    let began = Instant::now();
    let mut done = Delivered::default();
    let mut claims = claim(ctx, true).await?;
    let mut under_way = FuturesUnordered::new();
    loop {
        done.again_in_seconds = claims.again_in_seconds;
        for claimed in claims.deliveries {
            done.tries += 1;
            under_way.push(async move { settle(ctx, claimed.deliver(limit).await).await });
        }
        let Some(settled) = under_way.next().await else {
            return Ok(done);
        };
        // What could not be settled is sent again after its lease.
        if let Err(failed) = settled {
            failed.log(ctx.ids);
        }
        claims = match began.elapsed() < limit {
            true => claim(ctx, false).await?,
            false => Claims {
                deliveries: Vec::new(),
                again_in_seconds: Some(0),
            },
        };
    }
}

async fn claim(ctx: &RequestContext<'_>, first: bool) -> Result<Claims, ApiError> {
    let config = &ctx.state.config;
    let call = ClaimDeliveries {
        each: EACH,
        // Past the time of the answer, there is time to settle.
        lease_ms: i64::try_from(config.webhook_timeout.as_millis()).unwrap_or(i64::MAX) + 10_000,
        keep_days: config.webhook_keep_days,
        first,
    };
    let row = ctx.execute(webhooks(), call).await?;
    match row.outcome {
        Outcome::Ok => row.payload(),
        _ => Err(row.unexpected()),
    }
}

/// Settles a try.
pub(super) async fn settle(ctx: &RequestContext<'_>, settlement: SettleDelivery) -> Result<(), ApiError> {
    let row = ctx.execute(webhooks(), settlement).await?;
    match row.outcome {
        Outcome::Ok => Ok(()),
        _ => Err(row.unexpected()),
    }
}
