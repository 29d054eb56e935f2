//! From a request to its response.

use std::{
    cell::{Cell, RefCell},
    time::Instant,
};

use http::Method;
use spin_sdk::wasip3::http::types;
use sugang_protocol::{
    Cors, client_network, host::HOST_NOT_ALLOWED, host_for_log, method_for_log, preflight_headers,
    request_id::RequestIds, shared_headers,
};

use crate::{
    context::{RequestContext, prove_operator},
    error::ApiError,
    http::{RequestHead, Response},
    log::{self, SecurityEvent, Source},
    routes::{self, Route, RouteMatch},
    state::AppState,
};

/// Answers a request. Errors become responses here, so there always is one.
pub(crate) async fn respond(head: RequestHead, incoming: types::Request) -> Response {
    let begun = Instant::now();
    let ids = head.request_ids();
    let state = match AppState::get().await {
        Ok(state) => state,
        Err(misconfigured) => {
            let response = ApiError::Misconfigured(misconfigured).into_response(head.language(), &ids);
            return finish(response, &head, &ids, None);
        }
    };
    let config = &state.config;
    let address = head.client_address(config.client_address_header.as_deref());
    let source = Cell::new(Source {
        address: address.map(client_network),
        user_id: None,
    });
    let found = routes::find(&head.method, &head.path);
    let route = match &found {
        Ok(RouteMatch::Operation(route, _)) => Some(*route),
        _ => None,
    };
    let found = match check_host(&state, &head, route) {
        Ok(()) => found,
        Err(error) => {
            let host = head.authority().and_then(host_for_log);
            let event = SecurityEvent::HostNotAllowed { host: host.as_deref() };
            log::security(&event, &ids, source.get());
            Err(error)
        }
    };
    let response = match found {
        Ok(RouteMatch::Operation(route, in_path)) => {
            run(&state, &head, &ids, &source, (route, in_path), incoming).await
        }
        Ok(RouteMatch::OtherMethod { allow, for_operators }) => other_method(&state, &head, allow, for_operators)
            .await
            .unwrap_or_else(|error| error.into_response(head.language(), &ids)),
        Err(error) => error.into_response(head.language(), &ids),
    };
    if config.log_requests && !route.is_some_and(|route| route.is_quiet(response.status)) {
        let request = log::Request {
            method: method_for_log(head.method.as_str()),
            operation: route.map(|route| &*route.id),
            status: response.status,
            code: response.code.as_ref(),
            ms: begun.elapsed().as_secs_f64() * 1e3,
        };
        log::request(&request, &ids, source.get());
    }
    finish(response, &head, &ids, Some(&config.cors))
}

/// Checks the host that the request names.
fn check_host(state: &AppState, head: &RequestHead, route: Option<&Route>) -> Result<(), ApiError> {
    let hosts = &state.config.allowed_hosts;
    let is_allowed = head.authority().is_none_or(|authority| hosts.allows(authority));
    match is_allowed || route.is_some_and(Route::is_for_any_host) {
        true => Ok(()),
        false => Err((&HOST_NOT_ALLOWED).into()),
    }
}

/// Runs the operation of `route`.
async fn run(
    state: &AppState,
    head: &RequestHead,
    ids: &RequestIds,
    source: &Cell<Source>,
    (route, [id, registration]): (&'static Route, [i64; 2]),
    incoming: types::Request,
) -> Response {
    let ctx = RequestContext {
        state,
        head,
        path: &route.path,
        id,
        registration,
        ids,
        source,
        language: head.language(),
        incoming: RefCell::new(Some(incoming)),
        answered: Cell::new(false),
    };
    route
        .run(&ctx)
        .await
        .unwrap_or_else(|error| error.into_response(ctx.language, ids))
}

/// Answers `OPTIONS`, and refuses a method that the path does not take.
///
/// # Errors
/// 405; 404 if only operators may know the path, and the client is not proven to be one.
async fn other_method(
    state: &AppState,
    head: &RequestHead,
    allow: String,
    for_operators: bool,
) -> Result<Response, ApiError> {
    if for_operators {
        prove_operator(state, head).await?;
    }
    match head.method {
        Method::OPTIONS => Ok(preflight(head, &allow)),
        _ => Err(ApiError::MethodNotAllowed { allow }),
    }
}

/// Answers `OPTIONS`: with the methods, and to a browser's preflight with what a script may send.
fn preflight(head: &RequestHead, allow: &str) -> Response {
    let response = Response::empty(204).header("allow", allow);
    if head.header("access-control-request-method").is_none() {
        return response;
    }
    let headers = preflight_headers(allow).into_iter();
    headers.fold(response, |response, (name, value)| response.header(name, value))
}

/// Adds the headers that all responses share. The host removes the body of a response to HEAD, whose length counts.
fn finish(response: Response, head: &RequestHead, ids: &RequestIds, cors: Option<&Cors>) -> Response {
    let has = |name: &str| response.headers.iter().any(|(known, _)| *known == name);
    let shared = shared_headers(has, ids.shown(), cors, head.header("origin"));
    let shared = shared.into_iter();
    shared.fold(response, |response, (name, value)| response.header(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: Method, headers: &[(&str, &str)]) -> RequestHead {
        RequestHead::with_headers(method, headers)
    }

    fn written(response: &Response) -> Vec<String> {
        response
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect()
    }

    #[test]
    fn only_pages_of_configured_origins_may_call() {
        let cors = Cors::Only(vec!["https://a.example".into()]);
        for (origin, allowed) in [("https://a.example", true), ("https://b.example", false)] {
            let head = head(
                Method::OPTIONS,
                &[("origin", origin), ("access-control-request-method", "POST")],
            );
            let ids = head.request_ids();
            let response = written(&finish(preflight(&head, "POST, OPTIONS"), &head, &ids, Some(&cors)));
            assert_eq!(
                response.contains(&format!("access-control-allow-origin: {origin}")),
                allowed,
                "{response:?}"
            );
            assert!(response.contains(&"vary: origin".to_owned()));
            assert!(response.contains(&"access-control-allow-methods: POST, OPTIONS".to_owned()));
        }
        let head = head(Method::OPTIONS, &[]);
        assert_eq!(written(&preflight(&head, "POST, OPTIONS")), ["allow: POST, OPTIONS"]);
    }
}
