//! Accounts: sign-up, login, token refresh, logout.

use sugang_protocol::Text;
use sugang_sdk::types::{AccessToken, SignedUp, Tokens, User};

use crate::{
    auth::{
        account_hash,
        passwords::{self, Verdict},
        rate_limit::{self, Action, Attempt},
        tokens::{Caller, TokenType, Validity, VerifiedToken},
    },
    context::RequestContext,
    error::{
        ApiError, FieldProblem, FieldProblems,
        catalog::{INVALID_CREDENTIALS, REFRESH_NOT_VALID},
    },
    extract::forms,
    http::Response,
    log::SecurityEvent,
    operation::{Handler, Operation},
    store::{
        Outcome,
        functions::{self, LoggedIn, Logout, LogoutAll, Refresh, Signup},
    },
    text::{Address, AddressKeys},
};

const SIGNED_UP: Text = Text::new("회원가입이 완료되었습니다.", "The sign-up is complete.");

pub(crate) static SIGNUP: Operation = Operation {
    id: "signup",
    handler: Handler::Public(|ctx| Box::pin(signup(ctx))),
    #[cfg(test)]
    describe: description::signup,
};

/// Creates an account.
pub(crate) async fn signup(ctx: &RequestContext<'_>) -> Result<Response, ApiError> {
    let body = ctx.body().await?;
    let form = forms::signup(&body.object()?, ctx.state.config.refuse_weak_passwords)?;
    let keys = Address::new(&form.email).keys();
    check_rate_limit(ctx, Action::Signup, &keys.key).await?;
    let Some(hash) = passwords::hash(form.password.expose(), &ctx.state.config.argon2) else {
        return Err(ApiError::internal("a password could not be hashed"));
    };
    let call = Signup {
        email: form.email,
        ascii_key: keys.ascii,
        username: form.username,
        password: hash,
    };
    let row = ctx.execute(functions::shared(), call).await?;
    match row.outcome {
        Outcome::Ok => {
            let body = SignedUp {
                message: ctx.text(SIGNED_UP),
                user: row.payload()?,
            };
            ctx.identify(body.user.id.0);
            Ok(Response::json(201, &body))
        }
        Outcome::Taken => {
            let mut problems = FieldProblems::default();
            for field in row.payload::<Vec<&str>>()? {
                match field {
                    "email" => problems.push("email", FieldProblem::EmailTaken),
                    _ => problems.push("username", FieldProblem::UsernameTaken),
                }
            }
            Err(ApiError::SignupFields(problems))
        }
        _ => Err(row.unexpected()),
    }
}

/// The user of an e-mail address, with the stored hash, and the epoch of the tokens that are issued now.
#[derive(serde::Deserialize)]
struct Credentials {
    #[serde(flatten)]
    user: User,
    password: String,
    epoch: i64,
}

pub(crate) static LOGIN: Operation = Operation {
    id: "login",
    handler: Handler::Public(|ctx| Box::pin(login(ctx))),
    #[cfg(test)]
    describe: description::login,
};

/// Exchanges an e-mail address and a password for tokens.
///
/// This takes two SQL calls, because the hash is verified here and not in PostgreSQL: one reads it, one records the login.
pub(crate) async fn login(ctx: &RequestContext<'_>) -> Result<Response, ApiError> {
    let body = ctx.body().await?;
    let form = forms::login(&body.object()?)?;
    let password = form.password.expose();
    // Before any hash is computed: the hash is what makes an attempt expensive.
    let AddressKeys { key, typed, ascii } = Address::new(&form.email).keys();
    check_rate_limit(ctx, Action::Login, &key).await?;
    let lookup = functions::Credentials {
        key: key.clone(),
        typed_key: typed,
        ascii_key: ascii,
    };
    let refused = || -> Result<Response, ApiError> {
        ctx.report(&SecurityEvent::LoginFailed {
            account: &account_in_log(ctx, &key),
        });
        Err((&INVALID_CREDENTIALS).into())
    };
    let Some(Credentials {
        user,
        password: stored,
        epoch,
    }) = credentials(ctx, lookup, password).await?
    else {
        return refused();
    };
    ctx.identify(user.id.0);
    let argon2 = &ctx.state.config.argon2;
    let rehashed = match passwords::verify(password, &stored, argon2) {
        Verdict::Wrong => return refused(),
        Verdict::Right => None,
        Verdict::NeedsRehash => passwords::hash(password, argon2),
    };
    let attempts = rate_limit::reset(&ctx.state.redis, Action::Login, &key).await;
    let call = LoggedIn {
        user: user.id.0,
        old_password: stored,
        new_password: rehashed,
        attempts: Some(attempts),
        epoch,
    };
    let row = ctx.execute(functions::shared(), call).await?;
    match row.outcome {
        Outcome::Ok => Ok(Response::json(200, &issue_tokens(ctx, user, row.payload()?)?)),
        // The account was deleted or deactivated, or its password was changed, since the first call.
        Outcome::Unknown => refused(),
        _ => Err(row.unexpected()),
    }
}

/// Reads the credentials of an account. Without an account, takes the time of verifying `password`.
async fn credentials(
    ctx: &RequestContext<'_>,
    lookup: functions::Credentials,
    password: &str,
) -> Result<Option<Credentials>, ApiError> {
    let row = ctx.execute(functions::shared(), lookup).await?;
    match row.outcome {
        Outcome::Ok => row.payload().map(Some),
        Outcome::Unknown => {
            passwords::dummy_verify(password, &ctx.state.config.argon2);
            Ok(None)
        }
        _ => Err(row.unexpected()),
    }
}

fn issue_tokens(ctx: &RequestContext<'_>, user: User, epoch: i64) -> Result<Tokens, ApiError> {
    let issue = |token_type, lifetime| {
        let validity = Validity::from_now(lifetime);
        ctx.state.keys.issue(token_type, &user, validity, None, epoch)
    };
    Ok(Tokens {
        access: issue(TokenType::Access, ctx.state.config.access_token_lifetime)?,
        refresh: issue(TokenType::Refresh, ctx.state.config.refresh_token_lifetime)?,
        user,
    })
}

pub(crate) static REFRESH_TOKEN: Operation = Operation {
    id: "refresh_token",
    handler: Handler::Public(|ctx| Box::pin(refresh_token(ctx))),
    #[cfg(test)]
    describe: description::refresh_token,
};

/// The user of a refresh token, with the claims of its successor if it was rotated.
#[derive(serde::Deserialize)]
struct Refreshed {
    #[serde(flatten)]
    user: User,
    jti: Option<String>,
    issued_at: Option<u64>,
    expires_at: Option<u64>,
}

/// Exchanges a refresh token for a new access token, and with rotation for a new refresh token as well.
pub(crate) async fn refresh_token(ctx: &RequestContext<'_>) -> Result<Response, ApiError> {
    let config = &ctx.state.config;
    let token = refresh_token_of_body(ctx).await?;
    // The new tokens have the epoch of this one: if all logins end at the same moment, they end as well.
    let epoch = token.caller.epoch();
    let successor = Validity::from_now(config.refresh_token_lifetime);
    let call = Refresh {
        user: token.caller.id(),
        jti: token.jti,
        family: token.family.clone(),
        expires: token.expires.cast_signed(),
        keep_seconds: config.refresh_token_lifetime.cast_signed(),
        rotate: config.rotate_refresh_tokens,
        grace_seconds: config.refresh_reuse_grace.cast_signed(),
        successor: successor.jti,
        issued_at: successor.issued_at.cast_signed(),
        epoch,
    };
    let row = ctx.execute(functions::shared(), call).await?;
    let refreshed: Refreshed = match row.outcome {
        Outcome::Ok => row.payload()?,
        Outcome::TokenEnded => {
            ctx.report(&SecurityEvent::RefreshTokenEnded);
            return Err((&REFRESH_NOT_VALID).into());
        }
        Outcome::TokenReused => {
            ctx.report(&SecurityEvent::RefreshTokenReused);
            return Err((&REFRESH_NOT_VALID).into());
        }
        _ => return Err(row.unexpected()),
    };
    let user = refreshed.user;
    // Signed from what the database has stored: the same token again gets the same successor.
    let refresh = match (refreshed.jti, refreshed.issued_at, refreshed.expires_at) {
        (Some(jti), Some(issued_at), Some(expires_at)) => {
            let validity = Validity {
                jti,
                issued_at,
                expires_at,
            };
            let family = Some(&*token.family);
            Some(
                ctx.state
                    .keys
                    .issue(TokenType::Refresh, &user, validity, family, epoch)?,
            )
        }
        _ => None,
    };
    let access = Validity::from_now(config.access_token_lifetime);
    let body = AccessToken {
        access: ctx.state.keys.issue(TokenType::Access, &user, access, None, epoch)?,
        refresh,
    };
    Ok(Response::json(200, &body))
}

pub(crate) static LOGOUT: Operation = Operation {
    id: "logout",
    handler: Handler::Public(|ctx| Box::pin(logout(ctx))),
    #[cfg(test)]
    describe: description::logout,
};

/// Revokes the family of a refresh token. Access tokens stay valid until they expire; [`logout_all`] ends them as well.
pub(crate) async fn logout(ctx: &RequestContext<'_>) -> Result<Response, ApiError> {
    let token = refresh_token_of_body(ctx).await?;
    let call = Logout {
        user: token.caller.id(),
        family: token.family,
        expires: token.expires.cast_signed(),
        keep_seconds: ctx.state.config.refresh_token_lifetime.cast_signed(),
        epoch: token.caller.epoch(),
    };
    let row = ctx.execute(functions::shared(), call).await?;
    match row.outcome {
        Outcome::Ok => Ok(Response::empty(204)),
        _ => Err(row.unexpected()),
    }
}

pub(crate) static LOGOUT_ALL: Operation = Operation {
    id: "logout_all",
    handler: Handler::Private(|ctx, caller| Box::pin(logout_all(ctx, caller))),
    #[cfg(test)]
    describe: description::logout_all,
};

/// Ends all logins of the caller, access tokens included. The body is optional; if there is one, it must be JSON.
pub(crate) async fn logout_all(ctx: &RequestContext<'_>, caller: Caller) -> Result<Response, ApiError> {
    ctx.body().await?.object()?;
    let call = LogoutAll {
        user: caller.id(),
        epoch: caller.epoch(),
    };
    let row = ctx.execute(functions::shared(), call).await?;
    match row.outcome {
        Outcome::Ok => Ok(Response::empty(204)),
        _ => Err(row.unexpected()),
    }
}

async fn refresh_token_of_body(ctx: &RequestContext<'_>) -> Result<VerifiedToken, ApiError> {
    let body = ctx.body().await?;
    let form = forms::refresh(&body.object()?)?;
    let token = ctx.state.keys.verify(form.refresh.expose(), TokenType::Refresh);
    let token = token.ok_or(ApiError::Refused(&REFRESH_NOT_VALID))?;
    ctx.identify(token.caller.id());
    Ok(token)
}

fn account_in_log(ctx: &RequestContext<'_>, account: &str) -> String {
    account_hash(&ctx.state.config.jwt_keys.signing.secret, account)
}

async fn check_rate_limit(ctx: &RequestContext<'_>, action: Action, account: &str) -> Result<(), ApiError> {
    let config = &ctx.state.config;
    let limits = action.limits(config);
    let attempt = Attempt {
        action,
        account,
        address: ctx.source.get().address,
    };
    let (redis, database) = (&ctx.state.redis, &ctx.state.database);
    let checked = rate_limit::check(redis, database, &attempt, limits, config.rate_limit_window).await;
    if let Err(ApiError::RateLimited { retry_after_s }) = checked {
        ctx.report(&SecurityEvent::RateLimited {
            action: action.name(),
            account: &account_in_log(ctx, account),
            retry_after_s,
        });
    }
    checked
}

#[cfg(test)]
mod description {
    use std::borrow::Cow;

    use sugang_sdk::types::{AccessToken, Login, Refresh, SignedUp, Signup, Tokens};
    use utoipa::ToSchema;

    use super::{ApiError, FieldProblem, FieldProblems, INVALID_CREDENTIALS, REFRESH_NOT_VALID};
    use crate::operation::description::{
        BODIES, Body, Description, Success, body, caller, rate_limited, required, stores,
    };

    pub(super) fn signup() -> Description {
        let problems = FieldProblems::of("email", FieldProblem::EmailTaken);
        account(
            "Create an account",
            "",
            Signup::name(),
            201,
            SignedUp::name(),
            vec![ApiError::SignupFields(problems), rate_limited()],
        )
        .cpu_bound()
    }

    pub(super) fn login() -> Description {
        account(
            "Get tokens",
            "A wrong password, an unknown e-mail address and an inactive account are answered alike.",
            Login::name(),
            200,
            Tokens::name(),
            vec![required("email"), (&INVALID_CREDENTIALS).into(), rate_limited()],
        )
        .cpu_bound()
    }

    pub(super) fn refresh_token() -> Description {
        account(
            "Get a new access token",
            "Where the service rotates refresh tokens, a new one comes along, and the one that was sent is used up.",
            Refresh::name(),
            200,
            AccessToken::name(),
            vec![required("refresh"), (&REFRESH_NOT_VALID).into()],
        )
    }

    pub(super) fn logout() -> Description {
        Description {
            success: Success::nothing(),
            ..account(
                "End a login",
                "The refresh token, and all that came in its place, are of no more use.",
                Refresh::name(),
                204,
                AccessToken::name(),
                vec![required("refresh"), (&REFRESH_NOT_VALID).into()],
            )
        }
    }

    pub(super) fn logout_all() -> Description {
        Description {
            tag: "accounts".into(),
            summary: "End all logins".into(),
            more: "Needs no body. All access and refresh tokens of the user are of no more use, also the one that was sent."
                .into(),
            parameters: vec![],
            body: None,
            success: Success::nothing(),
            errors: caller([]),
            cpu_bound: false,
        }
    }

    fn account(
        summary: &str,
        more: &'static str,
        request: Cow<'static, str>,
        status: u16,
        answer: Cow<'static, str>,
        errors: Vec<ApiError>,
    ) -> Description {
        Description {
            tag: "accounts".into(),
            summary: summary.into(),
            more: more.into(),
            parameters: vec![],
            body: Some(Body {
                schema: request,
                required: true,
                media_types: &BODIES,
            }),
            success: Success::named(status, answer),
            errors: errors.into_iter().chain(body()).chain(stores()).collect(),
            cpu_bound: false,
        }
    }
}
