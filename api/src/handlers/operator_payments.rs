//! Payments, for operators: their list, a payment with its refunds, and a refund of the whole or a part.

use sugang_sdk::types::{Money, Refunded};

use crate::{
    auth::tokens::Caller,
    context::RequestContext,
    error::{
        ApiError,
        catalog::{ALREADY_CANCELLED, INVALID_PAGE, NOT_FOUND},
    },
    extract::{Query, forms},
    http::Response,
    operation::{Handler, Operation},
    store::{
        FunctionRow, Limit, Outcome,
        functions::{self, GetPaymentForOperator, RefundPayment},
        operator_functions::{ExportPayments, ListPaymentsForOperator, operators},
    },
};

use super::{
    export::{CSV, Export},
    orders::lease_ms,
    page::page,
    refunds,
};

pub(crate) static LIST: Operation = Operation {
    id: "list_payments_for_operator",
    handler: Handler::Private(|ctx, caller| Box::pin(list(ctx, caller))),
    #[cfg(test)]
    describe: description::list,
};

/// Lists one page of the payments of all users. An unknown `status` matches no payment.
pub(crate) async fn list(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let query = Query::parse(&ctx.head.query);
    let filter = Filter::read(&query)?;
    let [key, typed_key, ascii_key] = filter.keys;
    let [from, to] = filter.days;
    let call = ListPaymentsForOperator {
        user: caller.id(),
        page: query.page()?,
        owner: filter.owner,
        key,
        typed_key,
        ascii_key,
        external_id: filter.external_id,
        amount: filter.amount,
        status: filter.status,
        from,
        to,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(operators(), call).await?;
    match row.outcome {
        Outcome::Ok => Ok(page(ctx, &query, &row)),
        Outcome::InvalidPage => Err((&INVALID_PAGE).into()),
        // The caller is no operator.
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        _ => Err(row.unexpected()),
    }
}

/// Which payments are wanted.
#[derive(Clone)]
struct Filter {
    owner: Option<String>,
    /// Those of the e-mail address.
    keys: [Option<String>; 3],
    external_id: Option<String>,
    amount: Option<String>,
    status: Option<String>,
    days: [Option<String>; 2],
}

impl Filter {
    fn read(query: &Query) -> Result<Self, ApiError> {
        let amount = query.value("amount", forms::parse_amount)?;
        Ok(Self {
            days: query.days(["from", "to"])?,
            keys: query.email_keys()?,
            owner: query.id("user")?,
            external_id: query.text("external_id")?,
            amount: amount.map(|amount| amount.to_string()),
            status: query.text("status")?,
        })
    }
}

pub(crate) static EXPORT: Operation = Operation {
    id: "export_payments",
    handler: Handler::Private(|ctx, caller| Box::pin(export(ctx, caller))),
    #[cfg(test)]
    describe: description::export,
};

/// Exports the payments of all users, with the filters of their list.
async fn export(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let filter = Filter::read(&Query::parse(&ctx.head.query))?;
    let (user, epoch) = (caller.id(), caller.epoch());
    let page = move |after| {
        let filter = filter.clone();
        let [key, typed_key, ascii_key] = filter.keys;
        let [from, to] = filter.days;
        ExportPayments {
            user,
            owner: filter.owner,
            key,
            typed_key,
            ascii_key,
            external_id: filter.external_id,
            amount: filter.amount,
            status: filter.status,
            from,
            to,
            after,
            epoch,
        }
    };
    let file = Export {
        statements: operators(),
        format: &CSV,
        name: "payments",
        limit: Limit::Usual,
    };
    file.send(ctx, page).await
}

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
        account: refunds::account(form.refund_account.as_ref())?,
        lease_ms: lease_ms(&ctx.state.config),
    };
    let row = ctx.execute(functions::shared(), call).await?;
    let row = refunds::give_back(ctx, row).await?;
    ctx.mark_replay(row.replayed, refunded(ctx, &row))
}

fn refunded(ctx: &RequestContext<'_>, row: &FunctionRow) -> Result<Response, ApiError> {
    #[derive(serde::Deserialize)]
    struct Payload {
        left: Money,
    }

    match row.outcome {
        Outcome::Ok => Ok(Response::json(200, &row.payload::<Refunded>()?)),
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        Outcome::AlreadyCancelled => Err((&ALREADY_CANCELLED).into()),
        Outcome::RefundTooLarge => {
            let payload: Payload = row.payload()?;
            Err(ApiError::RefundTooLarge { left: payload.left })
        }
        _ => refunds::not_done(ctx, row),
    }
}

#[cfg(test)]
mod description {
    use sugang_sdk::types::{ManagedPayment, Money, PaymentStatus, RefundPayment, Refunded};
    use utoipa::{ToSchema, openapi::path::ParameterIn};

    use super::{ALREADY_CANCELLED, ApiError, INVALID_PAGE, NOT_FOUND};
    use crate::{
        error::{FieldProblem, FieldProblems},
        handlers::export::description::csv,
        operation::{
            description::{
                BODIES, Body, Description, Success, body, keyed, null_character, operator, page_of, refund_errors,
                refund_pending, required,
            },
            parameters::{day_parameter, id, id_parameter, idempotency_key, page_parameter, parameter, string},
        },
    };

    pub(super) fn list() -> Description {
        let only = |name, text: &str| parameter(name, ParameterIn::Query, text, string().build());
        let statuses = PaymentStatus::ALL.iter().map(|status| status.as_str());
        let status = string().enum_values(Some(statuses)).build();
        let wrong = |name, problem| ApiError::Fields(FieldProblems::of(name, problem));
        Description {
            tag: "operator".into(),
            summary: "List the payments of all users with their refunds".into(),
            more: "Newest first, 20 a page. Parameters that are left out, or empty, filter nothing.".into(),
            parameters: vec![
                page_parameter(),
                id_parameter("user", "Only those of this user."),
                only(
                    "email",
                    "Only those of the user with this e-mail address, in any of its spellings.",
                ),
                only(
                    "external_id",
                    "Only those with this `external_transaction_id`, by which a payment gateway knows them.",
                ),
                only("amount", "Only those of this amount."),
                parameter("status", ParameterIn::Query, "Only those with this status.", status),
                day_parameter("from", "Only those paid on this day (UTC) or later."),
                day_parameter("to", "Only those paid on this day (UTC) or earlier."),
            ],
            body: None,
            success: Success::of(200, page_of(ManagedPayment::name())),
            errors: operator([
                (&INVALID_PAGE).into(),
                wrong("from", FieldProblem::InvalidDate),
                wrong("user", FieldProblem::InvalidInteger),
                wrong("amount", FieldProblem::InvalidNumber),
                null_character("email"),
            ]),
            cpu_bound: false,
        }
    }

    pub(super) fn export() -> Description {
        let Description { parameters, errors, .. } = list();
        csv(
            "Export the payments of all users as CSV".to_owned(),
            parameters
                .into_iter()
                .filter(|parameter| parameter.name != "page")
                .collect(),
            errors
                .into_iter()
                .filter(|error| !matches!(error, ApiError::Refused(spec) if *spec == &INVALID_PAGE))
                .collect(),
        )
    }

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
                   it is completed or `keep_registration` is true, the registration. Where a gateway holds the money, it gives \
                   it back first: 202 while its answer is not known; one refund of a payment is under way at a time. Of a \
                   payment that is cancelled, what the gateway has refused before is sent again."
                .into(),
            parameters: vec![id("payment"), idempotency_key()],
            body: Some(Body {
                schema: RefundPayment::name(),
                required: true,
                media_types: &BODIES,
            }),
            success: Success::named(200, Refunded::name())
                .replayable()
                .or_else(refund_pending()),
            errors: operator(errors.into_iter().chain(refund_errors()).chain(body()).chain(keyed())),
            cpu_bound: false,
        }
    }
}
