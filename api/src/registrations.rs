//! To register for something and pay, and to complete it.

use spin_sdk::pg::ParameterValue;
use sugang_sdk::types::{Completed, DateTime, PaymentId, Registered, RegistrationId, TransactionMetadata};
use uuid::Uuid;

use crate::{
    call::Call,
    db::Repeat,
    errors::{AMOUNT_OUT_OF_BOUNDS, Failure, NOT_FOUND, SOLD_OUT},
    fields,
    kind::Kind,
    lock::guard,
    response::Response,
    tokens::Caller,
};

/// Applies for an exam or enrols in a course, and pays.
pub async fn register(call: &Call<'_>, caller: Caller, kind: &'static Kind) -> Result<Response, Failure> {
    #[derive(serde::Deserialize)]
    struct Facts {
        payment_id: PaymentId,
        registration_id: RegistrationId,
    }

    let body = call.body().await?;
    let idempotency = call.idempotency(&body)?;
    let form = fields::register(&body.object()?)?;
    let (least, most) = form.payment_method.bounds();
    // Random: an id derived from user and item would be the same after a cancellation. The database keeps those with
    // this prefix apart; those that the Django service gave need not be unique.
    let external_id = format!("sugang_{}", Uuid::new_v4().simple());
    let repeat = idempotency.repeat();
    let parameters: Vec<ParameterValue> = vec![
        caller.id().into(),
        call.id.into(),
        form.amount.to_string().into(),
        form.payment_method.to_string().into(),
        least.to_string().into(),
        most.to_string().into(),
        external_id.into(),
        call.request_id.to_owned().into(),
        idempotency.key.into(),
        idempotency.fingerprint.into(),
    ];
    let lock = format!("sugang:register:{}:{}:{}", kind.payment_type, caller.id(), call.id);
    let answer = guard(call.instance, &lock, call.ask(kind.register, parameters, repeat)).await?;
    match answer.outcome.as_str() {
        "ok" => {
            let facts: Facts = answer.facts()?;
            let body = Registered {
                message: call.text(kind.registered),
                payment_id: facts.payment_id,
                registration: (kind.registration)(facts.registration_id),
                payment_method: form.payment_method,
                transaction_metadata: TransactionMetadata::new(form.payment_method, form.amount),
            };
            Ok(Response::json(201, &body))
        }
        "not_found" => Err((&NOT_FOUND).into()),
        "already_registered" => Err((&kind.already_registered).into()),
        "not_open" => Err((&kind.not_open).into()),
        "amount_mismatch" => Err((&kind.amount_mismatch).into()),
        "amount_out_of_bounds" => Err((&AMOUNT_OUT_OF_BOUNDS).into()),
        "sold_out" => Err((&SOLD_OUT).into()),
        _ => Err(answer.of_key()),
    }
}

/// Marks the caller's own registration as completed. A body is not needed, and if there is one, it must be JSON.
pub async fn complete(call: &Call<'_>, caller: Caller, kind: &'static Kind) -> Result<Response, Failure> {
    #[derive(serde::Deserialize)]
    struct Facts {
        registration_id: RegistrationId,
        completed_at: DateTime,
    }

    call.body().await?.object()?;
    let parameters = vec![caller.id().into(), call.id.into(), call.request_id.to_owned().into()];
    let answer = call.ask(kind.complete, parameters, Repeat::Never).await?;
    match answer.outcome.as_str() {
        "ok" => {
            let facts: Facts = answer.facts()?;
            let body = Completed {
                message: call.text(kind.completed),
                registration_id: facts.registration_id,
                completed_at: facts.completed_at,
            };
            Ok(Response::json(200, &body))
        }
        "not_registered" => Err((&kind.not_registered).into()),
        "already_completed" => Err((&kind.already_completed).into()),
        "cancelled" => Err((&kind.registration_cancelled).into()),
        _ => Err(answer.unexpected()),
    }
}
