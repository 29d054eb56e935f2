//! stdout and stderr of an instance, which both go to the log.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use crate::{log, sync::lock};

/// A longer line is broken here, so that a component cannot make the host keep it.
const MAX_LINE: usize = 64 << 10;

/// stdout or stderr of one instance. Instances write concurrently, so only whole lines are passed on.
#[derive(Clone, Default)]
pub(super) struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    fn push(&self, bytes: &[u8]) {
        let mut pending = lock(&self.0);
        pending.extend_from_slice(bytes);
        let complete = complete_lines(&mut pending);
        if complete > 0 {
            pass_on(&pending[..complete]);
            pending.drain(..complete);
        }
    }
}

/// Writes whole lines, without those about Redis: each instance has its own, and the host has one for all of them.
fn pass_on(lines: &[u8]) {
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        if !is_object(line) {
            log::write("error", "the component says", json!({ "text": printable(line) }));
        } else if !is_about_redis(line) {
            log::emit(line);
        }
    }
}

/// Whether a line is one of the component's log. What else it says, such as why it panics, may be any text.
fn is_object(line: &[u8]) -> bool {
    line.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(line).is_ok()
}

/// The text of a line, without characters that a terminal would obey.
fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.trim_end()
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn is_about_redis(line: &[u8]) -> bool {
    const EVENTS: [&str; 2] = ["\"event\":\"redis_degraded\"", "\"event\":\"redis_recovered\""];
    std::str::from_utf8(line).is_ok_and(|line| EVENTS.iter().any(|event| line.contains(event)))
}

/// The length of the whole lines in `pending`; a line that is too long is broken.
fn complete_lines(pending: &mut Vec<u8>) -> usize {
    match pending.iter().rposition(|byte| *byte == b'\n') {
        Some(newline) => newline + 1,
        None if pending.len() >= MAX_LINE => {
            pending.push(b'\n');
            pending.len()
        }
        None => 0,
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if Arc::strong_count(&self.0) == 1 && !lock(&self.0).is_empty() {
            self.push(b"\n");
        }
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    // The default adapter would hand every line to a task of its own.
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_LINE)
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_about_redis_are_recognized() {
        let line = r#"{"time":1,"level":"warn","event":"redis_degraded","cause":"x"}"#;
        assert!(is_about_redis(line.as_bytes()));
        assert!(is_about_redis(line.replace("degraded", "recovered").as_bytes()));
        // A text of a client cannot hide its line: quotes in a value are escaped.
        let quoted = serde_json::json!({"event": "request", "cause": line}).to_string();
        assert!(!is_about_redis(quoted.as_bytes()), "{quoted}");
    }

    #[test]
    fn what_is_no_line_of_the_log_is_told_from_it() {
        for line in [&br#"{"event":"request"}"#[..], b"{}\n"] {
            assert!(is_object(line));
        }
        let forged = b"\x1b[2J{\"event\":\"request\"}\n";
        for line in [
            &b"thread panicked\n"[..],
            b"\n",
            b"{\"event\":",
            b"{}{}\n",
            b"\xff\n",
            forged,
        ] {
            assert!(!is_object(line));
        }
        assert_eq!(printable(forged), "\u{fffd}[2J{\"event\":\"request\"}");
        assert_eq!(printable(b"\xc2\x9b2J \xff\n"), "\u{fffd}2J \u{fffd}");
    }

    #[test]
    fn only_whole_lines_are_complete_unless_they_are_too_long() {
        for (pending, complete) in [("", 0), ("unfinished", 0), ("one\n", 4), ("one\ntwo\nunfin", 8)] {
            assert_eq!(complete_lines(&mut pending.into()), complete, "{pending:?}");
        }
        let mut long = vec![b'x'; MAX_LINE];
        assert_eq!(complete_lines(&mut long), MAX_LINE + 1);
        assert_eq!(long.last(), Some(&b'\n'));
    }
}
