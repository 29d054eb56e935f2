//! The exams and the courses as files, and their registrations as CSV, for operators.
//!
//! A file is read by pages, each by one statement, and sent as it is read: its length has no bound, and the memory has.

use futures::{StreamExt, stream};

use crate::{
    auth::tokens::Caller,
    context::RequestContext,
    error::{ApiError, catalog::NOT_FOUND},
    extract::Query,
    http::Response,
    kind::ItemKind,
    operation::ItemOperation,
    state::AppState,
    store::{
        FunctionRow, Outcome,
        functions::{ExportItems, ExportRegistrations, FunctionCall, KindFunctions},
    },
};

/// How a file is written.
struct Format {
    /// The word of the SQL function.
    word: &'static str,
    ending: &'static str,
    media_type: &'static str,
    /// What the file begins with.
    begin: &'static str,
}

/// The byte order mark tells spreadsheets that the file is UTF-8.
static CSV: Format = Format {
    word: "csv",
    ending: "csv",
    media_type: "text/csv; charset=utf-8",
    begin: "\u{feff}",
};

/// One JSON object a line.
static LINES: Format = Format {
    word: "json",
    ending: "jsonl",
    media_type: "application/x-ndjson",
    begin: "",
};

pub(crate) static REGISTRATIONS: ItemOperation = ItemOperation {
    id: |kind| format!("export_{}_registrations", kind.names.0),
    handler: |ctx, caller, kind| Box::pin(registrations(ctx, caller, kind)),
    #[cfg(test)]
    describe: description::registrations,
};

/// Exports the registrations for an item, with the filters of their list.
pub(crate) async fn registrations(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
) -> Result<Response, ApiError> {
    let query = Query::parse(&ctx.head.query);
    let [from, to] = query.days(["from", "to"])?;
    let status = query.text("status")?;
    let (user, id, epoch) = (caller.id(), ctx.id, caller.epoch());
    let page = move |after| ExportRegistrations {
        user,
        id,
        status: status.clone(),
        from: from.clone(),
        to: to.clone(),
        after,
        epoch,
    };
    export(ctx, kind, &CSV, "registrations", page).await
}

pub(crate) static ITEMS: ItemOperation = ItemOperation {
    id: |kind| format!("export_{}", kind.names.1),
    handler: |ctx, caller, kind| Box::pin(items(ctx, caller, kind, &CSV)),
    #[cfg(test)]
    describe: description::items,
};

pub(crate) static JSON_LINES: ItemOperation = ItemOperation {
    id: |kind| format!("export_{}_as_json", kind.names.1),
    handler: |ctx, caller, kind| Box::pin(items(ctx, caller, kind, &LINES)),
    #[cfg(test)]
    describe: description::json_lines,
};

/// Exports all items of a kind.
async fn items(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
    format: &'static Format,
) -> Result<Response, ApiError> {
    let (user, epoch) = (caller.id(), caller.epoch());
    let page = move |after| ExportItems {
        user,
        format: format.word.to_owned(),
        after,
        epoch,
    };
    export(ctx, kind, format, kind.segment, page).await
}

/// Answers the first page, and the others behind it. `page` makes the call for the page behind another one.
async fn export<C: FunctionCall<Statements = KindFunctions> + 'static>(
    ctx: &RequestContext<'_>,
    kind: &'static ItemKind,
    format: &Format,
    name: &str,
    page: impl Fn(Option<String>) -> C + 'static,
) -> Result<Response, ApiError> {
    let row = ctx.execute(kind.functions(), page(None)).await?;
    if row.outcome == Outcome::NotFound {
        return Err((&NOT_FOUND).into());
    }
    let (next, lines) = read(row)?;
    let state = AppState::get().await.map_err(ApiError::Misconfigured)?;
    let ids = ctx.ids.clone();
    let rest = stream::unfold(next, move |next| {
        let (state, call) = (state.clone(), next.map(|next| page(Some(next))));
        let ids = ids.clone();
        async move {
            let row = state.database.execute(kind.functions(), call?).await;
            match row.and_then(read) {
                Ok((next, lines)) => Some((Some(lines.into_bytes()), next)),
                Err(error) => {
                    error.log(&ids);
                    Some((None, None))
                }
            }
        }
    });
    Ok(
        Response::text(200, format.media_type, format!("{}{lines}", format.begin))
            .header(
                "content-disposition",
                format!("attachment; filename=\"{name}.{}\"", format.ending),
            )
            .followed_by(rest.boxed_local()),
    )
}

/// Where the next page begins, and the lines of this one.
fn read(row: FunctionRow) -> Result<(Option<String>, String), ApiError> {
    match (row.outcome, row.body.split_once('\n')) {
        (Outcome::Ok, Some((next, lines))) => {
            Ok((Some(next.to_owned()).filter(|next| !next.is_empty()), lines.to_owned()))
        }
        _ => Err(row.unexpected()),
    }
}

#[cfg(test)]
mod description {
    use utoipa::openapi::{Schema, path::Parameter};

    use super::{ApiError, ItemKind, NOT_FOUND};
    use crate::{
        error::{FieldProblem, FieldProblems},
        handlers::operator_registrations,
        operation::{
            description::{Description, Success, operator},
            parameters::string,
        },
    };

    pub(super) fn registrations(kind: &'static ItemKind) -> Description {
        let listed = (operator_registrations::LIST.describe)(kind).parameters.into_iter();
        let parameters = listed.filter(|parameter| parameter.name != "page").collect();
        let errors = [
            (&NOT_FOUND).into(),
            ApiError::Fields(FieldProblems::of("from", FieldProblem::InvalidDate)),
        ];
        described(
            format!("Export the registrations for one {} as CSV", kind.names.0),
            parameters,
            operator(errors),
        )
    }

    pub(super) fn items(kind: &'static ItemKind) -> Description {
        described(format!("Export all {} as CSV", kind.names.1), vec![], operator([]))
    }

    pub(super) fn json_lines(kind: &'static ItemKind) -> Description {
        let csv = items(kind);
        Description {
            summary: format!("Export all {} as JSON Lines", kind.names.1),
            more: "One JSON object a line, with the names of the columns of the CSV. A file that could not be read to its end \
                   breaks off with an error of HTTP."
                .into(),
            success: Success {
                media_type: "application/x-ndjson",
                ..csv.success
            },
            ..csv
        }
    }

    fn described(summary: String, parameters: Vec<Parameter>, errors: Vec<ApiError>) -> Description {
        Description {
            tag: "operator".into(),
            summary,
            more: "UTF-8 with a byte order mark, the names of the columns first. A cell that begins like a formula (`=`, \
                   `+`, `-`, `@`, a tab, a carriage return) has an apostrophe before it, and so has one that begins with an \
                   apostrophe. A file that could not be read to its end breaks off with an error of HTTP."
                .into(),
            parameters,
            body: None,
            success: Success {
                media_type: "text/csv",
                ..Success::of(200, Schema::from(string().build()))
            },
            errors,
            cpu_bound: false,
        }
    }
}
