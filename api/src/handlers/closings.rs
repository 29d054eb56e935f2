//! The part of the sweep that has gateways release what they have reserved for orders that have ended.

use futures::future::join_all;

use crate::{
    context::RequestContext,
    error::ApiError,
    gateways::{self, Attempt},
    store::order_functions::{ClaimClosings, SettleClosing, orders},
};

/// The most attempts that one sweep looks after, all at once.
pub(super) const CLOSINGS: i64 = 8;

/// Has gateways release what no order waits for, and returns how many attempts that were. What is unclear is tried again
/// soon.
pub(super) async fn close(ctx: &RequestContext<'_>) -> Result<usize, ApiError> {
    let due: Vec<Attempt> = ctx
        .execute(orders(), ClaimClosings { limit: CLOSINGS })
        .await?
        .payload()?;
    let closed = due.iter().map(|attempt| close_one(ctx, attempt));
    ctx.log_failures(join_all(closed).await);
    Ok(due.len())
}

async fn close_one(ctx: &RequestContext<'_>, attempt: &Attempt) -> Result<(), ApiError> {
    let config = &ctx.state.config;
    let outcome = gateways::close(&config.contracts, attempt, config.gateway_timeout).await;
    let call = SettleClosing {
        attempt: attempt.id,
        outcome: outcome.name().to_owned(),
        facts: serde_json::to_string(&outcome).map_err(|_| ApiError::internal("facts are always JSON"))?,
        request_id: ctx.ids.own.clone(),
    };
    ctx.execute(orders(), call).await.map(drop)
}
