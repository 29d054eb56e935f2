//! The payments of the caller.

use sugang_protocol::Text;
use sugang_sdk::types::{Cancelled, DateTime, PaymentId};

use crate::{
    auth::tokens::Caller,
    context::RequestContext,
    error::{
        ApiError,
        catalog::{ALREADY_CANCELLED, INVALID_PAGE, NOT_FOUND, NOT_OWNER, REFUND_REFUSED},
    },
    extract::{Query, forms},
    http::Response,
    kind::KINDS,
    operation::{Handler, Operation},
    store::{
        FunctionRow, Outcome,
        functions::{self, CancelPayment, GetPayment, ListPayments},
        with_lock,
    },
};

use super::{orders::lease_ms, page::page, refunds};

const CANCELLED: Text = Text::new("결제가 취소되었습니다", "The payment is cancelled");

pub(crate) static LIST: Operation = Operation {
    id: "list_payments",
    handler: Handler::Private(|ctx, caller| Box::pin(list(ctx, caller))),
    #[cfg(test)]
    describe: description::list,
};

/// Lists one page of the caller's payments. An unknown `status` or `payment_type` matches no payment.
pub(crate) async fn list(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let query = Query::parse(&ctx.head.query);
    let [from, to] = query.days(["from", "to"])?;
    let call = ListPayments {
        user: caller.id(),
        page: query.page()?,
        status: query.text("status")?,
        type_: query.text("payment_type")?,
        from,
        to,
        search: query.text("search")?,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(functions::shared(), call).await?;
    match row.outcome {
        Outcome::Ok => Ok(page(ctx, &query, &row)),
        Outcome::InvalidPage => Err((&INVALID_PAGE).into()),
        _ => Err(row.unexpected()),
    }
}

pub(crate) static GET: Operation = Operation {
    id: "get_payment",
    handler: Handler::Private(|ctx, caller| Box::pin(get(ctx, caller))),
    #[cfg(test)]
    describe: description::get,
};

/// Gets one of the caller's payments.
pub(crate) async fn get(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let call = GetPayment {
        user: caller.id(),
        id: ctx.id,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(functions::shared(), call).await?;
    match row.outcome {
        Outcome::Ok => Ok(Response::text(200, "application/json", row.body)),
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        _ => Err(row.unexpected()),
    }
}

pub(crate) static CANCEL: Operation = Operation {
    id: "cancel_payment",
    handler: Handler::Private(|ctx, caller| Box::pin(cancel(ctx, caller))),
    #[cfg(test)]
    describe: description::cancel,
};

/// Cancels one of the caller's payments, with its registration. Where a gateway holds the money, it gives it back first.
pub(crate) async fn cancel(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let body = ctx.body().await?;
    let idempotency = ctx.idempotency(&body)?;
    let form = forms::cancel(&body.object()?)?;
    let call = CancelPayment {
        user: caller.id(),
        id: ctx.id,
        reason: form.refund_reason,
        request_id: ctx.ids.own.clone(),
        key: idempotency.key,
        fingerprint: idempotency.fingerprint,
        epoch: caller.epoch(),
        account: refunds::account(form.refund_account.as_ref())?,
        lease_ms: lease_ms(&ctx.state.config),
    };
    let lock = format!("cancel:{}:{}", caller.id(), ctx.id);
    let work = ctx.execute(functions::shared(), call);
    let row = with_lock(&ctx.state.redis, &lock, ctx.state.config.lock_ttl, work).await?;
    let row = refunds::give_back(ctx, row).await?;
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
        Outcome::RefundRefused => Err((&REFUND_REFUSED).into()),
        Outcome::ItemCompleted => {
            let target: Target<'_> = row.payload()?;
            let kind = KINDS.iter().find(|kind| kind.payment_type == target.payment_type);
            Err(kind.map_or_else(|| row.unexpected(), |kind| ApiError::Refused(&kind.item_completed)))
        }
        _ => refunds::not_done(ctx, row),
    }
}

#[cfg(test)]
mod description {
    use sugang_sdk::types::{Cancel, Cancelled, Payment, PaymentStatus, PaymentType};
    use utoipa::{
        ToSchema,
        openapi::path::{Parameter, ParameterIn},
    };

    use super::{ALREADY_CANCELLED, ApiError, INVALID_PAGE, KINDS, NOT_FOUND, NOT_OWNER, REFUND_REFUSED};
    use crate::{
        error::{FieldProblem, FieldProblems},
        operation::{
            description::{
                BODIES, Body, Description, Success, body, caller, keyed, page_of, refund_errors, refund_pending,
            },
            parameters::{day_parameter, id, idempotency_key, page_parameter, parameter, search_parameter, string},
        },
    };

    pub(super) fn list() -> Description {
        Description {
            tag: "payments".into(),
            summary: "List one's own payments".into(),
            more: "Newest first, 20 a page.".into(),
            parameters: payment_parameters(),
            body: None,
            success: Success::of(200, page_of(Payment::name())),
            errors: caller([
                (&INVALID_PAGE).into(),
                ApiError::Fields(FieldProblems::of("from", FieldProblem::InvalidDate)),
            ]),
            cpu_bound: false,
        }
    }

    pub(super) fn get() -> Description {
        Description {
            tag: "payments".into(),
            summary: "Get one of one's own payments".into(),
            more: "".into(),
            parameters: vec![id("payment")],
            body: None,
            success: Success::named(200, Payment::name()),
            errors: caller([(&NOT_FOUND).into()]),
            cpu_bound: false,
        }
    }

    pub(super) fn cancel() -> Description {
        Description {
            tag: "payments".into(),
            summary: "Cancel one's own payment and the registration that it paid for".into(),
            more: "The user may register again afterwards. Where a gateway holds the money, it gives it back first: 202 while \
                   its answer is not known, and the user keeps the seat until then. The same request asks again, and sends \
                   nothing twice."
                .into(),
            parameters: vec![id("payment"), idempotency_key()],
            body: Some(Body {
                schema: Cancel::name(),
                required: false,
                media_types: &BODIES,
            }),
            success: Success::named(200, Cancelled::name())
                .replayable()
                .or_else(refund_pending()),
            errors: caller(
                [
                    ApiError::from(&NOT_FOUND),
                    (&NOT_OWNER).into(),
                    (&ALREADY_CANCELLED).into(),
                    (&REFUND_REFUSED).into(),
                ]
                .into_iter()
                .chain(refund_errors())
                .chain(KINDS.map(|kind| (&kind.item_completed).into()))
                .chain(body())
                .chain(keyed()),
            ),
            cpu_bound: false,
        }
    }

    fn payment_parameters() -> Vec<Parameter> {
        let words = |words: Vec<&'static str>| string().enum_values(Some(words)).build();
        let statuses = PaymentStatus::ALL.iter().map(|status| status.as_str()).collect();
        let types = PaymentType::ALL.iter().map(|kind| kind.as_str()).collect();
        vec![
            page_parameter(),
            parameter(
                "status",
                ParameterIn::Query,
                "Only those with this status.",
                words(statuses),
            ),
            parameter("payment_type", ParameterIn::Query, "Only those for this.", words(types)),
            day_parameter(
                "from",
                "Only those paid on this day (UTC) or later. Empty filters nothing.",
            ),
            day_parameter(
                "to",
                "Only those paid on this day (UTC) or earlier. Empty filters nothing.",
            ),
            search_parameter("the title of what was paid for"),
        ]
    }
}
