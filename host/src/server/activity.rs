//! What goes on on one connection: its requests and responses, and for how long nothing has.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use sugang_protocol::ErrorSpec;
use wasmtime_wasi_http::Error;

use super::{pace::Pace, response_body::ResponseBody};
use crate::sync::lock;

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

/// One request and its response, until the response is complete or given up.
pub(super) struct Exchange {
    activity: Arc<Activity>,
    number: u64,
}

impl Exchange {
    /// Attaches the response. If `pace` is given, its client must read it at that pace.
    pub(super) fn send(self, body: ResponseBody, pace: Option<Pace>) -> SentBody {
        let paced = pace.is_some();
        if let Some(pace) = pace {
            self.activity.state().sending.push((self.number, pace));
        }
        SentBody {
            body,
            exchange: self,
            paced,
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

/// The body of a response on its way to the client.
pub(super) struct SentBody {
    body: ResponseBody,
    exchange: Exchange,
    paced: bool,
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if self.paced
            && let Poll::Ready(Some(Ok(frame))) = &frame
        {
            self.exchange.sent(frame.data_ref().map_or(0, Bytes::len));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
