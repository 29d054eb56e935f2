//! Accounts: sign-up, login, and new access tokens.

use spin_sdk::pg::ParameterValue;
use sugang_protocol::Text;
use sugang_sdk::types::{AccessToken, SignedUp, Tokens, User};

use crate::{
    attempts::{self, Attempt},
    call::Call,
    db::Repeat,
    errors::{Failure, FieldProblems, INVALID_CREDENTIALS, Internal, REFRESH_NOT_VALID},
    fields::{self, FieldProblem},
    passwords::{self, Verdict},
    response::Response,
    tokens::{TokenType, Verified},
};

const SIGNED_UP: Text = Text::new("회원가입이 완료되었습니다.", "The sign-up is complete.");

/// Creates an account.
pub async fn signup(call: &Call<'_>) -> Result<Response, Failure> {
    let body = call.body().await?;
    let form = fields::signup(&body.object()?)?;
    attempts::take(call, Attempt::Signup, &form.email).await?;
    let Some(hash) = passwords::hash(form.password.expose(), &call.instance.config.argon2) else {
        return Err(Failure::Internal(Internal::new("a password could not be hashed")));
    };
    let parameters = vec![form.email.into(), form.username.into(), hash.into()];
    let answer = call
        .ask(crate::statement!("signup($1, $2, $3)"), parameters, Repeat::Never)
        .await?;
    match answer.outcome.as_str() {
        "ok" => {
            let body = SignedUp {
                message: call.text(SIGNED_UP),
                user: answer.facts()?,
            };
            Ok(Response::json(201, &body))
        }
        "taken" => {
            let mut problems = FieldProblems::default();
            for field in answer.facts::<Vec<&str>>()? {
                match field {
                    "email" => problems.push("email", FieldProblem::EmailTaken),
                    _ => problems.push("username", FieldProblem::UsernameTaken),
                }
            }
            Err(Failure::Form(problems))
        }
        _ => Err(answer.unexpected()),
    }
}

/// Exchanges an e-mail address and a password for tokens.
///
/// Two statements, because a hash is verified here and not in PostgreSQL: one that reads it, one that notes the login.
pub async fn login(call: &Call<'_>) -> Result<Response, Failure> {
    #[derive(serde::Deserialize)]
    struct Credentials {
        #[serde(flatten)]
        user: User,
        password: String,
    }

    let config = &call.instance.config;
    let body = call.body().await?;
    let form = fields::login(&body.object()?)?;
    let password = form.password.expose();
    // Before anything is hashed: that is what an attempt costs.
    attempts::take(call, Attempt::Login, &form.email).await?;
    let answer = call
        .ask(
            crate::statement!("credentials($1)"),
            vec![form.email.clone().into()],
            Repeat::Safe,
        )
        .await?;
    let credentials: Credentials = match answer.outcome.as_str() {
        "ok" => answer.facts()?,
        "unknown" => {
            passwords::verify_nobody(password, &config.argon2);
            return Err((&INVALID_CREDENTIALS).into());
        }
        _ => return Err(answer.unexpected()),
    };
    let renewed = match passwords::verify(password, &credentials.password, &config.argon2) {
        Verdict::Wrong => return Err((&INVALID_CREDENTIALS).into()),
        Verdict::Right => None,
        Verdict::Outdated => passwords::hash(password, &config.argon2),
    };
    attempts::forgive(call, Attempt::Login, &form.email).await;
    let user = credentials.user;
    let parameters: Vec<ParameterValue> = vec![user.id.0.into(), credentials.password.into(), renewed.into()];
    let answer = call
        .ask(crate::statement!("logged_in($1, $2, $3)"), parameters, Repeat::Safe)
        .await?;
    match answer.outcome.as_str() {
        "ok" => {}
        // Gone or inactive since the first statement.
        "unknown" => return Err((&INVALID_CREDENTIALS).into()),
        _ => return Err(answer.unexpected()),
    }
    let tokens = Tokens {
        access: config
            .keys
            .issue(TokenType::Access, &user, config.access_token_lifetime, None)?,
        refresh: config
            .keys
            .issue(TokenType::Refresh, &user, config.refresh_token_lifetime, None)?,
        user,
    };
    Ok(Response::json(200, &tokens))
}

/// Exchanges a refresh token for a new access token; with rotation for a new refresh token, too, and only once.
pub async fn refresh_token(call: &Call<'_>) -> Result<Response, Failure> {
    let config = &call.instance.config;
    let token = received(call).await?;
    let parameters: Vec<ParameterValue> = vec![
        token.caller.id().into(),
        token.jti.into(),
        token.family.clone().into(),
        config.refresh_token_lifetime.cast_signed().into(),
        config.rotate_refresh_tokens.into(),
    ];
    // Sent again, a rotation would look like a stolen token.
    let repeat = if config.rotate_refresh_tokens {
        Repeat::Never
    } else {
        Repeat::Safe
    };
    let answer = call
        .ask(crate::statement!("refresh($1, $2, $3, $4, $5)"), parameters, repeat)
        .await?;
    let user: User = match answer.outcome.as_str() {
        "ok" => answer.facts()?,
        "token_ended" | "token_reused" => return Err((&REFRESH_NOT_VALID).into()),
        _ => return Err(answer.unexpected()),
    };
    let issue = |token_type, lifetime, family| config.keys.issue(token_type, &user, lifetime, family);
    let rotated = || issue(TokenType::Refresh, config.refresh_token_lifetime, Some(&*token.family));
    let body = AccessToken {
        access: issue(TokenType::Access, config.access_token_lifetime, None)?,
        refresh: config.rotate_refresh_tokens.then(rotated).transpose()?,
    };
    Ok(Response::json(200, &body))
}

/// Ends the family of a refresh token. Access tokens that it brought about last as long as they were made to.
pub async fn logout(call: &Call<'_>) -> Result<Response, Failure> {
    let token = received(call).await?;
    let lifetime = call.instance.config.refresh_token_lifetime.cast_signed();
    let parameters: Vec<ParameterValue> = vec![token.caller.id().into(), token.family.into(), lifetime.into()];
    let answer = call
        .ask(crate::statement!("logout($1, $2, $3)"), parameters, Repeat::Safe)
        .await?;
    match answer.outcome.as_str() {
        "ok" => Ok(Response::empty(204)),
        _ => Err(answer.unexpected()),
    }
}

/// The refresh token in the body.
async fn received(call: &Call<'_>) -> Result<Verified, Failure> {
    let body = call.body().await?;
    let form = fields::refresh(&body.object()?)?;
    let token = call
        .instance
        .config
        .keys
        .verify(form.refresh.expose(), TokenType::Refresh);
    token.ok_or(Failure::Problem(&REFRESH_NOT_VALID))
}
