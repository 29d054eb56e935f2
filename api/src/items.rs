//! What one can register for: lists and single items.

use crate::{
    call::Call,
    db::Repeat,
    errors::{Failure, INVALID_PAGE, NOT_FOUND},
    kind::Kind,
    query::Query,
    response::Response,
    tokens::Caller,
};

/// One page of the items of a kind. An unknown `status` or `sort` changes nothing.
pub async fn list(call: &Call<'_>, caller: Caller, kind: &'static Kind) -> Result<Response, Failure> {
    let query = Query::parse(&call.head.query);
    let parameters = vec![
        caller.id().into(),
        query.page()?.into(),
        (query.get("status") == Some("available")).into(),
        query.text("search").into(),
        (query.get("sort") == Some("popular")).into(),
    ];
    let answer = call.ask(kind.list, parameters, Repeat::Safe).await?;
    match answer.outcome.as_str() {
        "ok" => Ok(call.page(&query, &answer)),
        "invalid_page" => Err((&INVALID_PAGE).into()),
        _ => Err(answer.unexpected()),
    }
}

/// One item.
pub async fn get(call: &Call<'_>, caller: Caller, kind: &'static Kind) -> Result<Response, Failure> {
    let answer = call
        .ask(kind.get, vec![caller.id().into(), call.id.into()], Repeat::Safe)
        .await?;
    match answer.outcome.as_str() {
        "ok" => Ok(Response::text(200, "application/json", answer.body)),
        "not_found" => Err((&NOT_FOUND).into()),
        _ => Err(answer.unexpected()),
    }
}
