//! The payments of the caller.

use spin_sdk::pg::ParameterValue;
use sugang_protocol::Text;
use sugang_sdk::types::{Cancelled, DateTime, PaymentId};

use crate::{
    auth::tokens::Caller,
    context::RequestContext,
    error::{
        ApiError,
        catalog::{ALREADY_CANCELLED, INVALID_PAGE, NOT_FOUND, NOT_OWNER},
    },
    extract::{Query, forms},
    http::Response,
    kind::KINDS,
    store::{Retry, statement, with_lock},
};

use super::page::page;

const CANCELLED: Text = Text::new("결제가 취소되었습니다", "The payment is cancelled");

/// Lists one page of the caller's payments. An unknown `status` or `payment_type` matches no payment.
pub(crate) async fn list(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let query = Query::parse(&ctx.head.query);
    let [from, to] = query.days(["from", "to"])?;
    let parameters: Vec<ParameterValue> = vec![
        caller.id().into(),
        query.page()?.into(),
        query.text("status").into(),
        query.text("payment_type").into(),
        from.into(),
        to.into(),
        query.text("search").into(),
    ];
    let statement = statement!(list "list_payments($1, $2, $3, $4, $5, $6, $7)");
    let row = ctx.execute(statement, parameters, Retry::Idempotent).await?;
    match row.outcome.as_str() {
        "ok" => Ok(page(ctx, &query, &row)),
        "invalid_page" => Err((&INVALID_PAGE).into()),
        _ => Err(row.unexpected()),
    }
}

/// Gets one of the caller's payments.
pub(crate) async fn get(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let parameters = vec![caller.id().into(), ctx.id.into()];
    let row = ctx
        .execute(statement!(one "get_payment($1, $2)"), parameters, Retry::Idempotent)
        .await?;
    match row.outcome.as_str() {
        "ok" => Ok(Response::text(200, "application/json", row.body)),
        "not_found" => Err((&NOT_FOUND).into()),
        _ => Err(row.unexpected()),
    }
}

/// Cancels one of the caller's payments, with its registration.
pub(crate) async fn cancel(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    #[derive(serde::Deserialize)]
    struct Payload {
        payment_id: PaymentId,
        cancelled_at: DateTime,
    }

    #[derive(serde::Deserialize)]
    struct Target<'a> {
        payment_type: &'a str,
    }

    let body = ctx.body().await?;
    let idempotency = ctx.idempotency(&body)?;
    let form = forms::cancel(&body.object()?)?;
    let retry = idempotency.retry();
    let parameters: Vec<ParameterValue> = vec![
        caller.id().into(),
        ctx.id.into(),
        form.refund_reason.into(),
        ctx.request_id.to_owned().into(),
        idempotency.key.into(),
        idempotency.fingerprint.into(),
    ];
    let lock = format!("sugang:cancel:{}:{}", caller.id(), ctx.id);
    let statement = statement!("cancel_payment($1, $2, $3, $4, $5, $6)");
    let work = ctx.execute(statement, parameters, retry);
    let row = with_lock(&ctx.state.redis, &lock, ctx.state.config.lock_ttl, work).await?;
    match row.outcome.as_str() {
        "ok" => {
            let payload: Payload = row.payload()?;
            let body = Cancelled {
                message: ctx.text(CANCELLED),
                payment_id: payload.payment_id,
                cancelled_at: payload.cancelled_at,
            };
            Ok(Response::json(200, &body))
        }
        "not_found" => Err((&NOT_FOUND).into()),
        "not_owner" => Err((&NOT_OWNER).into()),
        "already_cancelled" => Err((&ALREADY_CANCELLED).into()),
        "item_completed" => {
            let target: Target<'_> = row.payload()?;
            let kind = KINDS.iter().find(|kind| kind.payment_type == target.payment_type);
            Err(kind.map_or_else(|| row.unexpected(), |kind| ApiError::Refused(&kind.item_completed)))
        }
        _ => Err(row.idempotency_error()),
    }
}
