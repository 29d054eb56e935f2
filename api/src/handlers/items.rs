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
    store::{
        Outcome,
        functions::{GetItem, ListItems},
    },
};

use super::page::page;

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
        search: query.text("search"),
        popular: query.get("sort") == Some("popular"),
    };
    let row = ctx.execute(kind.functions(), call).await?;
    match row.outcome {
        Outcome::Ok => Ok(page(ctx, &query, &row)),
        Outcome::InvalidPage => Err((&INVALID_PAGE).into()),
        _ => Err(row.unexpected()),
    }
}

/// Gets one item.
pub(crate) async fn get(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
) -> Result<Response, ApiError> {
    let call = GetItem {
        user: caller.id(),
        id: ctx.id,
    };
    let row = ctx.execute(kind.functions(), call).await?;
    match row.outcome {
        Outcome::Ok => Ok(Response::text(200, "application/json", row.body)),
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        _ => Err(row.unexpected()),
    }
}
