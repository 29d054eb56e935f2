//! One request with everything that its handler needs.

use std::cell::{Cell, RefCell};

use spin_sdk::wasip3::http::types;
use sugang_protocol::{Language, Text, request_id::RequestIds};

use crate::{
    error::{
        ApiError,
        catalog::{NOT_FOUND, TOKEN_NOT_VALID, UNSUPPORTED_MEDIA_TYPE, USER_INACTIVE, USER_NOT_FOUND},
    },
    extract::{Body, Idempotency},
    http::{RequestHead, Response},
    log::{self, SecurityEvent, Source},
    state::AppState,
    store::{
        FunctionRow, Outcome,
        functions::{self, FunctionCall, ProveOperator},
    },
};

/// Proves that a request is that of an active operator, where no statement of an operation has done so.
///
/// # Errors
/// 404, as for an unknown path: no other client learns that the path exists. 503 if PostgreSQL is unavailable.
pub(crate) async fn prove_operator(state: &AppState, head: &RequestHead) -> Result<(), ApiError> {
    let Ok(caller) = state.keys.authenticate(head.header("authorization")) else {
        return Err((&NOT_FOUND).into());
    };
    let call = ProveOperator {
        user: caller.id(),
        epoch: caller.epoch(),
    };
    let row = state.database.execute(functions::shared(), call).await?;
    match row.outcome {
        Outcome::Ok => Ok(()),
        _ => Err((&NOT_FOUND).into()),
    }
}

/// A request that matched a route.
pub(crate) struct RequestContext<'a> {
    pub(crate) state: &'a AppState,
    pub(crate) head: &'a RequestHead,
    /// The path of the route, with `{id}` as a placeholder.
    pub(crate) path: &'static str,
    /// The id in the path; 0 if the path has none.
    pub(crate) id: i64,
    /// The id of a registration in the path; 0 if the path has none.
    pub(crate) registration: i64,
    /// The server's own id of the request, which stands in the history, and the client's.
    pub(crate) ids: &'a RequestIds,
    pub(crate) source: &'a Cell<Source>,
    /// The language of the texts in the response.
    pub(crate) language: Language,
    /// The request with its body, until the body is read.
    pub(crate) incoming: RefCell<Option<types::Request>>,
    /// Whether a statement has answered, which checks the right of the caller before all else.
    pub(crate) answered: Cell<bool>,
}

impl RequestContext<'_> {
    /// Returns a text in the client's language.
    pub(crate) fn text(&self, text: Text) -> String {
        text.in_language(self.language).to_owned()
    }

    /// Notes who the user is, for the log.
    pub(crate) fn identify(&self, user: i64) {
        let source = self.source.get();
        self.source.set(Source {
            user_id: Some(user),
            ..source
        });
    }

    /// Logs what may be part of an attack.
    pub(crate) fn report(&self, event: &SecurityEvent<'_>) {
        log::security(event, self.ids, self.source.get());
    }

    /// Reads the body, once.
    ///
    /// # Errors
    /// 415 if it is compressed; those of [`Body::read`].
    pub(crate) async fn body(&self) -> Result<Body, ApiError> {
        let Some(incoming) = self.incoming.take() else {
            return Err(ApiError::internal("the body was read before"));
        };
        let encoding = self.head.header("content-encoding").unwrap_or_default().trim();
        if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
            return Err((&UNSUPPORTED_MEDIA_TYPE).into());
        }
        let (length, media_type) = (self.head.header("content-length"), self.head.header("content-type"));
        Body::read(incoming, self.state.config.max_body_bytes, length, media_type).await
    }

    /// Reads the idempotency key, if the client sent one.
    ///
    /// # Errors
    /// 400 if the key is not valid.
    pub(crate) fn idempotency(&self, body: &Body) -> Result<Idempotency, ApiError> {
        let path = self.path.replace("{id}", &self.id.to_string());
        let path = path.replace("{registration}", &self.registration.to_string());
        Idempotency::read(self.head, &path, body)
    }

    /// Calls an SQL function, which also checks that the caller exists and is active, and that the token has not ended.
    ///
    /// # Errors
    /// 401 if the caller no longer exists or is inactive, or all logins of the caller have ended since the token was issued;
    /// those of [`Database::execute`](crate::store::Database).
    pub(crate) async fn execute<C: FunctionCall>(
        &self,
        statements: &'static C::Statements,
        call: C,
    ) -> Result<FunctionRow, ApiError> {
        let row = self.state.database.execute(statements, call).await?;
        match row.outcome {
            Outcome::UserNotFound => Err((&USER_NOT_FOUND).into()),
            Outcome::UserInactive => Err((&USER_INACTIVE).into()),
            Outcome::LoginEnded => Err((&TOKEN_NOT_VALID).into()),
            _ => {
                self.answered.set(true);
                Ok(row)
            }
        }
    }

    /// Marks the response to a change, be it a success or a refusal, if it repeats an earlier one.
    pub(crate) fn mark_replay(&self, replayed: bool, result: Result<Response, ApiError>) -> Result<Response, ApiError> {
        if !replayed {
            return result;
        }
        let response = result.unwrap_or_else(|error| error.into_response(self.language, self.ids));
        Ok(response.header("idempotency-replayed", "true"))
    }
}
