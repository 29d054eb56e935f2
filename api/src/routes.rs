//! The list of routes, from which dispatch, `405` with `Allow`, `OPTIONS` and the OpenAPI document are derived.

use std::{borrow::Cow, sync::LazyLock};

use http::Method;
use sugang_protocol::path;

#[cfg(test)]
use crate::operation::description::Description;
use crate::{
    context::{RequestContext, prove_operator},
    error::{ApiError, catalog::NOT_FOUND},
    handlers::{
        accounts, docs, figures, health, items, operator_audit, operator_exports, operator_imports, operator_items,
        operator_orders, operator_payments, operator_registrations, operator_repeats, operator_seats, operator_users,
        operator_webhooks, operators, orders, payments, registrations, returns, sweep, webhooks,
    },
    http::Response,
    kind::{ItemKind, KINDS},
    operation::{Handled, Handler, ItemOperation, Operation},
};

/// What a route does.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    Operation(&'static Operation),
    Item(&'static ItemOperation, &'static ItemKind),
    File(&'static docs::File),
    /// What only the machinery of the service requests, and no document describes.
    Internal(for<'a> fn(&'a RequestContext<'a>) -> Handled<'a>),
}

/// An operation with its method and its path.
pub(crate) struct Route {
    pub(crate) method: Method,
    /// The path with `{id}` as a placeholder, and `{registration}` behind it; `{state}` is a text. Paths of resources end in a slash.
    pub(crate) path: Cow<'static, str>,
    /// The prefix of the path in its second spelling, if it has one.
    pub(crate) alias: Option<&'static str>,
    /// `verb_resource`: the name of the operation in the OpenAPI document and in the log.
    pub(crate) id: Cow<'static, str>,
    pub(crate) action: Action,
}

const API: Option<&str> = Some("/api");
const ACCOUNTS: Option<&str> = Some("/api/auth");

/// What the path of every operation for operators begins with. For other clients there is nothing below it.
const OPERATOR: &str = "/api/operator/";

const WEBHOOKS: &str = "/api/operator/webhooks/";
const WEBHOOK: &str = "/api/operator/webhooks/{id}/";

/// The path of the sweep. The embedded host reads it from `spin.toml`.
const SWEEP: &str = "/internal/sweep/";

/// Every route. `{items}` and `{register}` stand for the segments of each kind.
pub(crate) static TABLE: LazyLock<Vec<Route>> = LazyLock::new(|| {
    let mut table = vec![
        route(Method::POST, "/signup/", ACCOUNTS, &accounts::SIGNUP),
        route(Method::POST, "/login/", ACCOUNTS, &accounts::LOGIN),
        route(Method::POST, "/token/refresh/", ACCOUNTS, &accounts::REFRESH_TOKEN),
        route(Method::POST, "/logout/", ACCOUNTS, &accounts::LOGOUT),
        route(Method::POST, "/logout/all/", ACCOUNTS, &accounts::LOGOUT_ALL),
    ];
    for kind in KINDS {
        table.extend([
            item(Method::GET, "/{items}/", &items::LIST, kind),
            item(Method::GET, "/{items}/{id}/", &items::GET, kind),
            item(
                Method::POST,
                "/{items}/{id}/{register}/",
                &registrations::REGISTER,
                kind,
            ),
            item(Method::POST, "/{items}/{id}/complete/", &registrations::COMPLETE, kind),
            item(Method::POST, "/{items}/{id}/preorder/", &orders::PREORDER, kind),
        ]);
    }
    for kind in KINDS {
        table.extend([
            item(Method::GET, "/api/operator/{items}/", &operator_items::LIST, kind),
            item(Method::POST, "/api/operator/{items}/", &operator_items::CREATE, kind),
            item(Method::GET, "/api/operator/{items}.csv", &operator_exports::ITEMS, kind),
            item(
                Method::GET,
                "/api/operator/{items}.jsonl",
                &operator_exports::JSON_LINES,
                kind,
            ),
            item(
                Method::POST,
                "/api/operator/{items}/import/",
                &operator_imports::IMPORT,
                kind,
            ),
            item(
                Method::POST,
                "/api/operator/{items}/{id}/repeat/",
                &operator_repeats::REPEAT,
                kind,
            ),
            item(Method::GET, "/api/operator/{items}/{id}/", &operator_items::GET, kind),
            item(
                Method::PATCH,
                "/api/operator/{items}/{id}/",
                &operator_items::EDIT,
                kind,
            ),
            item(
                Method::DELETE,
                "/api/operator/{items}/{id}/",
                &operator_items::DELETE,
                kind,
            ),
            item(
                Method::GET,
                "/api/operator/{items}/{id}/registrations/",
                &operator_registrations::LIST,
                kind,
            ),
            item(Method::GET, "/api/operator/{items}/{id}/figures/", &figures::ITEM, kind),
            item(
                Method::GET,
                "/api/operator/{items}/{id}/registrations.csv",
                &operator_exports::REGISTRATIONS,
                kind,
            ),
            item(
                Method::POST,
                "/api/operator/{items}/{id}/registrations/",
                &operator_seats::REGISTER,
                kind,
            ),
            item(
                Method::POST,
                "/api/operator/{items}/{id}/registrations/complete/",
                &operator_seats::COMPLETE_MANY,
                kind,
            ),
            item(
                Method::POST,
                "/api/operator/{items}/{id}/registrations/{registration}/complete/",
                &operator_seats::COMPLETE,
                kind,
            ),
            item(
                Method::POST,
                "/api/operator/{items}/{id}/registrations/{registration}/cancel/",
                &operator_seats::CANCEL,
                kind,
            ),
        ]);
    }
    table.extend([
        route(Method::GET, "/api/operator/audit/", None, &operator_audit::AUDIT),
        route(Method::GET, "/api/operator/figures/", None, &figures::DAYS),
        route(Method::GET, "/api/operator/payments/", None, &operator_payments::LIST),
        route(
            Method::GET,
            "/api/operator/payments.csv",
            None,
            &operator_payments::EXPORT,
        ),
        route(
            Method::GET,
            "/api/operator/payments/{id}/",
            None,
            &operator_payments::GET,
        ),
        route(
            Method::POST,
            "/api/operator/payments/{id}/refund/",
            None,
            &operator_payments::REFUND,
        ),
        route(Method::GET, "/api/operator/orders/", None, &operator_orders::LIST),
        route(
            Method::POST,
            "/api/operator/orders/{id}/confirm/",
            None,
            &operator_orders::CONFIRM,
        ),
        route(
            Method::POST,
            "/api/operator/orders/{id}/cancel/",
            None,
            &operator_orders::CANCEL,
        ),
        route(
            Method::POST,
            "/api/operator/orders/{id}/refund/",
            None,
            &operator_orders::REFUND,
        ),
        route(Method::GET, WEBHOOKS, None, &operator_webhooks::LIST),
        route(Method::POST, WEBHOOKS, None, &operator_webhooks::CREATE),
        route(Method::GET, WEBHOOK, None, &operator_webhooks::GET),
        route(Method::PATCH, WEBHOOK, None, &operator_webhooks::EDIT),
        route(Method::DELETE, WEBHOOK, None, &operator_webhooks::DELETE),
        route(
            Method::POST,
            "/api/operator/webhooks/{id}/rotate/",
            None,
            &operator_webhooks::ROTATE,
        ),
        route(
            Method::POST,
            "/api/operator/webhooks/{id}/ping/",
            None,
            &operator_webhooks::PING,
        ),
        route(
            Method::GET,
            "/api/operator/webhooks/{id}/deliveries/",
            None,
            &operator_webhooks::DELIVERIES,
        ),
        route(
            Method::POST,
            "/api/operator/webhooks/{id}/redeliver/",
            None,
            &operator_webhooks::REDELIVER,
        ),
        route(Method::GET, "/api/operator/users/", None, &operator_users::LIST),
        route(Method::GET, "/api/operator/users.csv", None, &operator_users::EXPORT),
        route(Method::GET, "/api/operator/users/{id}/", None, &operator_users::GET),
        route(
            Method::GET,
            "/api/operator/users/{id}/registrations/",
            None,
            &operator_users::REGISTRATIONS,
        ),
        route(
            Method::POST,
            "/api/operator/users/{id}/deactivate/",
            None,
            &operator_users::DEACTIVATE,
        ),
        route(
            Method::POST,
            "/api/operator/users/{id}/activate/",
            None,
            &operator_users::ACTIVATE,
        ),
        route(
            Method::POST,
            "/api/operator/users/{id}/logout/",
            None,
            &operator_users::LOGOUT,
        ),
        route(
            Method::POST,
            "/api/operator/users/{id}/operator/",
            None,
            &operators::MAKE,
        ),
        route(
            Method::DELETE,
            "/api/operator/users/{id}/operator/",
            None,
            &operators::UNMAKE,
        ),
    ]);
    table.extend([
        route(Method::GET, "/me/payments/", API, &payments::LIST),
        route(Method::GET, "/me/payments/{id}/", API, &payments::GET),
        route(Method::POST, "/payments/{id}/cancel/", API, &payments::CANCEL),
        route(Method::GET, "/me/orders/", API, &orders::LIST),
        route(Method::GET, "/orders/{id}/", API, &orders::GET),
        route(Method::POST, "/orders/{id}/approve/", API, &orders::APPROVE),
        route(Method::POST, "/orders/{id}/cancel/", API, &orders::CANCEL),
        route(Method::GET, "/orders/return/{state}/", None, &returns::RETURN),
        route(Method::POST, "/webhooks/toss/", None, &webhooks::TOSS),
        route(Method::POST, "/webhooks/portone/", None, &webhooks::PORTONE),
        route(Method::POST, "/webhooks/stripe/", None, &webhooks::STRIPE),
        Route {
            method: Method::POST,
            path: SWEEP.into(),
            alias: None,
            id: "sweep".into(),
            action: Action::Internal(|ctx| Box::pin(sweep::sweep(ctx))),
        },
        route(Method::GET, "/healthz", None, &health::HEALTH),
        route(Method::GET, "/readyz", None, &health::READINESS),
    ]);
    table.extend(docs::FILES.iter().map(file));
    table
});

fn route(method: Method, path: &'static str, alias: Option<&'static str>, operation: &'static Operation) -> Route {
    Route {
        method,
        path: path.into(),
        alias,
        id: operation.id.into(),
        action: Action::Operation(operation),
    }
}

fn item(method: Method, path: &str, operation: &'static ItemOperation, kind: &'static ItemKind) -> Route {
    let path = path.replace("{items}", kind.segment);
    Route {
        method,
        path: path.replace("{register}", kind.register_segment).into(),
        alias: API.filter(|_| !path.starts_with(OPERATOR)),
        id: (operation.id)(kind).into(),
        action: Action::Item(operation, kind),
    }
}

fn file(file: &'static docs::File) -> Route {
    Route {
        method: Method::GET,
        path: file.path.into(),
        alias: None,
        id: file.id.into(),
        action: Action::File(file),
    }
}

impl Action {
    /// Runs the handler, after authentication if the operation needs it.
    ///
    /// # Errors
    /// 401 without a valid access token, if the operation needs one; those of the handler.
    async fn run(self, ctx: &RequestContext<'_>) -> Result<Response, ApiError> {
        let caller = || {
            let caller = ctx.state.keys.authenticate(ctx.head.header("authorization"))?;
            ctx.identify(caller.id());
            Ok::<_, ApiError>(caller)
        };
        match self {
            Self::Operation(operation) => match operation.handler {
                Handler::Public(handler) => handler(ctx).await,
                Handler::Private(handler) => handler(ctx, caller()?).await,
            },
            Self::Item(operation, kind) => (operation.handler)(ctx, caller()?, kind).await,
            Self::Internal(handler) => handler(ctx).await,
            Self::File(file) => {
                let (known, encodings) = (ctx.head.header("if-none-match"), ctx.head.header("accept-encoding"));
                Ok(docs::get_file(file, known, encodings, ctx.head.held_files()))
            }
        }
    }

    /// Returns the description for the OpenAPI document. The files that its pages load have none.
    #[cfg(test)]
    pub(crate) fn describe(self) -> Option<Description> {
        match self {
            Self::Operation(operation) => Some((operation.describe)()),
            Self::Item(operation, kind) => Some((operation.describe)(kind)),
            Self::File(file) => docs::describe(file),
            Self::Internal(_) => None,
        }
    }

    /// Returns whether the operation needs a valid access token.
    #[cfg(test)]
    pub(crate) fn is_private(self) -> bool {
        match self {
            Self::Operation(operation) => matches!(operation.handler, Handler::Private(_)),
            Self::Item(..) => true,
            Self::File(_) | Self::Internal(_) => false,
        }
    }
}

/// The match of a method and a path.
pub(crate) enum RouteMatch {
    /// An operation, with the ids in the path; 0 for each that the path does not have.
    Operation(&'static Route, [i64; 2]),
    /// `OPTIONS`, or a method that the path does not take.
    OtherMethod {
        /// The methods that it takes, as `Allow` lists them.
        allow: String,
        /// Whether only operators may know the path.
        for_operators: bool,
    },
}

/// Matches a method and a path.
///
/// # Errors
/// 404 for an unknown path, which includes an invalid id.
pub(crate) fn find(method: &Method, path: &str) -> Result<RouteMatch, ApiError> {
    let path = path::canonical(path).ok_or(&NOT_FOUND)?;
    let matches: Vec<(&Route, [i64; 2])> = TABLE
        .iter()
        .filter_map(|route| route.matches(&path).map(|ids| (route, ids)))
        .collect();
    let Some((first, _)) = matches.first() else {
        return Err((&NOT_FOUND).into());
    };
    let for_operators = first.is_for_operators();
    // HEAD is a GET whose response has no body.
    let wanted = if method == Method::HEAD { &Method::GET } else { method };
    if let Some((route, ids)) = matches.iter().find(|(route, _)| route.method == wanted) {
        return Ok(RouteMatch::Operation(route, *ids));
    }
    let mut allow = String::new();
    for (route, _) in matches {
        allow += route.method.as_str();
        allow += if route.method == Method::GET { ", HEAD, " } else { ", " };
    }
    allow += Method::OPTIONS.as_str();
    Ok(RouteMatch::OtherMethod { allow, for_operators })
}

impl Route {
    /// Whether the route is a probe or the sweep. It answers whatever host the request names: an orchestrator requests
    /// addresses.
    pub(crate) fn is_for_any_host(&self) -> bool {
        ["/healthz", "/readyz", SWEEP].contains(&&*self.path)
    }

    /// Whether a response needs no line in the log: a clock requests it all the time.
    pub(crate) fn is_quiet(&self, status: u16) -> bool {
        self.path == SWEEP && status == 200
    }

    /// Whether only operators may know that the path exists.
    pub(crate) fn is_for_operators(&self) -> bool {
        self.path.starts_with(OPERATOR)
    }

    /// Runs the operation. An error that no statement has answered shows that the path exists, so below
    /// `/api/operator/` it is shown to operators alone.
    ///
    /// # Errors
    /// Those of [`Action::run`]; 404 below `/api/operator/` unless the caller is an active operator.
    pub(crate) async fn run(&self, ctx: &RequestContext<'_>) -> Result<Response, ApiError> {
        let done = self.action.run(ctx).await;
        if done.is_err() && self.is_for_operators() && !ctx.answered.get() {
            prove_operator(ctx.state, ctx.head).await?;
        }
        done
    }

    /// Returns the ids in the canonical `path` (0 for each that is not there), if the path matches one of the spellings.
    fn matches(&self, path: &str) -> Option<[i64; 2]> {
        let own = self.path.trim_end_matches('/');
        let aliased = self.alias.and_then(|alias| path.strip_prefix(alias));
        ids_in(own, path).or_else(|| ids_in(own, aliased?))
    }
}

fn ids_in(pattern: &str, path: &str) -> Option<[i64; 2]> {
    // Searching for a character is faster than for a text, and this runs for every route.
    let Some((before, after)) = pattern.split_once('{') else {
        return (pattern == path).then_some([0; 2]);
    };
    let path = path.strip_prefix(before)?;
    let (id, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
    let (name, after) = after.split_once('}')?;
    let [next, _] = ids_in(after, rest)?;
    if name == "state" {
        return (!id.is_empty()).then_some([0; 2]);
    }
    let id = id
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| id.parse().ok())??;
    Some([id, next])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &str, path: &str) -> String {
        match find(&method.parse().unwrap(), path) {
            Ok(RouteMatch::Operation(route, [id, 0])) => format!("{} {id}", route.id),
            Ok(RouteMatch::Operation(route, [id, registration])) => format!("{} {id} {registration}", route.id),
            Ok(RouteMatch::OtherMethod { allow, for_operators }) => {
                format!("{allow}{}", if for_operators { " for operators" } else { "" })
            }
            Err(ApiError::Refused(spec)) => spec.status().to_string(),
            Err(_) => panic!("another error"),
        }
    }

    #[test]
    fn every_path_of_the_contract_in_every_spelling() {
        for (method, path, alias, id) in [
            ("POST", "/signup/", "/api/auth/signup/", "signup 0"),
            ("POST", "/login/", "/api/auth/login/", "login 0"),
            ("POST", "/token/refresh/", "/api/auth/token/refresh/", "refresh_token 0"),
            ("POST", "/logout/", "/api/auth/logout/", "logout 0"),
            ("POST", "/logout/all/", "/api/auth/logout/all/", "logout_all 0"),
            ("GET", "/tests/", "/api/tests/", "list_exams 0"),
            ("GET", "/tests/5/", "/api/tests/5/", "get_exam 5"),
            ("POST", "/tests/5/apply/", "/api/tests/5/apply/", "apply_for_exam 5"),
            (
                "POST",
                "/tests/5/complete/",
                "/api/tests/5/complete/",
                "complete_exam 5",
            ),
            ("GET", "/courses/", "/api/courses/", "list_courses 0"),
            ("GET", "/courses/5/", "/api/courses/5/", "get_course 5"),
            (
                "POST",
                "/courses/5/enroll/",
                "/api/courses/5/enroll/",
                "enroll_in_course 5",
            ),
            (
                "POST",
                "/courses/5/complete/",
                "/api/courses/5/complete/",
                "complete_course 5",
            ),
            ("GET", "/me/payments/", "/api/me/payments/", "list_payments 0"),
            ("GET", "/me/payments/5/", "/api/me/payments/5/", "get_payment 5"),
            (
                "POST",
                "/payments/5/cancel/",
                "/api/payments/5/cancel/",
                "cancel_payment 5",
            ),
            ("GET", "/api/schema/", "/api/schema/", "get_schema 0"),
            ("GET", "/api/docs/", "/api/docs/", "get_docs 0"),
            ("GET", "/api/redoc/", "/api/redoc/", "get_redoc 0"),
            ("GET", "/healthz", "/healthz/", "get_health 0"),
            ("GET", "/readyz", "/readyz/", "get_readiness 0"),
        ] {
            for spelling in [path, alias] {
                assert_eq!(found(method, spelling), id, "{spelling}");
                assert_eq!(
                    found(method, spelling.trim_end_matches('/')),
                    id,
                    "{spelling} without its slash"
                );
            }
        }
    }

    #[test]
    fn an_unknown_path_is_not_found() {
        for path in [
            "",
            "/",
            "//",
            "/tests//",
            "/tests/5//",
            "//tests/",
            "/tests/x/",
            "/tests/-5/",
            "/tests/+5/",
            "/tests/5.0/",
            "/tests/9223372036854775808/",
            "/tests/%31%/",
            "/tests/%ff/",
            "/tests/5/apply/x/",
            "/tests/5/enroll/",
            "/api/signup/",
            "/api/auth/tests/",
            "/api/api/tests/",
            "/schema/",
            "/api/healthz",
            "/TESTS/",
            "/tests/5%2fapply/x",
            "/me/",
            "/payments/",
            "/payments/5/",
            "/internal/",
            "/api/internal/sweep/",
            "/tests/{id}/",
        ] {
            assert_eq!(found("GET", path), "404", "{path}");
        }
        assert_eq!(
            found("GET", "/tests/9223372036854775807"),
            "get_exam 9223372036854775807"
        );
        assert_eq!(found("GET", "/%74ests/%35/"), "get_exam 5");
        for (path, expected) in [
            ("5/registrations/7/cancel/", "cancel_registration_for_exam 5 7"),
            ("5/registrations/complete/", "complete_registrations_for_exam 5"),
            ("5/registrations/x/cancel/", "404"),
            ("5/registrations/7/x/cancel/", "404"),
            ("5/registrations/7", "404"),
        ] {
            assert_eq!(
                found("POST", &format!("/api/operator/tests/{path}")),
                expected,
                "{path}"
            );
        }
    }

    #[test]
    fn a_path_lists_the_methods_that_it_takes() {
        assert_eq!(found("HEAD", "/tests/"), "list_exams 0");
        assert_eq!(found("OPTIONS", "/tests/"), "GET, HEAD, OPTIONS");
        assert_eq!(found("OPTIONS", "/tests/5/apply/"), "POST, OPTIONS");
        assert_eq!(found("DELETE", "/tests/"), "GET, HEAD, OPTIONS");
        assert_eq!(found("GET", "/tests/5/apply/"), "POST, OPTIONS");
        assert_eq!(found("BREW", "/healthz"), "GET, HEAD, OPTIONS");
        assert_eq!(
            found("PUT", "/api/operator/tests/5"),
            "GET, HEAD, PATCH, DELETE, OPTIONS for operators"
        );
    }

    #[test]
    fn operations_for_operators_need_a_token_and_have_one_spelling() {
        for route in TABLE.iter().filter(|route| route.is_for_operators()) {
            assert!(route.action.is_private() && route.alias.is_none(), "{}", route.id);
        }
        for path in [
            "/operator/tests/",
            "/api/api/operator/tests/",
            "/api/operator/",
            "/api/operator/users/1/nope/",
        ] {
            assert_eq!(found("GET", path), "404", "{path}");
        }
    }

    /// The embedded host bounds how many of them run at once.
    #[test]
    fn the_manifest_lists_the_paths_that_hash_a_password() {
        let manifest = include_str!("../../spin.toml");
        let (_, paths) = manifest.split_once("\ncpu_bound = ").unwrap();
        let paths: Vec<String> = serde_json::from_str(paths.lines().next().unwrap()).unwrap();
        let hashing = TABLE
            .iter()
            .filter(|route| route.action.describe().is_some_and(|description| description.cpu_bound));
        let expected: Vec<_> = hashing
            .flat_map(|route| {
                let path = route.path.trim_end_matches('/');
                [path.to_owned(), format!("{}{path}", route.alias.unwrap_or_default())]
            })
            .collect();
        assert_eq!(paths, expected);
    }

    #[test]
    fn an_operation_has_one_id() {
        let mut ids: Vec<_> = TABLE.iter().map(|route| &route.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), TABLE.len());
    }
}
