//! What payment gateways tell by themselves. An event is stored once and answered at once; its attempt is looked up at the
//! gateway afterwards, and by the sweep if that fails.

use std::time::Instant;

use serde::Deserialize;
use spin_sdk::wasip3;
use sugang_protocol::request_id::RequestIds;

use crate::{
    auth::rate_limit::{self, Action},
    config::Gateway,
    context::RequestContext,
    error::{
        ApiError,
        catalog::{INVALID_SIGNATURE, MALFORMED_JSON, NOT_FOUND},
    },
    gateways::{self, Attempt, Delivery, Event, NoEvent},
    http::Response,
    log::SecurityEvent,
    operation::{Handler, Operation},
    state::AppState,
    store::{
        Limit, Outcome,
        order_functions::{ReceiveEvent, SettleEvent, orders},
    },
};

use super::{orders::lease_ms, unix_time};

pub(crate) static TOSS: Operation = Operation {
    id: "receive_toss_event",
    handler: Handler::Public(|ctx| Box::pin(receive(ctx, Gateway::Toss))),
    #[cfg(test)]
    describe: description::toss,
};

pub(crate) static PORTONE: Operation = Operation {
    id: "receive_portone_event",
    handler: Handler::Public(|ctx| Box::pin(receive(ctx, Gateway::PortOne))),
    #[cfg(test)]
    describe: description::portone,
};

pub(crate) static STRIPE: Operation = Operation {
    id: "receive_stripe_event",
    handler: Handler::Public(|ctx| Box::pin(receive(ctx, Gateway::Stripe))),
    #[cfg(test)]
    describe: description::stripe,
};

/// An attempt that has to be looked up because of an event.
#[derive(Deserialize)]
pub(super) struct DueEvent {
    event: i64,
    /// The number of the look-up.
    look_up: i64,
    attempt: Attempt,
}

/// Stores an event of a gateway. The answer waits for nothing but that: a gateway that waits too long sends it again.
async fn receive(ctx: &RequestContext<'_>, gateway: Gateway) -> Result<Response, ApiError> {
    let config = &ctx.state.config;
    if !gateways::is_known(&config.contracts, gateway) {
        return Err((&NOT_FOUND).into());
    }
    let body = ctx.bytes().await?;
    let delivery = Delivery {
        head: ctx.head,
        body: body.bytes(),
        now: unix_time(),
    };
    let event = match gateways::verify(&config.contracts, gateway, &delivery) {
        Ok(event) => event,
        Err(NoEvent::NotExpected) => return Err((&NOT_FOUND).into()),
        Err(NoEvent::Malformed) => return Err((&MALFORMED_JSON).into()),
        Err(NoEvent::Forged) => return Err(forged(ctx, gateway)),
    };
    let text = std::str::from_utf8(delivery.body).map_err(|_| &MALFORMED_JSON)?;
    if !event.is_signed {
        check_rate_limit(ctx, gateway).await?;
    }
    let row = ctx.execute(orders(), call(ctx, gateway, event, text)).await?;
    match row.outcome {
        Outcome::Ok => look_up_afterwards(ctx.ids, row.payload()?).await?,
        Outcome::Repeated | Outcome::Ignored => {}
        Outcome::Forged => return Err(forged(ctx, gateway)),
        _ => return Err(row.unexpected()),
    }
    Ok(Response::text(200, "application/json", "{}"))
}

fn call(ctx: &RequestContext<'_>, gateway: Gateway, event: Event, body: &str) -> ReceiveEvent {
    ReceiveEvent {
        gateway: gateway.as_str().to_owned(),
        key: event.key,
        reference: event.reference,
        gateway_key: event.gateway_key,
        secret: event.secret,
        signed: event.is_signed,
        body: body.to_owned(),
        lease_ms: lease_ms(&ctx.state.config),
    }
}

/// Counts an event that nothing proves, for its gateway and the address of the client.
async fn check_rate_limit(ctx: &RequestContext<'_>, gateway: Gateway) -> Result<(), ApiError> {
    let config = &ctx.state.config;
    let attempt = rate_limit::Attempt {
        action: Action::GatewayEvent,
        account: gateway.as_str(),
        address: ctx.source.get().address,
    };
    let (limits, window) = (attempt.action.limits(config), config.rate_limit_window);
    rate_limit::check(&ctx.state.redis, &ctx.state.database, &attempt, limits, window).await
}

/// Refuses what is no event of its gateway. A line a minute says how often that was.
fn forged(ctx: &RequestContext<'_>, gateway: Gateway) -> ApiError {
    if let Some(times) = ctx.state.forged_events.admit(Instant::now()) {
        ctx.report(&SecurityEvent::GatewayEventForged {
            gateway: gateway.as_str(),
            times,
        });
    }
    (&INVALID_SIGNATURE).into()
}

/// Looks up what an event is about, once it is answered. If the instance ends before that, the sweep does it.
async fn look_up_afterwards(ids: &RequestIds, due: DueEvent) -> Result<(), ApiError> {
    let state = AppState::get().await.map_err(ApiError::Misconfigured)?;
    let ids = ids.clone();
    wasip3::spawn(async move {
        if let Err(failed) = look_up(&state, &ids, due).await {
            failed.log(&ids);
        }
    });
    Ok(())
}

/// Looks up what an event is about, and settles what the gateway says.
pub(super) async fn look_up(state: &AppState, ids: &RequestIds, due: DueEvent) -> Result<(), ApiError> {
    let config = &state.config;
    let outcome = gateways::find_out(&config.contracts, &due.attempt, config.gateway_timeout).await;
    let call = SettleEvent {
        event: due.event,
        look_up: due.look_up,
        outcome: outcome.name().to_owned(),
        facts: serde_json::to_string(&outcome).map_err(|_| ApiError::internal("facts are always JSON"))?,
        request_id: ids.own.clone(),
    };
    state.database.execute(orders(), call, Limit::Usual).await.map(drop)
}

#[cfg(test)]
mod description {
    use utoipa::openapi::Object;

    use super::{ApiError, INVALID_SIGNATURE, MALFORMED_JSON, NOT_FOUND};
    use crate::{
        error::catalog::PAYLOAD_TOO_LARGE,
        operation::description::{Body, Description, GATEWAY_EVENT, JSON, Success, rate_limited, stores},
    };

    fn event(gateway: &str, more: &'static str, own: Vec<ApiError>) -> Description {
        let errors = [&MALFORMED_JSON, &INVALID_SIGNATURE, &NOT_FOUND, &PAYLOAD_TOO_LARGE];
        Description {
            tag: "webhooks".into(),
            summary: format!("Receive an event of {gateway}"),
            more: more.into(),
            parameters: vec![],
            body: Some(Body {
                schema: GATEWAY_EVENT.into(),
                required: true,
                media_types: &[JSON],
            }),
            success: Success::of(200, Object::new().into()),
            errors: errors
                .into_iter()
                .map(ApiError::from)
                .chain(own)
                .chain(stores())
                .collect(),
            cpu_bound: false,
        }
    }

    pub(super) fn toss() -> Description {
        event(
            "Toss Payments",
            "For the events `PAYMENT_STATUS_CHANGED`, `CANCEL_STATUS_CHANGED` and `DEPOSIT_CALLBACK`. Toss signs \
             nothing, so what has happened is looked up at Toss. 404 where Toss is not configured.",
            vec![rate_limited()],
        )
    }

    pub(super) fn stripe() -> Description {
        event(
            "Stripe",
            "For events of payment intents, charges and refunds, signed as `Stripe-Signature` says. 404 without \
             `stripe_webhook_secret`.",
            vec![],
        )
    }

    pub(super) fn portone() -> Description {
        event(
            "PortOne",
            "Signed as [Standard Webhooks](https://www.standardwebhooks.com) says. 404 without \
             `portone_webhook_secret`.",
            vec![],
        )
    }
}
