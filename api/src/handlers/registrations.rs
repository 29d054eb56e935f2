//! Registering for an item with its payment, and completing it.

use spin_sdk::pg::ParameterValue;
use sugang_sdk::types::{Completed, DateTime, PaymentId, Registered, RegistrationId};
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
    operation::ItemOperation,
    payment_rules,
    store::{Retry, with_lock},
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
    #[derive(serde::Deserialize)]
    struct Payload {
        payment_id: PaymentId,
        registration_id: RegistrationId,
    }

    let body = ctx.body().await?;
    let idempotency = ctx.idempotency(&body)?;
    let form = forms::register(&body.object()?)?;
    let accepted = payment_rules::accepted_amounts(form.payment_method);
    // Random, because an id derived from user and item would repeat after a cancellation. The database enforces that ids
    // with this prefix are unique; those of the Django service need not be.
    let external_id = format!("sugang_{}", Uuid::new_v4().simple());
    let retry = idempotency.retry();
    let parameters: Vec<ParameterValue> = vec![
        caller.id().into(),
        ctx.id.into(),
        form.amount.to_string().into(),
        form.payment_method.to_string().into(),
        accepted.start().to_string().into(),
        accepted.end().to_string().into(),
        external_id.into(),
        ctx.request_id.to_owned().into(),
        idempotency.key.into(),
        idempotency.fingerprint.into(),
    ];
    let lock = format!("sugang:register:{}:{}:{}", kind.payment_type, caller.id(), ctx.id);
    let work = ctx.execute(kind.register, parameters, retry);
    let row = with_lock(&ctx.state.redis, &lock, ctx.state.config.lock_ttl, work).await?;
    match row.outcome.as_str() {
        "ok" => {
            let payload: Payload = row.payload()?;
            let body = Registered {
                message: ctx.text(kind.registered),
                payment_id: payload.payment_id,
                registration: (kind.registration)(payload.registration_id),
                payment_method: form.payment_method,
                transaction_metadata: payment_rules::transaction_metadata(form.payment_method, form.amount),
            };
            Ok(Response::json(201, &body))
        }
        "not_found" => Err((&NOT_FOUND).into()),
        "already_registered" => Err((&kind.already_registered).into()),
        "not_open" => Err((&kind.not_open).into()),
        "amount_mismatch" => Err((&kind.amount_mismatch).into()),
        "amount_out_of_bounds" => Err((&AMOUNT_OUT_OF_BOUNDS).into()),
        "sold_out" => Err((&SOLD_OUT).into()),
        _ => Err(row.idempotency_error()),
    }
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
    let parameters = vec![caller.id().into(), ctx.id.into(), ctx.request_id.to_owned().into()];
    let row = ctx.execute(kind.complete, parameters, Retry::Never).await?;
    match row.outcome.as_str() {
        "ok" => {
            let payload: Payload = row.payload()?;
            let body = Completed {
                message: ctx.text(kind.completed),
                registration_id: payload.registration_id,
                completed_at: payload.completed_at,
            };
            Ok(Response::json(200, &body))
        }
        "not_registered" => Err((&kind.not_registered).into()),
        "already_completed" => Err((&kind.already_completed).into()),
        "cancelled" => Err((&kind.registration_cancelled).into()),
        _ => Err(row.unexpected()),
    }
}

#[cfg(test)]
mod description {
    use serde_json::json;
    use sugang_sdk::types::{
        Completed, PaymentId, PaymentMethod, Register, Registration, RegistrationId, TransactionMetadata,
    };
    use utoipa::{
        ToSchema,
        openapi::{ObjectBuilder, Ref, RefOr, Schema},
    };

    use super::{AMOUNT_OUT_OF_BOUNDS, ApiError, ItemKind, NOT_FOUND, SOLD_OUT};
    use crate::{
        operation::{
            description::{Body, Description, Success, body, caller, keyed, required},
            parameters::{id, idempotency_key, string},
        },
        payment_rules::accepted_amounts,
    };

    pub(super) fn register(kind: &'static ItemKind) -> Description {
        let (one, several) = kind.names;
        Description {
            tag: several.into(),
            summary: format!("Register for one {one} and pay"),
            more: format!("Amounts that the methods take, both ends included: {}.", bounds()).into(),
            parameters: vec![id(one), idempotency_key()],
            body: Some(Body {
                schema: Register::name(),
                required: true,
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
            success: Success::named(200, Completed::name()),
            errors: caller([
                ApiError::from(&kind.not_registered),
                (&kind.already_completed).into(),
                (&kind.registration_cancelled).into(),
            ]),
            cpu_bound: false,
        }
    }

    fn bounds() -> String {
        let bounds = PaymentMethod::ALL.iter().map(|method| {
            let accepted = accepted_amounts(*method);
            format!("`{method}` {} to {}", accepted.start(), accepted.end())
        });
        bounds.collect::<Vec<_>>().join(", ")
    }

    /// Returns the schema of a registration's response, in which the key of the id depends on the kind.
    fn registered(kind: &ItemKind) -> Schema {
        let key = match (kind.registration)(RegistrationId(1)) {
            Registration::Application(_) => "registration_id",
            Registration::Enrolment(_) => "enrollment_id",
        };
        let mut registered = ObjectBuilder::new();
        for (name, schema) in [
            (
                "message",
                string().examples([json!(kind.registered.korean)]).build().into(),
            ),
            ("payment_id", Ref::from_schema_name(PaymentId::name()).into()),
            (key, Ref::from_schema_name(RegistrationId::name()).into()),
            ("payment_method", Ref::from_schema_name(PaymentMethod::name()).into()),
            (
                "transaction_metadata",
                Ref::from_schema_name(TransactionMetadata::name()).into(),
            ),
        ] {
            let schema: RefOr<Schema> = schema;
            registered = registered.property(name, schema).required(name);
        }
        registered.build().into()
    }
}
