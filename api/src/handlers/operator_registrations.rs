//! The registrations for an exam or a course, for operators.

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
    store::{Outcome, functions::ListRegistrations},
};

use super::page::page;

pub(crate) static LIST: ItemOperation = ItemOperation {
    id: |kind| format!("list_{}_registrations", kind.names.0),
    handler: |ctx, caller, kind| Box::pin(list(ctx, caller, kind)),
    #[cfg(test)]
    describe: description::list,
};

/// Lists one page of the registrations for an item. An unknown `status` matches none.
pub(crate) async fn list(
    ctx: &RequestContext<'_>,
    caller: Caller,
    kind: &'static ItemKind,
) -> Result<Response, ApiError> {
    let query = Query::parse(&ctx.head.query);
    let [from, to] = query.days(["from", "to"])?;
    let call = ListRegistrations {
        user: caller.id(),
        id: ctx.id,
        page: query.page()?,
        status: query.text("status")?,
        from,
        to,
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

#[cfg(test)]
mod description {
    use sugang_sdk::types::{ManagedRegistration, RegistrationStatus};
    use utoipa::{ToSchema, openapi::path::ParameterIn};

    use super::{ApiError, INVALID_PAGE, ItemKind, NOT_FOUND};
    use crate::{
        error::{FieldProblem, FieldProblems},
        operation::{
            description::{Description, Success, operator, page_of},
            parameters::{day_parameter, id, page_parameter, parameter, string},
        },
    };

    pub(super) fn list(kind: &'static ItemKind) -> Description {
        let (one, _) = kind.names;
        let statuses = RegistrationStatus::ALL.iter().map(|status| status.as_str());
        let status = string().enum_values(Some(statuses)).build();
        Description {
            tag: "operator".into(),
            summary: format!("List the registrations for one {one}"),
            more: "Newest first, 20 a page, each with its latest payment.".into(),
            parameters: vec![
                id(one),
                page_parameter(),
                parameter("status", ParameterIn::Query, "Only those with this status.", status),
                day_parameter(
                    "from",
                    "Only those made on this day (UTC) or later. Empty filters nothing.",
                ),
                day_parameter(
                    "to",
                    "Only those made on this day (UTC) or earlier. Empty filters nothing.",
                ),
            ],
            body: None,
            success: Success::of(200, page_of(ManagedRegistration::name())),
            errors: operator([
                (&NOT_FOUND).into(),
                (&INVALID_PAGE).into(),
                ApiError::Fields(FieldProblems::of("from", FieldProblem::InvalidDate)),
            ]),
            cpu_bound: false,
        }
    }
}
