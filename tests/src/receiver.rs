//! A receiver of webhooks, which keeps what it got and answers as planned.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use sugang_sdk::{types::Event, webhooks};
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

use crate::runtime;

/// What a receiver does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// It answers with this status.
    Status(u16),
    /// It answers with this status, and with this header `Retry-After`.
    Busy(u16, &'static str),
    /// It has taken the event, and answers with more than anybody reads.
    Long,
    /// It does not answer.
    Hang,
    /// It closes the connection.
    Close,
}

/// A request that a receiver got.
#[derive(Debug, Clone)]
pub struct Got {
    /// The path of the URL.
    pub path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Got {
    /// Verifies the request as a receiver does.
    ///
    /// # Errors
    /// It is not signed by one of the secrets.
    pub fn verify(&self, secrets: &[&str]) -> Result<(String, Event), webhooks::VerifyError> {
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_str(), value.as_str()));
        webhooks::verify(secrets, headers, &self.body, SystemTime::now())
    }
}

#[derive(Default)]
struct State {
    got: Vec<Got>,
    /// By path; 204 by default.
    replies: HashMap<String, Reply>,
}

/// A receiver that listens until it is dropped.
pub struct Receiver {
    url: String,
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

impl Receiver {
    /// Starts a receiver that answers 204.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = Arc::<Mutex<State>>::default();
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

    /// Its address, without a path.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Plans what it does from now on with requests to a path.
    pub fn reply(&self, path: &str, reply: Reply) {
        lock(&self.state).replies.insert(path.to_owned(), reply);
    }

    /// Takes what it got, in the order in which it came.
    pub fn take(&self) -> Vec<Got> {
        std::mem::take(&mut lock(&self.state).got)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers one request. An error ends the connection.
async fn respond(state: Arc<Mutex<State>>, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    let path = request.uri().path().to_owned();
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
        .collect();
    let body = request.into_body().collect().await.map_err(io::Error::other)?;
    let body = body.to_bytes().to_vec();
    let reply = {
        let mut state = lock(&state);
        let reply = state.replies.get(&path).copied();
        state.got.push(Got { path, headers, body });
        reply.unwrap_or(Reply::Status(204))
    };
    match reply {
        Reply::Status(status) => {
            let mut response = Response::new(Full::default());
            *response.status_mut() = status.try_into().map_err(io::Error::other)?;
            Ok(response)
        }
        Reply::Busy(status, retry_after) => {
            let response = Response::builder().status(status).header("retry-after", retry_after);
            response.body(Full::default()).map_err(io::Error::other)
        }
        Reply::Long => Ok(Response::new(Full::from(vec![b' '; 1 << 20]))),
        Reply::Hang => {
            sleep(Duration::from_mins(1)).await;
            Err(io::ErrorKind::TimedOut.into())
        }
        Reply::Close => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}
