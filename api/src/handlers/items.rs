//! The items that users register for: lists, and single items.

use crate::{
    auth::tokens::Caller,
    context::RequestContext,
    error::{
        ApiError,
        catalog::{INVALID_PAGE, NOT_FOUND},
    },
    extract::Query,
    http::Response,
    kind::ItemKind,
    operation::ItemOperation,
    store::{
        Outcome,
        functions::{GetItem, ListItems},
    },
};

use super::page::page;

pub(crate) static LIST: ItemOperation = ItemOperation {
    id: |kind| format!("list_{}", kind.names.1),
    handler: |ctx, caller, kind| Box::pin(list(ctx, caller, kind)),
    #[cfg(test)]
    describe: description::list,
};

/// Lists one page of the items of a kind. An unknown `status` or `sort` is ignored.
pub(crate) async fn list(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
) -> Result<Response, ApiError> {
    let query = Query::parse(&ctx.head.query);
    let call = ListItems {
        user: caller.id(),
        page: query.page()?,
        available: query.get("status") == Some("available"),
        search: query.text("search")?,
        popular: query.get("sort") == Some("popular"),
        epoch: caller.epoch(),
    };
    let row = ctx.execute(kind.functions(), call).await?;
    match row.outcome {
        Outcome::Ok => Ok(page(ctx, &query, &row)),
        Outcome::InvalidPage => Err((&INVALID_PAGE).into()),
        _ => Err(row.unexpected()),
    }
}

pub(crate) static GET: ItemOperation = ItemOperation {
    id: |kind| format!("get_{}", kind.names.0),
    handler: |ctx, caller, kind| Box::pin(get(ctx, caller, kind)),
    #[cfg(test)]
    describe: description::get,
};

/// Gets one item.
pub(crate) async fn get(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
) -> Result<Response, ApiError> {
    let call = GetItem {
        user: caller.id(),
        id: ctx.id,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(kind.functions(), call).await?;
    match row.outcome {
        Outcome::Ok => Ok(Response::text(200, "application/json", row.body)),
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        _ => Err(row.unexpected()),
    }
}

#[cfg(test)]
mod description {
    use serde_json::json;
    use utoipa::openapi::path::{Parameter, ParameterIn};

    use super::{INVALID_PAGE, ItemKind, NOT_FOUND};
    use crate::operation::{
        description::{Description, Success, caller, item, null_character, page_of},
        parameters::{id, page_parameter, parameter, search_parameter, string},
    };

    pub(super) fn list(kind: &ItemKind) -> Description {
        let (_, several) = kind.names;
        Description {
            tag: several.into(),
            summary: format!("List {several}"),
            more: "20 a page. `count` is exact; `next` and `previous` keep the other parameters.".into(),
            parameters: list_parameters(),
            body: None,
            success: Success::of(200, page_of(item(kind))),
            errors: caller([(&INVALID_PAGE).into(), null_character("search")]),
            cpu_bound: false,
        }
    }

    pub(super) fn get(kind: &ItemKind) -> Description {
        let (one, several) = kind.names;
        Description {
            tag: several.into(),
            summary: format!("Get one {one}"),
            more: "".into(),
            parameters: vec![id(one)],
            body: None,
            success: Success::named(200, item(kind)),
            errors: caller([(&NOT_FOUND).into()]),
            cpu_bound: false,
        }
    }

    fn list_parameters() -> Vec<Parameter> {
        let sort = string()
            .enum_values(Some(["created", "popular"]))
            .default(Some(json!("created")))
            .build();
        vec![
            page_parameter(),
            parameter(
                "status",
                ParameterIn::Query,
                "`available`: only those that one may register for now; anything else filters nothing.",
                string().examples([json!("available")]).build(),
            ),
            search_parameter("title and description"),
            parameter(
                "sort",
                ParameterIn::Query,
                "Newest first, or most registrations first; anything else is newest first.",
                sort,
            ),
        ]
    }
}
