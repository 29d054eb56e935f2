//! The sweep: work that no request of a client causes. A clock requests it, such as that of the embedded host.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    context::RequestContext,
    error::{
        ApiError,
        catalog::{NOT_FOUND, TOKEN_NOT_VALID},
    },
    http::Response,
    store::{
        Outcome,
        order_functions::{Sweep, orders},
    },
};

/// The most orders that one call ends, so that it is short.
const LIMIT: i64 = 200;

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
    let row = ctx.execute(orders(), Sweep { limit: LIMIT }).await?;
    match row.outcome {
        Outcome::Ok => Ok(Response::text(200, "application/json", row.body)),
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
