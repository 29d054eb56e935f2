//! Users, for operators: finding them, deactivating and activating them, ending their logins.

use crate::{
    auth::tokens::Caller,
    context::RequestContext,
    error::{
        ApiError,
        catalog::{INVALID_PAGE, NOT_FOUND, NOT_SUPERUSER, OWN_ACCOUNT},
    },
    extract::Query,
    http::Response,
    operation::{Handler, Operation},
    store::{
        FunctionRow, Limit, Outcome,
        operator_functions::{ChangeUser, ExportUsers, GetUser, ListUserRegistrations, ListUsers, operators},
    },
};

use super::{
    export::{CSV, Export},
    page::page,
};

pub(crate) static LIST: Operation = Operation {
    id: "list_users",
    handler: Handler::Private(|ctx, caller| Box::pin(list(ctx, caller))),
    #[cfg(test)]
    describe: description::list,
};

/// Lists one page of the users.
pub(crate) async fn list(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let query = Query::parse(&ctx.head.query);
    let [key, typed_key, ascii_key] = query.email_keys()?;
    let call = ListUsers {
        user: caller.id(),
        page: query.page()?,
        key,
        typed_key,
        ascii_key,
        username: query.text("username")?,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(operators(), call).await?;
    match row.outcome {
        Outcome::Ok => Ok(page(ctx, &query, &row)),
        Outcome::InvalidPage => Err((&INVALID_PAGE).into()),
        // The caller is no operator.
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        _ => Err(row.unexpected()),
    }
}

pub(crate) static EXPORT: Operation = Operation {
    id: "export_users",
    handler: Handler::Private(|ctx, caller| Box::pin(export(ctx, caller))),
    #[cfg(test)]
    describe: description::export,
};

/// Exports the users, with the filters of their list.
async fn export(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let query = Query::parse(&ctx.head.query);
    let keys = query.email_keys()?;
    let username = query.text("username")?;
    let (user, epoch) = (caller.id(), caller.epoch());
    let page = move |after| {
        let [key, typed_key, ascii_key] = keys.clone();
        ExportUsers {
            user,
            key,
            typed_key,
            ascii_key,
            username: username.clone(),
            after,
            epoch,
        }
    };
    let file = Export {
        statements: operators(),
        format: &CSV,
        name: "users",
        limit: Limit::Usual,
    };
    file.send(ctx, page).await
}

pub(crate) static GET: Operation = Operation {
    id: "get_user",
    handler: Handler::Private(|ctx, caller| Box::pin(get(ctx, caller))),
    #[cfg(test)]
    describe: description::get,
};

/// Gets one user.
pub(crate) async fn get(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let call = GetUser {
        user: caller.id(),
        id: ctx.id,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(operators(), call).await?;
    match row.outcome {
        Outcome::Ok => Ok(Response::text(200, "application/json", row.body)),
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        _ => Err(row.unexpected()),
    }
}

pub(crate) static REGISTRATIONS: Operation = Operation {
    id: "list_user_registrations",
    handler: Handler::Private(|ctx, caller| Box::pin(registrations(ctx, caller))),
    #[cfg(test)]
    describe: description::registrations,
};

/// Lists one page of the registrations of one user.
pub(crate) async fn registrations(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let query = Query::parse(&ctx.head.query);
    let call = ListUserRegistrations {
        user: caller.id(),
        id: ctx.id,
        page: query.page()?,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(operators(), call).await?;
    match row.outcome {
        Outcome::Ok => Ok(page(ctx, &query, &row)),
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        Outcome::InvalidPage => Err((&INVALID_PAGE).into()),
        _ => Err(row.unexpected()),
    }
}

pub(crate) static DEACTIVATE: Operation = Operation {
    id: "deactivate_user",
    handler: Handler::Private(|ctx, caller| Box::pin(change(ctx, caller, "deactivate"))),
    #[cfg(test)]
    describe: description::deactivate,
};

pub(crate) static ACTIVATE: Operation = Operation {
    id: "activate_user",
    handler: Handler::Private(|ctx, caller| Box::pin(change(ctx, caller, "activate"))),
    #[cfg(test)]
    describe: description::activate,
};

pub(crate) static LOGOUT: Operation = Operation {
    id: "logout_user",
    handler: Handler::Private(|ctx, caller| Box::pin(change(ctx, caller, "logout"))),
    #[cfg(test)]
    describe: description::logout,
};

/// Changes whether a user is active, or ends their logins. The body is optional; if there is one, it must be JSON.
async fn change(ctx: &RequestContext<'_>, caller: Caller, change: &str) -> Result<Response, ApiError> {
    let body = ctx.body().await?;
    body.object()?;
    let idempotency = ctx.idempotency(&body)?;
    let call = ChangeUser {
        user: caller.id(),
        target: ctx.id,
        change: change.to_owned(),
        request_id: ctx.ids.own.clone(),
        key: idempotency.key,
        fingerprint: idempotency.fingerprint,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(operators(), call).await?;
    ctx.mark_replay(row.replayed, changed(row))
}

fn changed(row: FunctionRow) -> Result<Response, ApiError> {
    match row.outcome {
        Outcome::Ok => Ok(Response::text(200, "application/json", row.body)),
        Outcome::NotFound => Err((&NOT_FOUND).into()),
        Outcome::NotSuperuser => Err((&NOT_SUPERUSER).into()),
        Outcome::OwnAccount => Err((&OWN_ACCOUNT).into()),
        _ => Err(row.idempotency_error()),
    }
}

#[cfg(test)]
mod description {
    use sugang_sdk::types::{ManagedUser, UserDetails, UserRegistration};
    use utoipa::{
        ToSchema,
        openapi::path::{Parameter, ParameterIn},
    };

    use super::{ApiError, INVALID_PAGE, NOT_FOUND, NOT_SUPERUSER, OWN_ACCOUNT};
    use crate::{
        handlers::export::description::csv,
        operation::{
            description::{Description, Success, body, keyed, null_character, operator, page_of},
            parameters::{id, idempotency_key, page_parameter, parameter, string},
        },
    };

    pub(super) fn list() -> Description {
        Description {
            tag: "operator".into(),
            summary: "List the users".into(),
            more: "The latest first, 20 a page. Parameters that are left out, or empty, filter nothing.".into(),
            parameters: [page_parameter()].into_iter().chain(filters()).collect(),
            body: None,
            success: Success::of(200, page_of(ManagedUser::name())),
            errors: operator([(&INVALID_PAGE).into(), null_character("email")]),
            cpu_bound: false,
        }
    }

    fn filters() -> [Parameter; 2] {
        let beginning = |name, text: &str| parameter(name, ParameterIn::Query, text, string().build());
        [
            beginning(
                "email",
                "Only those whose e-mail address begins with this, in any of its spellings.",
            ),
            beginning("username", "Only those whose username begins with this."),
        ]
    }

    pub(super) fn export() -> Description {
        let summary = "Export the users as CSV".to_owned();
        csv(summary, filters().into(), operator([null_character("email")]))
    }

    pub(super) fn get() -> Description {
        Description {
            tag: "operator".into(),
            summary: "Get one user".into(),
            more: "Their payments are those of `/api/operator/payments/?user=`.".into(),
            parameters: vec![id("user")],
            body: None,
            success: Success::named(200, UserDetails::name()),
            errors: operator([(&NOT_FOUND).into()]),
            cpu_bound: false,
        }
    }

    pub(super) fn registrations() -> Description {
        Description {
            tag: "operator".into(),
            summary: "List the registrations of one user".into(),
            more: "For exams and courses, newest first, 20 a page, each with its latest payment.".into(),
            parameters: vec![id("user"), page_parameter()],
            body: None,
            success: Success::of(200, page_of(UserRegistration::name())),
            errors: operator([(&NOT_FOUND).into(), (&INVALID_PAGE).into()]),
            cpu_bound: false,
        }
    }

    pub(super) fn deactivate() -> Description {
        changing(
            "Deactivate a user, who can then neither log in nor send requests",
            [(&OWN_ACCOUNT).into()],
        )
    }

    pub(super) fn activate() -> Description {
        changing("Activate a user", [])
    }

    pub(super) fn logout() -> Description {
        changing("End all logins of a user", [])
    }

    fn changing<const N: usize>(summary: &str, errors: [ApiError; N]) -> Description {
        let shared = [ApiError::from(&NOT_FOUND), (&NOT_SUPERUSER).into()];
        Description {
            tag: "operator".into(),
            summary: summary.into(),
            more: "Needs no body. An operator is changed by a superuser alone.".into(),
            parameters: vec![id("user"), idempotency_key()],
            body: None,
            success: Success::named(200, ManagedUser::name()).replayable(),
            errors: operator(shared.into_iter().chain(errors).chain(body()).chain(keyed())),
            cpu_bound: false,
        }
    }
}
