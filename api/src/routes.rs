//! The one list of routes. Dispatch, `405` with `Allow`, `OPTIONS` and the OpenAPI document are read off it.

use std::{borrow::Cow, sync::LazyLock};

use http::Method;
use percent_encoding::percent_decode_str;

use crate::{
    docs,
    errors::{Failure, NOT_FOUND},
    kind::{KINDS, Kind},
};

/// What a request asks for.
#[derive(Clone, Copy)]
pub enum Operation {
    /// Needs no token.
    Public(Public),
    /// Needs an access token.
    Private(Private),
}

/// What everybody may ask for.
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "each is the operation id in TABLE")]
pub enum Public {
    Signup,
    Login,
    RefreshToken,
    Logout,
    GetFile(&'static docs::File),
    GetHealth,
    GetReadiness,
}

/// What a user may ask for.
#[derive(Clone, Copy)]
#[expect(missing_docs, reason = "each is the operation id in TABLE")]
pub enum Private {
    List(&'static Kind),
    Get(&'static Kind),
    Register(&'static Kind),
    Complete(&'static Kind),
    ListPayments,
    GetPayment,
    CancelPayment,
}

/// A method and a path.
pub struct Route {
    /// GET or POST.
    pub method: Method,
    /// The path, with `{id}` where the id stands and a slash at the end if it is a collection's or an item's.
    pub path: Cow<'static, str>,
    /// What stands before the path in its other spelling; none where it has only one.
    pub alias: Option<&'static str>,
    /// `verb_resource`: the name of the operation in the OpenAPI document, in the log and in the handlers.
    pub id: Cow<'static, str>,
    /// What it does.
    pub operation: Operation,
}

/// All routes.
pub static TABLE: LazyLock<Vec<Route>> = LazyLock::new(|| {
    const API: Option<&str> = Some("/api");
    const ACCOUNTS: Option<&str> = Some("/api/auth");
    let public = |method, path: &'static str, alias, id: &'static str, operation| Route {
        method,
        path: path.into(),
        alias,
        id: id.into(),
        operation: Operation::Public(operation),
    };
    let private = |method, path: Cow<'static, str>, id: Cow<'static, str>, operation| Route {
        method,
        path,
        alias: API,
        id,
        operation: Operation::Private(operation),
    };
    let mut table = vec![
        public(Method::POST, "/signup/", ACCOUNTS, "signup", Public::Signup),
        public(Method::POST, "/login/", ACCOUNTS, "login", Public::Login),
        public(
            Method::POST,
            "/token/refresh/",
            ACCOUNTS,
            "refresh_token",
            Public::RefreshToken,
        ),
        public(Method::POST, "/logout/", ACCOUNTS, "logout", Public::Logout),
    ];
    for kind in KINDS {
        let ((one, several), base) = (kind.names, format!("/{}/", kind.segment));
        let register = format!("{base}{{id}}/{}/", kind.register_segment);
        table.extend([
            private(
                Method::GET,
                base.clone().into(),
                format!("list_{several}").into(),
                Private::List(kind),
            ),
            private(
                Method::GET,
                format!("{base}{{id}}/").into(),
                format!("get_{one}").into(),
                Private::Get(kind),
            ),
            private(
                Method::POST,
                register.into(),
                kind.register_operation.into(),
                Private::Register(kind),
            ),
            private(
                Method::POST,
                format!("{base}{{id}}/complete/").into(),
                format!("complete_{one}").into(),
                Private::Complete(kind),
            ),
        ]);
    }
    table.extend([
        private(
            Method::GET,
            "/me/payments/".into(),
            "list_payments".into(),
            Private::ListPayments,
        ),
        private(
            Method::GET,
            "/me/payments/{id}/".into(),
            "get_payment".into(),
            Private::GetPayment,
        ),
        private(
            Method::POST,
            "/payments/{id}/cancel/".into(),
            "cancel_payment".into(),
            Private::CancelPayment,
        ),
        public(Method::GET, "/healthz", None, "get_health", Public::GetHealth),
        public(Method::GET, "/readyz", None, "get_readiness", Public::GetReadiness),
    ]);
    table.extend(
        docs::FILES
            .iter()
            .map(|file| public(Method::GET, file.path, None, file.id, Public::GetFile(file))),
    );
    table
});

/// What a request was found to ask for.
pub enum Found {
    /// An operation, on the item with this id where its path has one (0 elsewhere).
    Route(&'static Route, i64),
    /// `OPTIONS`: the path is there and takes these methods.
    Options(String),
}

/// Finds what `method` on `path` asks for.
///
/// # Errors
/// 404 for an unknown path or an id that is none, 405 for a method that the path does not take.
pub fn find(method: &Method, path: &str) -> Result<Found, Failure> {
    let path = percent_decode_str(path).decode_utf8().map_err(|_| &NOT_FOUND)?;
    let matches: Vec<(&Route, i64)> = TABLE
        .iter()
        .filter_map(|route| route.matches(&path).map(|id| (route, id)))
        .collect();
    if matches.is_empty() {
        return Err((&NOT_FOUND).into());
    }
    // HEAD is a GET whose body the client does not want.
    let wanted = if method == Method::HEAD { &Method::GET } else { method };
    if let Some((route, id)) = matches.iter().find(|(route, _)| route.method == wanted) {
        return Ok(Found::Route(route, *id));
    }
    let mut allow = String::new();
    for (route, _) in matches {
        allow += route.method.as_str();
        allow += if route.method == Method::GET { ", HEAD, " } else { ", " };
    }
    allow += Method::OPTIONS.as_str();
    match *method {
        Method::OPTIONS => Ok(Found::Options(allow)),
        _ => Err(Failure::MethodNotAllowed(allow)),
    }
}

impl Route {
    /// The id in `path` (0 without one), if the path is this route's in one of its spellings.
    fn matches(&self, path: &str) -> Option<i64> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let own = self.path.trim_end_matches('/');
        let aliased = self.alias.and_then(|alias| path.strip_prefix(alias));
        id_in(own, path).or_else(|| id_in(own, aliased?))
    }

    /// The one spelling that stands for all, with the id in its place: equal requests have equal ones.
    pub fn canonical(&self, id: i64) -> String {
        self.path.replace("{id}", &id.to_string())
    }
}

fn id_in(pattern: &str, path: &str) -> Option<i64> {
    // A character is found faster than a text, and this is asked for every route.
    let Some((before, after)) = pattern.split_once('{') else {
        return (pattern == path).then_some(0);
    };
    let id = path.strip_prefix(before)?.strip_suffix(after.strip_prefix("id}")?)?;
    id.bytes().all(|byte| byte.is_ascii_digit()).then(|| id.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: &str, path: &str) -> String {
        match find(&method.parse().unwrap(), path) {
            Ok(Found::Route(route, id)) => format!("{} {id}", route.id),
            Ok(Found::Options(allow)) => format!("204 {allow}"),
            Err(Failure::MethodNotAllowed(allow)) => format!("405 {allow}"),
            Err(Failure::Problem(problem)) => problem.status().to_string(),
            Err(_) => panic!("another failure"),
        }
    }

    #[test]
    fn every_path_of_the_contract_in_every_spelling() {
        for (method, path, alias, id) in [
            ("POST", "/signup/", "/api/auth/signup/", "signup 0"),
            ("POST", "/login/", "/api/auth/login/", "login 0"),
            ("POST", "/token/refresh/", "/api/auth/token/refresh/", "refresh_token 0"),
            ("POST", "/logout/", "/api/auth/logout/", "logout 0"),
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
    fn what_is_no_path_is_not_found() {
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
            "/tests/{id}/",
        ] {
            assert_eq!(found("GET", path), "404", "{path}");
        }
        assert_eq!(
            found("GET", "/tests/9223372036854775807"),
            "get_exam 9223372036854775807"
        );
        assert_eq!(found("GET", "/%74ests/%35/"), "get_exam 5");
    }

    #[test]
    fn a_path_says_which_methods_it_takes() {
        assert_eq!(found("HEAD", "/tests/"), "list_exams 0");
        assert_eq!(found("OPTIONS", "/tests/"), "204 GET, HEAD, OPTIONS");
        assert_eq!(found("OPTIONS", "/tests/5/apply/"), "204 POST, OPTIONS");
        assert_eq!(found("DELETE", "/tests/"), "405 GET, HEAD, OPTIONS");
        assert_eq!(found("GET", "/tests/5/apply/"), "405 POST, OPTIONS");
        assert_eq!(found("BREW", "/healthz"), "405 GET, HEAD, OPTIONS");
    }

    /// The embedded host keeps them apart from the others.
    #[test]
    fn where_a_password_is_hashed_stands_in_the_manifest() {
        let manifest = include_str!("../../spin.toml");
        let (_, paths) = manifest.split_once("\ncpu_bound = ").unwrap();
        let paths: Vec<String> = serde_json::from_str(paths.lines().next().unwrap()).unwrap();
        let hashing = TABLE
            .iter()
            .filter(|route| matches!(route.operation, Operation::Public(Public::Signup | Public::Login)));
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
