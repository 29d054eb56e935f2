//! From a request to its response.

use std::{cell::RefCell, time::Instant};

use spin_sdk::wasip3::http::types;
use sugang_protocol::{Cors, preflight_headers, shared_headers};

use crate::{
    context::RequestContext,
    error::ApiError,
    http::{RequestHead, Response},
    log,
    routes::{self, Route, RouteMatch},
    state::AppState,
};

/// Answers a request. Errors become responses here, so there always is one.
pub(crate) async fn respond(head: RequestHead, incoming: types::Request) -> Response {
    let begun = Instant::now();
    let request_id = head.request_id();
    let state = match AppState::get().await {
        Ok(state) => state,
        Err(misconfigured) => {
            let response = ApiError::Misconfigured(misconfigured).into_response(head.language(), &request_id);
            return finish(response, &head, &request_id, None);
        }
    };
    let found = routes::find(&head.method, &head.path);
    let operation = match &found {
        Ok(RouteMatch::Operation(route, _)) => Some(&*route.id),
        _ => None,
    };
    let response = match found {
        Ok(RouteMatch::Operation(route, id)) => run(&state, &head, &request_id, route, id, incoming).await,
        Ok(RouteMatch::Options { allow }) => preflight(&head, &allow),
        Err(error) => error.into_response(head.language(), &request_id),
    };
    if state.config.log_requests {
        log::request(&log::Request {
            method: head.method.as_str(),
            operation,
            status: response.status,
            ms: begun.elapsed().as_secs_f64() * 1e3,
            request_id: &request_id,
        });
    }
    finish(response, &head, &request_id, Some(&state.config.cors))
}

/// Runs the operation of `route`.
async fn run(
    state: &AppState,
    head: &RequestHead,
    request_id: &str,
    route: &'static Route,
    id: i64,
    incoming: types::Request,
) -> Response {
    let ctx = RequestContext {
        state,
        head,
        path: &route.path,
        id,
        request_id,
        language: head.language(),
        incoming: RefCell::new(Some(incoming)),
    };
    route
        .action
        .run(&ctx)
        .await
        .unwrap_or_else(|error| error.into_response(ctx.language, request_id))
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
fn finish(response: Response, head: &RequestHead, request_id: &str, cors: Option<&Cors>) -> Response {
    let has = |name: &str| response.headers.iter().any(|(known, _)| *known == name);
    let shared = shared_headers(has, request_id, cors, head.header("origin"));
    let shared = shared.into_iter();
    shared.fold(response, |response, (name, value)| response.header(name, value))
}

#[cfg(test)]
mod tests {
    use http::Method;

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
            let response = written(&finish(preflight(&head, "POST, OPTIONS"), &head, "r", Some(&cors)));
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
