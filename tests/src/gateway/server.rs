//! The HTTP of a stand-in: it answers by its books, and spoils the answer as planned.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

use crate::runtime;

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// The connection ends, and nothing is done.
    LoseRequest,
    /// What is asked for is done, and the connection ends.
    LoseAnswer,
    /// The answer is 500, and nothing is done.
    FailBefore,
    /// What is asked for is done, and the answer is 500.
    FailAfter,
    /// What is asked for is done at once, and answered this many milliseconds later.
    AnswerLate(u64),
    /// What is asked for is done, and the answer cannot be read.
    Garbage,
}

/// A request, as a stand-in sees it.
pub(super) struct Asked {
    /// Method and path.
    pub(super) line: String,
    pub(super) authorization: String,
    pub(super) idempotency_key: Option<String>,
    pub(super) body: Value,
}

/// What a gateway keeps, and how it answers by that.
pub(super) trait Books: Send + 'static {
    fn answer(&mut self, asked: &Asked) -> (u16, Value);
}

/// A stand-in that listens until it is dropped.
pub(super) struct Server<B> {
    pub(super) url: String,
    state: Arc<Mutex<State<B>>>,
    accepting: JoinHandle<()>,
}

struct State<B> {
    books: B,
    /// Of the calls that are yet to come, by the beginning of their lines.
    plans: VecDeque<(&'static str, Plan)>,
    lines: Vec<String>,
}

impl<B: Books> Server<B> {
    pub(super) async fn start(books: B) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(Mutex::new(State {
            books,
            plans: VecDeque::new(),
            lines: Vec::new(),
        }));
        let shared = state.clone();
        let accepting = runtime().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                let service = service_fn(move |request| respond(shared.clone(), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { url, state, accepting })
    }

    pub(super) fn with<T>(&self, work: impl FnOnce(&mut B) -> T) -> T {
        work(&mut lock(&self.state).books)
    }

    pub(super) fn plan(&self, line: &'static str, plan: Plan) {
        lock(&self.state).plans.push_back((line, plan));
    }

    /// Takes the calls that have come: method and path of each.
    pub(super) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.state).lines)
    }
}

impl<B> Drop for Server<B> {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn lock<B>(state: &Mutex<State<B>>) -> MutexGuard<'_, State<B>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers one request. An error ends the connection.
async fn respond<B: Books>(
    state: Arc<Mutex<State<B>>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, io::Error> {
    let asked = read(request).await?;
    let (plan, answer) = {
        let mut state = lock(&state);
        state.lines.push(asked.line.clone());
        let planned = state.plans.iter().position(|(line, _)| asked.line.starts_with(line));
        let plan = planned
            .and_then(|index| state.plans.remove(index))
            .map(|(_, plan)| plan);
        let is_done = !matches!(plan, Some(Plan::LoseRequest | Plan::FailBefore));
        (plan, is_done.then(|| state.books.answer(&asked)))
    };
    let (status, body) = answer.unwrap_or((500, Value::Null));
    let (status, body) = match plan {
        Some(Plan::LoseRequest | Plan::LoseAnswer) => return Err(io::ErrorKind::ConnectionAborted.into()),
        Some(Plan::FailBefore | Plan::FailAfter) => (500, "{\"code\":\"FAILED_INTERNAL_SYSTEM_PROCESSING\"}".into()),
        Some(Plan::Garbage) => (200, "<html>".into()),
        Some(Plan::AnswerLate(millis)) => {
            sleep(Duration::from_millis(millis)).await;
            (status, body.to_string())
        }
        None => (status, body.to_string()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status.try_into().map_err(io::Error::other)?;
    Ok(response)
}

async fn read(request: Request<Incoming>) -> io::Result<Asked> {
    let header = |name: &str| {
        let value = request.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let line = format!("{} {}", request.method(), request.uri().path());
    let (authorization, idempotency_key) = (header("authorization"), header("idempotency-key"));
    let body = request
        .into_body()
        .collect()
        .await
        .map_err(io::Error::other)?
        .to_bytes();
    Ok(Asked {
        line,
        authorization: authorization.unwrap_or_default(),
        idempotency_key,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}
