//! The audit, for operators: whether seats, money, counts and history agree.

use crate::{
    auth::tokens::Caller,
    context::RequestContext,
    error::ApiError,
    http::Response,
    operation::{Handler, Operation},
    store::{
        Limit,
        operator_functions::{RunAuditCheck, operators},
    },
};

use super::export::{Export, LINES};

pub(crate) static AUDIT: Operation = Operation {
    id: "run_audit",
    handler: Handler::Private(|ctx, caller| Box::pin(audit(ctx, caller))),
    #[cfg(test)]
    describe: description::audit,
};

/// Runs the checks one after another, each by one statement, and sends the result of each as it is there.
async fn audit(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let (user, epoch) = (caller.id(), caller.epoch());
    let check = move |number: Option<String>| RunAuditCheck {
        user,
        // The first call begins the audit. Each names the number of the next one.
        number: number.and_then(|number| number.parse().ok()).unwrap_or(0),
        epoch,
    };
    let lines = Export {
        statements: operators(),
        format: &LINES,
        name: "audit",
        limit: Limit::Check,
    };
    lines.send(ctx, check).await
}

#[cfg(test)]
mod description {
    use sugang_sdk::types::AuditCheck;
    use utoipa::ToSchema;

    use crate::{
        error::catalog::BUSY,
        operation::description::{Description, Success, operator},
    };

    pub(super) fn audit() -> Description {
        Description {
            tag: "operator".into(),
            summary: "Audit seats, money, counts and history".into(),
            more: "One JSON object a line for each check, sent as soon as the check is done; the object names its number and how \
                   many there are. It changes nothing, and other requests do not wait for it. One audit begins at a time. An \
                   audit that could not be finished breaks off with an error of HTTP. `sugang-host audit` also compares the \
                   functions of the database with those of the program."
                .into(),
            parameters: vec![],
            body: None,
            success: Success {
                media_type: "application/x-ndjson",
                ..Success::named(200, AuditCheck::name())
            },
            errors: operator([(&BUSY).into()]),
            cpu_bound: false,
        }
    }
}
