//! How often one may try to log in or sign up: so many times for an account, and so many from an address, in any stretch
//! of time as long as the configured window. Counted in Redis; without it nobody is held up.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use sha2::{Digest, Sha256};
use spin_sdk::redis::RedisResult;

use crate::{
    call::{Call, Head},
    errors::Failure,
};

/// Set by the host. A client's own value may stand before the host's, never after it.
const CONNECTION_ADDRESS: &str = "spin-client-addr";

/// Bits of an IPv6 address that make one customer: what a provider gives to a household at least.
const IPV6_PREFIX: u32 = 64;

/// Takes one attempt for every key, or none at all, and answers after how many milliseconds there is one again (0: it was
/// taken). A sliding window in two numbers a key: the attempts of this window, and those of the one before, which count
/// the less the longer this one lasts. Exact lists would grow with every attempt of an attacker. The time is Redis's own,
/// the same for all instances.
const TAKE: &str = "
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

/// What is tried.
#[derive(Clone, Copy)]
pub enum Attempt {
    /// To log in.
    Login,
    /// To sign up.
    Signup,
}

/// How many attempts there are in a window; 0 for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For one e-mail address, whether it has an account or not.
    pub per_account: u32,
    /// From one network address.
    pub per_address: u32,
}

/// Takes an attempt.
///
/// # Errors
/// 429 when there is none left.
pub async fn take(call: &Call<'_>, attempt: Attempt, email: &str) -> Result<(), Failure> {
    let config = &call.instance.config;
    let limits = match attempt {
        Attempt::Login => config.login_attempts,
        Attempt::Signup => config.signup_attempts,
    };
    let address = address(call.head, config.client_address_header.as_deref());
    let mut keys = Vec::new();
    let mut most = Vec::new();
    if limits.per_account > 0 {
        keys.push(key(attempt, "account", &email.to_lowercase()));
        most.push(limits.per_account.to_string());
    }
    if let Some(address) = address.filter(|_| limits.per_address > 0) {
        keys.push(key(attempt, "address", &address.to_string()));
        most.push(limits.per_address.to_string());
    }
    if keys.is_empty() {
        return Ok(());
    }
    let (count, window) = (keys.len().to_string(), config.attempts_window_ms.to_string());
    let mut arguments = vec![TAKE, &count];
    arguments.extend(keys.iter().map(String::as_str));
    arguments.push(&window);
    arguments.extend(most.iter().map(String::as_str));
    match call.instance.redis.ask("EVAL", &arguments).await.as_deref() {
        Ok([RedisResult::Int64(wait_ms)]) if *wait_ms > 0 => Err(Failure::RateLimited {
            retry_after_s: wait_ms.unsigned_abs().div_ceil(1000),
        }),
        _ => Ok(()),
    }
}

/// Forgets the attempts for an account: whoever knows the password is no guesser.
pub async fn forgive(call: &Call<'_>, attempt: Attempt, email: &str) {
    // Where it fails, the window passes by itself.
    let key = key(attempt, "account", &email.to_lowercase());
    let _ = call.instance.redis.ask("DEL", &[&key]).await;
}

impl Attempt {
    fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Signup => "signup",
        }
    }
}

/// With a hash of whom it counts: arguments of Redis reach traces.
fn key(attempt: Attempt, counted: &str, whom: &str) -> String {
    let hash: String = Sha256::digest(whom)
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sugang:attempts:{}:{counted}:{hash}", attempt.name())
}

/// Where the request comes from: what the trusted proxy has written at the end of its header, where one is configured,
/// else the other end of the connection.
fn address(head: &Head, trusted_header: Option<&str>) -> Option<IpAddr> {
    let last = |name: &str| {
        let (_, value) = head
            .headers
            .iter()
            .rfind(|(known, _)| known.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()?.rsplit(',').next().map(str::trim)
    };
    let address = trusted_header
        .and_then(last)
        .and_then(ip)
        .or_else(|| last(CONNECTION_ADDRESS).and_then(ip))?;
    Some(match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << (128 - IPV6_PREFIX));
            Ipv6Addr::from_bits(network).into()
        }
        address => address,
    })
}

/// An address with or without a port.
fn ip(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn from(headers: &[(&str, &str)], trusted: Option<&str>) -> String {
        let head = Head {
            method: Method::POST,
            path: "/login/".into(),
            query: String::new(),
            origin: None,
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).into(), value.as_bytes().to_vec()))
                .collect(),
        };
        address(&head, trusted).map_or_else(String::new, |address| address.to_string())
    }

    #[test]
    fn the_connection_tells_where_a_request_comes_from() {
        assert_eq!(from(&[("spin-client-addr", "192.0.2.7:4711")], None), "192.0.2.7");
        assert_eq!(
            from(&[("spin-client-addr", "[::ffff:192.0.2.7]:4711")], None),
            "192.0.2.7"
        );
        assert_eq!(
            from(&[("spin-client-addr", "[2001:db8:1:2:3:4:5:6]:4711")], None),
            "2001:db8:1:2::"
        );
        assert_eq!(from(&[], None), "");
    }

    #[test]
    fn what_a_client_can_forge_counts_for_nothing() {
        let forged = [
            ("spin-client-addr", "198.51.100.1:1"),
            ("x-forwarded-for", "198.51.100.2"),
            ("Spin-Client-Addr", "192.0.2.7:4711"),
        ];
        assert_eq!(from(&forged, None), "192.0.2.7");
        let behind_a_proxy = [
            ("X-Forwarded-For", "198.51.100.1"),
            ("X-Forwarded-For", "198.51.100.2, 203.0.113.9"),
            ("spin-client-addr", "192.0.2.7:4711"),
        ];
        assert_eq!(from(&behind_a_proxy, Some("x-forwarded-for")), "203.0.113.9");
        // A proxy that writes nothing that can be read.
        for written in ["", "unknown", "1.2.3", "203.0.113.9, _hidden"] {
            let headers = [("x-forwarded-for", written), ("spin-client-addr", "192.0.2.7:4711")];
            assert_eq!(from(&headers, Some("x-forwarded-for")), "192.0.2.7", "{written}");
        }
    }
}
