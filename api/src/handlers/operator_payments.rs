//! Payments, for operators: a payment with its refunds, and a refund of the whole or a part.

use sugang_sdk::types::Money;

use crate::{
    auth::tokens::Caller,
    context::RequestContext,
    error::{
        ApiError,
        catalog::{ALREADY_CANCELLED, NOT_FOUND},
    },
    extract::forms,
    http::Response,
    operation::{Handler, Operation},
    store::{
        FunctionRow, Outcome,
        functions::{self, GetPaymentForOperator, RefundPayment},
    },
};

pub(crate) static GET: Operation = Operation {
    id: "get_payment_for_operator",
    handler: Handler::Private(|ctx, caller| Box::pin(get(ctx, caller))),
    #[cfg(test)]
    describe: description::get,
};

/// Gets any user's payment with its refunds.
pub(crate) async fn get(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let call = GetPaymentForOperator {
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

pub(crate) static REFUND: Operation = Operation {
    id: "refund_payment",
    handler: Handler::Private(|ctx, caller| Box::pin(refund(ctx, caller))),
    #[cfg(test)]
    describe: description::refund,
};

/// Gives a payment back, in whole or in part.
pub(crate) async fn refund(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let body = ctx.body().await?;
    let idempotency = ctx.idempotency(&body)?;
    let form = forms::refund(&body.object()?)?;
    let call = RefundPayment {
        user: caller.id(),
        id: ctx.id,
        amount: form.amount.map(|amount| amount.to_string()),
        reason: form.reason,
        keep_registration: form.keep_registration,
        request_id: ctx.ids.own.clone(),
        key: idempotency.key,
        fingerprint: idempotency.fingerprint,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(functions::shared(), call).await?;
    ctx.mark_replay(row.replayed, refunded(row))
}

fn refunded(row: FunctionRow) -> Result<Response, ApiError> {
    #[derive(serde::Deserialize)]
    struct Payload {
        left: Money,
    }

    match row.outcome {
        Outcome::Ok => Ok(Response::text(200, "application/json", row.body)),
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        Outcome::AlreadyCancelled => Err((&ALREADY_CANCELLED).into()),
        Outcome::RefundTooLarge => {
            let payload: Payload = row.payload()?;
            Err(ApiError::RefundTooLarge { left: payload.left })
        }
        _ => Err(row.idempotency_error()),
    }
}

#[cfg(test)]
mod description {
    use sugang_sdk::types::{ManagedPayment, Money, RefundPayment, Refunded};
    use utoipa::ToSchema;

    use super::{ALREADY_CANCELLED, ApiError, NOT_FOUND};
    use crate::operation::{
        description::{Body, Description, Success, body, keyed, operator, required},
        parameters::{id, idempotency_key},
    };

    pub(super) fn get() -> Description {
        Description {
            tag: "operator".into(),
            summary: "Get one payment of any user with its refunds".into(),
            more: "".into(),
            parameters: vec![id("payment")],
            body: None,
            success: Success::named(200, ManagedPayment::name()),
            errors: operator([(&NOT_FOUND).into()]),
            cpu_bound: false,
        }
    }

    pub(super) fn refund() -> Description {
        let errors = [
            ApiError::from(&NOT_FOUND),
            (&ALREADY_CANCELLED).into(),
            ApiError::RefundTooLarge {
                left: Money::won(35_000),
            },
            required("reason"),
        ];
        Description {
            tag: "operator".into(),
            summary: "Give a payment back, in whole or in part".into(),
            more: "Parts add up, and never exceed the payment. A refund of all that is left cancels the payment and, unless \
                   it is completed or `keep_registration` is true, the registration."
                .into(),
            parameters: vec![id("payment"), idempotency_key()],
            body: Some(Body {
                schema: RefundPayment::name(),
                required: true,
            }),
            success: Success::named(200, Refunded::name()).replayable(),
            errors: operator(errors.into_iter().chain(body()).chain(keyed())),
            cpu_bound: false,
        }
    }
}
