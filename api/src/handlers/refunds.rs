//! Refunds over gateways: what a request has begun, and what no request looks after.

use futures::future::{join_all, join3};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sugang_protocol::Text;
use sugang_sdk::types::{Money, PaymentId, RefundAccount, RefundId, RefundPending, RefundStatus, Word};

use crate::{
    context::RequestContext,
    error::{ApiError, FieldProblem, FieldProblems, catalog::REFUND_IN_PROGRESS},
    gateways::{self, Attempt, Refund, RefundOutcome, ShownRefund},
    http::Response,
    store::{
        FunctionRow, Outcome,
        refund_functions::{
            ClaimReconciliations, ClaimRefunds, ReconcilePayment, RefundFigures, SettleRefund, refunds,
        },
    },
};

use super::{closings, orders::lease_ms};

const PENDING: Text = Text::new("환불을 확인하고 있습니다", "The refund is being confirmed");

/// The most refunds that one sweep looks after, all at once.
const REFUNDS: i64 = 16;

/// The most payments that one sweep compares with their gateways.
const RECONCILIATIONS: i64 = 8;

/// The account of a request, as the database keeps it.
pub(super) fn account(account: Option<&RefundAccount>) -> Result<Option<String>, ApiError> {
    let json = account.map(serde_json::to_string).transpose();
    json.map_err(|_| ApiError::internal("an account is always JSON"))
}

/// Has the gateway give back what a request has begun to give back, and settles what it says. Between both, no transaction
/// is open. Any other row is returned as it is.
pub(super) async fn give_back(ctx: &RequestContext<'_>, row: FunctionRow) -> Result<FunctionRow, ApiError> {
    if row.outcome != Outcome::Send {
        return Ok(row);
    }
    let refund: Refund = row.payload()?;
    match refund.tries {
        0 => look_after(ctx, &refund).await,
        _ => send(ctx, &refund).await,
    }
}

async fn send(ctx: &RequestContext<'_>, refund: &Refund) -> Result<FunctionRow, ApiError> {
    let config = &ctx.state.config;
    let outcome = gateways::refund(&config.contracts, refund, config.gateway_timeout).await;
    settle(ctx, refund, outcome.name(), &outcome).await
}

async fn settle(
    ctx: &RequestContext<'_>,
    refund: &Refund,
    outcome: &str,
    facts: &impl Serialize,
) -> Result<FunctionRow, ApiError> {
    let call = SettleRefund {
        payment: refund.payment,
        refund: refund.id,
        outcome: outcome.to_owned(),
        facts: serde_json::to_string(facts).map_err(|_| ApiError::internal("facts are always JSON"))?,
        lease_ms: lease_ms(&ctx.state.config),
        request_id: ctx.ids.own.clone(),
    };
    ctx.execute(refunds(), call).await
}

/// The response to a request that has not given the money back, or not yet.
pub(super) fn not_done(ctx: &RequestContext<'_>, row: &FunctionRow) -> Result<Response, ApiError> {
    #[derive(Deserialize)]
    struct Payload {
        payment_id: PaymentId,
        refund_id: RefundId,
        amount: Money,
        status: Word<RefundStatus>,
    }

    #[derive(Deserialize)]
    struct Refusal {
        code: String,
    }

    match row.outcome {
        Outcome::Accepted => {
            let payload: Payload = row.payload()?;
            let body = RefundPending {
                message: ctx.text(PENDING),
                payment_id: payload.payment_id,
                refund_id: payload.refund_id,
                amount: payload.amount,
                status: payload.status,
            };
            Ok(Response::json(202, &body))
        }
        Outcome::RefundDeclined => {
            let Refusal { code } = row.payload()?;
            Err(ApiError::RefundDeclined { reason: code })
        }
        Outcome::RefundInProgress => Err((&REFUND_IN_PROGRESS).into()),
        Outcome::AccountRequired => Err(ApiError::Fields(FieldProblems::of(
            "refund_account",
            FieldProblem::Required,
        ))),
        _ => Err(row.idempotency_error()),
    }
}

/// Looks after the refunds that no request looks after, compares a few payments with their gateways, and releases what
/// gateways have reserved for nothing. Returns what the sweep answers about it, and whether more is due.
pub(super) async fn sweep(ctx: &RequestContext<'_>) -> Result<(Map<String, Value>, bool), ApiError> {
    let claim = ClaimRefunds {
        limit: REFUNDS,
        // It is looked up first, and then sent.
        lease_ms: 2 * lease_ms(&ctx.state.config),
    };
    let due: Vec<Refund> = ctx.execute(refunds(), claim).await?.payload()?;
    let (sent, compared, closed) = join3(
        join_all(due.iter().map(|refund| look_after(ctx, refund))),
        reconcile(ctx),
        closings::close(ctx),
    )
    .await;
    ctx.log_failures(sent.into_iter().map(|settled| settled.map(drop)).collect());
    let mut figures: Map<String, Value> = ctx.execute(refunds(), RefundFigures {}).await?.payload()?;
    figures.insert("refunds".to_owned(), json!(due.len()));
    let compared = compared?;
    figures.insert("reconciled".to_owned(), json!(compared));
    let closed = closed?;
    figures.insert("closed".to_owned(), json!(closed));
    let has_more =
        due.len() as i64 == REFUNDS || compared as i64 == RECONCILIATIONS || closed as i64 == closings::CLOSINGS;
    Ok((figures, has_more))
}

#[derive(Serialize)]
struct Shown {
    refunds: Vec<ShownRefund>,
}

/// Looks a refund up, and sends it unless the gateway shows it.
async fn look_after(ctx: &RequestContext<'_>, refund: &Refund) -> Result<FunctionRow, ApiError> {
    let config = &ctx.state.config;
    match gateways::refunds(&config.contracts, &refund.attempt, config.gateway_timeout).await {
        Some(refunds) => {
            let row = settle(ctx, refund, "found", &Shown { refunds }).await?;
            match row.outcome {
                Outcome::Send => send(ctx, &row.payload()?).await,
                _ => Ok(row),
            }
        }
        None => {
            let unknown = RefundOutcome::Unknown {};
            settle(ctx, refund, unknown.name(), &unknown).await
        }
    }
}

/// A payment whose money a gateway holds.
#[derive(Deserialize)]
pub(super) struct Held {
    payment: i64,
    /// The database's time before the gateway is asked.
    asked_at: String,
    attempt: Attempt,
}

async fn reconcile(ctx: &RequestContext<'_>) -> Result<usize, ApiError> {
    let days = ctx.state.config.gateway_reconcile_days;
    let claim = ClaimReconciliations {
        limit: RECONCILIATIONS,
        days,
    };
    let due: Vec<Held> = ctx.execute(refunds(), claim).await?.payload()?;
    ctx.log_failures(join_all(due.iter().map(|held| compare(ctx, held))).await);
    Ok(due.len())
}

/// Notes what a gateway has given back of a payment, by us or at its own console, and whether the bank has taken a deposit
/// back, of which no event may have told. What is unclear now is asked again soon.
pub(super) async fn compare(ctx: &RequestContext<'_>, held: &Held) -> Result<(), ApiError> {
    let config = &ctx.state.config;
    let (contracts, limit) = (&config.contracts, config.gateway_timeout);
    let outcome = gateways::find_out(contracts, &held.attempt, limit).await;
    let Some(shown) = gateways::refunds(contracts, &held.attempt, limit).await else {
        return Ok(());
    };
    let call = ReconcilePayment {
        payment: held.payment,
        asked_at: held.asked_at.clone(),
        outcome: outcome.name().to_owned(),
        facts: serde_json::to_string(&outcome).map_err(|_| ApiError::internal("facts are always JSON"))?,
        refunds: serde_json::to_string(&shown).map_err(|_| ApiError::internal("refunds are always JSON"))?,
        request_id: ctx.ids.own.clone(),
        days: config.gateway_reconcile_days,
    };
    ctx.execute(refunds(), call).await.map(drop)
}
