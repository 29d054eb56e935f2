use std::fmt;

use insta::internals::{Content, ContentPath};
use reqwest::{StatusCode, header::HeaderMap};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;
use sugang_protocol::status_of;
use sugang_sdk::types::{ErrorBody, ErrorCode};

use crate::token;

/// Headers that are part of an answer's snapshot where they are sent.
const SHOWN_HEADERS: &[&str] = &[
    "allow",
    "www-authenticate",
    "retry-after",
    "location",
    "idempotency-replayed",
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-max-age",
];

/// Words that only an internal text has. Where a title or a query holds one, the test's data are to blame.
const INTERNAL: &[&str] = &[
    "sqlstate",
    "postgres",
    "psql",
    "plpgsql",
    "relation \"",
    "syntax error",
    "panicked",
    "stack backtrace",
    ".rs:",
    "wasm",
    "redis",
    "connection refused",
    "dberror",
    "sugang.",
    "127.0.0.1:5",
    "argon2",
    "serde",
];

/// An answer of the service, read whole. What every answer must hold was checked when it came.
#[derive(Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
    request: String,
    asked_for: String,
    json: Option<Value>,
}

impl Answer {
    pub(crate) fn new(
        base: &str,
        method: &str,
        path: &str,
        status: StatusCode,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Self {
        let is_json = headers
            .get("content-type")
            .is_some_and(|value| value == "application/json")
            && !headers.contains_key("content-encoding");
        let request = format!("{method} {path}");
        let mut json: Option<Value> = (is_json && !body.is_empty()).then(|| {
            serde_json::from_slice(&body)
                .unwrap_or_else(|error| panic!("{request}: {error} in {}", String::from_utf8_lossy(&body)))
        });
        // A snapshot must not depend on whether some other crate of the build has serde_json keep the order.
        json.iter_mut().for_each(Value::sort_all_objects);
        let asked_for = format!("{base}{}", path.split('?').next().unwrap_or_default());
        let answer = Self {
            status,
            headers,
            body,
            request,
            asked_for,
            json,
        };
        answer.check(method);
        answer
    }

    /// The JSON body.
    ///
    /// # Panics
    /// When the answer has none.
    pub fn json(&self) -> &Value {
        self.json
            .as_ref()
            .unwrap_or_else(|| panic!("{self:?} has no JSON body"))
    }

    /// A header's text; empty where it is not sent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// Whether `Vary` names a request header, in any of its lines.
    pub fn varies_by(&self, name: &str) -> bool {
        let lines = self
            .headers
            .get_all("vary")
            .iter()
            .filter_map(|value| value.to_str().ok());
        lines
            .flat_map(|line| line.split(','))
            .any(|named| named.trim().eq_ignore_ascii_case(name))
    }

    /// The error's code; empty where the answer is no error.
    pub fn code(&self) -> &str {
        self.json
            .as_ref()
            .and_then(|body| body["code"].as_str())
            .unwrap_or_default()
    }

    /// Status, code and texts in one line, for tables.
    pub fn brief(&self) -> String {
        let mut line = self.status.as_u16().to_string();
        if !self.code().is_empty() {
            let error: ErrorBody = serde_json::from_value(self.json().clone()).expect("the error was checked");
            line.push_str(&format!(" {} | {}", error.code, error.text));
        }
        line
    }

    /// Asserts a text of the body that differs by kind, and shows `[text]` in its place in a snapshot.
    pub fn says(mut self, key: &str, text: &str) -> Self {
        assert_eq!(self.json()[key], text, "{self:?}");
        if let Some(body) = &mut self.json {
            body[key] = "[text]".into();
        }
        self
    }

    /// What every answer holds, whatever was asked.
    fn check(&self, method: &str) {
        let expect = |holds: bool, what: &str| assert!(holds, "{self:?}: {what}");
        let id = self.header("x-request-id");
        expect(
            !id.is_empty() && id.len() <= 128 && id.bytes().all(|b| b.is_ascii_graphic()),
            "a sane X-Request-Id",
        );
        expect(
            self.header("x-content-type-options") == "nosniff",
            "X-Content-Type-Options",
        );
        let text = String::from_utf8_lossy(&self.body).to_lowercase();
        let failed = self.status.is_client_error() || self.status.is_server_error();
        expect(self.status != StatusCode::INTERNAL_SERVER_ERROR, "never a 500");
        expect(
            !failed || !INTERNAL.iter().any(|word| text.contains(word)),
            "no internal text",
        );
        let retry = ["503", "429"].contains(&self.status.as_str());
        expect(
            !retry || self.header("retry-after").parse::<u32>().is_ok_and(|s| s > 0),
            "Retry-After in seconds",
        );
        expect(
            self.status != StatusCode::UNAUTHORIZED || self.header("www-authenticate") == "Bearer",
            "a challenge",
        );
        expect(
            self.status != StatusCode::METHOD_NOT_ALLOWED || !self.header("allow").is_empty(),
            "Allow",
        );
        if method == "HEAD" {
            expect(self.body.is_empty(), "HEAD has no body");
        } else if failed {
            let body = self.json();
            expect(body["request_id"] == id, "the request's id in the body");
            let code: ErrorCode = self.code().parse().unwrap_or_else(|_| panic!("{self:?}"));
            expect(
                ErrorCode::ALL.contains(&code) && status_of(&code) == self.status.as_u16(),
                "a code that goes with the status",
            );
            let messages = |value: &Value| {
                let texts = value.as_array();
                texts.is_some_and(|texts| !texts.is_empty() && texts.iter().all(is_text))
            };
            let fields = |value: &Value| {
                let fields = value.as_object();
                fields.is_some_and(|fields| !fields.is_empty() && fields.values().all(messages))
            };
            let mut rest = body.clone();
            rest.as_object_mut()
                .map(|rest| (rest.remove("code"), rest.remove("request_id")));
            let readable = match (rest.get("error"), rest.get("detail"), rest.get("message")) {
                (Some(text), None, None) | (None, Some(text), None) => is_text(text),
                (None, None, Some(text)) => is_text(text) && fields(&rest["errors"]),
                _ => fields(&rest),
            };
            expect(
                readable,
                "a text under error, detail, message and errors, or the fields' names",
            );
        }
    }
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        let body: String = body.chars().take(2000).collect();
        write!(f, "{} -> {} {:?} {body}", self.request, self.status, self.headers)
    }
}

/// As it stands in a snapshot.
impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("status", &self.status.to_string())?;
        for name in SHOWN_HEADERS.iter().filter(|name| self.headers.contains_key(**name)) {
            map.serialize_entry(name, self.header(name))?;
        }
        match &self.json {
            Some(body) => map.serialize_entry("body", body)?,
            None if self.body.is_empty() => {}
            None => {
                map.serialize_entry("content-type", self.header("content-type"))?;
                map.serialize_entry("body", &String::from_utf8_lossy(&self.body))?;
            }
        }
        map.end()
    }
}

/// Compares a whole answer with the inline snapshot: status, the headers that matter, body.
///
/// What differs from run to run is checked and then replaced: the request's id, times that are now, tokens, and in
/// `next` and `previous` the address and path that were asked for (`[here]`).
#[macro_export]
macro_rules! assert_answer {
    ($answer:expr, @$expected:literal $(,)?) => {{
        let answer: $crate::Answer = $answer;
        answer.snapshot_settings().bind(|| {
            // A test that is written for a kind meets its snapshot once for each.
            $crate::insta::allow_duplicates! { $crate::insta::assert_json_snapshot!(answer, @$expected) }
        });
    }};
}

impl Answer {
    #[doc(hidden)]
    pub fn snapshot_settings(&self) -> insta::Settings {
        let mut settings = insta::Settings::new();
        // That it is the header's was checked when the answer came.
        settings.add_redaction(".body.request_id", "[request id]");
        for key in ["access", "refresh"] {
            settings.add_dynamic_redaction(&format!(".body.{key}"), token);
        }
        for key in [
            "start_at",
            "end_at",
            "created_at",
            "completed_at",
            "cancelled_at",
            "paid_at",
            "requested_at",
            "registered_at",
            "registration_time",
            "ended_at",
            "now",
        ] {
            settings.add_dynamic_redaction(&format!(".**.{key}"), time);
        }
        for key in ["expires_at", "due_at"] {
            settings.add_dynamic_redaction(&format!(".**.{key}"), time_left);
        }
        settings.add_dynamic_redaction(".**.reference", reference);
        for key in ["next", "previous"] {
            let asked_for = self.asked_for.clone();
            settings.add_dynamic_redaction(&format!(".body.{key}"), move |value, path| {
                link(value, path, &asked_for)
            });
        }
        settings
    }
}

/// A token must be good and of the type of its key; then it is shown as what it claims.
fn token(value: Content, path: ContentPath<'_>) -> Content {
    let Some(text) = value.as_str().filter(|text| text.contains('.')) else {
        return value;
    };
    let claims = token::verify(text);
    assert_eq!(
        path.to_string(),
        format!(".body.{}", claims["token_type"].as_str().expect("a text"))
    );
    let claim = |name: &str| claims[name].as_i64().expect("a number");
    let [id, email, username] = ["user_id", "email", "username"].map(|name| claims[name].as_str().expect("a text"));
    format!("[{id} {email} {username} for {} s]", claim("exp") - claim("iat")).into()
}

/// A time must be RFC 3339 in UTC with `Z`; then it is shown as it is, or as `[now]`.
fn time(value: Content, path: ContentPath<'_>) -> Content {
    if value.is_nil() {
        return value;
    }
    let text = value.as_str().unwrap_or_else(|| panic!("{path} is no text"));
    assert!(
        text.ends_with('Z') && text.contains('T'),
        "{path} is no time in UTC: {text}"
    );
    let at: chrono::DateTime<chrono::Utc> = text.parse().unwrap_or_else(|error| panic!("{path}: {text}: {error}"));
    if (chrono::Utc::now() - at).num_seconds().abs() <= 60 {
        "[now]".into()
    } else {
        value
    }
}

/// A time to come is shown as the minutes until then; any other as [`time`] shows it.
fn time_left(value: Content, path: ContentPath<'_>) -> Content {
    let at = value
        .as_str()
        .and_then(|text| text.parse::<chrono::DateTime<chrono::Utc>>().ok());
    let left = at.map_or(0, |at| ((at - chrono::Utc::now()).num_seconds() + 30) / 60);
    match left {
        2..100_000 => format!("[in {left} min]").into(),
        _ => time(value, path),
    }
}

/// A random reference is shown by its form.
fn reference(value: Content, _: ContentPath<'_>) -> Content {
    let random = value.as_str().and_then(|text| text.strip_prefix("sugang_"));
    match random.is_some_and(|random| random.len() == 32) {
        true => "[reference]".into(),
        false => value,
    }
}

/// A link must lead to what was asked for, in the same spelling.
fn link(value: Content, path: ContentPath<'_>, asked_for: &str) -> Content {
    match value.as_str() {
        None => value,
        Some(text) => match text.strip_prefix(asked_for) {
            Some(query) => format!("[here]{query}").into(),
            None => panic!("{path} leads from {asked_for} to {text}"),
        },
    }
}
