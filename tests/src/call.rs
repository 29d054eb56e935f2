use std::future::IntoFuture;

use futures::{FutureExt, future::BoxFuture};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{Answer, App, User};

/// A request, sent when it is awaited.
#[must_use = "a request is sent when it is awaited"]
pub struct Call<'a> {
    app: &'a App,
    method: Method,
    path: String,
    request: RequestBuilder,
}

impl<'a> Call<'a> {
    pub(crate) fn new(app: &'a App, method: Method, path: &str) -> Self {
        let request = app.client.request(method.clone(), format!("{}{path}", app.base));
        Self {
            app,
            method,
            path: path.to_owned(),
            request,
        }
    }

    /// Sends the request to another host, whose address begins with `base`, before anything else is said about it.
    pub fn at(mut self, base: &str) -> Self {
        self.request = self
            .app
            .client
            .request(self.method.clone(), format!("{base}{}", self.path));
        self
    }

    /// Sends the user's access token.
    pub fn by(self, user: &User) -> Self {
        self.bearer(&user.access)
    }

    /// Sends any token.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Sends a header.
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        let value = reqwest::header::HeaderValue::from_bytes(&value.into()).expect("a header's value");
        self.request = self.request.header(name, value);
        self
    }

    /// Asks for English.
    pub fn in_english(self) -> Self {
        self.header("accept-language", "en")
    }

    /// Sends a JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.json_text(body.to_string())
    }

    /// Sends a body that is declared as JSON, whatever it is.
    pub fn json_text(self, body: impl Into<Vec<u8>>) -> Self {
        self.header("content-type", "application/json").body(body)
    }

    /// Sends a body without saying what it is.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.request = self.request.body(body.into());
        self
    }
}

impl<'a> IntoFuture for Call<'a> {
    type Output = Answer;
    type IntoFuture = BoxFuture<'a, Answer>;

    fn into_future(self) -> Self::IntoFuture {
        async move {
            let request = format!("{} {}", self.method, self.path);
            let response = self
                .request
                .send()
                .await
                .unwrap_or_else(|error| panic!("{request}: {error:?}"));
            let (status, headers) = (response.status(), response.headers().clone());
            let body = response
                .bytes()
                .await
                .unwrap_or_else(|error| panic!("{request}: {error:?}"));
            Answer::new(
                &self.app.base,
                self.method.as_str(),
                &self.path,
                status,
                headers,
                body.to_vec(),
            )
        }
        .boxed()
    }
}

impl App {
    /// Sends bytes that need not be HTTP, says that there are no more of them, and reads until the service closes the
    /// connection.
    pub async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        self.exchange(bytes, true).await
    }

    /// The same by a client that keeps the service waiting for the rest.
    pub async fn raw_unfinished(&self, bytes: &[u8]) -> Vec<u8> {
        self.exchange(bytes, false).await
    }

    async fn exchange(&self, bytes: &[u8], finished: bool) -> Vec<u8> {
        let address = self.base.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).await.expect("the service listens");
        // What fails here fails because the service has closed the connection: then it has said what it will say.
        stream.write_all(bytes).await.ok();
        if finished {
            stream.shutdown().await.ok();
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        answer
    }
}
