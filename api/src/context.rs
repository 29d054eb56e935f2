//! One request with everything that its handler needs.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use futures::lock::MutexGuard;
use spin_sdk::wasip3::http::types;
use sugang_protocol::{Language, Text, host::REQUEST_TIMEOUT, request_id::RequestIds};

use crate::{
    error::{
        ApiError,
        catalog::{
            NOT_FOUND, TOKEN_NOT_VALID, UNSUPPORTED_FILE_TYPE, UNSUPPORTED_MEDIA_TYPE, USER_INACTIVE, USER_NOT_FOUND,
        },
    },
    extract::{
        Body, Idempotency,
        body::{FileFormat, declared_length, file_format},
    },
    http::{RequestHead, Response},
    log::{self, SecurityEvent, Source},
    state::AppState,
    store::{
        FunctionRow, Limit, Outcome,
        functions::{self, FunctionCall, ProveOperator},
        within,
    },
};

/// The time in which a long file must arrive. The host leaves it to the component, and does not receive it before.
const FILE_TIMEOUT: Duration = Duration::from_secs(15);

/// A file that an operator has sent.
pub(crate) struct File<'a> {
    pub(crate) format: FileFormat,
    pub(crate) body: Body,
    /// Held while the file is worked on, so that an instance has one long file at a time in its memory.
    pub(crate) alone: Option<MutexGuard<'a, ()>>,
}

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
    let row = state.database.execute(functions::shared(), call, Limit::Usual).await?;
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

    /// Scheme and authority of links to this service.
    pub(crate) fn base(&self) -> &str {
        let origin = self.head.origin.as_deref();
        self.state.config.public_url.as_deref().or(origin).unwrap_or_default()
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
        let incoming = self.incoming()?;
        let (length, media_type) = (self.head.header("content-length"), self.head.header("content-type"));
        Body::read(incoming, self.state.config.max_body_bytes, length, media_type).await
    }

    /// Reads the body as it came, whatever it is, once.
    ///
    /// # Errors
    /// 415 if it is compressed; those of [`Body::read_file`].
    pub(crate) async fn bytes(&self) -> Result<Body, ApiError> {
        let length = self.head.header("content-length");
        Body::read_file(self.incoming()?, self.state.config.max_body_bytes, length).await
    }

    /// Reads a file. Unless it is short, the caller is proven to be an operator before any of it
    /// is received: no other client may occupy memory.
    ///
    /// # Errors
    /// 415 for another media type, or if it is compressed; 404 for a long file of a caller who is no operator; 413 if it is
    /// too long; 408 if it comes too slowly.
    pub(crate) async fn file(&self) -> Result<File<'_>, ApiError> {
        let format = file_format(self.head.header("content-type").unwrap_or_default());
        let format = format.ok_or(&UNSUPPORTED_FILE_TYPE)?;
        let incoming = self.incoming()?;
        let length = self.head.header("content-length");
        let config = &self.state.config;
        let is_short = declared_length(length).is_some_and(|length| length <= config.max_body_bytes as u64);
        let mut alone = None;
        if !is_short {
            prove_operator(self.state, self.head).await?;
            self.answered.set(true);
            alone = Some(self.state.long_file.lock().await);
        }
        let body = within(FILE_TIMEOUT, Body::read_file(incoming, config.max_import_bytes, length)).await;
        let body = body.ok_or(&REQUEST_TIMEOUT)??;
        Ok(File { format, body, alone })
    }

    /// Takes the request with its body.
    fn incoming(&self) -> Result<types::Request, ApiError> {
        let Some(incoming) = self.incoming.take() else {
            return Err(ApiError::internal("the body was read before"));
        };
        let encoding = self.head.header("content-encoding").unwrap_or_default().trim();
        match encoding.is_empty() || encoding.eq_ignore_ascii_case("identity") {
            true => Ok(incoming),
            false => Err((&UNSUPPORTED_MEDIA_TYPE).into()),
        }
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
        self.execute_within(Limit::Usual, statements, call).await
    }

    /// Calls a function that may take another time than the configured one.
    ///
    /// # Errors
    /// Those of [`RequestContext::execute`].
    pub(crate) async fn execute_within<C: FunctionCall>(
        &self,
        limit: Limit,
        statements: &'static C::Statements,
        call: C,
    ) -> Result<FunctionRow, ApiError> {
        self.answer(self.state.database.execute(statements, call, limit).await?)
    }

    fn answer(&self, row: FunctionRow) -> Result<FunctionRow, ApiError> {
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

    /// Logs what has failed of work that was claimed: its lease ends, so it is done again, and it keeps no other from being
    /// settled.
    pub(crate) fn log_failures(&self, settled: Vec<Result<(), ApiError>>) {
        for failed in settled.into_iter().filter_map(Result::err) {
            failed.log(self.ids);
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
