//! Whether the service lives, and whether it can serve.

use serde::Serialize;

use crate::{
    call::Call,
    db::Repeat,
    errors::{Failure, Internal},
    response::Response,
};

/// What an operator's probe reads.
#[derive(Serialize)]
struct Health {
    /// `ok`, or `degraded` when something works worse than it should.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<&'static str>,
}

/// Whether the component runs; asks no store.
pub fn health() -> Response {
    Response::json(
        200,
        &Health {
            status: "ok",
            database: None,
            redis: None,
        },
    )
}

/// Whether the stores answer. Without Redis only locks and limits are missing; without PostgreSQL nothing works.
pub async fn readiness(call: &Call<'_>) -> Result<Response, Failure> {
    let statement = crate::statement!("ready()");
    let ready = call.ask(statement, Vec::new(), Repeat::Safe);
    let (database, redis) = futures::future::join(ready, call.instance.redis.is_there()).await;
    match database {
        Ok(answer) if answer.outcome == "ok" => {}
        Ok(answer) => return Err(Failure::Unavailable(Internal::new(answer.outcome))),
        // A database without our functions is no more ready than none.
        Err(Failure::Internal(cause)) => return Err(Failure::Unavailable(cause)),
        Err(failure) => return Err(failure),
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
