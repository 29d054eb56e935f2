//! The bytes of one connection, between the socket and hyper.
//!
//! Of HTTP/1.1 it finds where requests begin and end, and hands them to hyper one at a time. So each head has a deadline of
//! its own, a client may close its writing side and still read its response, and what is no request is refused as the
//! component refuses: with a code, a text and CORS. Bytes of HTTP/2 pass as they are.

mod chunked;
mod head;
mod rest;
mod stand_in;

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{Buf as _, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};
use sugang_protocol::{ErrorSpec, host};
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep_until},
};

use self::{
    chunked::Chunked,
    head::{Framing, HeadLimits},
    rest::Rest,
    stand_in::stand_in,
};
use super::{
    activity::Activity,
    connections::Connections,
    memory::Reserved,
    pace::{Pace, Rate},
    shares::Shares,
};
use crate::settings::Limits;

/// The first bytes of HTTP/2 with prior knowledge.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of one read.
const CHUNK: usize = 8 << 10;

/// Bytes that are read ahead while a response is on its way, up to one read more. What a client pipelines beyond that stays
/// in its socket.
const READ_AHEAD: usize = CHUNK;

/// The time for the rest of a head after the server has begun to stop.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// An idle connection looks this often whether connections have become scarce.
const IDLE_CHECK: Duration = Duration::from_secs(5);

/// The time and the bytes for which a client may go on sending after the last response. If its bytes were not read, the
/// connection would be reset, and the client might lose the response.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1 << 20;

/// A protocol that a client speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// A socket, as hyper reads and writes it.
pub(super) struct Wire {
    stream: TcpStream,
    phase: Phase,
    /// Bytes that were received and not handed to hyper.
    received: BytesMut,
    /// The memory for a head that is longer than usual.
    memory: Reserved,
    /// How many of them hyper may have.
    passing: usize,
    /// The client has closed its writing side.
    ended: bool,
    /// Requests that hyper was given.
    requests: u64,
    activity: Arc<Activity>,
    connections: Arc<Connections>,
    times: Times,
    limits: HeadLimits,
    timer: Option<Pin<Box<Sleep>>>,
    /// The writing that the client is slow to read.
    writing: Option<Pace>,
    write_blocked: bool,
    write_timer: Option<Pin<Box<Sleep>>>,
    /// hyper waits until the socket or the last response lets it go on.
    held: bool,
    lingering: Option<(Instant, usize)>,
}

#[derive(Clone, Copy)]
struct Times {
    head: Duration,
    idle: Duration,
    write: Rate,
}

enum Phase {
    /// Between two requests.
    Idle {
        since: Instant,
    },
    /// Within a head, of which a part was looked at.
    Head {
        since: Instant,
        scanned: usize,
    },
    Body(Rest),
    /// Behind the last request of the connection.
    Last,
    /// HTTP/2.
    Raw,
}

/// What hyper gets next.
enum Step {
    Again,
    /// Nothing: the connection ends.
    End,
}

impl Wire {
    pub(super) fn new(
        stream: TcpStream,
        activity: Arc<Activity>,
        connections: Arc<Connections>,
        shares: &Shares,
        limits: &Limits,
    ) -> Self {
        Self {
            stream,
            phase: Phase::Idle { since: Instant::now() },
            received: BytesMut::new(),
            memory: shares.requests.reserve(2 * CHUNK),
            passing: 0,
            ended: false,
            requests: 0,
            activity,
            connections,
            times: Times {
                head: limits.head_timeout,
                idle: limits.idle_timeout,
                write: Rate {
                    patience: limits.write_timeout,
                    bytes_per_second: limits.min_rate,
                },
            },
            limits: HeadLimits {
                head: limits.header_bytes,
                target: limits.target_bytes,
            },
            timer: None,
            writing: None,
            write_blocked: false,
            write_timer: None,
            held: false,
            lingering: None,
        }
    }

    /// Reads until it is clear which protocol the client speaks; `None` if it sends nothing in time.
    pub(super) async fn protocol(&mut self) -> Option<Protocol> {
        std::future::poll_fn(|context| self.poll_protocol(context)).await
    }

    fn poll_protocol(&mut self, context: &mut Context<'_>) -> Poll<Option<Protocol>> {
        loop {
            let known = self.received.len().min(PREFACE.len());
            if self.received[..known] != PREFACE[..known] {
                return Poll::Ready(Some(Protocol::Http1));
            }
            if known == PREFACE.len() {
                self.phase = Phase::Raw;
                return Poll::Ready(Some(Protocol::Http2));
            }
            if self.ended {
                return Poll::Ready((known > 0).then_some(Protocol::Http1));
            }
            match self.poll_receive(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(None),
                Poll::Pending => {
                    let Phase::Idle { since } = self.phase else {
                        return Poll::Ready(None);
                    };
                    let deadline = since + self.times.head;
                    if self.activity.stopped().is_some() || self.poll_deadline(context, deadline).is_ready() {
                        return Poll::Ready((known > 0).then_some(Protocol::Http1));
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Receives some bytes, or notes that there will be no more.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut chunk = [const { MaybeUninit::uninit() }; CHUNK];
        let mut chunk = ReadBuf::uninit(&mut chunk);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut chunk))?;
        self.ended = chunk.filled().is_empty();
        self.received.extend_from_slice(chunk.filled());
        Poll::Ready(Ok(()))
    }

    /// Is ready once the deadline has passed. The timer is set a few times in the life of a connection, not for each
    /// request: it may fire too early, and is then set again.
    fn poll_deadline(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        loop {
            let now = Instant::now();
            if now >= deadline {
                return Poll::Ready(());
            }
            let shortest = self.times.head.min(IDLE_CHECK).max(Duration::from_millis(1));
            let next = deadline.min(now + shortest).into();
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(next)));
            if timer.deadline() > next && deadline < timer.deadline().into_std() {
                timer.as_mut().reset(next);
            }
            ready!(timer.as_mut().poll(context));
            timer.as_mut().reset(next);
        }
    }

    fn poll_read_http1(&mut self, context: &mut Context<'_>, out: &mut ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.passing > 0 {
                let handed = self.passing.min(out.remaining());
                out.put_slice(&self.received[..handed]);
                self.received.advance(handed);
                self.passing -= handed;
                return Poll::Ready(Ok(()));
            }
            let step = match self.phase {
                Phase::Body(_) => self.poll_body(context),
                _ if self.is_answering() => self.poll_answering(context),
                Phase::Idle { since } => self.poll_idle(context, since),
                Phase::Head { since, scanned } => self.poll_head(context, since, scanned),
                // hyper ends the connection after the response.
                Phase::Last | Phase::Raw => return Poll::Pending,
            };
            match ready!(step)? {
                Step::Again => {}
                Step::End => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Step>> {
        let Phase::Body(rest) = &mut self.phase else {
            return Poll::Ready(Ok(Step::Again));
        };
        let (passing, ended) = rest.advance(&self.received)?;
        self.passing = passing;
        if ended {
            self.phase = Phase::Idle { since: Instant::now() };
        }
        if passing > 0 || ended {
            return Poll::Ready(Ok(Step::Again));
        }
        self.poll_more(context)
    }

    /// Reads on while a response is on its way, which tells whether the client has gone. What it has sent waits.
    fn poll_answering(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Step>> {
        if !self.ended && self.received.len() < READ_AHEAD {
            if let Poll::Ready(received) = self.poll_receive(context) {
                return Poll::Ready(received.map(|()| Step::Again));
            }
            // It fires while the connection is idle again, and counts on then.
            _ = self.poll_deadline(context, Instant::now() + self.times.idle);
        }
        if self.ended || !self.received.is_empty() {
            self.held = true;
            self.activity.hold(context.waker());
        }
        Poll::Pending
    }

    fn poll_idle(&mut self, context: &mut Context<'_>, since: Instant) -> Poll<io::Result<Step>> {
        while self.received.starts_with(b"\r\n") {
            self.received.advance(2);
        }
        if !self.received.is_empty() && self.received[..] != b"\r"[..] {
            let since = Instant::now();
            self.phase = Phase::Head { since, scanned: 0 };
            return Poll::Ready(Ok(Step::Again));
        }
        if self.activity.stopped().is_some() {
            return Poll::Ready(Ok(Step::End));
        }
        if let Poll::Ready(step) = self.poll_more(context) {
            return Poll::Ready(step);
        }
        self.poll_deadline(context, since + self.idle_time())
            .map(|()| Ok(Step::End))
    }

    fn poll_head(&mut self, context: &mut Context<'_>, since: Instant, scanned: usize) -> Poll<io::Result<Step>> {
        match head::scan(&mut self.received, scanned, self.limits) {
            Ok(Some((length, framing))) => self.begin(length, framing),
            Err(error) => self.refuse(error),
            Ok(None) if self.ended => self.refuse(&host::BAD_REQUEST),
            Ok(None) if !self.memory.grow(self.received.len()) => self.refuse(&host::OVERLOADED),
            Ok(None) => {
                let scanned = self.received.len();
                self.phase = Phase::Head { since, scanned };
                if let Poll::Ready(step) = self.poll_more(context) {
                    return Poll::Ready(step);
                }
                let stop = self.activity.stopped().map(|stopped| stopped + STOP_GRACE);
                let deadline = since + self.times.head;
                ready!(self.poll_deadline(context, stop.map_or(deadline, |stop| stop.min(deadline))));
                self.refuse(&host::REQUEST_TIMEOUT);
            }
        }
        Poll::Ready(Ok(Step::Again))
    }

    /// Receives more bytes, unless the client has sent its last one.
    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Step>> {
        if self.ended {
            return Poll::Ready(Ok(Step::End));
        }
        ready!(self.poll_receive(context))?;
        Poll::Ready(Ok(Step::Again))
    }

    /// Whether the response to an earlier request is still on its way.
    fn is_answering(&self) -> bool {
        self.write_blocked || self.requests != self.activity.completed()
    }

    /// How long the connection may be idle: less if connections are scarce, or if it has brought no request yet.
    fn idle_time(&self) -> Duration {
        match self.requests {
            0 => self.times.head,
            _ if self.connections.are_scarce() => self.times.idle.min(IDLE_CHECK),
            _ => self.times.idle,
        }
    }

    fn begin(&mut self, head: usize, framing: Framing) {
        self.requests += 1;
        self.memory.release();
        self.passing = head;
        self.writing = None;
        self.phase = match framing {
            Framing::Length(0) => Phase::Idle { since: Instant::now() },
            // The head is handed out before the body begins.
            Framing::Length(length) => Phase::Body(Rest::Length(length)),
            Framing::Chunked => Phase::Body(Rest::Chunked(Chunked::new())),
        };
    }

    /// Gives hyper a request in place of what the client has sent, which the service answers with `error`. So hyper sends
    /// the response as any other one, after those to earlier requests.
    fn refuse(&mut self, error: &'static ErrorSpec) {
        let stand_in = stand_in(&self.received);
        self.activity.refuse(self.requests, error);
        self.requests += 1;
        self.received = stand_in.as_bytes().into();
        self.passing = stand_in.len();
        self.writing = None;
        self.phase = Phase::Last;
    }

    fn wrote(&mut self, context: &Context<'_>, bytes: usize) {
        self.write_blocked = false;
        match &mut self.writing {
            Some(_) if matches!(self.phase, Phase::Raw) => self.writing = None,
            Some(writing) => writing.advance(bytes),
            None => {}
        }
        if std::mem::take(&mut self.held) {
            context.waker().wake_by_ref();
        }
    }

    /// Waits until the client reads, but not for longer than its pace allows.
    fn poll_unblocked(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.write_blocked = true;
        let rate = self.times.write;
        let deadline = self.writing.get_or_insert_with(|| Pace::begin(rate)).deadline();
        let timer = self
            .write_timer
            .get_or_insert_with(|| Box::pin(sleep_until(deadline.into())));
        if timer.deadline() != deadline.into() {
            timer.as_mut().reset(deadline.into());
        }
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            // A server that stops does not wait for idle clients: they have their responses, and have sent nothing since.
            let idle = matches!(self.phase, Phase::Idle { .. }) && self.received.is_empty() && !self.is_answering();
            let time = match self.activity.stopped() {
                Some(_) if idle => Duration::ZERO,
                _ => LINGER,
            };
            self.lingering = Some((Instant::now() + time, 0));
        }
        while let Some((until, taken)) = self.lingering.filter(|_| !self.ended) {
            self.received.clear();
            match self.poll_receive(context) {
                Poll::Ready(received) => {
                    received?;
                    let taken = taken + self.received.len();
                    if taken > LINGER_BYTES {
                        break;
                    }
                    self.lingering = Some((until, taken));
                }
                Poll::Pending => {
                    ready!(self.poll_deadline(context, until));
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut out: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = &mut *self;
        if !matches!(wire.phase, Phase::Raw) {
            return wire.poll_read_http1(context, &mut out);
        }
        if wire.received.is_empty() && !wire.ended {
            ready!(wire.poll_receive(context))?;
        }
        let handed = wire.received.len().min(out.remaining());
        out.put_slice(&wire.received[..handed]);
        wire.received.advance(handed);
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Ready(written) => {
                self.wrote(context, *written.as_ref().unwrap_or(&0));
                Poll::Ready(written)
            }
            Poll::Pending => self.poll_unblocked(context),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write_vectored(context, slices) {
            Poll::Ready(written) => {
                self.wrote(context, *written.as_ref().unwrap_or(&0));
                Poll::Ready(written)
            }
            Poll::Pending => self.poll_unblocked(context),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_linger(context)
    }
}
