//! The log: JSON lines on stderr, the host's own and those of the component.
//!
//! Lines are queued, and a thread of its own writes them: a log that is not read stops no request and no end of the
//! process.

use std::{
    io::{self, Write},
    sync::OnceLock,
    time::Duration,
};

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};
use sugang_output::Queue;

/// Bytes of lines that wait for their reader; as many are being written. At a thousand requests a second, these are the
/// lines of some ten seconds.
pub const LOG_QUEUE_BYTES: usize = 4 << 20;

/// How long the end of the process by a panic waits for the log's reader.
const PANIC_LIMIT: Duration = Duration::from_secs(1);

static QUEUE: OnceLock<Queue> = OnceLock::new();

fn start(capacity: usize) -> Queue {
    let stderr: Box<dyn Write + Send> = match sugang_output::handle(&io::stderr()) {
        Ok(stderr) => Box::new(stderr),
        Err(_) => Box::new(io::stderr()),
    };
    Queue::start(stderr, capacity, |lost| {
        line("warn", "lines of the log were dropped", json!({ "lines": lost }))
    })
}

/// Sets how many bytes of the log wait for their reader, before anything is logged.
pub fn queue_log(capacity: usize) {
    _ = QUEUE.set(start(capacity));
}

fn queue() -> &'static Queue {
    QUEUE.get_or_init(|| start(LOG_QUEUE_BYTES))
}

/// Writes one line: `time`, `level`, `message` and the members of `fields`.
pub(crate) fn write(level: &str, message: &str, fields: Value) {
    emit(line(level, message, fields).as_bytes());
}

fn line(level: &str, message: &str, fields: Value) -> String {
    let mut line = json!({
        "time": Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
        "level": level,
        "message": message,
    });
    if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
        line.extend(fields);
    }
    format!("{line}\n")
}

/// Writes whole lines, or drops and counts them if the log is not read.
pub(crate) fn emit(lines: &[u8]) {
    queue().push(lines);
}

/// Says in the log that something unusual has happened to the process.
pub fn log_notice(message: &str) {
    write("info", message, json!({}));
}

/// Waits until the log is written, for at most `limit`.
pub fn flush_log(limit: Duration) {
    queue().flush(limit);
}

/// Has panics written to the log, as JSON. The standard library's message would wait for a reader.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("a panic");
        let at = panic.location().map(ToString::to_string);
        write("error", "a thread panicked", json!({ "error": text, "at": at }));
        // The process ends with this thread, and would not wait for the log.
        if std::thread::current().name() == Some("main") {
            flush_log(PANIC_LIMIT);
        }
    }));
}
