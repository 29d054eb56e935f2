//! What goes on on one connection: its requests and responses, and for how long nothing has.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use sugang_protocol::ErrorSpec;

use super::{
    memory::Reserved,
    pace::Pace,
    response_body::{BrokenOff, ResponseBody, Rest},
    shares::StreamPlace,
};
use crate::sync::lock;

/// Bytes that are handed to the connection at a time. A client must read them within the time without a byte.
const PART: usize = 16 << 10;

/// The requests and responses of one connection.
pub(super) struct Activity {
    state: Mutex<State>,
    /// Since when the server stops.
    stopped: OnceLock<Instant>,
}

struct State {
    begun: u64,
    completed: u64,
    /// The number of the request that was refused before it was one, and the reason.
    refused: Option<(u64, &'static ErrorSpec)>,
    /// Woken once the last response is complete.
    held: Option<Waker>,
    /// The responses that are being sent, by the number of their request.
    sending: Vec<(u64, Pace)>,
    last: Instant,
}

/// What is wrong with a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Well,
    /// It has had no request for too long.
    Idle,
    /// Its client does not read a response.
    Stalled,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                begun: 0,
                completed: 0,
                refused: None,
                held: None,
                sending: Vec::new(),
                last: Instant::now(),
            }),
            stopped: OnceLock::new(),
        })
    }

    /// Notes that a request begins. Returns the reason if it was refused before it was one.
    pub(super) fn begin(self: &Arc<Self>) -> (Exchange, Option<&'static ErrorSpec>) {
        let mut state = self.state();
        let number = state.begun;
        state.begun += 1;
        let refused = state.refused.filter(|(refused, _)| *refused == number);
        let exchange = Exchange {
            activity: self.clone(),
            number,
            place: None,
        };
        (exchange, refused.map(|(_, error)| error))
    }

    /// Has the request with this number refused.
    pub(super) fn refuse(&self, number: u64, error: &'static ErrorSpec) {
        self.state().refused = Some((number, error));
    }

    /// The number of requests whose responses are complete.
    pub(super) fn completed(&self) -> u64 {
        self.state().completed
    }

    /// Wakes `waker` once the next response is complete.
    pub(super) fn hold(&self, waker: &Waker) {
        self.state().held = Some(waker.clone());
    }

    pub(super) fn stop(&self) {
        self.stopped.get_or_init(Instant::now);
    }

    pub(super) fn stopped(&self) -> Option<Instant> {
        self.stopped.get().copied()
    }

    pub(super) fn verdict(&self, idle_timeout: Duration) -> Verdict {
        let state = self.state();
        let now = Instant::now();
        if state.sending.iter().any(|(_, pace)| pace.deadline() <= now) {
            return Verdict::Stalled;
        }
        match state.begun == state.completed && state.last + idle_timeout <= now {
            true => Verdict::Idle,
            false => Verdict::Well,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// One request and its response, until the response has left or is given up.
pub(super) struct Exchange {
    activity: Arc<Activity>,
    number: u64,
    /// The place of a request of HTTP/2.
    pub(super) place: Option<StreamPlace>,
}

impl Exchange {
    /// Attaches the response. If `pace` is given, its client must read it at that pace.
    pub(super) fn send(self, body: ResponseBody, pace: Option<Pace>) -> SentBody {
        if let Some(pace) = pace {
            self.activity.state().sending.push((self.number, pace));
        }
        let ResponseBody { bytes, memory, rest } = body;
        let exchange = Arc::new(self);
        SentBody {
            bytes: leaving(bytes, memory, &exchange),
            rest,
            exchange,
        }
    }

    fn sent(&self, bytes: usize) {
        let mut state = self.activity.state();
        let sending = state.sending.iter_mut().find(|(number, _)| *number == self.number);
        if let Some((_, pace)) = sending {
            pace.advance(bytes);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        state.completed += 1;
        state.sending.retain(|(number, _)| *number != self.number);
        state.last = Instant::now();
        if let Some(waker) = state.held.take() {
            waker.wake();
        }
    }
}

/// The bytes of a response, for as long as any of them waits in the connection. hyper drops the body once it has handed
/// on the last byte, which may be long before its client reads it.
struct Leaving {
    bytes: Bytes,
    _memory: Option<Reserved>,
    _exchange: Arc<Exchange>,
}

fn leaving(bytes: Bytes, memory: Option<Reserved>, exchange: &Arc<Exchange>) -> Bytes {
    Bytes::from_owner(Leaving {
        bytes,
        _memory: memory,
        _exchange: exchange.clone(),
    })
}

impl AsRef<[u8]> for Leaving {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The body of a response on its way to the client.
pub(super) struct SentBody {
    bytes: Bytes,
    rest: Option<Rest>,
    exchange: Arc<Exchange>,
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        while self.bytes.is_empty() {
            let Some(rest) = &mut self.rest else {
                return Poll::Ready(None);
            };
            match ready!(rest.parts.poll_recv(context)) {
                Some(Ok(part)) => self.bytes = leaving(part, None, &self.exchange),
                Some(Err(broken)) => return Poll::Ready(Some(Err(broken))),
                None => self.rest = None,
            }
        }
        let length = self.bytes.len().min(PART);
        let part = self.bytes.split_to(length);
        self.exchange.sent(length);
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty() && self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.rest {
            Some(_) => SizeHint::new(),
            None => SizeHint::with_exact(self.bytes.len() as u64),
        }
    }
}
