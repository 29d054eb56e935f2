//! The log: one JSON object a line on standard error, with no token, password or e-mail address in it.

use std::{
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use sugang_sdk::types::ErrorCode;

/// One answered request.
#[derive(Serialize)]
pub struct Request<'a> {
    /// HTTP method.
    pub method: &'a str,
    /// Operation id; none where no route was found, so that what a client makes up does not reach the log.
    pub operation: Option<&'a str>,
    /// HTTP status.
    pub status: u16,
    /// Milliseconds from the arrival of the head to the answer.
    pub ms: f64,
    /// Id of the request.
    pub request_id: &'a str,
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

/// Notes a request that was answered.
pub fn request(request: &Request<'_>) {
    write("info", "request", request);
}

/// Notes why a request failed, or what was done without.
pub fn failure(request_id: &str, code: &ErrorCode, cause: &str) {
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

/// Notes that something works worse than it should.
pub fn warning(event: &str, cause: &str) {
    #[derive(Serialize)]
    struct Warning<'a> {
        cause: &'a str,
    }
    write("warn", event, Warning { cause });
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
        // Nobody is left to tell when the log itself cannot be written.
        let _ = std::io::stderr().write_all(&line);
    }
}
