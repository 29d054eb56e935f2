//! The exams and the courses as files, and their registrations as CSV, for operators.

use crate::{
    auth::tokens::Caller,
    context::RequestContext,
    error::ApiError,
    extract::Query,
    http::Response,
    kind::ItemKind,
    operation::ItemOperation,
    store::{
        Limit,
        functions::{ExportItems, ExportRegistrations},
    },
};

use super::export::{CSV, Export, Format, LINES};

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
    let file = Export {
        statements: kind.functions(),
        format: &CSV,
        name: "registrations",
        limit: Limit::Usual,
    };
    file.send(ctx, page).await
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
    let file = Export {
        statements: kind.functions(),
        format,
        name: kind.segment,
        limit: Limit::Usual,
    };
    file.send(ctx, page).await
}

#[cfg(test)]
mod description {
    use super::{ApiError, ItemKind};
    use crate::{
        error::{FieldProblem, FieldProblems, catalog::NOT_FOUND},
        handlers::{export::description::csv, operator_registrations},
        operation::description::{Description, Success, operator},
    };

    pub(super) fn registrations(kind: &'static ItemKind) -> Description {
        let listed = (operator_registrations::LIST.describe)(kind).parameters.into_iter();
        let parameters = listed.filter(|parameter| parameter.name != "page").collect();
        let errors = [
            (&NOT_FOUND).into(),
            ApiError::Fields(FieldProblems::of("from", FieldProblem::InvalidDate)),
        ];
        csv(
            format!("Export the registrations for one {} as CSV", kind.names.0),
            parameters,
            operator(errors),
        )
    }

    pub(super) fn items(kind: &'static ItemKind) -> Description {
        csv(format!("Export all {} as CSV", kind.names.1), vec![], operator([]))
    }

    pub(super) fn json_lines(kind: &'static ItemKind) -> Description {
        let as_csv = items(kind);
        Description {
            summary: format!("Export all {} as JSON Lines", kind.names.1),
            more: "One JSON object a line, with the names of the columns of the CSV. A file that could not be read to its end \
                   breaks off with an error of HTTP."
                .into(),
            success: Success {
                media_type: "application/x-ndjson",
                ..as_csv.success
            },
            ..as_csv
        }
    }
}
