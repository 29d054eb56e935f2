//! A user's own payments.

use spin_sdk::pg::ParameterValue;
use sugang_protocol::Text;
use sugang_sdk::types::{Cancelled, DateTime, PaymentId};

use crate::{
    call::Call,
    db::Repeat,
    errors::{ALREADY_CANCELLED, Failure, INVALID_PAGE, NOT_FOUND, NOT_OWNER},
    fields,
    kind::KINDS,
    lock::guard,
    query::Query,
    response::Response,
    tokens::Caller,
};

const CANCELLED: Text = Text::new("결제가 취소되었습니다", "The payment is cancelled");

/// One page of the caller's payments. A `status` or `payment_type` that no payment has finds none.
pub async fn list(call: &Call<'_>, caller: Caller) -> Result<Response, Failure> {
    let query = Query::parse(&call.head.query);
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
    let statement = crate::statement!(list "list_payments($1, $2, $3, $4, $5, $6, $7)");
    let answer = call.ask(statement, parameters, Repeat::Safe).await?;
    match answer.outcome.as_str() {
        "ok" => Ok(call.page(&query, &answer)),
        "invalid_page" => Err((&INVALID_PAGE).into()),
        _ => Err(answer.unexpected()),
    }
}

/// One of the caller's payments.
pub async fn get(call: &Call<'_>, caller: Caller) -> Result<Response, Failure> {
    let parameters = vec![caller.id().into(), call.id.into()];
    let answer = call
        .ask(crate::statement!(one "get_payment($1, $2)"), parameters, Repeat::Safe)
        .await?;
    match answer.outcome.as_str() {
        "ok" => Ok(Response::text(200, "application/json", answer.body)),
        "not_found" => Err((&NOT_FOUND).into()),
        _ => Err(answer.unexpected()),
    }
}

/// Cancels one of the caller's payments, and the registration that it paid for.
pub async fn cancel(call: &Call<'_>, caller: Caller) -> Result<Response, Failure> {
    #[derive(serde::Deserialize)]
    struct Facts {
        payment_id: PaymentId,
        cancelled_at: DateTime,
    }

    #[derive(serde::Deserialize)]
    struct Target<'a> {
        payment_type: &'a str,
    }

    let body = call.body().await?;
    let idempotency = call.idempotency(&body)?;
    let form = fields::cancel(&body.object()?)?;
    let repeat = idempotency.repeat();
    let parameters: Vec<ParameterValue> = vec![
        caller.id().into(),
        call.id.into(),
        form.refund_reason.into(),
        call.request_id.to_owned().into(),
        idempotency.key.into(),
        idempotency.fingerprint.into(),
    ];
    let lock = format!("sugang:cancel:{}:{}", caller.id(), call.id);
    let statement = crate::statement!("cancel_payment($1, $2, $3, $4, $5, $6)");
    let answer = guard(call.instance, &lock, call.ask(statement, parameters, repeat)).await?;
    match answer.outcome.as_str() {
        "ok" => {
            let facts: Facts = answer.facts()?;
            let body = Cancelled {
                message: call.text(CANCELLED),
                payment_id: facts.payment_id,
                cancelled_at: facts.cancelled_at,
            };
            Ok(Response::json(200, &body))
        }
        "not_found" => Err((&NOT_FOUND).into()),
        "not_owner" => Err((&NOT_OWNER).into()),
        "already_cancelled" => Err((&ALREADY_CANCELLED).into()),
        "item_completed" => {
            let target: Target<'_> = answer.facts()?;
            let kind = KINDS.iter().find(|kind| kind.payment_type == target.payment_type);
            Err(kind.map_or_else(|| answer.unexpected(), |kind| Failure::Problem(&kind.item_completed)))
        }
        _ => Err(answer.of_key()),
    }
}
