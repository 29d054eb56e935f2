//! The address to which a payment window sends the browser back.

use serde::Deserialize;
use serde_json::Value;
use sugang_sdk::types::DateTime;

use crate::{auth::return_state::ReturnState, context::RequestContext, error::ApiError, store::FunctionRow};

/// For how long a state is valid after the seat was held: by then, each gateway's window has ended.
const GRACE_SECONDS: i64 = 3600;

/// Adds to an order where a payment window has to send the browser back to, for its current attempt.
pub(super) fn with_return_url(ctx: &RequestContext<'_>, row: FunctionRow, app_url: String) -> Result<String, ApiError> {
    #[derive(Deserialize)]
    struct Payload {
        id: i64,
        reference: String,
        expires_at: DateTime,
    }

    let order: Payload = row.payload()?;
    let config = &ctx.state.config;
    let state = ReturnState {
        order: order.id,
        reference: order.reference,
        app_url,
        expires_at: order.expires_at.timestamp() + GRACE_SECONDS,
    };
    let url = format!("{}/orders/return/{}/", ctx.base(), state.sign(&config.jwt_keys));
    let url = Value::from(url);
    let members = row.body.strip_suffix('}').ok_or_else(|| row.unexpected())?;
    Ok(format!("{members},\"return_url\":{url}}}"))
}
