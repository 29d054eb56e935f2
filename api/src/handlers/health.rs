//! Liveness and readiness.

use serde::{Deserialize, Serialize};

use crate::{
    auth::rate_limit,
    context::RequestContext,
    error::ApiError,
    http::Response,
    kind::KINDS,
    log,
    operation::{Handler, Operation},
    store::{
        Outcome,
        functions::{self, Ready},
        probe_lock,
    },
};

/// The body of the responses to an operator's probes.
#[derive(Serialize, Default)]
struct Health<'a> {
    /// `ok`, or `degraded`: requests are served, but not as well as they should be.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<&'static str>,
    /// While degraded: the store that counts logins and sign-ups, or `nowhere`: they are refused then.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts_counted_in: Option<&'static str>,
    /// While degraded: why, each as a stable word.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    reasons: &'a [&'static str],
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
            ..Health::default()
        },
    )
}

pub(crate) static READINESS: Operation = Operation {
    id: "get_readiness",
    handler: Handler::Public(|ctx| Box::pin(readiness(ctx))),
    #[cfg(test)]
    describe: description::ready,
};

/// What the database lacks although it can serve.
#[derive(Deserialize)]
struct Degraded {
    read_only: bool,
    guards_missing: Option<String>,
    columns_required: Option<String>,
}

/// What requests would fail of.
#[derive(Deserialize)]
struct NotReady<'a> {
    reason: &'a str,
    missing: String,
}

/// Proves that requests can be served: their functions are there and the role may do what they do; Redis counts and locks.
pub(crate) async fn readiness(ctx: &RequestContext<'_>) -> Result<Response, ApiError> {
    let call = Ready {
        functions: functions::signatures(KINDS.iter().map(|kind| kind.payment_type)),
        schema: functions::SCHEMA,
    };
    let redis = &ctx.state.redis;
    let (database, counts, locks) = futures::future::join3(
        ctx.execute(functions::shared(), call),
        rate_limit::probe(redis),
        probe_lock(redis),
    )
    .await;
    let row = match database {
        Ok(row) => row,
        Err(ApiError::Internal(cause)) => {
            let reason = reason_of_sqlstate(cause.sqlstate());
            return Ok(not_ready(ctx, reason, ApiError::Unavailable(cause)));
        }
        Err(error) => return Ok(not_ready(ctx, "database_unavailable", error)),
    };
    let degraded: Degraded = match row.outcome {
        Outcome::Ok => row.payload()?,
        Outcome::NotReady => {
            let NotReady { reason, missing } = row.payload()?;
            return Ok(not_ready(
                ctx,
                reason,
                ApiError::unavailable(format!("{reason}: {missing}")),
            ));
        }
        _ => return Err(row.unexpected()),
    };
    let lacking = [
        ("guards_missing", &degraded.guards_missing),
        ("column_required", &degraded.columns_required),
    ];
    let lacking = lacking
        .into_iter()
        .filter_map(|(reason, what)| Some((reason, what.as_ref()?)));
    let lacking: Vec<_> = lacking.inspect(|(reason, what)| log::warning(reason, what)).collect();
    let mut reasons: Vec<_> = [counts.err(), locks.err()]
        .into_iter()
        .flatten()
        .map(|failure| failure.code())
        .collect();
    reasons.dedup();
    let redis = if reasons.is_empty() { "ok" } else { "unavailable" };
    reasons.extend(degraded.read_only.then_some("database_read_only"));
    reasons.extend(lacking.iter().map(|(reason, _)| *reason));
    let counted_in = match (counts, degraded.read_only) {
        (Ok(()), _) => "redis",
        (Err(_), false) => "database",
        (Err(_), true) => "nowhere",
    };
    let is_degraded = !reasons.is_empty();
    Ok(Response::json(
        200,
        &Health {
            status: if is_degraded { "degraded" } else { "ok" },
            database: Some(if degraded.read_only { "read_only" } else { "ok" }),
            redis: Some(redis),
            attempts_counted_in: is_degraded.then_some(counted_in),
            reasons: &reasons,
        },
    ))
}

/// Names what a statement needs that this database does not have.
fn reason_of_sqlstate(sqlstate: Option<&str>) -> &'static str {
    match sqlstate {
        // Before the check of a newer version exists, nothing else can be checked.
        Some("42883" | "3F000") => "schema_outdated",
        // The type of a table: a parameter of a function is a row of it.
        Some("42P01" | "42704") => "table_missing",
        Some("42703") => "column_missing",
        Some("42501") => "permission_missing",
        _ => "database_error",
    }
}

/// Builds the response of an error, with the reason as one more member. The log has the details.
fn not_ready(ctx: &RequestContext<'_>, reason: &str, error: ApiError) -> Response {
    let mut response = error.into_response(ctx.language, ctx.ids);
    if let Ok(serde_json::Value::Object(mut body)) = serde_json::from_slice(&response.body) {
        body.insert("reason".into(), reason.into());
        response.body = serde_json::Value::Object(body).to_string().into_bytes();
    }
    response
}

#[cfg(test)]
mod description {
    use utoipa::openapi::{ArrayBuilder, ObjectBuilder};

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
            "`degraded`: requests are served, and `reasons` says what is missing. Without Redis, the database counts \
             logins and sign-ups.",
            health(),
            stores(),
        )
    }

    fn health() -> Success {
        let word = |words: &[&str]| string().enum_values(Some(words.to_vec())).build();
        let schema = ObjectBuilder::new()
            .property("status", word(&["ok", "degraded"]))
            .property("database", word(&["ok", "read_only"]))
            .property("redis", word(&["ok", "unavailable"]))
            .property("attempts_counted_in", word(&["redis", "database", "nowhere"]))
            .property("reasons", ArrayBuilder::new().items(string().build()).build())
            .required("status")
            .build();
        Success::of(200, schema.into())
    }
}
