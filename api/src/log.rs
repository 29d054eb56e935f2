//! The log: one JSON object per line on standard error, without tokens, passwords or e-mail addresses.

use std::{
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use sugang_sdk::types::ErrorCode;

/// One request with its response.
#[derive(Serialize)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// Operation id. Without a route there is none: a path that the client made up does not reach the log.
    pub(crate) operation: Option<&'a str>,
    pub(crate) status: u16,
    /// Milliseconds from the arrival of the request to the response.
    pub(crate) ms: f64,
    pub(crate) request_id: &'a str,
}

#[derive(Serialize)]
struct Line<'a, T> {
    /// Milliseconds since 1970.
    time: u128,
    level: &'a str,
    event: &'a str,
    #[serde(flatten)]
    fields: T,
}

/// Logs a request after its response was built.
pub(crate) fn request(request: &Request<'_>) {
    write("info", "request", request);
}

/// Logs why a request failed.
pub(crate) fn failure(request_id: &str, code: &ErrorCode, cause: &str) {
    #[derive(Serialize)]
    struct Failure<'a> {
        request_id: &'a str,
        code: &'a ErrorCode,
        cause: &'a str,
    }
    write(
        "error",
        "failure",
        Failure {
            request_id,
            code,
            cause,
        },
    );
}

/// Logs a degradation that no single request failed of.
pub(crate) fn warning(event: &str, cause: &str) {
    #[derive(Serialize)]
    struct Warning<'a> {
        cause: &'a str,
    }
    write("warn", event, Warning { cause });
}

/// Logs that a degradation has ended, as `cause` showed.
pub(crate) fn notice(event: &str, cause: &str) {
    #[derive(Serialize)]
    struct Notice<'a> {
        cause: &'a str,
    }
    write("info", event, Notice { cause });
}

fn write(level: &str, event: &str, fields: impl Serialize) {
    let time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis());
    if let Ok(mut line) = serde_json::to_vec(&Line {
        time,
        level,
        event,
        fields,
    }) {
        line.push(b'\n');
        // A log that cannot be written has no other place to report that.
        let _ = std::io::stderr().write_all(&line);
    }
}
