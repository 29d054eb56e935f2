//! Files that operators download, sent while they are read: their length has no bound, and the memory has.

use futures::{StreamExt, stream};

use crate::{
    context::RequestContext,
    error::{
        ApiError,
        catalog::{BUSY, NOT_FOUND},
    },
    http::Response,
    state::AppState,
    store::{FunctionRow, Limit, Outcome, functions::FunctionCall},
};

/// How a file is written.
pub(super) struct Format {
    /// The word of the SQL function.
    pub(super) word: &'static str,
    ending: &'static str,
    media_type: &'static str,
    /// What the file begins with.
    begin: &'static str,
}

/// The byte order mark tells spreadsheets that the file is UTF-8.
pub(super) static CSV: Format = Format {
    word: "csv",
    ending: "csv",
    media_type: "text/csv; charset=utf-8",
    begin: "\u{feff}",
};

/// One JSON object a line.
pub(super) static LINES: Format = Format {
    word: "json",
    ending: "jsonl",
    media_type: "application/x-ndjson",
    begin: "",
};

/// A file that is read by pages, each by one statement.
pub(super) struct Export<S: 'static> {
    pub(super) statements: &'static S,
    pub(super) format: &'static Format,
    /// The name without the ending.
    pub(super) name: &'static str,
    /// The time for each page.
    pub(super) limit: Limit,
}

impl<S> Export<S> {
    /// Answers the first page, and the others behind it. `page` makes the call for the page behind another one.
    pub(super) async fn send<C: FunctionCall<Statements = S> + 'static>(
        self,
        ctx: &RequestContext<'_>,
        page: impl Fn(Option<String>) -> C + 'static,
    ) -> Result<Response, ApiError> {
        let Self {
            statements,
            format,
            name,
            limit,
        } = self;
        let row = ctx.execute_within(limit, statements, page(None)).await?;
        match row.outcome {
            Outcome::NotFound => return Err((&NOT_FOUND).into()),
            Outcome::Busy => return Err((&BUSY).into()),
            _ => {}
        }
        let (next, lines) = read(row)?;
        let state = AppState::get().await.map_err(ApiError::Misconfigured)?;
        let ids = ctx.ids.clone();
        let rest = stream::unfold(next, move |next| {
            let (state, call) = (state.clone(), next.map(|next| page(Some(next))));
            let ids = ids.clone();
            async move {
                let row = state.database.execute(statements, call?, limit).await;
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
pub(super) mod description {
    use utoipa::openapi::{Schema, path::Parameter};

    use super::ApiError;
    use crate::operation::{
        description::{Description, Success},
        parameters::string,
    };

    /// Describes a CSV file.
    pub(crate) fn csv(summary: String, parameters: Vec<Parameter>, errors: Vec<ApiError>) -> Description {
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
