//! Who asks: tokens that renew themselves, and POSTs that carry an idempotency key.

use std::{fmt, future::IntoFuture, marker::PhantomData, str::FromStr, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::Mutex;

use super::{Client, Error, Items, Payments, Repeat, Request};
use crate::types::{AccessToken, CourseId, ErrorCode, ExamId, Refresh, Secret, Tokens, User};

/// Access to one service as one user. Cheap to clone; clones share their tokens.
///
/// When the access token has expired, a new one is fetched and the call is sent again, once for all calls at that
/// moment. When the refresh token has expired too, calls fail with [`ErrorCode::TokenNotValid`]: log in again.
#[derive(Debug, Clone)]
pub struct Session(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    /// Held while they are renewed, so that everybody else waits for the new ones.
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

    /// The account.
    pub fn user(&self) -> &User {
        &self.0.user
    }

    /// The tokens as they are now, to be kept for [`Client::resume`].
    pub async fn tokens(&self) -> Tokens {
        self.0.tokens.lock().await.clone()
    }

    /// The exams.
    pub fn exams(&self) -> Items<ExamId> {
        Items::new(self.clone())
    }

    /// The courses.
    pub fn courses(&self) -> Items<CourseId> {
        Items::new(self.clone())
    }

    /// The user's own payments.
    pub fn payments(&self) -> Payments {
        Payments::new(self.clone())
    }

    /// Ends the login: its refresh token, and all that came in its place, are of no more use. The access token lasts as
    /// long as it was made to.
    ///
    /// # Errors
    /// [`ErrorCode::TokenNotValid`] if the refresh token has expired, or was used by somebody else.
    pub async fn logout(self) -> Result<(), Error> {
        let tokens = self.0.tokens.lock().await;
        let body = Refresh {
            refresh: tokens.refresh.clone(),
        };
        self.0
            .client
            .send(&Request::post("api/auth/logout/", &body, Repeat::Safely)?, None)
            .await
    }

    pub(super) async fn send<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Error> {
        let client = &self.0.client;
        let access = self.0.tokens.lock().await.access.clone();
        match client.send(request, Some(&access)).await {
            // A refused token did nothing, so any request may be sent again.
            Err(error) if error.code() == Some(&ErrorCode::TokenNotValid) => {
                let renewed = self.renew(&access).await?;
                client.send(request, Some(&renewed)).await
            }
            other => other,
        }
    }

    /// The access token that follows `stale`: fetched here, or by whoever was first.
    async fn renew(&self, stale: &Secret) -> Result<Secret, Error> {
        let mut tokens = self.0.tokens.lock().await;
        if tokens.access == *stale {
            let body = Refresh {
                refresh: tokens.refresh.clone(),
            };
            // Where refresh tokens rotate, using one twice ends the session: never sent again.
            let request = Request::post("api/auth/token/refresh/", &body, Repeat::Never)?;
            let AccessToken { access, refresh } = self.0.client.send(&request, None).await?;
            tokens.access = access;
            if let Some(refresh) = refresh {
                tokens.refresh = refresh;
            }
        }
        Ok(tokens.access.clone())
    }
}

/// What makes a POST safe to send again: the service takes effect once per key and user, and answers the same again for
/// 24 hours.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// A key that nobody has used.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// The key as it is sent.
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

/// A text that cannot be an [`IdempotencyKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key has 1 to 255 visible ASCII characters, none of them a space")]
pub struct InvalidKey;

/// A POST that carries an idempotency key, sent when it is awaited.
///
/// The key is random unless set, and the same for all attempts. To survive a crash of one's own, keep the key before
/// awaiting, and send the same request with it afterwards.
#[must_use = "a request is sent when it is awaited"]
#[derive(Debug)]
pub struct Keyed<B, T> {
    session: Session,
    path: String,
    body: B,
    key: IdempotencyKey,
    answer: PhantomData<fn() -> T>,
}

impl<B, T> Keyed<B, T> {
    pub(super) fn new(session: Session, path: String, body: B) -> Self {
        Self {
            session,
            path,
            body,
            key: IdempotencyKey::random(),
            answer: PhantomData,
        }
    }

    /// Takes this key instead of a random one.
    pub fn idempotency_key(mut self, key: IdempotencyKey) -> Self {
        self.key = key;
        self
    }

    /// The key that will be sent.
    pub fn key(&self) -> &IdempotencyKey {
        &self.key
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
        async move {
            let request = Request::post(self.path, &self.body, Repeat::Keyed(self.key))?;
            self.session.send(&request).await
        }
        .boxed()
    }
}
