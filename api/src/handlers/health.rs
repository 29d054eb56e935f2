//! Liveness and readiness.

use serde::Serialize;

use crate::{
    context::RequestContext,
    error::ApiError,
    http::Response,
    operation::{Handler, Operation},
    store::{
        Outcome,
        functions::{self, Ready},
    },
};

/// The body of the responses to an operator's probes.
#[derive(Serialize)]
struct Health {
    /// `ok`, or `degraded` without Redis.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<&'static str>,
}

pub(crate) static HEALTH: Operation = Operation {
    id: "get_health",
    handler: Handler::Public(|_| Box::pin(std::future::ready(Ok(health())))),
    #[cfg(test)]
    describe: description::live,
};

/// Reports that the component runs, without a call to a store.
pub(crate) fn health() -> Response {
    Response::json(
        200,
        &Health {
            status: "ok",
            database: None,
            redis: None,
        },
    )
}

pub(crate) static READINESS: Operation = Operation {
    id: "get_readiness",
    handler: Handler::Public(|ctx| Box::pin(readiness(ctx))),
    #[cfg(test)]
    describe: description::ready,
};

/// Reports whether the stores answer. Without Redis only locks and rate limits are missing.
pub(crate) async fn readiness(ctx: &RequestContext<'_>) -> Result<Response, ApiError> {
    let ready = ctx.execute(functions::shared(), Ready {});
    let (database, redis) = futures::future::join(ready, ctx.state.redis.is_available()).await;
    match database {
        Ok(row) if row.outcome == Outcome::Ok => {}
        Ok(row) => return Err(ApiError::unavailable(row.outcome.word())),
        // A database without our functions cannot serve either.
        Err(ApiError::Internal(cause)) => return Err(ApiError::Unavailable(cause)),
        Err(error) => return Err(error),
    }
    let (status, redis) = if redis {
        ("ok", "ok")
    } else {
        ("degraded", "unavailable")
    };
    Ok(Response::json(
        200,
        &Health {
            status,
            database: Some("ok"),
            redis: Some(redis),
        },
    ))
}

#[cfg(test)]
mod description {
    use utoipa::openapi::ObjectBuilder;

    use crate::operation::{
        description::{Description, Success, service, stores},
        parameters::string,
    };

    pub(super) fn live() -> Description {
        service("Whether the service lives", "Asks no store.", health(), vec![])
    }

    pub(super) fn ready() -> Description {
        service(
            "Whether the service can serve",
            "`degraded`: everything works, under the database's locks alone.",
            health(),
            stores(),
        )
    }

    fn health() -> Success {
        let word = |words: &[&str]| string().enum_values(Some(words.to_vec())).build();
        let schema = ObjectBuilder::new()
            .property("status", word(&["ok", "degraded"]))
            .property("database", word(&["ok"]))
            .property("redis", word(&["ok", "unavailable"]))
            .required("status")
            .build();
        Success::of(200, schema.into())
    }
}
