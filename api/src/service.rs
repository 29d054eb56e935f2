//! From a request to its answer.

use std::{
    cell::{Cell, RefCell},
    time::Instant,
};

use http::Method;
use spin_sdk::wasip3::http::types;

use crate::{
    accounts,
    call::{Call, Head},
    config::Cors,
    docs,
    errors::Failure,
    health,
    instance::Instance,
    items, log, payments, registrations,
    response::Response,
    routes::{self, Found, Operation, Private, Public, Route},
};

/// Headers that a browser's script may read besides those that it always may.
const EXPOSED_HEADERS: &str = "Idempotency-Replayed, Retry-After, X-Request-Id";
/// Headers that a browser's script may send besides those that it always may.
const ACCEPTED_HEADERS: &str = "Authorization, Content-Type, Idempotency-Key, X-Request-Id";
/// Seconds for which a browser may keep what a preflight said.
const PREFLIGHT_S: &str = "600";

/// Answers a request. Whatever comes, there is an answer.
pub async fn respond(head: Head, incoming: types::Request) -> Response {
    let begun = Instant::now();
    let request_id = head.request_id();
    let language = head.language();
    let instance = match Instance::get().await {
        Ok(instance) => instance,
        Err(misconfigured) => {
            let response = Failure::Misconfigured(misconfigured).into_response(language, &request_id);
            return finish(response, &head, &request_id, None);
        }
    };
    let found = routes::find(&head.method, &head.path);
    let mut route = None;
    let result = match found {
        Ok(Found::Route(found, id)) => {
            route = Some(found);
            let call = Call {
                instance: &instance,
                head: &head,
                route: found,
                id,
                request_id: &request_id,
                language,
                replayed: Cell::new(false),
                incoming: RefCell::new(Some(incoming)),
            };
            let result = dispatch(&call, found).await;
            match call.replayed.get() {
                true => Ok(result
                    .unwrap_or_else(|failure| failure.into_response(language, &request_id))
                    .header("idempotency-replayed", "true")),
                false => result,
            }
        }
        Ok(Found::Options(allow)) => Ok(preflight(&head, &allow)),
        Err(failure) => Err(failure),
    };
    let response = result.unwrap_or_else(|failure| failure.into_response(language, &request_id));
    if instance.config.log_requests {
        log::request(&log::Request {
            method: head.method.as_str(),
            operation: route.map(|route| &*route.id),
            status: response.status,
            ms: begun.elapsed().as_secs_f64() * 1e3,
            request_id: &request_id,
        });
    }
    finish(response, &head, &request_id, Some(&instance.config.cors))
}

async fn dispatch(call: &Call<'_>, route: &Route) -> Result<Response, Failure> {
    match route.operation {
        Operation::Public(operation) => match operation {
            Public::Signup => accounts::signup(call).await,
            Public::Login => accounts::login(call).await,
            Public::RefreshToken => accounts::refresh_token(call).await,
            Public::Logout => accounts::logout(call).await,
            Public::GetHealth => Ok(health::health()),
            Public::GetReadiness => health::readiness(call).await,
            Public::GetFile(file) => {
                let (known, encodings) = (call.head.header("if-none-match"), call.head.header("accept-encoding"));
                Ok(docs::get_file(file, known, encodings))
            }
        },
        Operation::Private(operation) => {
            let caller = call
                .instance
                .config
                .keys
                .authenticate(call.head.header("authorization"))?;
            match operation {
                Private::List(kind) => items::list(call, caller, kind).await,
                Private::Get(kind) => items::get(call, caller, kind).await,
                Private::Register(kind) => registrations::register(call, caller, kind).await,
                Private::Complete(kind) => registrations::complete(call, caller, kind).await,
                Private::ListPayments => payments::list(call, caller).await,
                Private::GetPayment => payments::get(call, caller).await,
                Private::CancelPayment => payments::cancel(call, caller).await,
            }
        }
    }
}

/// What `OPTIONS` answers: to everybody the methods, to a browser's preflight what a script may send besides.
fn preflight(head: &Head, allow: &str) -> Response {
    let response = Response::empty(204).header("allow", allow);
    match head.header("access-control-request-method") {
        Some(_) => response
            .header("access-control-allow-methods", allow)
            .header("access-control-allow-headers", ACCEPTED_HEADERS)
            .header("access-control-max-age", PREFLIGHT_S),
        None => response,
    }
}

/// What every answer has.
fn finish(mut response: Response, head: &Head, request_id: &str, cors: Option<&Cors>) -> Response {
    let has = |response: &Response, name: &str| response.headers.iter().any(|(known, _)| *known == name);
    response = response
        .header("x-request-id", request_id)
        .header("x-content-type-options", "nosniff");
    // Tokens, a person's data and errors; a file of the documentation says for itself how long it keeps.
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

    fn head(method: Method, headers: &[(&str, &str)]) -> Head {
        Head {
            method,
            path: "/tests/".into(),
            query: String::new(),
            origin: None,
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).into(), value.as_bytes().to_vec()))
                .collect(),
        }
    }

    fn written(response: &Response) -> Vec<String> {
        response
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect()
    }

    #[test]
    fn every_answer_has_its_id_and_stays_out_of_caches() {
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
    fn a_head_has_no_body() {
        let response = finish(Response::json(200, &1), &head(Method::HEAD, &[]), "r", None);
        assert!(response.body.is_empty());
    }

    #[test]
    fn a_browser_is_let_in_where_its_origin_is_known() {
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
