//! The address to which a payment window sends the browser back.

use serde::Deserialize;
use serde_json::Value;
use sugang_sdk::types::DateTime;

use crate::{
    auth::return_state::ReturnState,
    config::Gateway,
    context::RequestContext,
    error::{ApiError, FieldProblem, FieldProblems},
    store::FunctionRow,
};

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
    let url = Value::from(return_url(ctx, order.id, order.reference, &order.expires_at, app_url)?);
    let members = row.body.strip_suffix('}').ok_or_else(|| row.unexpected())?;
    Ok(format!("{members},\"return_url\":{url}}}"))
}

/// Where a payment window has to send the browser back to, for one attempt to pay an order.
pub(super) fn return_url(
    ctx: &RequestContext<'_>,
    order: i64,
    reference: String,
    expires_at: &DateTime,
    app_url: String,
) -> Result<String, ApiError> {
    let state = ReturnState {
        order,
        reference,
        app_url,
        expires_at: expires_at.timestamp() + GRACE_SECONDS,
    };
    let state = state.sign(&ctx.state.config.jwt_keys);
    let state = state.ok_or_else(|| ApiError::internal("an attempt has a reference of ours"))?;
    Ok(address(ctx, &state))
}

/// Refuses an address of an app that makes ours too long for the gateway.
pub(super) fn check_length(ctx: &RequestContext<'_>, gateway: Gateway, app_url: &str) -> Result<(), ApiError> {
    let Some(longest) = gateway.longest_return_url() else {
        return Ok(());
    };
    let longest = ReturnState::longest_app_url(longest.saturating_sub(address(ctx, "").len()));
    match app_url.len() <= longest {
        true => Ok(()),
        false => Err(ApiError::Fields(FieldProblems::of(
            "return_url",
            FieldProblem::TooLong(longest),
        ))),
    }
}

fn address(ctx: &RequestContext<'_>, state: &str) -> String {
    format!("{}/orders/return/{state}/", ctx.base())
}
