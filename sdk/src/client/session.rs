//! Sessions, whose tokens renew themselves, and changes with an idempotency key.

use std::{fmt, future::IntoFuture, marker::PhantomData, str::FromStr, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use reqwest::Method;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::Mutex;

use super::{Client, Error, Items, Operator, Orders, Payments, Received, Request, Retry};
use crate::types::{AccessToken, CourseId, ErrorCode, ExamId, Refresh, Secret, Tokens, User};

/// A client with the tokens of one user. Clones are cheap, and share their tokens.
///
/// When the access token has expired, the session fetches a new one, once for all concurrent calls, and sends the calls
/// again. When the refresh token has expired too, calls fail with [`ErrorCode::TokenNotValid`]: log in again.
#[derive(Debug, Clone)]
pub struct Session(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    /// Locked while they are renewed, so that concurrent calls wait for the new tokens.
    tokens: Mutex<Tokens>,
    user: User,
}

impl Session {
    pub(super) fn new(client: Client, tokens: Tokens) -> Self {
        let user = tokens.user.clone();
        Self(Arc::new(Inner {
            client,
            tokens: Mutex::new(tokens),
            user,
        }))
    }

    /// Returns the account of the session.
    pub fn user(&self) -> &User {
        &self.0.user
    }

    /// Returns the current tokens, for [`Client::resume`].
    pub async fn tokens(&self) -> Tokens {
        self.0.tokens.lock().await.clone()
    }

    /// Returns the endpoints of exams.
    pub fn exams(&self) -> Items<ExamId> {
        Items::new(self.clone())
    }

    /// Returns the endpoints of courses.
    pub fn courses(&self) -> Items<CourseId> {
        Items::new(self.clone())
    }

    /// Returns the endpoints of the user's own payments.
    pub fn payments(&self) -> Payments {
        Payments::new(self.clone())
    }

    /// Returns the endpoints of the user's own orders.
    pub fn orders(&self) -> Orders {
        Orders::new(self.clone())
    }

    /// Returns the endpoints of operators.
    pub fn operator(&self) -> Operator {
        Operator::new(self.clone())
    }

    /// Ends the login: its refresh token and those that replaced it are no longer valid.
    ///
    /// The access token remains valid until it expires. [`Session::logout_all`] ends it as well.
    ///
    /// # Errors
    /// [`ErrorCode::TokenNotValid`] if the refresh token has expired, or another client has used it.
    pub async fn logout(self) -> Result<(), Error> {
        let tokens = self.0.tokens.lock().await;
        let body = Refresh {
            refresh: tokens.refresh.clone(),
        };
        self.0
            .client
            .send(&Request::post("api/auth/logout/", &body, Retry::Idempotent)?, None)
            .await
    }

    /// Ends all logins of the user, this one included: no access or refresh token that was issued before is valid any longer.
    ///
    /// # Errors
    /// [`ErrorCode::TokenNotValid`] if the session has ended: by another such call, or by an earlier attempt whose answer was
    /// lost.
    pub async fn logout_all(self) -> Result<(), Error> {
        let nothing = serde_json::Map::new();
        self.send(&Request::post("api/auth/logout/all/", &nothing, Retry::Idempotent)?)
            .await
    }

    pub(super) async fn send<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Error> {
        self.receive(request).await?.decode()
    }

    pub(super) async fn receive(&self, request: &Request) -> Result<Received, Error> {
        let client = &self.0.client;
        let access = self.0.tokens.lock().await.access.clone();
        match client.receive(request, Some(&access)).await {
            // A request with a refused token has no effect, so it can be sent again.
            Err(error) if error.code() == Some(&ErrorCode::TokenNotValid) => {
                let renewed = self.renew(&access).await?;
                client.receive(request, Some(&renewed)).await
            }
            other => other,
        }
    }

    /// Returns the access token that replaces `stale`. Of concurrent calls, the first fetches it.
    async fn renew(&self, stale: &Secret) -> Result<Secret, Error> {
        let mut tokens = self.0.tokens.lock().await;
        if tokens.access == *stale {
            let body = Refresh {
                refresh: tokens.refresh.clone(),
            };
            // If refresh tokens rotate, using one twice ends the session.
            let request = Request::post("api/auth/token/refresh/", &body, Retry::Never)?;
            let AccessToken { access, refresh } = self.0.client.send(&request, None).await?;
            tokens.access = access;
            if let Some(refresh) = refresh {
                tokens.refresh = refresh;
            }
        }
        Ok(tokens.access.clone())
    }
}

/// A key that makes a change safe to retry.
///
/// The service executes the request once per key and user, and repeats its response for 24 hours.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Generates a random key.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// Returns the key as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for IdempotencyKey {
    type Err = InvalidKey;

    fn from_str(key: &str) -> Result<Self, InvalidKey> {
        match (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Self(key.to_owned())),
            false => Err(InvalidKey),
        }
    }
}

/// The text is not a valid [`IdempotencyKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key has 1 to 255 visible ASCII characters, without spaces")]
pub struct InvalidKey;

/// A change with an idempotency key, which is sent when it is awaited.
///
/// The key is random unless set, and the same for all attempts. To survive a crash of the client, store the key before
/// awaiting, and send the same request with it after the restart.
#[must_use = "a request is sent when it is awaited"]
#[derive(Debug)]
pub struct Keyed<B, T> {
    session: Session,
    method: Method,
    path: String,
    body: B,
    if_match: Option<String>,
    key: IdempotencyKey,
    response: PhantomData<fn() -> T>,
}

impl<B, T> Keyed<B, T> {
    pub(super) fn new(session: Session, path: String, body: B) -> Self {
        Self {
            session,
            method: Method::POST,
            path,
            body,
            if_match: None,
            key: IdempotencyKey::random(),
            response: PhantomData,
        }
    }

    /// Sets the method, instead of POST.
    pub(super) fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Sets the version that is changed.
    pub(super) fn if_match(mut self, version: &str) -> Self {
        self.if_match = Some(version.to_owned());
        self
    }

    /// Sets the key, instead of a random one.
    pub fn idempotency_key(mut self, key: IdempotencyKey) -> Self {
        self.key = key;
        self
    }

    /// Returns the key of the request.
    pub fn key(&self) -> &IdempotencyKey {
        &self.key
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }
}

impl<B: Serialize, T: DeserializeOwned> Keyed<B, T> {
    /// Sends the request. A second time, it has the same key, and no other effect.
    pub(super) async fn send(&self) -> Result<T, Error> {
        let post = Request::post(self.path.clone(), &self.body, Retry::Keyed(self.key.clone()))?;
        let request = Request {
            method: self.method.clone(),
            if_match: self.if_match.clone(),
            ..post
        };
        self.session.send(&request).await
    }
}

impl<B, T> IntoFuture for Keyed<B, T>
where
    B: Serialize + Send + Sync + 'static,
    T: DeserializeOwned + Send + 'static,
{
    type Output = Result<T, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move { self.send().await }.boxed()
    }
}
