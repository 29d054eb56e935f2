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
    store::Retry,
};

use super::page::page;

/// Lists one page of the items of a kind. An unknown `status` or `sort` is ignored.
pub(crate) async fn list(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
) -> Result<Response, ApiError> {
    let query = Query::parse(&ctx.head.query);
    let parameters = vec![
        caller.id().into(),
        query.page()?.into(),
        (query.get("status") == Some("available")).into(),
        query.text("search").into(),
        (query.get("sort") == Some("popular")).into(),
    ];
    let row = ctx.execute(kind.list, parameters, Retry::Idempotent).await?;
    match row.outcome.as_str() {
        "ok" => Ok(page(ctx, &query, &row)),
        "invalid_page" => Err((&INVALID_PAGE).into()),
        _ => Err(row.unexpected()),
    }
}

/// Gets one item.
pub(crate) async fn get(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
) -> Result<Response, ApiError> {
    let row = ctx
        .execute(kind.get, vec![caller.id().into(), ctx.id.into()], Retry::Idempotent)
        .await?;
    match row.outcome.as_str() {
        "ok" => Ok(Response::text(200, "application/json", row.body)),
        "not_found" => Err((&NOT_FOUND).into()),
        _ => Err(row.unexpected()),
    }
}
