//! The client. [`Client`] sends, retries and decodes; [`Session`] authenticates; [`Items`], [`Payments`] and [`Operator`]
//! offer the endpoints; [`List`] reads pages.

mod error;
mod import;
mod items;
mod list;
mod managed_orders;
mod operator;
mod orders;
mod outcomes;
mod payments;
mod retry;
mod session;
#[cfg(test)]
mod tests;
mod users;
mod webhooks;

use std::{sync::Arc, time::Duration};

use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderMap, HeaderValue, IF_MATCH, RETRY_AFTER},
};
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

use crate::types::{ErrorBody, ErrorCode, ErrorText, Login, Secret, SignedUp, Signup, Tokens};

pub use error::{ApiError, Error};
pub use import::{FileFormat, Import};
pub use items::{Filter, ItemId, Items};
pub use list::List;
pub use managed_orders::{ManagedOrderFilter, ManagedOrders};
pub use operator::{FiguresOf, ManagedItems, ManagedPaymentFilter, ManagedPayments, Operator, RegistrationFilter};
pub use orders::{OrderFilter, Orders};
pub use outcomes::Countdown;
pub use payments::{PaymentFilter, Payments};
pub use retry::RetryPolicy;
pub use session::{IdempotencyKey, InvalidKey, Keyed, Session};
pub use users::{ManagedUsers, UserFilter};
pub use webhooks::ManagedWebhooks;

use retry::{Outcome, decide};

/// The media type of nearly every body.
const JSON: &str = "application/json";
/// The header that carries an idempotency key.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// The header of every response that carries the id of its request.
const REQUEST_ID: &str = "X-Request-Id";

/// A client of one service, without an account. Clones are cheap, and share their connections.
///
/// ```no_run
/// use futures::TryStreamExt;
/// use sugang_sdk::{
///     Client, Filter,
///     types::{PaymentMethod, Register},
/// };
///
/// # async fn example() -> Result<(), sugang_sdk::Error> {
/// let session = Client::new("http://localhost:8000")?.login("minsu@example.com", "correct1").await?;
/// let exams = session.exams();
/// let mut open = std::pin::pin!(exams.list(&Filter { available: true, ..Filter::default() }).stream());
/// if let Some(exam) = open.try_next().await? {
///     let register = Register { amount: exam.price, payment_method: PaymentMethod::Card };
///     println!("payment {}", exams.apply(exam.id, register).await?.payment_id);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    base: Url,
    retry: RetryPolicy,
    max_response_bytes: usize,
}

/// The settings of a [`Client`].
#[derive(Debug, Clone)]
pub struct Builder {
    base_url: String,
    language: Option<String>,
    connect_timeout: Duration,
    timeout: Duration,
    max_response_bytes: usize,
    retry: RetryPolicy,
}

impl Builder {
    /// Sets the language of the messages in responses, in the form of `Accept-Language` (`en`). The default is Korean.
    pub fn language(mut self, language: impl Into<String>) -> Self {
        self.language = Some(language.into());
        self
    }

    /// Limits the time that one attempt waits for a connection; 3 s by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Limits the time of one attempt, from the connection to the end of the response; 10 s by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Limits the body of a response; 8 MiB by default.
    pub fn max_response_bytes(mut self, bytes: usize) -> Self {
        self.max_response_bytes = bytes;
        self
    }

    /// Sets when and how often a request is retried.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Builds the client.
    ///
    /// # Errors
    /// [`Error::Config`] if the address is not an `http` or `https` URL, if it is `https` and this crate was built
    /// without its feature `rustls`, or if the language is not a valid header value.
    pub fn build(self) -> Result<Client, Error> {
        let config = |what: String| Error::Config(what);
        let mut base = Url::parse(&self.base_url).map_err(|error| config(format!("{}: {error}", self.base_url)))?;
        match base.scheme() {
            "http" => {}
            "https" if cfg!(feature = "rustls") => {}
            "https" => return Err(config("https needs the feature `rustls` of sugang-sdk".to_owned())),
            other => return Err(config(format!("{other} is not http or https"))),
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        base.set_query(None);
        base.set_fragment(None);
        let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(JSON))]);
        if let Some(language) = &self.language {
            let value =
                HeaderValue::from_str(language).map_err(|_| config(format!("{language:?} is not a language")))?;
            headers.insert(ACCEPT_LANGUAGE, value);
        }
        let http = reqwest::Client::builder()
            .user_agent(concat!("sugang-sdk/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(self.connect_timeout)
            .timeout(self.timeout)
            // The API never redirects. Another server that does must neither receive the token nor cause a second POST.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| config(error.to_string()))?;
        Ok(Client(Arc::new(Inner {
            http,
            base,
            retry: self.retry,
            max_response_bytes: self.max_response_bytes,
        })))
    }
}

impl Client {
    /// Builds a client with the default settings.
    ///
    /// `base_url` is the address of the service, with a path if the service is mounted below one.
    ///
    /// # Errors
    /// Those of [`Builder::build`].
    pub fn new(base_url: impl Into<String>) -> Result<Self, Error> {
        Self::builder(base_url).build()
    }

    /// Starts a client whose settings can be changed.
    pub fn builder(base_url: impl Into<String>) -> Builder {
        Builder {
            base_url: base_url.into(),
            language: None,
            connect_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(10),
            max_response_bytes: 8 << 20,
            retry: RetryPolicy::default(),
        }
    }

    /// Creates an account.
    ///
    /// # Errors
    /// [`ErrorCode::Invalid`], with a message for each wrong field.
    pub async fn signup(
        &self,
        email: impl Into<String>,
        username: impl Into<String>,
        password: impl Into<Secret>,
    ) -> Result<SignedUp, Error> {
        let body = Signup {
            email: email.into(),
            username: username.into(),
            password: password.into(),
        };
        self.send(&Request::post("api/auth/signup/", &body, Retry::Never)?, None)
            .await
    }

    /// Logs in.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidCredentials`] for a wrong password, an unknown e-mail address and an inactive account alike.
    pub async fn login(&self, email: impl Into<String>, password: impl Into<Secret>) -> Result<Session, Error> {
        let body = Login {
            email: email.into(),
            password: password.into(),
        };
        let tokens: Tokens = self
            .send(&Request::post("api/auth/login/", &body, Retry::Idempotent)?, None)
            .await?;
        Ok(self.resume(tokens))
    }

    /// Resumes a session with the tokens of an earlier login, from [`Session::tokens`].
    pub fn resume(&self, tokens: Tokens) -> Session {
        Session::new(self.clone(), tokens)
    }

    /// Succeeds when the service and its database answer.
    ///
    /// # Errors
    /// [`Error::Connect`] while nothing listens, [`ErrorCode::Unavailable`] while the database is unavailable.
    pub async fn ready(&self) -> Result<(), Error> {
        let request = Request::get("readyz", Vec::new());
        self.send::<serde::de::IgnoredAny>(&request, None).await.map(drop)
    }

    /// Sends a request, retries it as the policy says, and decodes the response.
    async fn send<T: DeserializeOwned>(&self, request: &Request, access: Option<&Secret>) -> Result<T, Error> {
        self.receive(request, access).await?.decode()
    }

    /// Sends a request, and retries it as the policy says.
    async fn receive(&self, request: &Request, access: Option<&Secret>) -> Result<Received, Error> {
        let mut attempts = 1;
        loop {
            let error = match self.send_once(request, access).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let Some(outcome) = Outcome::of(&error) else {
                return Err(error);
            };
            let again = decide(
                &self.0.retry,
                attempts,
                request.retry.is_idempotent(),
                outcome,
                fastrand::f64(),
            );
            let Some(wait) = again else { return Err(error) };
            tokio::time::sleep(wait).await;
            attempts += 1;
        }
    }

    async fn send_once(&self, request: &Request, access: Option<&Secret>) -> Result<Received, Error> {
        let mut url = self
            .0
            .base
            .join(&request.path)
            .map_err(|error| Error::Config(error.to_string()))?;
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        let mut outgoing = self.0.http.request(request.method.clone(), url);
        if let Some(access) = access {
            outgoing = outgoing.bearer_auth(access.expose());
        }
        if let Retry::Keyed(key) = &request.retry {
            outgoing = outgoing.header(IDEMPOTENCY_KEY, key.as_str());
        }
        if let Some(version) = &request.if_match {
            outgoing = outgoing.header(IF_MATCH, format!("\"{version}\""));
        }
        if let Some(timeout) = request.timeout {
            outgoing = outgoing.timeout(timeout);
        }
        if let Some(body) = &request.body {
            outgoing = outgoing.header(CONTENT_TYPE, request.media_type).body(body.clone());
        }
        let response = outgoing.send().await.map_err(Error::from_transport)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.read(response).await?;
        let request_id = text(&headers, REQUEST_ID).unwrap_or_default().to_owned();
        if !status.is_success() {
            return Err(Error::Api(Box::new(api_error(status, &headers, request_id, &body))));
        }
        let body = if status == StatusCode::NO_CONTENT {
            b"null".to_vec()
        } else {
            body
        };
        Ok(Received { body, request_id })
    }

    async fn read(&self, mut response: reqwest::Response) -> Result<Vec<u8>, Error> {
        let limit = self.0.max_response_bytes;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(Error::from_transport)? {
            if body.len() + chunk.len() > limit {
                return Err(Error::TooLong { limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// The body of a response that is a success.
#[derive(Debug)]
struct Received {
    body: Vec<u8>,
    request_id: String,
}

impl Received {
    /// Decodes JSON Lines.
    fn decode_lines<T: DeserializeOwned>(self) -> Result<Vec<T>, Error> {
        let lines = self.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let line = |line: &[u8]| Self {
            body: line.to_vec(),
            request_id: self.request_id.clone(),
        };
        lines.map(|body| line(body).decode()).collect()
    }

    fn decode<T: DeserializeOwned>(self) -> Result<T, Error> {
        let Self { body, request_id } = self;
        serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_slice(&body)).map_err(|error| {
            let path = error.path().to_string();
            Error::Decode {
                path,
                request_id,
                source: error.into_inner(),
            }
        })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn api_error(status: StatusCode, headers: &HeaderMap, request_id: String, body: &[u8]) -> ApiError {
    // A proxy between client and service may answer without JSON.
    let mut body = serde_json::from_slice(body).unwrap_or_else(|_| ErrorBody {
        text: ErrorText::detail(status.canonical_reason().unwrap_or("not a response of the service")),
        code: ErrorCode::Other(String::new()),
        request_id: String::new(),
    });
    if body.request_id.is_empty() {
        body.request_id = request_id;
    }
    let retry_after = text(headers, RETRY_AFTER.as_str()).and_then(|seconds| seconds.trim().parse().ok());
    ApiError {
        status: status.as_u16(),
        body,
        retry_after: retry_after.map(Duration::from_secs),
    }
}

/// A request that can be sent more than once.
#[derive(Debug)]
struct Request {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
    media_type: &'static str,
    /// The version that it changes.
    if_match: Option<String>,
    /// The time for one attempt, where it is not that of the client.
    timeout: Option<Duration>,
    retry: Retry,
}

/// Whether a request may be sent again after it may have taken effect.
#[derive(Debug)]
enum Retry {
    /// A second time changes nothing that matters.
    Idempotent,
    /// The service recognizes the key, and repeats its first response.
    Keyed(IdempotencyKey),
    /// A second time has another effect than the first.
    Never,
}

impl Retry {
    fn is_idempotent(&self) -> bool {
        match self {
            Self::Idempotent | Self::Keyed(_) => true,
            Self::Never => false,
        }
    }
}

impl Request {
    fn get(path: impl Into<String>, query: Vec<(&'static str, String)>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            query,
            body: None,
            media_type: JSON,
            if_match: None,
            timeout: None,
            retry: Retry::Idempotent,
        }
    }

    fn post(path: impl Into<String>, body: &impl Serialize, retry: Retry) -> Result<Self, Error> {
        let body = serde_json::to_vec(body).map_err(Error::Encode)?;
        Ok(Self {
            method: Method::POST,
            path: path.into(),
            query: Vec::new(),
            // Nothing to send.
            body: Some(body).filter(|body| body != b"null"),
            media_type: JSON,
            if_match: None,
            timeout: None,
            retry,
        })
    }
}
