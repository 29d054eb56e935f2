//! Writes lines to standard error and standard output, whatever becomes of their reader.
//!
//! A pipe that is not drained makes `write` wait, and one that is closed makes `println!` panic. So the log goes through a
//! [`Queue`], which drops and counts lines instead of making its writers wait, [`write_within`] waits for a bounded time,
//! and [`print`] waits for its reader, as a report should, but survives one that has gone.

mod queue;

use std::{
    fs::File,
    io::{self, ErrorKind, Write as _},
    os::fd::AsFd,
    sync::mpsc,
    time::Duration,
};

pub use queue::Queue;

/// Returns a handle of its own to an output of the process. Unlike the standard library's, it has no lock that a stalled
/// write could hold.
///
/// # Errors
/// The process has no file descriptor left.
pub fn handle(output: &impl AsFd) -> io::Result<File> {
    Ok(File::from(output.as_fd().try_clone_to_owned()?))
}

/// Writes `text`, and gives up waiting for the reader after `limit`. Returns whether everything was written.
pub fn write_within(limit: Duration, output: &impl AsFd, text: String) -> bool {
    let Ok(mut file) = handle(output) else {
        return false;
    };
    let (done, written) = mpsc::channel();
    // A thread that is stuck ends with the process.
    let write = move || done.send(file.write_all(text.as_bytes()).is_ok());
    let started = std::thread::Builder::new().name("output".to_owned()).spawn(write);
    started.is_ok() && written.recv_timeout(limit) == Ok(true)
}

/// Prints a report to standard output. A reader that has gone, such as `head`, has read what it wanted.
///
/// # Errors
/// The report cannot be written, for example to a full disk.
pub fn print(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, time::Instant};

    use super::*;

    #[test]
    fn a_pipe_that_is_not_drained_costs_a_bounded_time() {
        let (mut reader, writer) = io::pipe().unwrap();
        assert!(write_within(Duration::from_secs(10), &writer, "said\n".to_owned()));
        let begun = Instant::now();
        // More than a pipe holds.
        let long = "x".repeat(1 << 20);
        assert!(!write_within(Duration::from_millis(100), &writer, long));
        assert!(begun.elapsed() < Duration::from_secs(5));
        let mut said = [0; 5];
        reader.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"said\n");
        drop(reader);
        assert!(!write_within(Duration::from_secs(10), &writer, "lost\n".to_owned()));
    }
}
