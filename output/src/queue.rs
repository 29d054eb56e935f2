//! A bounded queue of lines, which a thread of its own writes.

use std::{
    io::{ErrorKind, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// The time in which lines gather before they are written together. Under load, one write takes many lines.
const GATHERING: Duration = Duration::from_millis(5);

/// The pause before an output that could not be written is tried again, and that of an output that is not ready.
const RETRY: Duration = Duration::from_secs(1);
const NOT_READY: Duration = Duration::from_millis(10);

/// A bounded queue of lines. A line is written, or dropped and counted; no caller of [`Queue::push`] waits for it.
///
/// Lines are dropped while the queue is full, because the reader is slow, and when they cannot be written: the reader has
/// gone, or the disk is full. Once writing goes on, a notice says how many they were.
pub struct Queue {
    shared: Arc<Shared>,
    capacity: usize,
}

struct Shared {
    state: Mutex<State>,
    /// There is something to write.
    more: Condvar,
    /// Everything has been written.
    idle: Condvar,
}

#[derive(Default)]
struct State {
    pending: Vec<u8>,
    /// Lines dropped since the pending ones were last taken. As long as there are any, all further ones are dropped as
    /// well, so that there is one gap, and one notice.
    dropped: u64,
    /// The thread has taken lines, and not written them all.
    writing: bool,
    /// The thread waits for lines.
    waiting: bool,
}

/// The thread's own state.
struct Writer<W> {
    output: W,
    notice: fn(u64) -> String,
    /// Dropped lines of which no notice has been written.
    lost: u64,
    /// The last write failed within a line.
    within_line: bool,
}

impl Queue {
    /// Starts the thread that writes to `output`. At most `capacity` bytes wait, and as many are being written. `notice` is
    /// the line that says how many lines were dropped, with its end.
    pub fn start(output: impl Write + Send + 'static, capacity: usize, notice: fn(u64) -> String) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            more: Condvar::new(),
            idle: Condvar::new(),
        });
        let writer = Writer {
            output,
            notice,
            lost: 0,
            within_line: false,
        };
        let of_thread = shared.clone();
        let thread = thread::Builder::new().name("log".to_owned());
        // Without a thread, the queue fills up, and drops what does not fit.
        _ = thread.spawn(move || write_all(&of_thread, writer));
        Self { shared, capacity }
    }

    /// Queues whole lines, each with its end, or drops them.
    pub fn push(&self, lines: &[u8]) {
        let mut state = self.shared.state();
        if state.dropped > 0 || state.pending.len() + lines.len() > self.capacity {
            state.dropped += count(lines);
        } else {
            state.pending.extend_from_slice(lines);
        }
        if std::mem::take(&mut state.waiting) {
            self.shared.more.notify_one();
        }
    }

    /// Waits until everything is written or dropped, for at most `limit`. Returns whether it is.
    pub fn flush(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.shared.state();
        while state.writing || !state.pending.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.idle.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        true
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for lines, or, if the thread `retries`, for a second. They are in `lines` then, which was empty.
    fn take(&self, lines: &mut Vec<u8>, retries: bool) -> u64 {
        let mut state = self.state();
        while state.pending.is_empty() && state.dropped == 0 {
            state.waiting = true;
            if retries {
                let waited = self.more.wait_timeout(state, RETRY);
                (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
                break;
            }
            state = self.more.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting = false;
        drop(state);
        thread::sleep(GATHERING);
        let mut state = self.state();
        state.writing = true;
        std::mem::swap(&mut state.pending, lines);
        std::mem::take(&mut state.dropped)
    }

    fn done(&self) {
        let mut state = self.state();
        state.writing = false;
        if state.pending.is_empty() {
            self.idle.notify_all();
        }
    }
}

/// Writes for as long as the process lives.
fn write_all(shared: &Shared, mut writer: Writer<impl Write>) {
    let mut lines = Vec::new();
    loop {
        let dropped = shared.take(&mut lines, writer.lost > 0);
        // What failed before stands before these lines, and what did not fit behind them.
        writer.tell();
        writer.write(&lines);
        writer.lost += dropped;
        writer.tell();
        lines.clear();
        shared.done();
    }
}

impl<W: Write> Writer<W> {
    /// Says what was lost.
    fn tell(&mut self) {
        let lost = self.lost;
        if lost > 0 && self.write((self.notice)(lost).as_bytes()) {
            self.lost = 0;
        } else {
            // The notice itself is none of the lines.
            self.lost = lost;
        }
    }

    /// Writes lines, and counts those that cannot be written. Returns whether there are none.
    fn write(&mut self, lines: &[u8]) -> bool {
        if self.within_line && !lines.is_empty() {
            self.within_line = write_bytes(&mut self.output, b"\n") == 0;
        }
        let written = match self.within_line {
            true => 0,
            false => write_bytes(&mut self.output, lines),
        };
        let (whole, rest) = lines.split_at(written);
        self.lost += count(rest);
        self.within_line |= !rest.is_empty() && whole.last().is_some_and(|last| *last != b'\n');
        rest.is_empty()
    }
}

/// Writes as many bytes as can be written, and returns their number. Waits for an output that is not ready.
fn write_bytes(output: &mut impl Write, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match output.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(more) => written += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(NOT_READY),
            Err(_) => break,
        }
    }
    written
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, BufRead as _, BufReader},
        sync::mpsc::{Receiver, Sender, channel},
    };

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn notice(lost: u64) -> String {
        format!("{lost} lost\n")
    }

    #[test]
    fn lines_are_written_in_order() {
        let (reader, writer) = io::pipe().unwrap();
        let queue = Queue::start(writer, 1 << 20, notice);
        for number in 0..1000 {
            queue.push(format!("{number}\n").as_bytes());
        }
        assert!(queue.flush(LIMIT));
        let read: Vec<_> = BufReader::new(reader)
            .lines()
            .take(1000)
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(read, (0..1000).map(|number| number.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn a_reader_that_pauses_stops_no_writer_and_learns_once_what_it_missed() {
        let (reader, writer) = io::pipe().unwrap();
        let queue = Queue::start(writer, 1 << 17, notice);
        let line = format!("{}\n", "x".repeat(99));
        let begun = Instant::now();
        for _ in 0..20_000 {
            queue.push(line.as_bytes());
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "no push waits");
        assert!(!queue.flush(Duration::from_millis(50)));
        let (mut read, mut lost) = (0, Vec::new());
        let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
        while read + lost.iter().sum::<u64>() < 20_000 {
            let line = lines.next().unwrap();
            match line.strip_suffix(" lost") {
                Some(number) => lost.push(number.parse().unwrap()),
                None => read += u64::from(line.len() == 99),
            }
        }
        // One gap before the pipe was full, and one afterwards.
        assert!(lost.len() <= 2, "{lost:?}");
        queue.push(b"next\n");
        assert_eq!(lines.next().unwrap(), "next");
    }

    #[test]
    fn a_line_that_never_fits_stops_no_other() {
        let (reader, writer) = io::pipe().unwrap();
        let queue = Queue::start(writer, 10, notice);
        let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
        queue.push(b"longer than ten\n");
        assert_eq!(lines.next().unwrap(), "1 lost");
        queue.push(b"short\n");
        assert_eq!(lines.next().unwrap(), "short");
    }

    /// An output that takes as many bytes as it is allowed to, and then fails.
    struct Disk {
        free: Receiver<usize>,
        allowed: usize,
        content: Sender<Vec<u8>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.allowed += self.free.try_iter().sum::<usize>();
            match self.allowed.min(bytes.len()) {
                0 => Err(ErrorKind::StorageFull.into()),
                length => {
                    self.allowed -= length;
                    self.content.send(bytes[..length].to_vec()).unwrap();
                    Ok(length)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_full_disk_refuses_is_counted_and_said_once_it_has_room() {
        let (free, freed) = channel();
        let (content, written) = channel();
        let disk = Disk {
            free: freed,
            allowed: 6,
            content,
        };
        let queue = Queue::start(disk, 1 << 16, notice);
        queue.push(b"one\ntwo\nthree\n");
        assert!(queue.flush(LIMIT));
        queue.push(b"four\n");
        assert!(queue.flush(LIMIT));
        free.send(1000).unwrap();
        queue.push(b"five\n");
        assert!(queue.flush(LIMIT));
        let written = written.try_iter().flatten().collect();
        assert_eq!(String::from_utf8(written).unwrap(), "one\ntw\n3 lost\nfive\n");
    }

    #[test]
    fn what_was_lost_is_said_even_if_no_line_follows() {
        let (free, freed) = channel();
        let (content, written) = channel();
        let disk = Disk {
            free: freed,
            allowed: 0,
            content,
        };
        let queue = Queue::start(disk, 1 << 16, notice);
        queue.push(b"one\n");
        assert!(queue.flush(LIMIT));
        free.send(1000).unwrap();
        assert_eq!(written.recv_timeout(LIMIT).unwrap(), b"1 lost\n");
    }
}
