//! stdout and stderr of an instance, which both go to the log.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
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
            log::emit(&pending[..complete]);
            pending.drain(..complete);
        }
    }
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
    fn only_whole_lines_are_complete_unless_they_are_too_long() {
        for (pending, complete) in [("", 0), ("unfinished", 0), ("one\n", 4), ("one\ntwo\nunfin", 8)] {
            assert_eq!(complete_lines(&mut pending.into()), complete, "{pending:?}");
        }
        let mut long = vec![b'x'; MAX_LINE];
        assert_eq!(complete_lines(&mut long), MAX_LINE + 1);
        assert_eq!(long.last(), Some(&b'\n'));
    }
}
