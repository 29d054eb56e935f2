//! Registering for an item with its payment, and completing it.

use sugang_sdk::types::{Completed, DateTime, Money, PaymentId, PaymentMethod, Registered, RegistrationId};
use uuid::Uuid;

use crate::{
    auth::tokens::Caller,
    context::RequestContext,
    error::{
        ApiError, FieldProblem, FieldProblems,
        catalog::{AMOUNT_OUT_OF_BOUNDS, NOT_FOUND, ORDER_IN_PROGRESS, REFUND_IN_PROGRESS, SOLD_OUT},
    },
    extract::forms::{self, RegisterForm},
    http::Response,
    kind::ItemKind,
    operation::ItemOperation,
    payment_rules,
    store::{
        FunctionRow, Outcome,
        functions::{Complete, Register},
        with_lock,
    },
};

pub(crate) static REGISTER: ItemOperation = ItemOperation {
    id: |kind| kind.register_operation.to_owned(),
    handler: |ctx, caller, kind| Box::pin(register(ctx, caller, kind)),
    #[cfg(test)]
    describe: description::register,
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
    let accepted = payment_rules::accepted_amounts(form.payment_method.unwrap_or(PaymentMethod::Free));
    // Random, because an id derived from user and item would repeat after a cancellation. The database enforces that ids
    // with this prefix are unique; those of the Django service need not be.
    let external_id = format!("sugang_{}", Uuid::new_v4().simple());
    let call = Register {
        user: caller.id(),
        id: ctx.id,
        amount: form.amount.map(|amount| amount.to_string()),
        method: form.payment_method.map(|method| method.to_string()),
        min: accepted.start().to_string(),
        max: accepted.end().to_string(),
        external_id,
        request_id: ctx.ids.own.clone(),
        key: idempotency.key,
        fingerprint: idempotency.fingerprint,
        epoch: caller.epoch(),
        one_step: ctx.state.config.one_step_payment,
    };
    let lock = kind.lock(caller.id(), ctx.id);
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
    /// What was paid, which the form may not say: a free item, or a payment that another program left behind. The
    /// keys may be missing in a row that an earlier version stored.
    #[derive(serde::Deserialize)]
    struct Payload {
        payment_id: PaymentId,
        registration_id: RegistrationId,
        amount: Option<Money>,
        payment_method: Option<String>,
    }

    Err(match row.outcome {
        Outcome::Ok => {
            let payload: Payload = row.payload()?;
            let paid_by = payload.payment_method.and_then(|word| word.parse().ok());
            let payment_method = paid_by.or(form.payment_method).unwrap_or(PaymentMethod::Free);
            let amount = payload.amount.or(form.amount).unwrap_or(Money::won(0));
            let body = Registered {
                message: ctx.text(kind.registered),
                payment_id: payload.payment_id,
                registration: (kind.registration)(payload.registration_id),
                payment_method,
                transaction_metadata: payment_rules::transaction_metadata(payment_method, amount),
            };
            return Ok(Response::json(201, &body));
        }
        Outcome::InvalidFields => wrong_fields(row)?,
        Outcome::NotFound => (&NOT_FOUND).into(),
        Outcome::AlreadyRegistered => (&kind.already_registered).into(),
        Outcome::NotOpen => (&kind.not_open).into(),
        Outcome::AmountMismatch => (&kind.amount_mismatch).into(),
        Outcome::AmountOutOfBounds => (&AMOUNT_OUT_OF_BOUNDS).into(),
        Outcome::SoldOut => (&SOLD_OUT).into(),
        Outcome::OrderInProgress => (&ORDER_IN_PROGRESS).into(),
        Outcome::PaymentRequired => payment_required(kind, ctx.id),
        _ => row.idempotency_error(),
    })
}

fn payment_required(kind: &ItemKind, id: i64) -> ApiError {
    let preorder = format!("/{}/{id}/preorder/", kind.segment);
    ApiError::PaymentRequired { preorder }
}

/// The fields that only the price could tell to be wrong.
fn wrong_fields(row: &FunctionRow) -> Result<ApiError, ApiError> {
    let mut problems = FieldProblems::default();
    for (field, problem) in row.payload::<Vec<(&str, &str)>>()? {
        let problem = match problem {
            "required" => FieldProblem::Required,
            "not_positive" => FieldProblem::NotPositive,
            "invalid_choice" => FieldProblem::InvalidChoice,
            _ => return Err(row.unexpected()),
        };
        problems.push(if field == "amount" { "amount" } else { "payment_method" }, problem);
    }
    Ok(ApiError::Fields(problems))
}

pub(crate) static COMPLETE: ItemOperation = ItemOperation {
    id: |kind| format!("complete_{}", kind.names.0),
    handler: |ctx, caller, kind| Box::pin(complete(ctx, caller, kind)),
    #[cfg(test)]
    describe: description::complete,
};

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
        request_id: ctx.ids.own.clone(),
        epoch: caller.epoch(),
    };
    let row = ctx.execute(kind.functions(), call).await?;
    match row.outcome {
        Outcome::Ok => {
            let payload: Payload = row.payload()?;
            let body = Completed {
                message: ctx.text(kind.completed),
                registration: (kind.registration)(payload.registration_id),
                completed_at: payload.completed_at,
            };
            Ok(Response::json(200, &body))
        }
        Outcome::NotRegistered => Err((&kind.not_registered).into()),
        Outcome::AlreadyCompleted => Err((&kind.already_completed).into()),
        Outcome::Cancelled => Err((&kind.registration_cancelled).into()),
        Outcome::RefundInProgress => Err((&REFUND_IN_PROGRESS).into()),
        _ => Err(row.unexpected()),
    }
}

#[cfg(test)]
mod description {
    use serde_json::json;
    use sugang_sdk::types::{PaymentId, PaymentMethod, Register, Registration, RegistrationId, TransactionMetadata};
    use utoipa::{
        ToSchema,
        openapi::{KnownFormat, ObjectBuilder, Ref, RefOr, Schema, SchemaFormat},
    };

    use super::{
        AMOUNT_OUT_OF_BOUNDS, ApiError, ItemKind, NOT_FOUND, ORDER_IN_PROGRESS, REFUND_IN_PROGRESS, SOLD_OUT,
        payment_required,
    };
    use crate::{
        operation::{
            description::{BODIES, Body, Description, Success, body, caller, keyed, required},
            parameters::{id, idempotency_key, string},
        },
        payment_rules::accepted_amounts,
    };

    pub(super) fn register(kind: &'static ItemKind) -> Description {
        let (one, several) = kind.names;
        Description {
            tag: several.into(),
            summary: format!("Register for one {one} and pay"),
            more: format!(
                "Amounts that the methods take, both ends included: {}. An item whose price is 0 is taken with both fields \
                 or without: its amount is 0 and its method `free`.",
                bounds()
            )
            .into(),
            parameters: vec![id(one), idempotency_key()],
            body: Some(Body {
                schema: Register::name(),
                required: true,
                media_types: &BODIES,
            }),
            success: Success::of(201, registered(kind)).replayable(),
            errors: caller(
                [
                    required("amount"),
                    (&NOT_FOUND).into(),
                    (&kind.already_registered).into(),
                    (&kind.not_open).into(),
                    (&kind.amount_mismatch).into(),
                    (&AMOUNT_OUT_OF_BOUNDS).into(),
                    (&SOLD_OUT).into(),
                    (&ORDER_IN_PROGRESS).into(),
                    payment_required(kind, 1),
                ]
                .into_iter()
                .chain(body())
                .chain(keyed()),
            ),
            cpu_bound: false,
        }
    }

    pub(super) fn complete(kind: &'static ItemKind) -> Description {
        let (one, several) = kind.names;
        Description {
            tag: several.into(),
            summary: format!("Mark one's own registration for one {one} as completed"),
            more: "Needs no body. What is completed can no longer be cancelled.".into(),
            parameters: vec![id(one)],
            body: None,
            success: Success::of(200, completed(kind)),
            errors: caller([
                ApiError::from(&kind.not_registered),
                (&kind.already_completed).into(),
                (&kind.registration_cancelled).into(),
                (&REFUND_IN_PROGRESS).into(),
            ]),
            cpu_bound: false,
        }
    }

    fn bounds() -> String {
        let paying = PaymentMethod::ALL
            .iter()
            .filter(|method| ![PaymentMethod::Free, PaymentMethod::Outside].contains(method));
        let bounds = paying.map(|method| {
            let accepted = accepted_amounts(*method);
            format!("`{method}` {} to {}", accepted.start(), accepted.end())
        });
        bounds.collect::<Vec<_>>().join(", ")
    }

    /// Returns the key of a registration's id.
    fn key(kind: &ItemKind) -> &'static str {
        match (kind.registration)(RegistrationId(1)) {
            Registration::Application(_) => "registration_id",
            Registration::Enrolment(_) => "enrollment_id",
        }
    }

    fn object(properties: Vec<(&str, RefOr<Schema>)>) -> Schema {
        let mut object = ObjectBuilder::new();
        for (name, schema) in properties {
            object = object.property(name, schema).required(name);
        }
        object.build().into()
    }

    fn completed(kind: &ItemKind) -> Schema {
        let date_time = SchemaFormat::KnownFormat(KnownFormat::DateTime);
        object(vec![
            (
                "message",
                string().examples([json!(kind.completed.korean)]).build().into(),
            ),
            (key(kind), Ref::from_schema_name(RegistrationId::name()).into()),
            ("completed_at", string().format(Some(date_time)).build().into()),
        ])
    }

    fn registered(kind: &ItemKind) -> Schema {
        object(vec![
            (
                "message",
                string().examples([json!(kind.registered.korean)]).build().into(),
            ),
            ("payment_id", Ref::from_schema_name(PaymentId::name()).into()),
            (key(kind), Ref::from_schema_name(RegistrationId::name()).into()),
            ("payment_method", Ref::from_schema_name(PaymentMethod::name()).into()),
            (
                "transaction_metadata",
                Ref::from_schema_name(TransactionMetadata::name()).into(),
            ),
        ])
    }
}
