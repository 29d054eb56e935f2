//! `GET /orders/return/{state}/`: a browser comes back from a payment window, without a token. The signed state says from
//! which attempt it comes, and where the app goes on.

use http::Method;
use sugang_sdk::types::{ErrorCode, OrderStatus};

use crate::{
    auth::return_state::ReturnState,
    context::RequestContext,
    error::{
        ApiError,
        catalog::{INVALID_RETURN, PREFETCH_REFUSED},
    },
    extract::{
        Idempotency, Query,
        forms::{MAX_KEY_CHARS, parse_amount},
    },
    gateways::Attempt,
    http::Response,
    operation::{Handler, Operation},
    store::{
        Outcome,
        order_functions::{BeginReturn, orders},
    },
};

use super::{
    orders::{is_declined, lease_ms, not_reached, pay, status_of},
    unix_time,
};

pub(crate) static RETURN: Operation = Operation {
    id: "return_from_gateway",
    handler: Handler::Public(|ctx| Box::pin(return_from_gateway(ctx))),
    #[cfg(test)]
    describe: description::return_from_gateway,
};

/// What a payment window appends to the address.
struct Window {
    /// With which the payment is approved; none if the user has not agreed to pay.
    key: Option<String>,
    /// Our name of the attempt.
    reference: Option<String>,
    amount: Option<String>,
}

impl Window {
    /// Reads what Toss, PortOne, KakaoPay or Stripe has appended; `None` if no gateway has.
    fn read(query: &Query) -> Option<Self> {
        let first = |names: &[&str]| names.iter().find_map(|name| query.get(name));
        let key = first(&["paymentKey", "paymentToken", "pg_token", "payment_intent"]);
        if key.is_some_and(|key| key.len() > MAX_KEY_CHARS || !key.bytes().all(|byte| byte.is_ascii_graphic())) {
            return None;
        }
        Some(Self {
            key: key.map(str::to_owned),
            reference: first(&["orderId", "paymentId"]).map(str::to_owned),
            amount: match first(&["amount"]) {
                Some(amount) => Some(parse_amount(amount).ok()?.to_string()),
                None => None,
            },
        })
    }
}

/// Approves what the user has agreed to pay, and sends the browser on to the app. Loaded again, it approves nothing twice.
async fn return_from_gateway(ctx: &RequestContext<'_>) -> Result<Response, ApiError> {
    let config = &ctx.state.config;
    let text = ctx
        .head
        .path
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default();
    let state = ReturnState::verify(&config.jwt_keys, text, unix_time()).ok_or(&INVALID_RETURN)?;
    let window = Window::read(&Query::parse(&ctx.head.query)).ok_or(&INVALID_RETURN)?;
    if window
        .reference
        .as_ref()
        .is_some_and(|reference| *reference != state.reference)
    {
        return Err((&INVALID_RETURN).into());
    }
    if is_prefetch(ctx) {
        return Err((&PREFETCH_REFUSED).into());
    }
    let call = BeginReturn {
        order: state.order,
        reference: state.reference,
        gateway_key: window.key.filter(|_| ctx.head.method != Method::HEAD),
        amount: window.amount,
        lease_ms: lease_ms(config),
        request_id: ctx.ids.own.clone(),
    };
    let row = ctx.execute(orders(), call).await?;
    if row.outcome == Outcome::Send {
        let attempt: Attempt = row.payload()?;
        let (settled, was_sent) = pay(ctx, &attempt, Idempotency::default()).await?;
        let status = status_of(&settled)?;
        let code = match was_sent {
            true => is_declined(&status).then_some(ErrorCode::PaymentDeclined),
            false => {
                not_reached(&attempt).log(ctx.ids);
                Some(ErrorCode::Unavailable)
            }
        };
        return Ok(redirect(&state.app_url, state.order, &status, code));
    }
    let code = match row.outcome {
        Outcome::Ok | Outcome::Accepted | Outcome::NotOpened => None,
        Outcome::AmountMismatch => Some(ErrorCode::AmountMismatch),
        Outcome::AlreadyRegistered => Some(ErrorCode::AlreadyRegistered),
        Outcome::OrderEnded => Some(ErrorCode::OrderEnded),
        Outcome::KeyUsed => Some(ErrorCode::PaymentKeyUsed),
        Outcome::NotFound => return Err((&INVALID_RETURN).into()),
        _ => return Err(row.unexpected()),
    };
    Ok(redirect(&state.app_url, state.order, &status_of(&row)?, code))
}

/// Whether the browser only guesses that its user will go there.
fn is_prefetch(ctx: &RequestContext<'_>) -> bool {
    let says = |name| {
        let value = ctx.head.header(name).unwrap_or_default();
        value.contains("prefetch") || value.contains("prerender")
    };
    ["sec-purpose", "purpose", "x-moz", "x-purpose"].into_iter().any(says)
}

/// Sends the browser on to the app, with nothing secret. The address that it came from has the key of the window, so no
/// other server is told of it.
fn redirect(app_url: &str, order: i64, status: &OrderStatus, code: Option<ErrorCode>) -> Response {
    let separator = if app_url.contains('?') { '&' } else { '?' };
    let mut url = format!("{app_url}{separator}order={order}&status={}", status.as_str());
    if let Some(code) = code {
        url += &format!("&code={}", code.as_str());
    }
    let response = Response::empty(303).header("location", url);
    response.header("referrer-policy", "no-referrer")
}

#[cfg(test)]
mod description {
    use utoipa::openapi::path::ParameterIn;

    use super::{ApiError, INVALID_RETURN, PREFETCH_REFUSED};
    use crate::{
        error::catalog::BUSY,
        operation::{
            description::{Description, Success, stores},
            parameters::{parameter, string},
        },
    };

    pub(super) fn return_from_gateway() -> Description {
        let in_query = |name, text| parameter(name, ParameterIn::Query, text, string().build());
        let state = "From the `return_url` of the response to the pre-order.";
        Description {
            tag: "orders".into(),
            summary: "Come back from a payment window".into(),
            more: "For a browser, without a token. What the user has agreed to pay is approved, and `Location` is the \
                   address of the app with `order` and `status`, and with `code` if it was refused. Loaded again, it \
                   approves nothing twice; `HEAD` approves nothing."
                .into(),
            parameters: vec![
                parameter("state", ParameterIn::Path, state, string().build()),
                in_query(
                    "paymentKey",
                    "The key of the window: Toss. Without a key, nothing is approved.",
                ),
                in_query("paymentToken", "The same: PortOne."),
                in_query("pg_token", "The same: KakaoPay."),
                in_query("payment_intent", "The same: Stripe."),
                in_query("orderId", "The order's `reference`: Toss. Another one is refused."),
                in_query("paymentId", "The same: PortOne."),
                in_query(
                    "amount",
                    "What the window has shown: Toss. Another amount than the price is refused.",
                ),
            ],
            body: None,
            success: Success::elsewhere(),
            errors: [&INVALID_RETURN, &BUSY, &PREFETCH_REFUSED]
                .into_iter()
                .map(ApiError::from)
                .chain(stores())
                .collect(),
            cpu_bound: false,
        }
    }
}
