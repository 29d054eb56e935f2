//! The HTTP of a stand-in: it answers by its books, and spoils the answer as planned.

use std::{io, sync::Arc, time::Duration};

use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinSet, time::sleep};

use crate::{
    control,
    http::{Body, json, slowly, text},
    pages,
    plan::Plan,
    request::Asked,
    shared::Shared,
    windows,
};

/// Serves connections, which end with this.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        let service = service_fn(move |request| respond(shared.clone(), request));
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        while connections.try_join_next().is_some() {}
    }
}

/// Answers one request. An error ends the connection. A client that hangs up cancels nothing.
async fn respond(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let asked = Asked::read(request).await?;
    tokio::spawn(async move {
        let page = || pages::answer(&shared, &asked).or_else(|| windows::answer(&shared, &asked));
        match control::answer(&shared, &asked).or_else(page) {
            Some(response) => Ok(response),
            None => call(&shared, &asked).await,
        }
    })
    .await?
}

/// Answers a call to the API of a gateway.
async fn call(shared: &Shared, asked: &Asked) -> io::Result<Response<Body>> {
    let plan = shared.note(asked);
    if let Some(Plan::ArriveLate(millis)) = plan {
        sleep(Duration::from_millis(millis)).await;
    }
    let executes = plan.is_none_or(Plan::executes);
    let answer = executes.then(|| shared.change(|books| books.answer(asked)));
    let (status, body) = answer.flatten().unwrap_or((404, "no gateway has this path".into()));
    let trouble = |plan| {
        let trouble = shared.change(|books| books.trouble(&asked.path, plan));
        json(trouble.unwrap_or((500, "a plan".into())))
    };
    match plan {
        Some(Plan::LoseRequest | Plan::LoseAnswer) => Err(io::ErrorKind::ConnectionAborted.into()),
        Some(plan @ (Plan::FailBefore | Plan::FailAfter | Plan::Conflict)) => Ok(trouble(plan)),
        Some(Plan::Garbage) => Ok(text(200, "application/json", "<html>".to_owned())),
        Some(Plan::SlowBody(millis)) => Ok(slowly(status, body.to_string(), millis)),
        Some(Plan::AnswerLate(millis)) => {
            sleep(Duration::from_millis(millis)).await;
            Ok(json((status, body)))
        }
        Some(Plan::ArriveLate(_)) | None => Ok(json((status, body))),
    }
}
