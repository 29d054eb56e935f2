//! Copies of an exam or a course at regular intervals, which operators create.

use sugang_sdk::types::RepeatItem as Form;

use crate::{
    auth::tokens::Caller,
    context::RequestContext,
    error::{ApiError, FieldProblem, FieldProblems, catalog::NOT_FOUND},
    extract::forms::{self, MAX_COPIES},
    http::Response,
    kind::ItemKind,
    operation::ItemOperation,
    store::{FunctionRow, Outcome, functions::RepeatItem},
};

pub(crate) static REPEAT: ItemOperation = ItemOperation {
    id: |kind| format!("repeat_{}", kind.names.0),
    handler: |ctx, caller, kind| Box::pin(repeat(ctx, caller, kind)),
    #[cfg(test)]
    describe: description::repeat,
};

/// Creates copies of an item, each with its own period.
pub(crate) async fn repeat(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
) -> Result<Response, ApiError> {
    let body = ctx.body().await?;
    let idempotency = ctx.idempotency(&body)?;
    let call = RepeatItem {
        user: caller.id(),
        id: ctx.id,
        form: bounded(&forms::repeat(&body.object()?)?)?,
        request_id: ctx.ids.own.clone(),
        key: idempotency.key,
        fingerprint: idempotency.fingerprint,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(kind.functions(), call).await?;
    let replayed = row.replayed;
    let done = match row.outcome {
        Outcome::Ok => Ok(Response::text(201, "application/json", row.body)),
        Outcome::InvalidFields => Err(wrong_fields(&row)?),
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        _ => Err(row.idempotency_error()),
    };
    ctx.mark_replay(replayed, done)
}

/// The form as the database reads it, with the most copies that it may create.
fn bounded(form: &Form) -> Result<String, ApiError> {
    let unwritable = |_| ApiError::internal("a form cannot be written as JSON");
    let mut form = serde_json::to_value(form).map_err(unwritable)?;
    form["most"] = MAX_COPIES.into();
    Ok(form.to_string())
}

/// What only the database can tell.
fn wrong_fields(row: &FunctionRow) -> Result<ApiError, ApiError> {
    let (field, problem) = match row.payload::<[(&str, &str); 1]>()? {
        [("time_zone", "unknown")] => ("time_zone", FieldProblem::UnknownTimeZone),
        [("until", "before_start")] => ("until", FieldProblem::BeforeStart),
        [("until", "too_many")] => ("until", FieldProblem::TooManyCopies(MAX_COPIES)),
        [("every", "too_late")] => ("every", FieldProblem::TooLate),
        [("end_at", "before_start")] => ("end_at", FieldProblem::BeforeStart),
        _ => return Err(row.unexpected()),
    };
    Ok(ApiError::Fields(FieldProblems::of(field, problem)))
}

#[cfg(test)]
mod description {
    use sugang_sdk::types::RepeatItem;
    use utoipa::ToSchema;

    use super::{ApiError, FieldProblem, FieldProblems, ItemKind, NOT_FOUND};
    use crate::operation::{
        description::{BODIES, Body, Description, Success, body, created, keyed, operator},
        parameters::{id, idempotency_key},
    };

    pub(super) fn repeat(kind: &'static ItemKind) -> Description {
        let (one, _) = kind.names;
        let unknown = ApiError::Fields(FieldProblems::of("time_zone", FieldProblem::UnknownTimeZone));
        Description {
            tag: "operator".into(),
            summary: format!("Create copies of one {one} at regular intervals"),
            more: "Each copy has the fields of the original, and its own period: a day, a week or a month after the one before, \
                   with the same times on the clock of the time zone, also when it is set forward or back. A time that the \
                   clock skips is an hour later. Months are counted from the original: one that begins on the 31st begins \
                   on the last day of a shorter month."
                .into(),
            parameters: vec![id(one), idempotency_key()],
            body: Some(Body {
                schema: RepeatItem::name(),
                required: true,
                media_types: &BODIES,
            }),
            success: Success::named(201, created(kind)).replayable(),
            errors: operator([unknown, (&NOT_FOUND).into()].into_iter().chain(body()).chain(keyed())),
            cpu_bound: false,
        }
    }
}
