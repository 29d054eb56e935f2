//! Registering for an item with its payment, and completing it.

use sugang_sdk::types::{Completed, DateTime, PaymentId, Register as RegisterForm, Registered, RegistrationId};
use uuid::Uuid;

use crate::{
    auth::tokens::Caller,
    context::RequestContext,
    error::{
        ApiError,
        catalog::{AMOUNT_OUT_OF_BOUNDS, NOT_FOUND, SOLD_OUT},
    },
    extract::forms,
    http::Response,
    kind::ItemKind,
    payment_rules,
    store::{
        FunctionRow, Outcome,
        functions::{Complete, Register},
        with_lock,
    },
};

/// Registers the caller for an item and pays.
pub(crate) async fn register(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
) -> Result<Response, ApiError> {
    let body = ctx.body().await?;
    let idempotency = ctx.idempotency(&body)?;
    let form = forms::register(&body.object()?)?;
    let accepted = payment_rules::accepted_amounts(form.payment_method);
    // Random, because an id derived from user and item would repeat after a cancellation. The database enforces that ids
    // with this prefix are unique; those of the Django service need not be.
    let external_id = format!("sugang_{}", Uuid::new_v4().simple());
    let call = Register {
        user: caller.id(),
        id: ctx.id,
        amount: form.amount.to_string(),
        method: form.payment_method.to_string(),
        min: accepted.start().to_string(),
        max: accepted.end().to_string(),
        external_id,
        request_id: ctx.request_id.to_owned(),
        key: idempotency.key,
        fingerprint: idempotency.fingerprint,
    };
    let lock = format!("sugang:register:{}:{}:{}", kind.payment_type, caller.id(), ctx.id);
    let work = ctx.execute(kind.functions(), call);
    let row = with_lock(&ctx.state.redis, &lock, ctx.state.config.lock_ttl, work).await?;
    ctx.mark_replay(row.replayed, registered(ctx, kind, &form, &row))
}

fn registered(
    ctx: &RequestContext<'_>,
    kind: &'static ItemKind,
    form: &RegisterForm,
    row: &FunctionRow,
) -> Result<Response, ApiError> {
    #[derive(serde::Deserialize)]
    struct Payload {
        payment_id: PaymentId,
        registration_id: RegistrationId,
    }

    Err(match row.outcome {
        Outcome::Ok => {
            let payload: Payload = row.payload()?;
            let body = Registered {
                message: ctx.text(kind.registered),
                payment_id: payload.payment_id,
                registration: (kind.registration)(payload.registration_id),
                payment_method: form.payment_method,
                transaction_metadata: payment_rules::transaction_metadata(form.payment_method, form.amount),
            };
            return Ok(Response::json(201, &body));
        }
        Outcome::NotFound => (&NOT_FOUND).into(),
        Outcome::AlreadyRegistered => (&kind.already_registered).into(),
        Outcome::NotOpen => (&kind.not_open).into(),
        Outcome::AmountMismatch => (&kind.amount_mismatch).into(),
        Outcome::AmountOutOfBounds => (&AMOUNT_OUT_OF_BOUNDS).into(),
        Outcome::SoldOut => (&SOLD_OUT).into(),
        _ => row.idempotency_error(),
    })
}

/// Completes the caller's registration. The body is optional; if there is one, it must be JSON.
pub(crate) async fn complete(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
) -> Result<Response, ApiError> {
    #[derive(serde::Deserialize)]
    struct Payload {
        registration_id: RegistrationId,
        completed_at: DateTime,
    }

    ctx.body().await?.object()?;
    let call = Complete {
        user: caller.id(),
        id: ctx.id,
        request_id: ctx.request_id.to_owned(),
    };
    let row = ctx.execute(kind.functions(), call).await?;
    match row.outcome {
        Outcome::Ok => {
            let payload: Payload = row.payload()?;
            let body = Completed {
                message: ctx.text(kind.completed),
                registration_id: payload.registration_id,
                completed_at: payload.completed_at,
            };
            Ok(Response::json(200, &body))
        }
        Outcome::NotRegistered => Err((&kind.not_registered).into()),
        Outcome::AlreadyCompleted => Err((&kind.already_completed).into()),
        Outcome::Cancelled => Err((&kind.registration_cancelled).into()),
        _ => Err(row.unexpected()),
    }
}
