//! The log: JSON lines on stderr, the host's own and those of the component.

use std::io::{self, Write as _};

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

/// Writes one line: `time`, `level`, `message` and the members of `fields`.
pub(crate) fn write(level: &str, message: &str, fields: Value) {
    let mut line = json!({
        "time": Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
        "level": level,
        "message": message,
    });
    if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
        line.extend(fields);
    }
    emit(format!("{line}\n").as_bytes());
}

/// Writes whole lines. An error of stderr is ignored: there is no other place to report it.
pub(crate) fn emit(lines: &[u8]) {
    _ = io::stderr().lock().write_all(lines);
}
