//! Orders: a seat that is held, and paid afterwards.

use sugang_sdk::types::{DateTime, OrderStatus, PaymentType};

use crate::{
    auth::tokens::Caller,
    config::{Config, Gateway},
    context::RequestContext,
    error::{
        ApiError, FieldProblem, FieldProblems,
        catalog::{
            ALREADY_PAID, AMOUNT_OUT_OF_BOUNDS, INVALID_PAGE, NOT_FOUND, ORDER_ENDED, ORDER_IN_PROGRESS,
            PAYMENT_DECLINED, PAYMENT_KEY_USED, PAYMENT_METHOD_UNAVAILABLE, SOLD_OUT,
        },
    },
    extract::{Idempotency, Query, forms},
    gateways::{self, Attempt},
    http::Response,
    kind::{ItemKind, KINDS},
    operation::{Handler, ItemOperation, Operation},
    payment_rules,
    store::{
        FunctionRow, Outcome,
        functions::PreorderItem,
        order_functions::{
            BeginApproval, BeginOpening, CancelOrderCall, EndOpening, GetOrder, ListOrders, SettleAttempt, orders,
        },
        with_lock,
    },
};

use super::{
    page::page,
    return_url::{check_length, return_url, with_return_url},
};

/// The time in which the request that has sent an attempt settles it, beside the time for the gateway; then the sweep looks
/// it up.
const SETTLING_MS: i64 = 20_000;

pub(crate) static PREORDER: ItemOperation = ItemOperation {
    id: |kind| format!("preorder_{}", kind.names.0),
    handler: |ctx, caller, kind| Box::pin(preorder(ctx, caller, kind)),
    #[cfg(test)]
    describe: description::preorder,
};

/// Holds a seat for the caller.
pub(crate) async fn preorder(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
) -> Result<Response, ApiError> {
    let body = ctx.body().await?;
    let idempotency = ctx.idempotency(&body)?;
    let form = forms::preorder(&body.object()?)?;
    let config = &ctx.state.config;
    let app_url = form.return_url.clone();
    if app_url.as_ref().is_some_and(|url| !config.app_return_urls.allows(url)) {
        return Err(ApiError::Fields(FieldProblems::of(
            "return_url",
            FieldProblem::UnknownReturnUrl,
        )));
    }
    let gateway = config.payment_gateways.of(form.payment_method);
    if let (Some(gateway), Some(url)) = (gateway, &app_url) {
        check_length(ctx, gateway, url)?;
    }
    let accepted = payment_rules::accepted_amounts(form.payment_method);
    let call = PreorderItem {
        user: caller.id(),
        id: ctx.id,
        amount: form.amount.to_string(),
        method: form.payment_method.to_string(),
        gateway: gateway.map(|gateway| gateway.as_str().to_owned()),
        min: accepted.start().to_string(),
        max: accepted.end().to_string(),
        hold_seconds: config.hold_seconds,
        window_keys: config.public_keys.of(gateway.unwrap_or(Gateway::Manual)).to_string(),
        needs_opening: gateway.is_some_and(Gateway::opens_windows),
        request_id: ctx.ids.own.clone(),
        key: idempotency.key,
        fingerprint: idempotency.fingerprint,
        epoch: caller.epoch(),
    };
    let lock = kind.lock(caller.id(), ctx.id);
    let work = ctx.execute(kind.functions(), call);
    let mut row = with_lock(&ctx.state.redis, &lock, config.lock_ttl, work).await?;
    if gateway.is_some_and(Gateway::opens_windows) && [Outcome::Ok, Outcome::HeldBefore].contains(&row.outcome) {
        row.body = open(ctx, &caller, &row, app_url.clone()).await?;
    }
    let replayed = row.replayed;
    let done = match row.outcome {
        Outcome::Ok => held(ctx, 201, row, app_url),
        Outcome::HeldBefore => held(ctx, 200, row, app_url),
        Outcome::MethodUnavailable => Err((&PAYMENT_METHOD_UNAVAILABLE).into()),
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        Outcome::AlreadyRegistered => Err((&kind.already_registered).into()),
        Outcome::AlreadyPaid => Err((&ALREADY_PAID).into()),
        Outcome::OrderInProgress => Err((&ORDER_IN_PROGRESS).into()),
        Outcome::NotOpen => Err((&kind.not_open).into()),
        Outcome::AmountMismatch => Err((&kind.amount_mismatch).into()),
        Outcome::AmountOutOfBounds => Err((&AMOUNT_OUT_OF_BOUNDS).into()),
        Outcome::SoldOut => Err((&SOLD_OUT).into()),
        _ => Err(row.idempotency_error()),
    };
    ctx.mark_replay(replayed, done)
}

/// Has the gateway open the payment window of an order that is held. Between both statements, no transaction is open.
/// Returns the order, without a window if the gateway has opened none.
async fn open(
    ctx: &RequestContext<'_>,
    caller: &Caller,
    held: &FunctionRow,
    app_url: Option<String>,
) -> Result<String, ApiError> {
    #[derive(serde::Deserialize)]
    struct Held {
        id: i64,
        expires_at: DateTime,
    }

    let config = &ctx.state.config;
    let order: Held = held.payload()?;
    let begin = BeginOpening {
        user: caller.id(),
        order: order.id,
        lease_ms: lease_ms(config),
    };
    let row = ctx.execute(orders(), begin).await?;
    match row.outcome {
        Outcome::Send => {}
        Outcome::Ok => return Ok(row.body),
        // An answer that is repeated may be about an order that has ended since.
        _ => return Ok(held.body.clone()),
    }
    let mut attempt: Attempt = row.payload()?;
    attempt.return_url = app_url
        .map(|url| return_url(ctx, order.id, attempt.reference.clone(), &order.expires_at, url))
        .transpose()?;
    let opened = gateways::open(&config.contracts, &attempt, config.gateway_timeout).await;
    let (gateway_key, opened) = opened
        .map(|opened| (opened.gateway_key, opened.window.to_string()))
        .unzip();
    let end = EndOpening {
        attempt: attempt.id,
        gateway_key,
        opened,
    };
    Ok(ctx.execute(orders(), end).await?.body)
}

/// The response with an order that holds a seat, and with the address to come back to if the client has asked for one.
fn held(
    ctx: &RequestContext<'_>,
    status: u16,
    row: FunctionRow,
    app_url: Option<String>,
) -> Result<Response, ApiError> {
    let body = match app_url {
        Some(app_url) => with_return_url(ctx, row, app_url)?,
        None => row.body,
    };
    Ok(Response::text(status, "application/json", body))
}

pub(crate) static LIST: Operation = Operation {
    id: "list_orders",
    handler: Handler::Private(|ctx, caller| Box::pin(list(ctx, caller))),
    #[cfg(test)]
    describe: description::list,
};

/// Lists one page of the caller's orders. An unknown `status` or `item_type` matches no order.
pub(crate) async fn list(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let query = Query::parse(&ctx.head.query);
    let [from, to] = query.days(["from", "to"])?;
    let call = ListOrders {
        user: caller.id(),
        page: query.page()?,
        status: query.text("status")?,
        type_: query.text("item_type")?,
        from,
        to,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(orders(), call).await?;
    match row.outcome {
        Outcome::Ok => Ok(page(ctx, &query, &row)),
        Outcome::InvalidPage => Err((&INVALID_PAGE).into()),
        _ => Err(row.unexpected()),
    }
}

pub(crate) static GET: Operation = Operation {
    id: "get_order",
    handler: Handler::Private(|ctx, caller| Box::pin(get(ctx, caller))),
    #[cfg(test)]
    describe: description::get,
};

/// Gets one of the caller's orders.
pub(crate) async fn get(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let call = GetOrder {
        user: caller.id(),
        id: ctx.id,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(orders(), call).await?;
    match row.outcome {
        Outcome::Ok => Ok(Response::text(200, "application/json", row.body)),
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        _ => Err(row.unexpected()),
    }
}

pub(crate) static APPROVE: Operation = Operation {
    id: "approve_order",
    handler: Handler::Private(|ctx, caller| Box::pin(approve(ctx, caller))),
    #[cfg(test)]
    describe: description::approve,
};

/// Pays one of the caller's orders. An order that is under way, or paid, is answered as it is.
pub(crate) async fn approve(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let body = ctx.body().await?;
    let idempotency = ctx.idempotency(&body)?;
    let form = forms::approve_order(&body.object()?)?;
    let config = &ctx.state.config;
    let manual = config.payment_gateways.has(Gateway::Manual);
    let call = BeginApproval {
        user: caller.id(),
        order: ctx.id,
        gateway_key: form.payment_key,
        amount: form.amount.map(|amount| amount.to_string()),
        lease_ms: lease_ms(config),
        deposit_seconds: config.deposit_seconds,
        account: manual.then(|| config.manual_account.clone()),
        request_id: ctx.ids.own.clone(),
        key: idempotency.key.clone(),
        fingerprint: idempotency.fingerprint.clone(),
        epoch: caller.epoch(),
    };
    let has_key = call.gateway_key.is_some();
    let mut row = ctx.execute(orders(), call).await?;
    if row.outcome == Outcome::Send {
        let attempt: Attempt = row.payload()?;
        let was_sent;
        (row, was_sent) = pay(ctx, &attempt, idempotency).await?;
        match was_sent {
            true => {}
            false if !has_key && attempt.needs_window_key() => return Err(key_required()),
            false => return Err(not_reached(&attempt)),
        }
    }
    let replayed = row.replayed;
    let done = match row.outcome {
        Outcome::Ok if is_declined(&status_of(&row)?) => Err((&PAYMENT_DECLINED).into()),
        Outcome::Ok => Ok(Response::text(200, "application/json", row.body)),
        Outcome::Accepted => Ok(Response::text(202, "application/json", row.body)),
        Outcome::AlreadyRegistered => Err((&kind_of(&row)?.already_registered).into()),
        Outcome::AmountMismatch => Err((&kind_of(&row)?.amount_mismatch).into()),
        Outcome::MethodUnavailable => Err((&PAYMENT_METHOD_UNAVAILABLE).into()),
        // A window that was never opened has returned no key either.
        Outcome::NotOpened => Err(key_required()),
        _ => Err(refusal(&row)),
    };
    ctx.mark_replay(replayed, done)
}

/// Has a gateway move the money, and settles what it says. Between both, no transaction is open. Returns whether
/// anything was sent to the gateway; otherwise the order is as it was.
pub(super) async fn pay(
    ctx: &RequestContext<'_>,
    attempt: &Attempt,
    idempotency: Idempotency,
) -> Result<(FunctionRow, bool), ApiError> {
    let config = &ctx.state.config;
    let outcome = gateways::approve(&config.contracts, attempt, config.gateway_timeout).await;
    let row = ctx.execute(
        orders(),
        settlement(ctx, attempt, &outcome, idempotency.key, idempotency.fingerprint)?,
    );
    Ok((row.await?, outcome != gateways::Outcome::NotSent {}))
}

/// The failure of an approval of which nothing has reached the gateway.
pub(super) fn not_reached(attempt: &Attempt) -> ApiError {
    ApiError::unavailable(format!("{} was not reached", attempt.gateway))
}

/// The refusal of an approval that comes before its payment window was closed with success.
fn key_required() -> ApiError {
    ApiError::Fields(FieldProblems::of("payment_key", FieldProblem::Required))
}

/// The call that settles an attempt.
pub(super) fn settlement(
    ctx: &RequestContext<'_>,
    attempt: &Attempt,
    outcome: &gateways::Outcome,
    key: Option<String>,
    fingerprint: Option<String>,
) -> Result<SettleAttempt, ApiError> {
    let facts = serde_json::to_string(outcome).map_err(|_| ApiError::internal("facts are always JSON"))?;
    Ok(SettleAttempt {
        attempt: attempt.id,
        outcome: outcome.name().to_owned(),
        facts,
        request_id: ctx.ids.own.clone(),
        key,
        fingerprint,
    })
}

/// For how long no sweep looks after an attempt that a request, or another sweep, is looking after.
pub(super) fn lease_ms(config: &Config) -> i64 {
    config.gateway_timeout.as_millis() as i64 + SETTLING_MS
}

/// The status of the order that a row has.
pub(super) fn status_of(row: &FunctionRow) -> Result<OrderStatus, ApiError> {
    #[derive(serde::Deserialize)]
    struct Payload {
        status: OrderStatus,
    }

    let Payload { status } = row.payload()?;
    Ok(status)
}

/// Whether an order that was settled got no money: its payment was declined.
pub(super) fn is_declined(settled: &OrderStatus) -> bool {
    [OrderStatus::Held, OrderStatus::Expired].contains(settled)
}

pub(crate) static CANCEL: Operation = Operation {
    id: "cancel_order",
    handler: Handler::Private(|ctx, caller| Box::pin(cancel(ctx, caller))),
    #[cfg(test)]
    describe: description::cancel,
};

/// Cancels one of the caller's orders, which frees its seat. The body is optional; if there is one, it must be JSON.
pub(crate) async fn cancel(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let body = ctx.body().await?;
    let idempotency = ctx.idempotency(&body)?;
    body.object()?;
    let call = CancelOrderCall {
        user: caller.id(),
        order: ctx.id,
        request_id: ctx.ids.own.clone(),
        key: idempotency.key,
        fingerprint: idempotency.fingerprint,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(orders(), call).await?;
    let replayed = row.replayed;
    let done = match row.outcome {
        Outcome::Ok => Ok(Response::text(200, "application/json", row.body)),
        _ => Err(refusal(&row)),
    };
    ctx.mark_replay(replayed, done)
}

/// Why nothing was done with an order.
pub(super) fn refusal(row: &FunctionRow) -> ApiError {
    match row.outcome {
        Outcome::NotFound => (&NOT_FOUND).into(),
        Outcome::OrderInProgress => (&ORDER_IN_PROGRESS).into(),
        Outcome::OrderEnded => (&ORDER_ENDED).into(),
        Outcome::AlreadyPaid => (&ALREADY_PAID).into(),
        Outcome::KeyUsed => (&PAYMENT_KEY_USED).into(),
        _ => row.idempotency_error(),
    }
}

/// The kind that an order is for, whose texts a refusal has.
pub(super) fn kind_of(row: &FunctionRow) -> Result<&'static ItemKind, ApiError> {
    #[derive(serde::Deserialize)]
    struct Payload {
        kind: PaymentType,
    }

    let Payload { kind } = row.payload()?;
    let found = KINDS.into_iter().find(|known| known.payment_type == kind.as_str());
    found.ok_or_else(|| row.unexpected())
}

#[cfg(test)]
mod description {
    use sugang_sdk::types::{ApproveOrder, Order, OrderStatus, PaymentType, Preorder};
    use utoipa::{ToSchema, openapi::path::ParameterIn};

    use super::{
        ALREADY_PAID, AMOUNT_OUT_OF_BOUNDS, ApiError, INVALID_PAGE, ItemKind, KINDS, NOT_FOUND, ORDER_ENDED,
        ORDER_IN_PROGRESS, PAYMENT_DECLINED, PAYMENT_KEY_USED, PAYMENT_METHOD_UNAVAILABLE, SOLD_OUT,
    };
    use crate::{
        error::{FieldProblem, FieldProblems},
        operation::{
            description::{BODIES, Body, Description, Success, body, caller, keyed, page_of, required},
            parameters::{day_parameter, id, idempotency_key, page_parameter, parameter, string},
        },
    };

    pub(super) fn preorder(kind: &'static ItemKind) -> Description {
        let (one, _) = kind.names;
        Description {
            tag: "orders".into(),
            summary: format!("Hold a seat of one {one}, to pay it afterwards"),
            more: "The seat is held until `expires_at`; count down from `now`, the server's time. While the user has \
                   such an order, it is answered again, with the method and the price of this request; `expires_at` \
                   stays. `window` is what the gateway's payment window is opened with; if it is null at a gateway that \
                   has one, the gateway was not reached, and the same request opens it."
                .into(),
            parameters: vec![id(one), idempotency_key()],
            body: Some(Body {
                schema: Preorder::name(),
                required: true,
                media_types: &BODIES,
            }),
            success: Success::named(201, Order::name()).or(200).replayable(),
            errors: caller(
                [
                    required("amount"),
                    (&PAYMENT_METHOD_UNAVAILABLE).into(),
                    (&NOT_FOUND).into(),
                    (&kind.already_registered).into(),
                    (&ALREADY_PAID).into(),
                    (&ORDER_IN_PROGRESS).into(),
                    (&kind.not_open).into(),
                    (&kind.amount_mismatch).into(),
                    (&AMOUNT_OUT_OF_BOUNDS).into(),
                    (&SOLD_OUT).into(),
                    ApiError::Fields(FieldProblems::of("return_url", FieldProblem::UnknownReturnUrl)),
                ]
                .into_iter()
                .chain(body())
                .chain(keyed()),
            ),
            cpu_bound: false,
        }
    }

    pub(super) fn list() -> Description {
        let words = |words: Vec<&'static str>| string().enum_values(Some(words)).build();
        let statuses = OrderStatus::ALL.iter().map(|status| status.as_str()).collect();
        let types = PaymentType::ALL.iter().map(|kind| kind.as_str()).collect();
        Description {
            tag: "orders".into(),
            summary: "List one's own orders".into(),
            more: "Newest first, 20 a page.".into(),
            parameters: vec![
                page_parameter(),
                parameter(
                    "status",
                    ParameterIn::Query,
                    "Only those with this status.",
                    words(statuses),
                ),
                parameter("item_type", ParameterIn::Query, "Only those for this.", words(types)),
                day_parameter("from", "Only those made on this day (UTC) or later."),
                day_parameter("to", "Only those made on this day (UTC) or earlier."),
            ],
            body: None,
            success: Success::of(200, page_of(Order::name())),
            errors: caller([
                (&INVALID_PAGE).into(),
                ApiError::Fields(FieldProblems::of("from", FieldProblem::InvalidDate)),
            ]),
            cpu_bound: false,
        }
    }

    pub(super) fn get() -> Description {
        Description {
            tag: "orders".into(),
            summary: "Get one of one's own orders".into(),
            more: "".into(),
            parameters: vec![id("order")],
            body: None,
            success: Success::named(200, Order::name()),
            errors: caller([(&NOT_FOUND).into()]),
            cpu_bound: false,
        }
    }

    pub(super) fn approve() -> Description {
        Description {
            tag: "orders".into(),
            summary: "Pay one of one's own orders".into(),
            more:
                "200 with the status `paid`: the user is registered. 202: the seat stays held, and the outcome is not \
                   known yet (`approving`), or the user is to pay in (`awaiting_deposit`, with `deposit`); get the \
                   order again until it has another status. An order that is under way or paid is answered as it is. \
                   402: no money has moved. 503: nothing was sent to the gateway; send the request again."
                    .into(),
            parameters: vec![id("order"), idempotency_key()],
            body: Some(Body {
                schema: ApproveOrder::name(),
                required: false,
                media_types: &BODIES,
            }),
            success: Success::named(200, Order::name()).or(202).replayable(),
            errors: caller(
                [
                    required("payment_key"),
                    (&PAYMENT_DECLINED).into(),
                    (&PAYMENT_KEY_USED).into(),
                    (&PAYMENT_METHOD_UNAVAILABLE).into(),
                    (&NOT_FOUND).into(),
                    (&ORDER_ENDED).into(),
                ]
                .into_iter()
                .chain(KINDS.map(|kind| (&kind.already_registered).into()))
                .chain(KINDS.map(|kind| (&kind.amount_mismatch).into()))
                .chain(body())
                .chain(keyed()),
            ),
            cpu_bound: false,
        }
    }

    pub(super) fn cancel() -> Description {
        Description {
            tag: "orders".into(),
            summary: "Cancel one of one's own orders that is not paid".into(),
            more: "Needs no body, and frees the seat. An order that is paid is cancelled by its payment.".into(),
            parameters: vec![id("order"), idempotency_key()],
            body: None,
            success: Success::named(200, Order::name()).replayable(),
            errors: caller(
                [
                    ApiError::from(&NOT_FOUND),
                    (&ALREADY_PAID).into(),
                    (&ORDER_IN_PROGRESS).into(),
                    (&ORDER_ENDED).into(),
                ]
                .into_iter()
                .chain(body())
                .chain(keyed()),
            ),
            cpu_bound: false,
        }
    }
}
