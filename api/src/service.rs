//! From a request to its response.

use std::{cell::RefCell, time::Instant};

use http::Method;
use spin_sdk::wasip3::http::types;

use crate::{
    config::Cors,
    context::RequestContext,
    error::ApiError,
    http::{RequestHead, Response},
    log,
    routes::{self, Route, RouteMatch},
    state::AppState,
};

/// The response headers that a browser's script may read besides the safelisted ones.
const EXPOSED_HEADERS: &str = "Idempotency-Replayed, Retry-After, X-Request-Id";
/// The request headers that a browser's script may send besides the safelisted ones.
const ACCEPTED_HEADERS: &str = "Authorization, Content-Type, Idempotency-Key, X-Request-Id";
/// The seconds for which a browser may cache the response to a preflight.
const PREFLIGHT_MAX_AGE_S: &str = "600";

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
    match head.header("access-control-request-method") {
        Some(_) => response
            .header("access-control-allow-methods", allow)
            .header("access-control-allow-headers", ACCEPTED_HEADERS)
            .header("access-control-max-age", PREFLIGHT_MAX_AGE_S),
        None => response,
    }
}

/// Adds the headers that all responses share, and removes the body of a response to HEAD.
fn finish(mut response: Response, head: &RequestHead, request_id: &str, cors: Option<&Cors>) -> Response {
    let has = |response: &Response, name: &str| response.headers.iter().any(|(known, _)| *known == name);
    response = response
        .header("x-request-id", request_id)
        .header("x-content-type-options", "nosniff");
    // Tokens, personal data and errors are not cached; a file of the documentation has brought its own header.
    if !has(&response, "cache-control") {
        response = response.header("cache-control", "no-store");
    }
    if !has(&response, "vary") {
        response = response.header("vary", "accept-language");
    }
    if let (Some(cors), Some(origin)) = (cors, head.header("origin")) {
        if let Some(allowed) = cors.allowed(origin) {
            response = response
                .header("access-control-allow-origin", allowed)
                .header("access-control-expose-headers", EXPOSED_HEADERS);
        }
        if matches!(cors, Cors::Only(_)) {
            response = response.header("vary", "origin");
        }
    }
    if head.method == Method::HEAD {
        response.body = Vec::new();
    }
    response
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
    fn every_response_has_its_id_and_is_not_cached() {
        let response = finish(Response::empty(200), &head(Method::GET, &[]), "r-1", Some(&Cors::Any));
        assert_eq!(
            written(&response),
            [
                "x-request-id: r-1",
                "x-content-type-options: nosniff",
                "cache-control: no-store",
                "vary: accept-language"
            ]
        );
        let kept = Response::empty(200).header("cache-control", "public, max-age=86400");
        let kept = finish(kept, &head(Method::GET, &[]), "r-1", None);
        assert_eq!(
            written(&kept)
                .iter()
                .filter(|header| header.starts_with("cache-control"))
                .count(),
            1
        );
    }

    #[test]
    fn a_response_to_head_has_no_body() {
        let response = finish(Response::json(200, &1), &head(Method::HEAD, &[]), "r", None);
        assert!(response.body.is_empty());
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
