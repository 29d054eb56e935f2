//! Rate limits of logins and sign-ups, per account and per network address, counted in Redis.
//!
//! Without Redis there is no limit: logging in must not depend on it.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use sha2::{Digest, Sha256};
use spin_sdk::redis::RedisResult;

use crate::{config::RateLimits, error::ApiError, store::Redis};

/// The bits of an IPv6 address that count: the smallest network that a provider gives to a household.
const IPV6_PREFIX: u32 = 64;

/// Counts one attempt for every key, or for none of them, and returns the milliseconds until the next one is admitted.
/// The result 0 means that the attempt was counted.
///
/// The sliding window has two counters per key: the attempts of the current window, and those of the previous one, which
/// weigh less the longer the current window lasts. An exact list would grow with every attempt of an attacker. The clock
/// is that of Redis, which all instances share.
const CHECK: &str = "
local time = redis.call('time')
local now, window = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[1])
local wait, counts = 0, {}
for i, key in ipairs(KEYS) do
  local limit = tonumber(ARGV[i + 1])
  local kept = redis.call('hmget', key, 'begins', 'current', 'before')
  local begins, current, before = tonumber(kept[1] or now), tonumber(kept[2] or 0), tonumber(kept[3] or 0)
  if now - begins >= window * 2 then begins, current, before = now, 0, 0
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

/// An attempt to log in or to sign up.
pub(crate) struct Attempt<'a> {
    pub(crate) action: Action,
    /// The key of the account's e-mail address ([`Address::keys`](crate::text::Address)), by which the database finds it too.
    pub(crate) account: &'a str,
    pub(crate) address: Option<IpAddr>,
}

/// An action with limits of its own.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    Login,
    Signup,
}

/// Counts an attempt against `limits` within `window`.
///
/// # Errors
/// 429 if a limit is exceeded.
pub(crate) async fn check(
    redis: &Redis,
    attempt: &Attempt<'_>,
    limits: RateLimits,
    window: Duration,
) -> Result<(), ApiError> {
    let mut keys = Vec::new();
    let mut key_limits = Vec::new();
    if limits.per_account > 0 {
        keys.push(account_key(attempt.action, attempt.account));
        key_limits.push(limits.per_account.to_string());
    }
    if let Some(address) = attempt.address.filter(|_| limits.per_address > 0) {
        keys.push(key(attempt.action, "address", &network(address).to_string()));
        key_limits.push(limits.per_address.to_string());
    }
    if keys.is_empty() {
        return Ok(());
    }
    let (count, window_ms) = (keys.len().to_string(), window.as_millis().to_string());
    let mut arguments = vec![CHECK, &count];
    arguments.extend(keys.iter().map(String::as_str));
    arguments.push(&window_ms);
    arguments.extend(key_limits.iter().map(String::as_str));
    match redis.execute("EVAL", &arguments).await.as_deref() {
        Ok([RedisResult::Int64(wait_ms)]) if *wait_ms > 0 => Err(ApiError::RateLimited {
            retry_after_s: wait_ms.unsigned_abs().div_ceil(1000),
        }),
        _ => Ok(()),
    }
}

/// Resets the counter of an account after a successful attempt.
///
/// Repeated failed logins lock the account's owner out as well; the right password shows that the owner is back.
pub(crate) async fn reset(redis: &Redis, action: Action, account: &str) {
    // If this fails, the window passes by itself.
    let _ = redis.execute("DEL", &[&account_key(action, account)]).await;
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Signup => "signup",
        }
    }
}

fn account_key(action: Action, account: &str) -> String {
    key(action, "account", account)
}

/// Builds a key with a hash of its subject, because arguments of Redis reach traces.
fn key(action: Action, counted: &str, subject: &str) -> String {
    let hash: String = Sha256::digest(subject)
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sugang:attempts:{}:{counted}:{hash}", action.name())
}

/// Returns the part of an address that counts: all of IPv4, and the network of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << (128 - IPV6_PREFIX));
            Ipv6Addr::from_bits(network).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_counts_with_its_network() {
        let network = |address: &str| network(address.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
    }

    #[test]
    fn a_key_shows_no_email_address() {
        let key = account_key(Action::Login, "minsu@example.com");
        assert_ne!(key, account_key(Action::Login, "jisu@example.com"));
        assert_ne!(key, account_key(Action::Signup, "minsu@example.com"));
        assert!(key.starts_with("sugang:attempts:login:account:") && !key.contains('@'));
    }
}
