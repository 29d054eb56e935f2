//! Files from which operators create exams or courses.

use crate::{
    auth::tokens::Caller,
    context::{File, RequestContext},
    error::{ApiError, FieldProblem, RowProblems, catalog::NOT_FOUND},
    extract::{
        Query,
        rows::{self, Rows},
    },
    http::Response,
    kind::ItemKind,
    operation::ItemOperation,
    store::{FunctionRow, Limit, Outcome, functions::ImportItems},
};

pub(crate) static IMPORT: ItemOperation = ItemOperation {
    id: |kind| format!("import_{}", kind.names.1),
    handler: |ctx, caller, kind| Box::pin(import(ctx, caller, kind)),
    #[cfg(test)]
    describe: description::import,
};

/// Creates all items of a file, or none.
///
/// If some rows are wrong by themselves, the database only checks the others, so that all problems are found.
pub(crate) async fn import(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
) -> Result<Response, ApiError> {
    let is_dry_run = Query::parse(&ctx.head.query).get("dry_run") == Some("true");
    let File {
        format,
        body,
        alone: _alone,
    } = ctx.file().await?;
    let idempotency = ctx.idempotency(&body)?;
    let mut rows = rows::read(body.bytes(), format, ctx.language)?;
    drop(body);
    let only_check = is_dry_run || !rows.problems.is_empty();
    let items = serde_json::to_string(&rows.items).map_err(|_| ApiError::internal("rows cannot be written as JSON"))?;
    let call = ImportItems {
        user: caller.id(),
        items,
        only_check,
        request_id: ctx.ids.own.clone(),
        // What creates nothing takes no key.
        key: idempotency.key.filter(|_| !only_check),
        fingerprint: idempotency.fingerprint,
        epoch: caller.epoch(),
    };
    let row = ctx.execute_within(Limit::File, kind.functions(), call).await?;
    let replayed = row.replayed;
    let done = match row.outcome {
        Outcome::Ok => Ok(row),
        Outcome::InvalidRows => {
            let found = wrong_rows(ctx, &rows, &row)?;
            rows.problems.merge(found);
            Ok(row)
        }
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        _ => Err(row.idempotency_error()),
    };
    let done = done.and_then(|row| match rows.problems.is_empty() {
        true => Ok(Response::text(
            if is_dry_run { 200 } else { 201 },
            "application/json",
            row.body,
        )),
        false => Err(rows.problems.into_error()),
    });
    ctx.mark_replay(replayed, done)
}

/// The rows that the database finds wrong.
fn wrong_rows(ctx: &RequestContext<'_>, rows: &Rows, row: &FunctionRow) -> Result<RowProblems, ApiError> {
    let mut problems = RowProblems::new(ctx.language);
    for (item, fields) in row.payload::<Vec<(usize, Vec<(&str, &str)>)>>()? {
        let place = rows.place(item).ok_or_else(|| row.unexpected())?;
        for field in fields {
            match field {
                ("end_at", "before_start") => {
                    problems.push_field(place.line, place.end_at, "end_at", &FieldProblem::BeforeStart);
                }
                _ => return Err(row.unexpected()),
            }
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod description {
    use serde_json::json;
    use sugang_protocol::host::REQUEST_TIMEOUT;
    use sugang_sdk::types::RowError;
    use utoipa::openapi::path::ParameterIn;

    use super::{ApiError, ItemKind};
    use crate::{
        error::catalog::{IDEMPOTENCY_KEY_REUSED, PAYLOAD_TOO_LARGE, REQUEST_IN_PROGRESS, UNSUPPORTED_FILE_TYPE},
        extract::rows::MAX_ROWS,
        operation::{
            description::{Body, Description, FILE, FILES, Success, created, operator},
            parameters::{idempotency_key, parameter, string},
        },
    };

    pub(super) fn import(kind: &'static ItemKind) -> Description {
        let (_, many) = kind.names;
        let wrong = RowError {
            line: Some(3),
            column: Some(2),
            field: Some("price".into()),
            error: "유효한 숫자를 입력하십시오.".into(),
            ..RowError::default()
        };
        let refused = [
            &PAYLOAD_TOO_LARGE,
            &UNSUPPORTED_FILE_TYPE,
            &REQUEST_TIMEOUT,
            &REQUEST_IN_PROGRESS,
            &IDEMPOTENCY_KEY_REUSED,
        ];
        let errors = refused.map(ApiError::from).into_iter();
        let dry_run = parameter(
            "dry_run",
            ParameterIn::Query,
            "`true`: checks the file, answers 200 with how many would be created, and creates nothing.",
            string().examples([json!("true")]).build(),
        );
        Description {
            tag: "operator".into(),
            summary: format!("Create {many} from a file"),
            more: format!(
                "All of them or none, at most {MAX_ROWS}. A file has the fields of a new item, with the same rules: as CSV \
                 (`text/csv`; UTF-8 with or without a byte order mark; commas, or semicolons as some spreadsheets write \
                 them; the first line names the columns, in any order), or as JSON Lines (`application/x-ndjson`, \
                 `application/jsonl`). An empty cell is a field that is left out. Blank lines are passed over, and so are \
                 `id` and `registration_count`, which an export has: a file of an export creates its items again. A cell \
                 that an export has defused by an apostrophe loses it. `rows` says what is wrong by line, column and field: \
                 the first 100 places, and how many more there are."
            )
            .into(),
            parameters: vec![dry_run, idempotency_key()],
            body: Some(Body {
                schema: FILE.into(),
                required: true,
                media_types: &FILES,
            }),
            success: Success::named(201, created(kind)).replayable(),
            errors: operator([ApiError::Rows(vec![wrong])].into_iter().chain(errors)),
            cpu_bound: false,
        }
    }
}
