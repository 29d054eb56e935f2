//! The payments of the caller.

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
    store::{
        FunctionRow, Outcome,
        functions::{self, CancelPayment, GetPayment, ListPayments},
        with_lock,
    },
};

use super::page::page;

const CANCELLED: Text = Text::new("결제가 취소되었습니다", "The payment is cancelled");

/// Lists one page of the caller's payments. An unknown `status` or `payment_type` matches no payment.
pub(crate) async fn list(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let query = Query::parse(&ctx.head.query);
    let [from, to] = query.days(["from", "to"])?;
    let call = ListPayments {
        user: caller.id(),
        page: query.page()?,
        status: query.text("status"),
        type_: query.text("payment_type"),
        from,
        to,
        search: query.text("search"),
    };
    let row = ctx.execute(functions::shared(), call).await?;
    match row.outcome {
        Outcome::Ok => Ok(page(ctx, &query, &row)),
        Outcome::InvalidPage => Err((&INVALID_PAGE).into()),
        _ => Err(row.unexpected()),
    }
}

/// Gets one of the caller's payments.
pub(crate) async fn get(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let call = GetPayment {
        user: caller.id(),
        id: ctx.id,
    };
    let row = ctx.execute(functions::shared(), call).await?;
    match row.outcome {
        Outcome::Ok => Ok(Response::text(200, "application/json", row.body)),
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        _ => Err(row.unexpected()),
    }
}

/// Cancels one of the caller's payments, with its registration.
pub(crate) async fn cancel(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let body = ctx.body().await?;
    let idempotency = ctx.idempotency(&body)?;
    let form = forms::cancel(&body.object()?)?;
    let call = CancelPayment {
        user: caller.id(),
        id: ctx.id,
        reason: form.refund_reason,
        request_id: ctx.request_id.to_owned(),
        key: idempotency.key,
        fingerprint: idempotency.fingerprint,
    };
    let lock = format!("sugang:cancel:{}:{}", caller.id(), ctx.id);
    let work = ctx.execute(functions::shared(), call);
    let row = with_lock(&ctx.state.redis, &lock, ctx.state.config.lock_ttl, work).await?;
    ctx.mark_replay(row.replayed, cancelled(ctx, &row))
}

fn cancelled(ctx: &RequestContext<'_>, row: &FunctionRow) -> Result<Response, ApiError> {
    #[derive(serde::Deserialize)]
    struct Payload {
        payment_id: PaymentId,
        cancelled_at: DateTime,
    }

    #[derive(serde::Deserialize)]
    struct Target<'a> {
        payment_type: &'a str,
    }

    match row.outcome {
        Outcome::Ok => {
            let payload: Payload = row.payload()?;
            let body = Cancelled {
                message: ctx.text(CANCELLED),
                payment_id: payload.payment_id,
                cancelled_at: payload.cancelled_at,
            };
            Ok(Response::json(200, &body))
        }
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        Outcome::NotOwner => Err((&NOT_OWNER).into()),
        Outcome::AlreadyCancelled => Err((&ALREADY_CANCELLED).into()),
        Outcome::ItemCompleted => {
            let target: Target<'_> = row.payload()?;
            let kind = KINDS.iter().find(|kind| kind.payment_type == target.payment_type);
            Err(kind.map_or_else(|| row.unexpected(), |kind| ApiError::Refused(&kind.item_completed)))
        }
        _ => Err(row.idempotency_error()),
    }
}
