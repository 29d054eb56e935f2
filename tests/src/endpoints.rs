//! The one list of paths, for everything that must hold on all of them.

/// One line of the contract's table.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    /// The method that it takes.
    pub method: &'static str,
    /// Its path, with `1` where an id belongs.
    pub path: &'static str,
    /// The body that it takes; empty where it takes none.
    pub body: &'static str,
    /// Whether it wants a token.
    pub token: bool,
}

const fn open(method: &'static str, path: &'static str, body: &'static str) -> Endpoint {
    Endpoint {
        method,
        path,
        body,
        token: false,
    }
}

const fn closed(method: &'static str, path: &'static str, body: &'static str) -> Endpoint {
    Endpoint {
        method,
        path,
        body,
        token: true,
    }
}

const REGISTER: &str = r#"{"amount":"45000.00","payment_method":"card"}"#;

/// Every endpoint that takes or answers data: the contract's, and the logouts.
pub const ENDPOINTS: &[Endpoint] = &[
    open(
        "POST",
        "/signup/",
        r#"{"email":"new@example.com","username":"새사람","password":"correct1"}"#,
    ),
    open(
        "POST",
        "/login/",
        r#"{"email":"minsu@example.com","password":"correct1"}"#,
    ),
    open("POST", "/token/refresh/", r#"{"refresh":"a.b.c"}"#),
    open("POST", "/logout/", r#"{"refresh":"a.b.c"}"#),
    closed("GET", "/tests/", ""),
    closed("GET", "/tests/1/", ""),
    closed("POST", "/tests/1/apply/", REGISTER),
    closed("POST", "/tests/1/complete/", ""),
    closed("POST", "/tests/1/preorder/", REGISTER),
    closed("GET", "/courses/", ""),
    closed("GET", "/courses/1/", ""),
    closed("POST", "/courses/1/enroll/", REGISTER),
    closed("POST", "/courses/1/complete/", ""),
    closed("POST", "/courses/1/preorder/", REGISTER),
    closed("GET", "/me/payments/", ""),
    closed("GET", "/me/payments/1/", ""),
    closed("POST", "/payments/1/cancel/", ""),
    closed("GET", "/me/orders/", ""),
    closed("GET", "/orders/1/", ""),
    closed("POST", "/orders/1/approve/", ""),
    closed("POST", "/orders/1/cancel/", ""),
    // The last one: no token of its user is valid afterwards.
    closed("POST", "/logout/all/", ""),
];

/// What an endpoint's path takes beside its own method.
pub const OWN_METHODS: &[(&str, &[&str])] = &[("GET", &["GET", "HEAD", "OPTIONS"]), ("POST", &["POST", "OPTIONS"])];

/// All spellings of a path: with and without its trailing slash, and each of them under `/api/` or, for accounts,
/// `/api/auth/`.
pub fn spellings(path: &str) -> [String; 4] {
    let prefix = match path {
        "/signup/" | "/login/" | "/token/refresh/" | "/logout/" | "/logout/all/" => "/api/auth",
        _ => "/api",
    };
    let bare = path.trim_end_matches('/');
    [
        format!("{bare}/"),
        bare.to_owned(),
        format!("{prefix}{bare}/"),
        format!("{prefix}{bare}"),
    ]
}
