//! What the host writes to stderr: JSON lines of its own, and the guest's output as the guest wrote it, whole lines.

use std::{
    io::{self, Write as _},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

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

/// Nothing is left to do where stderr itself is gone.
fn emit(bytes: &[u8]) {
    _ = io::stderr().lock().write_all(bytes);
}

/// A line of a guest that is longer is broken here, so that a guest cannot make the host keep it.
const LONGEST_LINE: usize = 64 << 10;

/// stdout or stderr of one instance. Instances write at the same time: only whole lines are passed on.
#[derive(Clone, Default)]
pub(crate) struct GuestOutput(Arc<Mutex<Vec<u8>>>);

impl GuestOutput {
    fn push(&self, bytes: &[u8]) {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pending.extend_from_slice(bytes);
        let end = match pending.iter().rposition(|byte| *byte == b'\n') {
            Some(newline) => newline + 1,
            None if pending.len() >= LONGEST_LINE => {
                pending.push(b'\n');
                pending.len()
            }
            None => return,
        };
        emit(&pending[..end]);
        pending.drain(..end);
    }
}

impl Drop for GuestOutput {
    fn drop(&mut self) {
        if Arc::strong_count(&self.0) == 1 && !self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            self.push(b"\n");
        }
    }
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    // The adapter that comes without this hands every line to a task of its own.
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for GuestOutput {
    async fn ready(&mut self) {}
}

impl OutputStream for GuestOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LONGEST_LINE)
    }
}

impl AsyncWrite for GuestOutput {
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
