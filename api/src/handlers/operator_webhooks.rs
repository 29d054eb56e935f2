//! Webhooks, for operators: who is told of changes, and what was delivered. Superusers say where events go.

use sugang_sdk::types::{Pinged, Redeliver as Which};

use crate::{
    auth::tokens::Caller,
    context::RequestContext,
    error::{
        ApiError,
        catalog::{INVALID_PAGE, NOT_FOUND, TOO_MANY_WEBHOOKS, WEBHOOKS_OF_SUPERUSER},
    },
    extract::{Query, forms},
    http::Response,
    operation::{Handler, Operation},
    store::{
        FunctionRow, Outcome,
        webhook_functions::{
            ChangeWebhook, GetWebhook, ListDeliveries, ListWebhooks, PingWebhook, Redeliver, webhooks,
        },
    },
    webhooks::Claimed,
};

use super::{deliveries::settle, page::page};

pub(crate) static LIST: Operation = Operation {
    id: "list_webhooks",
    handler: Handler::Private(|ctx, caller| Box::pin(list(ctx, caller))),
    #[cfg(test)]
    describe: description::list,
};

async fn list(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let query = Query::parse(&ctx.head.query);
    let call = ListWebhooks {
        user: caller.id(),
        page: query.page()?,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(webhooks(), call).await?;
    listed(ctx, &query, &row)
}

pub(crate) static GET: Operation = Operation {
    id: "get_webhook",
    handler: Handler::Private(|ctx, caller| Box::pin(get(ctx, caller))),
    #[cfg(test)]
    describe: description::get,
};

async fn get(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let call = GetWebhook {
        user: caller.id(),
        id: ctx.id,
        epoch: caller.epoch(),
    };
    done(200, ctx.execute(webhooks(), call).await?)
}

pub(crate) static CREATE: Operation = Operation {
    id: "create_webhook",
    handler: Handler::Private(|ctx, caller| Box::pin(change(ctx, caller, Change::Create))),
    #[cfg(test)]
    describe: description::create,
};

pub(crate) static EDIT: Operation = Operation {
    id: "edit_webhook",
    handler: Handler::Private(|ctx, caller| Box::pin(change(ctx, caller, Change::Edit))),
    #[cfg(test)]
    describe: description::edit,
};

pub(crate) static ROTATE: Operation = Operation {
    id: "rotate_webhook_secret",
    handler: Handler::Private(|ctx, caller| Box::pin(change(ctx, caller, Change::Rotate))),
    #[cfg(test)]
    describe: description::rotate,
};

pub(crate) static DELETE: Operation = Operation {
    id: "delete_webhook",
    handler: Handler::Private(|ctx, caller| Box::pin(change(ctx, caller, Change::Delete))),
    #[cfg(test)]
    describe: description::delete,
};

/// What a superuser does with a webhook.
#[derive(Clone, Copy)]
enum Change {
    Create,
    Edit,
    Rotate,
    Delete,
}

impl Change {
    /// The word by which the function of the database knows it.
    fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Edit => "edit",
            Self::Rotate => "rotate",
            Self::Delete => "delete",
        }
    }

    fn status(self) -> u16 {
        match self {
            Self::Create => 201,
            Self::Edit | Self::Rotate => 200,
            Self::Delete => 204,
        }
    }
}

async fn change(ctx: &RequestContext<'_>, caller: Caller, change: Change) -> Result<Response, ApiError> {
    let body = ctx.body().await?;
    let idempotency = ctx.idempotency(&body)?;
    let (object, http) = (body.object()?, ctx.state.config.webhook_http);
    let fields = match change {
        Change::Create => serde_json::to_string(&forms::new_webhook(&object, http)?),
        Change::Edit => serde_json::to_string(&forms::edit_webhook(&object, http)?),
        Change::Rotate | Change::Delete => Ok("{}".to_owned()),
    };
    let call = ChangeWebhook {
        user: caller.id(),
        webhook: ctx.id,
        change: change.word().to_owned(),
        fields: fields.map_err(|_| ApiError::internal("a form cannot be written as JSON"))?,
        request_id: ctx.ids.own.clone(),
        key: idempotency.key,
        fingerprint: idempotency.fingerprint,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(webhooks(), call).await?;
    ctx.mark_replay(row.replayed, done(change.status(), row))
}

pub(crate) static PING: Operation = Operation {
    id: "ping_webhook",
    handler: Handler::Private(|ctx, caller| Box::pin(ping(ctx, caller))),
    #[cfg(test)]
    describe: description::ping,
};

/// Sends an event to a webhook, and answers what has come of it.
async fn ping(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    ctx.body().await?.object()?;
    let limit = ctx.state.config.webhook_timeout;
    let call = PingWebhook {
        user: caller.id(),
        webhook: ctx.id,
        lease_ms: i64::try_from(limit.as_millis()).unwrap_or(i64::MAX),
        request_id: ctx.ids.own.clone(),
        epoch: caller.epoch(),
    };
    let row = ctx.execute(webhooks(), call).await?;
    if row.outcome != Outcome::Ok {
        return Err(refusal(&row));
    }
    let settlement = row.payload::<Claimed>()?.deliver(limit).await;
    let pinged = Pinged {
        delivered: settlement.is_delivered(),
        status: settlement.status.and_then(|status| status.try_into().ok()),
        error: settlement.error.clone(),
    };
    settle(ctx, settlement).await?;
    Ok(Response::json(200, &pinged))
}

pub(crate) static DELIVERIES: Operation = Operation {
    id: "list_deliveries",
    handler: Handler::Private(|ctx, caller| Box::pin(deliveries(ctx, caller))),
    #[cfg(test)]
    describe: description::deliveries,
};

/// Lists one page of what a webhook was told of. An unknown `status` matches no delivery.
async fn deliveries(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let query = Query::parse(&ctx.head.query);
    let call = ListDeliveries {
        user: caller.id(),
        id: ctx.id,
        page: query.page()?,
        status: query.text("status")?,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(webhooks(), call).await?;
    listed(ctx, &query, &row)
}

pub(crate) static REDELIVER: Operation = Operation {
    id: "redeliver",
    handler: Handler::Private(|ctx, caller| Box::pin(redeliver(ctx, caller))),
    #[cfg(test)]
    describe: description::redeliver,
};

/// Has the sweep send again what was named.
async fn redeliver(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    let body = ctx.body().await?;
    let idempotency = ctx.idempotency(&body)?;
    let (delivery, since) = match forms::redeliver(&body.object()?)? {
        Which::Delivery(id) => (Some(id.0), None),
        Which::Since(since) => (None, Some(since.to_rfc3339())),
    };
    let call = Redeliver {
        user: caller.id(),
        webhook: ctx.id,
        delivery,
        since,
        request_id: ctx.ids.own.clone(),
        key: idempotency.key,
        fingerprint: idempotency.fingerprint,
        epoch: caller.epoch(),
    };
    let row = ctx.execute(webhooks(), call).await?;
    ctx.mark_replay(row.replayed, done(200, row))
}

fn listed(ctx: &RequestContext<'_>, query: &Query, row: &FunctionRow) -> Result<Response, ApiError> {
    match row.outcome {
        Outcome::Ok => Ok(page(ctx, query, row)),
        Outcome::InvalidPage => Err((&INVALID_PAGE).into()),
        _ => Err(refusal(row)),
    }
}

fn done(status: u16, row: FunctionRow) -> Result<Response, ApiError> {
    match row.outcome {
        Outcome::Ok if status == 204 => Ok(Response::empty(204)),
        Outcome::Ok => Ok(Response::text(status, "application/json", row.body)),
        _ => Err(refusal(&row)),
    }
}

fn refusal(row: &FunctionRow) -> ApiError {
    match row.outcome {
        Outcome::NotFound => (&NOT_FOUND).into(),
        Outcome::NotSuperuser => (&WEBHOOKS_OF_SUPERUSER).into(),
        Outcome::TooManyWebhooks => (&TOO_MANY_WEBHOOKS).into(),
        _ => row.idempotency_error(),
    }
}

#[cfg(test)]
mod description {
    use std::borrow::Cow;

    use sugang_sdk::types::{Delivery, DeliveryStatus, EditWebhook, NewWebhook, Pinged, Redelivered, Webhook};
    use utoipa::{ToSchema, openapi::path::ParameterIn};

    use super::{ApiError, INVALID_PAGE, NOT_FOUND, TOO_MANY_WEBHOOKS, WEBHOOKS_OF_SUPERUSER, Which};
    use crate::{
        error::{FieldProblem, FieldProblems},
        operation::{
            description::{BODIES, Body, Description, Success, body, keyed, operator, page_of, required},
            parameters::{id, idempotency_key, page_parameter, parameter, string},
        },
    };

    pub(super) fn list() -> Description {
        Description {
            summary: "List the webhooks".into(),
            more: "Oldest first, 20 a page. No secret is among them.".into(),
            parameters: vec![page_parameter()],
            success: Success::of(200, page_of(Webhook::name())),
            errors: operator([(&INVALID_PAGE).into()]),
            ..described()
        }
    }

    pub(super) fn get() -> Description {
        Description {
            summary: "Get one webhook".into(),
            success: Success::named(200, Webhook::name()),
            errors: operator([(&NOT_FOUND).into()]),
            ..described()
        }
    }

    pub(super) fn create() -> Description {
        Description {
            summary: "Create a webhook, as a superuser".into(),
            more: "The response alone has its secret. The service must be configured to send requests to the server: \
                   `ping` tells."
                .into(),
            parameters: vec![idempotency_key()],
            body: form(NewWebhook::name()),
            success: Success::named(201, Webhook::name()).replayable(),
            errors: changes([required("url"), wrong("url"), (&TOO_MANY_WEBHOOKS).into()]),
            ..described()
        }
    }

    pub(super) fn edit() -> Description {
        Description {
            summary: "Edit a webhook, pause it, or make it active again, as a superuser".into(),
            more: "While it is paused, events are kept for it. Of what happens after a 410 it is not told.".into(),
            body: form(EditWebhook::name()),
            success: Success::named(200, Webhook::name()).replayable(),
            errors: changes([(&NOT_FOUND).into(), wrong("url")]),
            ..keyed_with_id()
        }
    }

    pub(super) fn rotate() -> Description {
        Description {
            summary: "Give a webhook another secret, as a superuser".into(),
            more: "The response alone has it. For a day, the one from before signs as well.".into(),
            success: Success::named(200, Webhook::name()).replayable(),
            errors: changes([(&NOT_FOUND).into()]),
            ..keyed_with_id()
        }
    }

    pub(super) fn delete() -> Description {
        Description {
            summary: "Delete a webhook with its deliveries, as a superuser".into(),
            success: Success::nothing().replayable(),
            errors: changes([(&NOT_FOUND).into()]),
            ..keyed_with_id()
        }
    }

    pub(super) fn ping() -> Description {
        Description {
            summary: "Test a webhook".into(),
            more: "Sends an event of the type `ping` once, also to a webhook that is paused, and waits for the answer."
                .into(),
            success: Success::named(200, Pinged::name()),
            errors: operator([ApiError::from(&NOT_FOUND)].into_iter().chain(body())),
            ..described()
        }
    }

    pub(super) fn deliveries() -> Description {
        let statuses: Vec<_> = DeliveryStatus::ALL.iter().map(|status| status.as_str()).collect();
        Description {
            summary: "List what a webhook was told of".into(),
            more: "Newest first, 20 a page. An empty `status` filters nothing.".into(),
            parameters: vec![
                id("webhook"),
                page_parameter(),
                parameter(
                    "status",
                    ParameterIn::Query,
                    "Only those with this status.",
                    string().enum_values(Some(statuses)).build(),
                ),
            ],
            success: Success::of(200, page_of(Delivery::name())),
            errors: operator([(&NOT_FOUND).into(), (&INVALID_PAGE).into()]),
            ..described()
        }
    }

    pub(super) fn redeliver() -> Description {
        let errors = [ApiError::from(&NOT_FOUND), required("delivery")];
        Description {
            summary: "Have deliveries sent again".into(),
            more: "One of them, whatever became of it, or all that have failed since a time.".into(),
            body: form(Which::name()),
            success: Success::named(200, Redelivered::name()).replayable(),
            errors: operator(errors.into_iter().chain(body()).chain(keyed())),
            ..keyed_with_id()
        }
    }

    fn wrong(field: &'static str) -> ApiError {
        ApiError::Fields(FieldProblems::of(field, FieldProblem::InvalidUrl))
    }

    fn changes(own: impl IntoIterator<Item = ApiError>) -> Vec<ApiError> {
        let own = own.into_iter().chain([(&WEBHOOKS_OF_SUPERUSER).into()]);
        operator(own.chain(body()).chain(keyed()))
    }

    fn form(schema: Cow<'static, str>) -> Option<Body> {
        Some(Body {
            schema,
            required: true,
            media_types: &BODIES[..1],
        })
    }

    fn keyed_with_id() -> Description {
        Description {
            parameters: vec![id("webhook"), idempotency_key()],
            ..described()
        }
    }

    fn described() -> Description {
        Description {
            tag: "operator".into(),
            summary: String::new(),
            more: "".into(),
            parameters: vec![id("webhook")],
            body: None,
            success: Success::nothing(),
            errors: vec![],
            cpu_bound: false,
        }
    }
}
