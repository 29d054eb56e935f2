//! The sweep: work that no request of a client causes. A clock requests it, such as that of the embedded host.

use futures::future::{join, join_all};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    context::RequestContext,
    error::{
        ApiError,
        catalog::{NOT_FOUND, TOKEN_NOT_VALID},
    },
    gateways::{self, Attempt},
    http::Response,
    kind::KINDS,
    store::{
        FunctionRow, Outcome,
        functions::CountAhead,
        order_functions::{ClaimDue, ClaimEvents, Sweep, orders},
    },
};

use super::{
    deliveries::deliver,
    orders::{lease_ms, settlement},
    refunds,
    webhooks::{self, DueEvent},
};

/// The most orders that one call ends, so that it is short.
const LIMIT: i64 = 200;

/// The most attempts that one call looks up, all at once.
const LOOK_UPS: i64 = 16;

/// When to go on with bitmaps that are not finished. They take a second of a processor, so that half of it stays free.
const COUNT_AGAIN_IN_SECONDS: u64 = 1;

/// Does a bounded piece of what is due, and answers what it did and when to come again.
///
/// # Errors
/// 404 without a configured secret; 401 for another one.
pub(crate) async fn sweep(ctx: &RequestContext<'_>) -> Result<Response, ApiError> {
    let secret = &ctx.state.config.sweep_secret;
    if secret.is_empty() {
        return Err((&NOT_FOUND).into());
    }
    let sent = ctx.head.header("authorization").unwrap_or_default();
    if !is_same(sent.as_bytes(), format!("Bearer {secret}").as_bytes()) {
        return Err((&TOKEN_NOT_VALID).into());
    }
    // A receiver that hangs keeps no seat from being released.
    let ((done, delivered), counted) = join(join(settle_and_expire(ctx), deliver(ctx)), count_ahead(ctx)).await;
    let (mut done, delivered) = (done?, delivered?);
    let count_again = counted.unwrap_or_else(|error| {
        // Without bitmaps, the first search counts.
        error.log(ctx.ids);
        None
    });
    done.insert("delivered".to_owned(), delivered.tries.into());
    let again = done.get("again_in_seconds").and_then(Value::as_u64);
    let again = again
        .into_iter()
        .chain(delivered.again_in_seconds)
        .chain(count_again)
        .min();
    done.insert("again_in_seconds".to_owned(), again.into());
    Ok(Response::json(200, &done))
}

/// Settles what gateways know, and ends what has expired.
async fn settle_and_expire(ctx: &RequestContext<'_>) -> Result<Map<String, Value>, ApiError> {
    // One that fails ends none of the others.
    let ((looked_up, events), given_back) = join(join(look_up(ctx), look_up_events(ctx)), refunds::sweep(ctx)).await;
    let (looked_up, events, (figures, has_more)) = (looked_up?, events?, given_back?);
    let row = expect(ctx.execute(orders(), Sweep { limit: LIMIT }).await?)?;
    let mut done: Map<String, Value> = row.payload()?;
    done.insert("looked_up".to_owned(), looked_up.into());
    done.insert("events".to_owned(), events.into());
    done.extend(figures);
    if looked_up.max(events) as i64 == LOOK_UPS || has_more {
        done.insert("again_in_seconds".to_owned(), 0.into());
    }
    Ok(done)
}

/// Finds out at the gateways what has become of attempts that no other request looks after.
async fn look_up(ctx: &RequestContext<'_>) -> Result<usize, ApiError> {
    let config = &ctx.state.config;
    let claim = ClaimDue {
        limit: LOOK_UPS,
        lease_ms: lease_ms(config),
    };
    let attempts: Vec<Attempt> = expect(ctx.execute(orders(), claim).await?)?.payload()?;
    let settled = attempts.iter().map(async |attempt| {
        let outcome = gateways::resume(&config.contracts, attempt, config.gateway_timeout).await;
        let row = ctx.execute(orders(), settlement(ctx, attempt, &outcome, None, None)?);
        row.await.map(drop)
    });
    ctx.log_failures(join_all(settled).await);
    Ok(attempts.len())
}

/// Looks up what the events of gateways are about that no other request looks after, and removes old ones.
async fn look_up_events(ctx: &RequestContext<'_>) -> Result<usize, ApiError> {
    let config = &ctx.state.config;
    let claim = ClaimEvents {
        limit: LOOK_UPS,
        lease_ms: lease_ms(config),
        days: config.gateway_event_days,
    };
    let events: Vec<DueEvent> = expect(ctx.execute(orders(), claim).await?)?.payload()?;
    let count = events.len();
    let settled = events.into_iter().map(|due| webhooks::look_up(ctx.state, ctx.ids, due));
    ctx.log_failures(join_all(settled).await);
    Ok(count)
}

/// What has become of the bitmaps of frequent words.
#[derive(Deserialize)]
struct Counted {
    goes_on: bool,
}

/// Keeps the bitmaps by which searches for frequent words are counted, and returns when to go on.
async fn count_ahead(ctx: &RequestContext<'_>) -> Result<Option<u64>, ApiError> {
    for kind in KINDS {
        let row = expect(ctx.execute(kind.functions(), CountAhead {}).await?)?;
        let Counted { goes_on } = row.payload()?;
        // One kind after the other: a sweep takes no longer for several.
        if goes_on {
            return Ok(Some(COUNT_AGAIN_IN_SECONDS));
        }
    }
    Ok(None)
}

fn expect(row: FunctionRow) -> Result<FunctionRow, ApiError> {
    match row.outcome {
        Outcome::Ok => Ok(row),
        _ => Err(row.unexpected()),
    }
}

/// Compares digests in constant time, whatever the lengths.
fn is_same(sent: &[u8], expected: &[u8]) -> bool {
    Sha256::digest(sent).ct_eq(&Sha256::digest(expected)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_compared_as_a_whole() {
        assert!(is_same(b"Bearer 0123", b"Bearer 0123"));
        for sent in [&b""[..], b"Bearer ", b"Bearer 012", b"Bearer 01234", b"bearer 0123"] {
            assert!(!is_same(sent, b"Bearer 0123"));
        }
    }
}
