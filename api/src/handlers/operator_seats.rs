//! What operators do with the registrations for an exam or a course: registering by hand, completing, cancelling.

use serde_json::json;
use sugang_protocol::ErrorSpec;
use sugang_sdk::types::{
    ManagedRegistration, Money, NewRegistration, RefundChoice, RegistrationCancelled, RegistrationsCompleted, RowError,
};
use uuid::Uuid;

use crate::{
    auth::tokens::Caller,
    context::RequestContext,
    error::{
        ApiError, FieldProblem, FieldProblems,
        catalog::{NOT_FOUND, ORDER_IN_PROGRESS, REFUND_IN_PROGRESS, SOLD_OUT},
    },
    extract::{
        Body,
        body::{FileFormat, file_format},
        forms::{self, MAX_REGISTRATIONS},
        rows::{self, Listed},
    },
    http::Response,
    kind::ItemKind,
    operation::ItemOperation,
    store::{
        FunctionRow, Outcome,
        functions::{CancelForOperator, CompleteForOperator, RegisterForOperator},
    },
    text::{Address, AddressKeys},
};

use super::{orders::lease_ms, refunds};

pub(crate) static REGISTER: ItemOperation = ItemOperation {
    id: |kind| format!("create_registration_for_{}", kind.names.0),
    handler: |ctx, caller, kind| Box::pin(register(ctx, caller, kind)),
    #[cfg(test)]
    describe: description::register,
};

/// Registers a user by hand.
pub(crate) async fn register(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
) -> Result<Response, ApiError> {
    let body = ctx.body().await?;
    let idempotency = ctx.idempotency(&body)?;
    let call = RegisterForOperator {
        user: caller.id(),
        id: ctx.id,
        form: registration(forms::new_registration(&body.object()?)?),
        request_id: ctx.ids.own.clone(),
        key: idempotency.key,
        fingerprint: idempotency.fingerprint,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(kind.functions(), call).await?;
    let replayed = row.replayed;
    let done = match row.outcome {
        Outcome::Ok => Ok(Response::text(201, "application/json", row.body)),
        Outcome::InvalidFields => Err(unknown_user(&row)?),
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        Outcome::AlreadyRegistered => Err((&kind.already_registered).into()),
        Outcome::NotOpen => Err((&kind.not_open).into()),
        Outcome::SoldOut => Err((&SOLD_OUT).into()),
        Outcome::OrderInProgress => Err((&ORDER_IN_PROGRESS).into()),
        _ => Err(row.idempotency_error()),
    };
    ctx.mark_replay(replayed, done)
}

/// The form as the database reads it, with the keys by which it finds an e-mail address.
fn registration(form: NewRegistration) -> String {
    let amount = form.amount.map_or_else(|| "0".to_owned(), |amount| amount.to_string());
    let generated = || format!("sugang_{}", Uuid::new_v4().simple());
    let mut read = json!({
        "amount": amount,
        "payment_method": form.payment_method,
        "external_id": form.reference.or(form.reason).unwrap_or_else(generated),
        "any_time": form.outside_period,
    });
    if let Some(id) = form.user_id {
        read["user_id"] = id.0.into();
    } else {
        let AddressKeys { key, typed, ascii } = Address::new(&form.email.unwrap_or_default()).keys();
        read["email_keys"] = json!(
            [Some(typed), Some(key), ascii]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
        );
    }
    read.to_string()
}

/// The field by which no active user was found.
fn unknown_user(row: &FunctionRow) -> Result<ApiError, ApiError> {
    let field = match row.payload::<[(&str, &str); 1]>()? {
        [("user_id", "unknown_user")] => "user_id",
        [("email", "unknown_user")] => "email",
        _ => return Err(row.unexpected()),
    };
    Ok(ApiError::Fields(FieldProblems::of(field, FieldProblem::UnknownUser)))
}

pub(crate) static COMPLETE: ItemOperation = ItemOperation {
    id: |kind| format!("complete_registration_for_{}", kind.names.0),
    handler: |ctx, caller, kind| Box::pin(complete(ctx, caller, kind)),
    #[cfg(test)]
    describe: description::complete,
};

/// Completes a registration. The body is optional; if there is one, it must be JSON.
pub(crate) async fn complete(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
) -> Result<Response, ApiError> {
    let body = ctx.body().await?;
    body.object()?;
    let row = complete_all(ctx, caller, kind, &body, ctx.registration.to_string()).await?;
    let replayed = row.replayed;
    let done = match row.outcome {
        Outcome::Ok => Ok(Response::text(200, "application/json", row.body)),
        Outcome::InvalidRows => match problems(kind, &row)?.first() {
            Some((_, problem)) => Err((*problem).into()),
            None => Err(row.unexpected()),
        },
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        _ => Err(row.idempotency_error()),
    };
    ctx.mark_replay(replayed, done)
}

pub(crate) static COMPLETE_MANY: ItemOperation = ItemOperation {
    id: |kind| format!("complete_registrations_for_{}", kind.names.0),
    handler: |ctx, caller, kind| Box::pin(complete_many(ctx, caller, kind)),
    #[cfg(test)]
    describe: description::complete_many,
};

/// Completes many registrations, or none if one of them cannot be: by a list of ids, or by a file that has them.
pub(crate) async fn complete_many(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
) -> Result<Response, ApiError> {
    let content_type = ctx.head.header("content-type").unwrap_or_default();
    if let Some(FileFormat::Csv) = file_format(content_type) {
        return complete_listed(ctx, caller, kind).await;
    }
    let body = ctx.body().await?;
    let ids: Vec<_> = forms::complete_registrations(&body.object()?)?.ids;
    let ids: Vec<_> = ids.into_iter().map(|id| id.0).collect();
    let row = complete_all(ctx, caller, kind, &body, separated(&ids)).await?;
    completed(ctx, kind, &row, ids.len(), |index| RowError {
        index: Some(index),
        ..RowError::default()
    })
}

async fn complete_listed(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
) -> Result<Response, ApiError> {
    let file = ctx.file().await?;
    let Listed { ids, lines, problems } = rows::registrations(file.body.bytes(), MAX_REGISTRATIONS, ctx.language)?;
    if !problems.is_empty() {
        return Err(problems.into_error());
    }
    let row = complete_all(ctx, caller, kind, &file.body, separated(&ids)).await?;
    completed(ctx, kind, &row, ids.len(), |index| RowError {
        line: lines.get(index as usize).copied(),
        ..RowError::default()
    })
}

fn separated(ids: &[i64]) -> String {
    ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
}

/// `place` says where the registration with this place among them stands in the request.
fn completed(
    ctx: &RequestContext<'_>,
    kind: &'static ItemKind,
    row: &FunctionRow,
    count: usize,
    place: impl Fn(u64) -> RowError,
) -> Result<Response, ApiError> {
    let done = match row.outcome {
        Outcome::Ok => Ok(Response::json(
            200,
            &RegistrationsCompleted {
                completed: count as u64,
            },
        )),
        Outcome::InvalidRows => {
            let rows = problems(kind, row)?.into_iter().map(|(index, problem)| RowError {
                error: problem.text.in_language(ctx.language).into(),
                ..place(index)
            });
            Err(ApiError::Rows(rows.collect()))
        }
        // The caller is no operator.
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        _ => Err(row.idempotency_error()),
    };
    ctx.mark_replay(row.replayed, done)
}

async fn complete_all(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
    body: &Body,
    registrations: String,
) -> Result<FunctionRow, ApiError> {
    let idempotency = ctx.idempotency(body)?;
    let call = CompleteForOperator {
        user: caller.id(),
        id: ctx.id,
        registrations,
        request_id: ctx.ids.own.clone(),
        key: idempotency.key,
        fingerprint: idempotency.fingerprint,
        epoch: caller.epoch(),
    };
    ctx.execute(kind.functions(), call).await
}

/// Why which registrations of a list cannot be completed.
fn problems(kind: &'static ItemKind, row: &FunctionRow) -> Result<Vec<(u64, &'static ErrorSpec)>, ApiError> {
    let problems = row.payload::<Vec<(u64, &str)>>()?.into_iter();
    let problem = |(index, reason)| match reason {
        "not_found" => Ok((index, &NOT_FOUND)),
        "already_completed" => Ok((index, &kind.already_completed)),
        "cancelled" => Ok((index, &kind.registration_cancelled)),
        "refund_in_progress" => Ok((index, &REFUND_IN_PROGRESS)),
        _ => Err(row.unexpected()),
    };
    problems.map(problem).collect()
}

pub(crate) static CANCEL: ItemOperation = ItemOperation {
    id: |kind| format!("cancel_registration_for_{}", kind.names.0),
    handler: |ctx, caller, kind| Box::pin(cancel(ctx, caller, kind)),
    #[cfg(test)]
    describe: description::cancel,
};

/// Cancels a registration, and gives its payment back or keeps it.
pub(crate) async fn cancel(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
) -> Result<Response, ApiError> {
    let body = ctx.body().await?;
    let idempotency = ctx.idempotency(&body)?;
    let form = forms::cancel_registration(&body.object()?)?;
    let call = CancelForOperator {
        user: caller.id(),
        id: ctx.id,
        registration: ctx.registration,
        refund: form.refund == RefundChoice::All,
        reason: form.reason,
        request_id: ctx.ids.own.clone(),
        key: idempotency.key,
        fingerprint: idempotency.fingerprint,
        epoch: caller.epoch(),
        account: refunds::account(form.refund_account.as_ref())?,
        lease_ms: lease_ms(&ctx.state.config),
    };
    let row = ctx.execute(kind.functions(), call).await?;
    let row = refunds::give_back(ctx, row).await?;
    let replayed = row.replayed;
    let done = match row.outcome {
        Outcome::Ok => cancelled(&row),
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        Outcome::ItemCompleted => Err((&kind.item_completed).into()),
        Outcome::Cancelled => Err((&kind.registration_cancelled).into()),
        _ => refunds::not_done(ctx, &row),
    };
    ctx.mark_replay(replayed, done)
}

/// The response to a cancellation: at once, or after a gateway has given the money back.
fn cancelled(row: &FunctionRow) -> Result<Response, ApiError> {
    #[derive(serde::Deserialize)]
    struct GivenBack {
        registration: ManagedRegistration,
        amount: Money,
    }

    let given_back = |GivenBack { registration, amount }| RegistrationCancelled {
        registration,
        refunded: amount,
        kept: Money::won(0),
    };
    let body = row.payload().or_else(|_| row.payload().map(given_back))?;
    Ok(Response::json(200, &body))
}

#[cfg(test)]
mod description {
    use sugang_protocol::host::REQUEST_TIMEOUT;
    use sugang_sdk::types::{
        CancelRegistration, CompleteRegistrations, NewRegistration, RegistrationCancelled, RegistrationChanged,
        RegistrationsCompleted, RowError,
    };
    use utoipa::{ToSchema, openapi::path::Parameter};

    use super::{
        ApiError, FieldProblem, FieldProblems, ItemKind, NOT_FOUND, ORDER_IN_PROGRESS, REFUND_IN_PROGRESS, SOLD_OUT,
    };
    use crate::operation::{
        description::{
            BODIES, Body, Description, LISTS, Success, body, keyed, operator, refund_errors, refund_pending, required,
        },
        parameters::{id, idempotency_key, registration},
    };

    pub(super) fn register(kind: &'static ItemKind) -> Description {
        let (one, _) = kind.names;
        let errors = [
            required("payment_method"),
            ApiError::Fields(FieldProblems::of("email", FieldProblem::UnknownUser)),
            (&NOT_FOUND).into(),
            (&kind.already_registered).into(),
            (&kind.not_open).into(),
            (&SOLD_OUT).into(),
            (&ORDER_IN_PROGRESS).into(),
        ];
        Description {
            body: sent(NewRegistration::name()),
            success: Success::named(201, RegistrationChanged::name()).replayable(),
            errors: operator(errors.into_iter().chain(body()).chain(keyed())),
            ..described(
                format!("Register a user for one {one} by hand"),
                "The user is named by `user_id` or `email`. With the method `outside` the payment was made elsewhere: `amount` \
                 and `reference` are required. With `free` nothing is paid, for a `reason`. A user who has paid before pays \
                 nothing again. Capacity holds as for users; the period does unless `outside_period` is true.",
                vec![id(one), idempotency_key()],
            )
        }
    }

    pub(super) fn complete(kind: &'static ItemKind) -> Description {
        let (one, _) = kind.names;
        Description {
            success: Success::named(200, RegistrationChanged::name()).replayable(),
            errors: operator(
                [
                    ApiError::from(&NOT_FOUND),
                    (&kind.already_completed).into(),
                    (&kind.registration_cancelled).into(),
                    (&REFUND_IN_PROGRESS).into(),
                ]
                .into_iter()
                .chain(keyed()),
            ),
            ..described(
                format!("Complete one registration for one {one}"),
                "Needs no body.",
                vec![id(one), registration(), idempotency_key()],
            )
        }
    }

    pub(super) fn complete_many(kind: &'static ItemKind) -> Description {
        let (one, _) = kind.names;
        let wrong = RowError {
            index: Some(2),
            error: kind.already_completed.text.korean.into(),
            ..RowError::default()
        };
        let errors = [required("ids"), ApiError::Rows(vec![wrong]), (&REQUEST_TIMEOUT).into()];
        Description {
            body: sent(CompleteRegistrations::name()).map(|body| Body {
                media_types: &LISTS,
                ..body
            }),
            success: Success::named(200, RegistrationsCompleted::name()).replayable(),
            errors: operator(errors.into_iter().chain(body()).chain(keyed())),
            ..described(
                format!("Complete many registrations for one {one}"),
                "All or none, at most 1,000; `rows` says by their places in the list which cannot be completed. A CSV file \
                 with a column `id` is a list too, whatever other columns it has: their export, for example, of which some \
                 lines were kept. `rows` says by line what is wrong with it.",
                vec![id(one), idempotency_key()],
            )
        }
    }

    pub(super) fn cancel(kind: &'static ItemKind) -> Description {
        let (one, _) = kind.names;
        let errors = [
            required("refund"),
            (&NOT_FOUND).into(),
            (&kind.item_completed).into(),
            (&kind.registration_cancelled).into(),
        ];
        Description {
            body: sent(CancelRegistration::name()),
            success: Success::named(200, RegistrationCancelled::name())
                .replayable()
                .or_else(refund_pending()),
            errors: operator(errors.into_iter().chain(refund_errors()).chain(body()).chain(keyed())),
            ..described(
                format!("Cancel one registration for one {one}"),
                "`refund` says what becomes of the money. Where a gateway holds it, it is given back first: 202 while the \
                 gateway's answer is not known, and the registration is cancelled once it is. With `none` the payment stays paid: the user may register for the \
                 same again at no cost, and cannot cancel that payment; an operator may still give it back.",
                vec![id(one), registration(), idempotency_key()],
            )
        }
    }

    fn sent(schema: std::borrow::Cow<'static, str>) -> Option<Body> {
        Some(Body {
            schema,
            required: true,
            media_types: &BODIES,
        })
    }

    fn described(summary: String, more: &'static str, parameters: Vec<Parameter>) -> Description {
        Description {
            tag: "operator".into(),
            summary,
            more: more.into(),
            parameters,
            body: None,
            success: Success::nothing(),
            errors: vec![],
            cpu_bound: false,
        }
    }
}
