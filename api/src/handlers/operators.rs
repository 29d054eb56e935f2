//! Operators: making and unmaking them, as a superuser.

use crate::{
    auth::tokens::Caller,
    context::RequestContext,
    error::{
        ApiError,
        catalog::{NOT_FOUND, NOT_SUPERUSER, TARGET_IS_SUPERUSER},
    },
    http::Response,
    operation::{Handler, Operation},
    store::{
        FunctionRow, Outcome,
        functions::{self, SetOperator},
    },
};

pub(crate) static MAKE: Operation = Operation {
    id: "make_operator",
    handler: Handler::Private(|ctx, caller| Box::pin(set_operator(ctx, caller, true))),
    #[cfg(test)]
    describe: description::make,
};

pub(crate) static UNMAKE: Operation = Operation {
    id: "unmake_operator",
    handler: Handler::Private(|ctx, caller| Box::pin(set_operator(ctx, caller, false))),
    #[cfg(test)]
    describe: description::unmake,
};

/// Makes a user an operator, or takes that right. The body is optional; if there is one, it must be JSON.
async fn set_operator(ctx: &RequestContext<'_>, caller: Caller, operator: bool) -> Result<Response, ApiError> {
    let body = ctx.body().await?;
    body.object()?;
    let idempotency = ctx.idempotency(&body)?;
    let call = SetOperator {
        user: caller.id(),
        target: ctx.id,
        operator,
        request_id: ctx.ids.own.clone(),
        key: idempotency.key,
        fingerprint: idempotency.fingerprint,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(functions::shared(), call).await?;
    ctx.mark_replay(row.replayed, rights(row))
}

fn rights(row: FunctionRow) -> Result<Response, ApiError> {
    match row.outcome {
        Outcome::Ok => Ok(Response::text(200, "application/json", row.body)),
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        Outcome::NotSuperuser => Err((&NOT_SUPERUSER).into()),
        Outcome::TargetIsSuperuser => Err((&TARGET_IS_SUPERUSER).into()),
        _ => Err(row.idempotency_error()),
    }
}

#[cfg(test)]
mod description {
    use sugang_sdk::types::UserRights;
    use utoipa::ToSchema;

    use super::{ApiError, NOT_FOUND, NOT_SUPERUSER, TARGET_IS_SUPERUSER};
    use crate::operation::{
        description::{Description, Success, body, keyed, operator},
        parameters::{id, idempotency_key},
    };

    pub(super) fn make() -> Description {
        described("Make a user an operator, as a superuser", [])
    }

    pub(super) fn unmake() -> Description {
        described(
            "Take the right of an operator, as a superuser",
            [(&TARGET_IS_SUPERUSER).into()],
        )
    }

    fn described<const N: usize>(summary: &str, errors: [ApiError; N]) -> Description {
        let shared = [ApiError::from(&NOT_FOUND), (&NOT_SUPERUSER).into()];
        Description {
            tag: "operator".into(),
            summary: summary.into(),
            more: "Needs no body.".into(),
            parameters: vec![id("user"), idempotency_key()],
            body: None,
            success: Success::named(200, UserRights::name()).replayable(),
            errors: operator(shared.into_iter().chain(errors).chain(body()).chain(keyed())),
            cpu_bound: false,
        }
    }
}
