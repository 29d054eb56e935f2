//! Rate limits of logins and sign-ups, per account and per network address.
//!
//! Redis counts. While it cannot (it is down, a replica, full, or its user may not execute scripts), PostgreSQL does: one
//! more statement for each attempt, and one count for all hosts. If neither can count, there is no login and no sign-up.

use std::{net::IpAddr, time::Duration};

use sha2::{Digest, Sha256};
use spin_sdk::redis::RedisResult;

use crate::{
    config::{Config, RateLimits},
    error::ApiError,
    store::{
        Database, Limit, Outcome, Redis, RedisFailure,
        functions::{self, CountAttempt},
    },
    text::hexadecimal,
};

/// Counts one attempt for every key, or for none of them, and returns the milliseconds until the next one is admitted.
/// The result 0 means that the attempt was counted.
///
/// The sliding window has two counters per key: the attempts of the current window, and those of the previous one, which
/// weigh less the longer the current window lasts. An exact list would grow with every attempt of an attacker. The clock
/// is that of Redis, which all instances share; if it was set back, a window that began later begins now.
///
/// All writes of a script take effect or none, so no key is left without an expiry.
const CHECK: &str = "
local time = redis.call('time')
local now, window = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[1])
local wait, counts = 0, {}
for i, key in ipairs(KEYS) do
  local limit = tonumber(ARGV[i + 1])
  local kept = redis.call('hmget', key, 'begins', 'current', 'before')
  local begins, current, before = tonumber(kept[1] or now), tonumber(kept[2] or 0), tonumber(kept[3] or 0)
  if now < begins then begins = now
  elseif now - begins >= window * 2 then begins, current, before = now, 0, 0
  elseif now - begins >= window then begins, current, before = begins + window, 0, current end
  local passed = now - begins
  if current >= limit then
    wait = math.max(wait, window - passed + window * (1 - (limit - 1) / current))
  elseif before * (1 - passed / window) + current > limit - 1 then
    wait = math.max(wait, window * (1 - (limit - 1 - current) / before) - passed)
  end
  counts[i] = {begins, current, before}
end
if wait > 0 then return math.ceil(wait) end
for i, key in ipairs(KEYS) do
  redis.call('hset', key, 'begins', counts[i][1], 'current', counts[i][2] + 1, 'before', counts[i][3])
  redis.call('pexpire', key, window * 2)
end
return 0";

/// An attempt to log in or to sign up, or an event that nothing proves.
pub(crate) struct Attempt<'a> {
    pub(crate) action: Action,
    /// The key of the account's e-mail address ([`Address::keys`](crate::text::Address)), by which the database finds it too;
    /// the gateway of an event.
    pub(crate) account: &'a str,
    /// The part of the client's address that counts.
    pub(crate) address: Option<IpAddr>,
}

/// An action with limits of its own.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    Login,
    Signup,
    /// A gateway tells what nothing proves.
    GatewayEvent,
}

/// What is counted for an attempt: the keys of its counters, without those that have no limit.
struct Counted {
    address: Option<String>,
    account: Option<String>,
}

/// Counts an attempt against `limits` within `window`.
///
/// # Errors
/// 429 if a limit is exceeded; those of [`Database::execute`] while Redis cannot count.
pub(crate) async fn check(
    redis: &Redis,
    database: &Database,
    attempt: &Attempt<'_>,
    limits: RateLimits,
    window: Duration,
) -> Result<(), ApiError> {
    let address = attempt.address.filter(|_| limits.per_address > 0);
    let counted = Counted {
        address: address.map(|address| key(attempt.action, "address", &address.to_string())),
        account: (limits.per_account > 0).then(|| account_key(attempt.action, attempt.account)),
    };
    if counted.address.is_none() && counted.account.is_none() {
        return Ok(());
    }
    let wait_ms = match count_in_redis(redis, &counted, limits, window).await {
        Ok(wait_ms) => wait_ms,
        Err(_) => count_in_database(database, counted, limits, window).await?,
    };
    match wait_ms {
        0 => Ok(()),
        wait_ms => Err(ApiError::RateLimited {
            retry_after_s: wait_ms.div_ceil(1000),
        }),
    }
}

/// Counts an attempt of no client, to see whether Redis can count.
///
/// # Errors
/// Why Redis cannot.
pub(crate) async fn probe(redis: &Redis) -> Result<(), RedisFailure> {
    let limits = RateLimits {
        per_account: u32::MAX,
        per_address: u32::MAX,
    };
    let counted = Counted {
        address: Some("probe:address".to_owned()),
        account: Some("probe:account".to_owned()),
    };
    redis.end_cooldown();
    count_in_redis(redis, &counted, limits, Duration::from_secs(1)).await?;
    Ok(())
}

/// Returns the milliseconds until the next attempt is admitted; 0 if this one was counted.
async fn count_in_redis(
    redis: &Redis,
    counted: &Counted,
    limits: RateLimits,
    window: Duration,
) -> Result<u64, RedisFailure> {
    let mut keys = Vec::new();
    let mut key_limits = Vec::new();
    for (key, limit) in [
        (&counted.account, limits.per_account),
        (&counted.address, limits.per_address),
    ] {
        if let Some(key) = key {
            keys.push(redis.key(&format!("attempts:{key}")));
            key_limits.push(limit.to_string());
        }
    }
    let (count, window_ms) = (keys.len().to_string(), window.as_millis().to_string());
    let mut arguments = vec![CHECK, &count];
    arguments.extend(keys.iter().map(String::as_str));
    arguments.push(&window_ms);
    arguments.extend(key_limits.iter().map(String::as_str));
    match redis.execute("EVAL", &arguments).await?.as_slice() {
        [RedisResult::Int64(wait_ms)] => Ok(wait_ms.unsigned_abs()),
        _ => Err(RedisFailure::Refused),
    }
}

/// The same in PostgreSQL.
async fn count_in_database(
    database: &Database,
    counted: Counted,
    limits: RateLimits,
    window: Duration,
) -> Result<u64, ApiError> {
    let call = CountAttempt {
        address: counted.address,
        address_limit: limits.per_address.into(),
        account: counted.account,
        account_limit: limits.per_account.into(),
        window: i64::try_from(window.as_millis()).unwrap_or(i64::MAX),
    };
    let row = database.execute(functions::shared(), call, Limit::Usual).await?;
    match row.outcome {
        Outcome::Ok => Ok(0),
        Outcome::RateLimited => row.payload(),
        _ => Err(row.unexpected()),
    }
}

/// Resets the counter of an account after a successful attempt, and returns its key in PostgreSQL.
///
/// Repeated failed logins lock the account's owner out as well; the right password shows that the owner is back.
pub(crate) async fn reset(redis: &Redis, action: Action, account: &str) -> String {
    let key = account_key(action, account);
    // If this fails, the window passes by itself.
    let _ = redis.execute("DEL", &[&redis.key(&format!("attempts:{key}"))]).await;
    key
}

impl Action {
    /// The configured limits of the action.
    pub(crate) fn limits(self, config: &Config) -> RateLimits {
        match self {
            Self::Login => config.login_limits,
            Self::Signup => config.signup_limits,
            Self::GatewayEvent => config.unproven_event_limits,
        }
    }

    /// The action as keys and the log name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Signup => "signup",
            Self::GatewayEvent => "gateway_event",
        }
    }
}

fn account_key(action: Action, account: &str) -> String {
    key(action, "account", account)
}

/// Builds a key with a hash of its subject, because arguments of Redis reach traces.
fn key(action: Action, counted: &str, subject: &str) -> String {
    let hash = hexadecimal(&Sha256::digest(subject)[..16]);
    format!("{}:{counted}:{hash}", action.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_shows_no_email_address() {
        let key = account_key(Action::Login, "minsu@example.com");
        assert_ne!(key, account_key(Action::Login, "jisu@example.com"));
        assert_ne!(key, account_key(Action::Signup, "minsu@example.com"));
        assert!(key.starts_with("login:account:") && !key.contains('@'));
    }
}
