//! Orders, for operators: their list, what has arrived on the account, cancellations, and refunds that were paid out.

use crate::{
    auth::tokens::Caller,
    context::RequestContext,
    error::{
        ApiError, FieldProblem, FieldProblems,
        catalog::{GATEWAY_DECIDES, INVALID_PAGE, NO_REFUND_DUE, NOT_FOUND, REFERENCE_USED},
    },
    extract::{Query, forms},
    http::Response,
    operation::{Handler, Operation},
    store::{
        FunctionRow, Outcome,
        order_functions::{CancelOrderForOperator, ConfirmOrderCall, ListOrdersForOperator, RefundOrderCall, orders},
    },
};

use super::{
    orders::{kind_of, refusal},
    page::page,
};

pub(crate) static LIST: Operation = Operation {
    id: "list_orders_for_operator",
    handler: Handler::Private(|ctx, caller| Box::pin(list(ctx, caller))),
    #[cfg(test)]
    describe: description::list,
};

/// Lists one page of the orders of all users. An unknown `status` or `item_type` matches no order.
pub(crate) async fn list(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let query = Query::parse(&ctx.head.query);
    let [from, to] = query.days(["from", "to"])?;
    let [key, typed_key, ascii_key] = query.email_keys()?;
    let call = ListOrdersForOperator {
        user: caller.id(),
        page: query.page()?,
        owner: query.id("user")?,
        key,
        typed_key,
        ascii_key,
        status: query.text("status")?,
        type_: query.text("item_type")?,
        item: query.id("item")?,
        from,
        to,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(orders(), call).await?;
    match row.outcome {
        Outcome::Ok => Ok(page(ctx, &query, &row)),
        Outcome::InvalidPage => Err((&INVALID_PAGE).into()),
        // The caller is no operator.
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        _ => Err(row.unexpected()),
    }
}

pub(crate) static CONFIRM: Operation = Operation {
    id: "confirm_order",
    handler: Handler::Private(|ctx, caller| Box::pin(confirm(ctx, caller))),
    #[cfg(test)]
    describe: description::confirm,
};

/// Confirms that the deposit of an order has arrived.
pub(crate) async fn confirm(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let body = ctx.body().await?;
    let idempotency = ctx.idempotency(&body)?;
    let form = forms::confirm_order(&body.object()?)?;
    let call = ConfirmOrderCall {
        user: caller.id(),
        order: ctx.id,
        amount: form.amount.to_string(),
        reference: form.reference,
        reason: form.reason,
        request_id: ctx.ids.own.clone(),
        key: idempotency.key,
        fingerprint: idempotency.fingerprint,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(orders(), call).await?;
    ctx.mark_replay(row.replayed, done(row))
}

pub(crate) static CANCEL: Operation = Operation {
    id: "cancel_order_for_operator",
    handler: Handler::Private(|ctx, caller| Box::pin(cancel(ctx, caller))),
    #[cfg(test)]
    describe: description::cancel,
};

/// Cancels the order of any user.
pub(crate) async fn cancel(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let body = ctx.body().await?;
    let idempotency = ctx.idempotency(&body)?;
    let form = forms::cancel_order(&body.object()?)?;
    let call = CancelOrderForOperator {
        user: caller.id(),
        order: ctx.id,
        reason: form.reason,
        request_id: ctx.ids.own.clone(),
        key: idempotency.key,
        fingerprint: idempotency.fingerprint,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(orders(), call).await?;
    ctx.mark_replay(row.replayed, done(row))
}

pub(crate) static REFUND: Operation = Operation {
    id: "refund_order",
    handler: Handler::Private(|ctx, caller| Box::pin(refund(ctx, caller))),
    #[cfg(test)]
    describe: description::refund,
};

/// Notes that a refund that is owed of an order was paid out, by hand or in the gateway's own console.
pub(crate) async fn refund(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let body = ctx.body().await?;
    let idempotency = ctx.idempotency(&body)?;
    let form = forms::refund_order(&body.object()?)?;
    let call = RefundOrderCall {
        user: caller.id(),
        order: ctx.id,
        reference: form.reference,
        request_id: ctx.ids.own.clone(),
        key: idempotency.key,
        fingerprint: idempotency.fingerprint,
        epoch: caller.epoch(),
        refund: form.refund_id.map(|id| id.0),
    };
    let row = ctx.execute(orders(), call).await?;
    ctx.mark_replay(row.replayed, done(row))
}

fn done(row: FunctionRow) -> Result<Response, ApiError> {
    match row.outcome {
        Outcome::Ok => Ok(Response::text(200, "application/json", row.body)),
        Outcome::AmountMismatch => Err((&kind_of(&row)?.amount_mismatch).into()),
        Outcome::GatewayDecides => Err((&GATEWAY_DECIDES).into()),
        Outcome::NoRefundDue => Err((&NO_REFUND_DUE).into()),
        // Several refunds of the order wait for a person.
        Outcome::InvalidFields => Err(ApiError::Fields(FieldProblems::of("refund_id", FieldProblem::Required))),
        Outcome::KeyUsed => Err((&REFERENCE_USED).into()),
        _ => Err(refusal(&row)),
    }
}

#[cfg(test)]
mod description {
    use std::borrow::Cow;

    use sugang_sdk::types::{CancelOrder, ConfirmOrder, ManagedOrder, OrderStatus, PaymentType, RefundOrder};
    use utoipa::{ToSchema, openapi::path::ParameterIn};

    use super::{ApiError, GATEWAY_DECIDES, INVALID_PAGE, NO_REFUND_DUE, NOT_FOUND, REFERENCE_USED};
    use crate::{
        error::{
            FieldProblem, FieldProblems,
            catalog::{ALREADY_PAID, ORDER_ENDED, ORDER_IN_PROGRESS},
        },
        kind::KINDS,
        operation::{
            description::{
                BODIES, Body, Description, Success, body, keyed, null_character, operator, page_of, required,
            },
            parameters::{day_parameter, id, id_parameter, idempotency_key, page_parameter, parameter, string},
        },
    };

    pub(super) fn list() -> Description {
        let words = |words: Vec<&'static str>| string().enum_values(Some(words)).build();
        let statuses = OrderStatus::ALL.iter().map(|status| status.as_str()).collect();
        let types = PaymentType::ALL.iter().map(|kind| kind.as_str()).collect();
        let wrong = |name, problem| ApiError::Fields(FieldProblems::of(name, problem));
        Description {
            tag: "operator".into(),
            summary: "List the orders of all users with the attempts to pay them".into(),
            more: "Newest first, 20 a page. Parameters that are left out, or empty, filter nothing.".into(),
            parameters: vec![
                page_parameter(),
                id_parameter("user", "Only those of this user."),
                parameter(
                    "email",
                    ParameterIn::Query,
                    "Only those of the user with this e-mail address, in any of its spellings.",
                    string().build(),
                ),
                parameter(
                    "status",
                    ParameterIn::Query,
                    "Only those with this status.",
                    words(statuses),
                ),
                parameter("item_type", ParameterIn::Query, "Only those for this.", words(types)),
                id_parameter("item", "Only those for the exam or course with this id."),
                day_parameter("from", "Only those made on this day (UTC) or later."),
                day_parameter("to", "Only those made on this day (UTC) or earlier."),
            ],
            body: None,
            success: Success::of(200, page_of(ManagedOrder::name())),
            errors: operator([
                (&INVALID_PAGE).into(),
                wrong("from", FieldProblem::InvalidDate),
                wrong("user", FieldProblem::InvalidInteger),
                null_character("email"),
            ]),
            cpu_bound: false,
        }
    }

    pub(super) fn confirm() -> Description {
        Description {
            summary: "Confirm that the deposit of an order has arrived".into(),
            more: "The user is registered. A deposit that is late gets a seat if one is free; otherwise the status is \
                   `refund_due`, and the money is to be given back. One `reference` pays one order."
                .into(),
            ..change(
                ConfirmOrder::name(),
                "amount",
                [&GATEWAY_DECIDES, &ALREADY_PAID, &ORDER_ENDED, &REFERENCE_USED]
                    .map(ApiError::from)
                    .into_iter()
                    .chain(KINDS.map(|kind| (&kind.amount_mismatch).into())),
            )
        }
    }

    pub(super) fn cancel() -> Description {
        Description {
            summary: "Cancel the order of any user, which frees its seat".into(),
            more: "A deposit that arrives afterwards is late.".into(),
            ..change(
                CancelOrder::name(),
                "reason",
                [
                    (&ALREADY_PAID).into(),
                    (&ORDER_IN_PROGRESS).into(),
                    (&ORDER_ENDED).into(),
                ],
            )
        }
    }

    pub(super) fn refund() -> Description {
        Description {
            summary: "Note that what is owed back of an order was paid out".into(),
            more: "By hand, or in the gateway's own console: whether late money, or a payment that was cancelled."
                .into(),
            ..change(RefundOrder::name(), "reference", [(&NO_REFUND_DUE).into()])
        }
    }

    fn change(
        schema: Cow<'static, str>,
        field: &'static str,
        errors: impl IntoIterator<Item = ApiError>,
    ) -> Description {
        let errors = [ApiError::from(&NOT_FOUND), required(field)].into_iter().chain(errors);
        Description {
            tag: "operator".into(),
            summary: String::new(),
            more: "".into(),
            parameters: vec![id("order"), idempotency_key()],
            body: Some(Body {
                schema,
                required: true,
                media_types: &BODIES,
            }),
            success: Success::named(200, ManagedOrder::name()).replayable(),
            errors: operator(errors.chain(body()).chain(keyed())),
            cpu_bound: false,
        }
    }
}
