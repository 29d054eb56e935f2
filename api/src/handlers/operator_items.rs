//! The exams and courses of the service, for operators: lists, single items, and their changes.
//!
//! The statement of each operation checks the right before all else. An error that is found before it, such as a wrong
//! field, is shown to operators alone: see [`Route::run`](crate::routes::Route::run).

use crate::{
    auth::tokens::Caller,
    context::RequestContext,
    error::{
        ApiError, FieldProblem, FieldProblems,
        catalog::{INVALID_PAGE, ITEM_IN_USE, NOT_FOUND, PRECONDITION_FAILED},
    },
    extract::{Query, expected_versions, forms},
    http::Response,
    kind::ItemKind,
    operation::ItemOperation,
    store::{
        FunctionRow, Outcome,
        functions::{CreateItem, DeleteItem, EditItem, GetItemForOperator, ListItemsForOperator},
    },
};

use super::page::page;

pub(crate) static LIST: ItemOperation = ItemOperation {
    id: |kind| format!("list_{}_for_operator", kind.names.1),
    handler: |ctx, caller, kind| Box::pin(list(ctx, caller, kind)),
    #[cfg(test)]
    describe: description::list,
};

/// Lists one page of the items of a kind, with the filters of the public list: of those that users find, or of the hidden
/// ones.
pub(crate) async fn list(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
) -> Result<Response, ApiError> {
    let query = Query::parse(&ctx.head.query);
    let call = ListItemsForOperator {
        user: caller.id(),
        page: query.page()?,
        available: query.get("status") == Some("available"),
        search: query.text("search")?,
        popular: query.get("sort") == Some("popular"),
        hidden: query.get("hidden") == Some("true"),
        epoch: caller.epoch(),
    };
    let row = ctx.execute(kind.functions(), call).await?;
    match row.outcome {
        Outcome::Ok => Ok(page(ctx, &query, &row)),
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        Outcome::InvalidPage => Err((&INVALID_PAGE).into()),
        _ => Err(row.unexpected()),
    }
}

pub(crate) static GET: ItemOperation = ItemOperation {
    id: |kind| format!("get_{}_for_operator", kind.names.0),
    handler: |ctx, caller, kind| Box::pin(get(ctx, caller, kind)),
    #[cfg(test)]
    describe: description::get,
};

/// Gets one item with its version.
pub(crate) async fn get(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
) -> Result<Response, ApiError> {
    let call = GetItemForOperator {
        user: caller.id(),
        id: ctx.id,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(kind.functions(), call).await?;
    match row.outcome {
        Outcome::Ok => item(200, row),
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        _ => Err(row.unexpected()),
    }
}

pub(crate) static CREATE: ItemOperation = ItemOperation {
    id: |kind| format!("create_{}", kind.names.0),
    handler: |ctx, caller, kind| Box::pin(create(ctx, caller, kind)),
    #[cfg(test)]
    describe: description::create,
};

/// Creates an item.
pub(crate) async fn create(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
) -> Result<Response, ApiError> {
    let body = ctx.body().await?;
    let idempotency = ctx.idempotency(&body)?;
    let call = CreateItem {
        user: caller.id(),
        fields: fields(&forms::new_item(&body.object()?)?)?,
        request_id: ctx.ids.own.clone(),
        key: idempotency.key,
        fingerprint: idempotency.fingerprint,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(kind.functions(), call).await?;
    ctx.mark_replay(row.replayed, changed(201, row))
}

pub(crate) static EDIT: ItemOperation = ItemOperation {
    id: |kind| format!("edit_{}", kind.names.0),
    handler: |ctx, caller, kind| Box::pin(edit(ctx, caller, kind)),
    #[cfg(test)]
    describe: description::edit,
};

/// Edits some fields of an item, if it has a version that the operator has seen.
pub(crate) async fn edit(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
) -> Result<Response, ApiError> {
    let body = ctx.body().await?;
    let idempotency = ctx.idempotency(&body)?;
    let call = EditItem {
        user: caller.id(),
        id: ctx.id,
        versions: expected_versions(ctx.head)?,
        fields: fields(&forms::edit_item(&body.object()?)?)?,
        request_id: ctx.ids.own.clone(),
        key: idempotency.key,
        fingerprint: idempotency.fingerprint,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(kind.functions(), call).await?;
    ctx.mark_replay(row.replayed, changed(200, row))
}

pub(crate) static DELETE: ItemOperation = ItemOperation {
    id: |kind| format!("delete_{}", kind.names.0),
    handler: |ctx, caller, kind| Box::pin(delete(ctx, caller, kind)),
    #[cfg(test)]
    describe: description::delete,
};

/// Deletes an item to which nothing refers, if it has a version that the operator has seen.
pub(crate) async fn delete(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
) -> Result<Response, ApiError> {
    let body = ctx.body().await?;
    let idempotency = ctx.idempotency(&body)?;
    let call = DeleteItem {
        user: caller.id(),
        id: ctx.id,
        versions: expected_versions(ctx.head)?,
        request_id: ctx.ids.own.clone(),
        key: idempotency.key,
        fingerprint: idempotency.fingerprint,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(kind.functions(), call).await?;
    ctx.mark_replay(row.replayed, changed(204, row))
}

/// The fields of a form by the names of their columns, as JSON.
fn fields(form: &impl serde::Serialize) -> Result<String, ApiError> {
    serde_json::to_string(form).map_err(|_| ApiError::internal("a form cannot be written as JSON"))
}

/// The response to a change that succeeds with `status`.
fn changed(status: u16, row: FunctionRow) -> Result<Response, ApiError> {
    match row.outcome {
        Outcome::Ok if status == 204 => Ok(Response::empty(204)),
        Outcome::Ok => item(status, row),
        Outcome::InvalidFields => Err(wrong_fields(&row)?),
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        Outcome::Changed => Err((&PRECONDITION_FAILED).into()),
        Outcome::ItemInUse => Err((&ITEM_IN_USE).into()),
        _ => Err(row.idempotency_error()),
    }
}

/// The fields that are wrong only together.
fn wrong_fields(row: &FunctionRow) -> Result<ApiError, ApiError> {
    let mut problems = FieldProblems::default();
    for problem in row.payload::<Vec<(&str, &str)>>()? {
        match problem {
            ("end_at", "before_start") => problems.push("end_at", FieldProblem::BeforeStart),
            _ => return Err(row.unexpected()),
        }
    }
    Ok(ApiError::Fields(problems))
}

/// One item, with its version as the `ETag`.
fn item(status: u16, row: FunctionRow) -> Result<Response, ApiError> {
    #[derive(serde::Deserialize)]
    struct Payload<'a> {
        version: &'a str,
    }

    let Payload { version } = row.payload()?;
    let etag = format!("\"{version}\"");
    Ok(Response::text(status, "application/json", row.body).header("etag", etag))
}

#[cfg(test)]
mod description {
    use serde_json::json;
    use sugang_sdk::types::{EditItem, NewItem};
    use utoipa::{
        ToSchema,
        openapi::path::{Parameter, ParameterIn},
    };

    use super::{
        ApiError, FieldProblem, FieldProblems, INVALID_PAGE, ITEM_IN_USE, ItemKind, NOT_FOUND, PRECONDITION_FAILED,
    };
    use crate::{
        error::catalog::PRECONDITION_REQUIRED,
        handlers::items,
        operation::{
            description::{
                BODIES, Body, Description, Success, body, keyed, managed_item, null_character, operator, page_of,
                required,
            },
            parameters::{id, idempotency_key, if_match, parameter, string},
        },
    };

    pub(super) fn list(kind: &'static ItemKind) -> Description {
        Description {
            success: Success::of(200, page_of(managed_item(kind))),
            errors: operator([(&INVALID_PAGE).into(), null_character("search")]),
            parameters: (items::LIST.describe)(kind)
                .parameters
                .into_iter()
                .chain([hidden()])
                .collect(),
            ..described(format!("List {} with their versions", kind.names.1), vec![])
        }
    }

    pub(super) fn get(kind: &'static ItemKind) -> Description {
        let (one, _) = kind.names;
        Description {
            success: Success::named(200, managed_item(kind)),
            errors: operator([(&NOT_FOUND).into()]),
            ..described(format!("Get one {one} with its version"), vec![id(one)])
        }
    }

    pub(super) fn create(kind: &'static ItemKind) -> Description {
        Description {
            body: Some(Body {
                schema: NewItem::name(),
                required: true,
                media_types: &BODIES,
            }),
            success: Success::named(201, managed_item(kind)).replayable(),
            errors: operator(
                [required("title"), before_start()]
                    .into_iter()
                    .chain(body())
                    .chain(keyed()),
            ),
            ..described(format!("Create one {}", kind.names.0), vec![idempotency_key()])
        }
    }

    pub(super) fn edit(kind: &'static ItemKind) -> Description {
        let (one, _) = kind.names;
        let errors = [before_start(), (&NOT_FOUND).into()];
        Description {
            more: "A field that is left out stays as it is. No edit changes a payment. A capacity below the seats that are taken \
                   means sold out: no user loses a seat, and `over_capacity` says by how many it is exceeded."
                .into(),
            body: Some(Body {
                schema: EditItem::name(),
                required: true,
                media_types: &BODIES,
            }),
            success: Success::named(200, managed_item(kind)).replayable(),
            errors: operator(errors.into_iter().chain(versioned()).chain(body()).chain(keyed())),
            ..described(
                format!("Edit one {one}"),
                vec![id(one), if_match(), idempotency_key()],
            )
        }
    }

    pub(super) fn delete(kind: &'static ItemKind) -> Description {
        let (one, _) = kind.names;
        let errors = [ApiError::from(&NOT_FOUND), (&ITEM_IN_USE).into()];
        Description {
            success: Success::nothing().replayable(),
            errors: operator(errors.into_iter().chain(versioned()).chain(keyed())),
            ..described(
                format!("Delete one {one} to which no registration and no payment refers"),
                vec![id(one), if_match(), idempotency_key()],
            )
        }
    }

    fn described(summary: String, parameters: Vec<Parameter>) -> Description {
        Description {
            tag: "operator".into(),
            summary,
            more: "".into(),
            parameters,
            body: None,
            success: Success::nothing(),
            errors: vec![],
            cpu_bound: false,
        }
    }

    fn hidden() -> Parameter {
        parameter(
            "hidden",
            ParameterIn::Query,
            "`true`: the hidden ones, whose titles are searched by a part of them; anything else: those that users find.",
            string().examples([json!("true")]).build(),
        )
    }

    fn before_start() -> ApiError {
        ApiError::Fields(FieldProblems::of("end_at", FieldProblem::BeforeStart))
    }

    fn versioned() -> [ApiError; 2] {
        [(&PRECONDITION_REQUIRED).into(), (&PRECONDITION_FAILED).into()]
    }
}
