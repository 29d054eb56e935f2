//! The log: one JSON object per line on standard error, without tokens, passwords or e-mail addresses.
//!
//! What a client chose reaches it only in a bounded form: its request id and the host that it named if they are safe, and an
//! address from the header that the settings name; never its path, its body or another header.

use std::{
    cell::Cell,
    io::Write,
    net::IpAddr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;
use sugang_protocol::request_id::RequestIds;
use sugang_sdk::types::ErrorCode;

/// Where a request comes from, as far as that is known.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    /// The part of the client's address that counts against a limit.
    pub(crate) address: Option<IpAddr>,
    pub(crate) user_id: Option<i64>,
}

/// One request with its response.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// Operation id. Without a route there is none: a path that the client made up does not reach the log.
    pub(crate) operation: Option<&'a str>,
    pub(crate) status: u16,
    /// Why it was refused.
    pub(crate) code: Option<&'a ErrorCode>,
    /// Milliseconds from the arrival of the request to the response.
    pub(crate) ms: f64,
}

/// What an attack leaves in the log, whether requests are logged or not.
pub(crate) enum SecurityEvent<'a> {
    /// The password was wrong, or the account is unknown or inactive.
    LoginFailed {
        /// A keyed hash of the e-mail address ([`account_hash`](crate::auth::account_hash)).
        account: &'a str,
    },
    /// A limit of logins or sign-ups refused an attempt.
    RateLimited {
        action: &'a str,
        account: &'a str,
        retry_after_s: u64,
    },
    /// A refresh token was used again after its grace, which ended all tokens of its login.
    RefreshTokenReused,
    /// A refresh token of a login that has ended was used.
    RefreshTokenEnded,
    /// The request names a host that is not allowed.
    HostNotAllowed {
        /// `None` if no host can have such a name.
        host: Option<&'a str>,
    },
    /// Nothing proves an event of a gateway that has a proof.
    GatewayEventForged {
        gateway: &'a str,
        /// Since the last such line.
        times: u64,
    },
}

/// Lets one line a minute through, and counts the others.
#[derive(Default)]
pub(crate) struct Throttle {
    last: Cell<Option<Instant>>,
    times: Cell<u64>,
}

impl Throttle {
    /// Counts one. Returns how often that was since the last line, if there may be one now.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        const PAUSE: Duration = Duration::from_secs(60);
        let times = self.times.get() + 1;
        self.times.set(times);
        if self.last.get().is_some_and(|last| now.duration_since(last) < PAUSE) {
            return None;
        }
        self.last.set(Some(now));
        self.times.set(0);
        Some(times)
    }
}

/// One line: the fields of all events, of which each has some.
#[derive(Default, Serialize)]
struct Line<'a> {
    /// Milliseconds since 1970.
    time: u64,
    level: &'a str,
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a ErrorCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
    /// The one in the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<i64>,
}

impl<'a> Line<'a> {
    fn new(level: &'a str, event: &'a str) -> Self {
        let time = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            time: time.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or_default()),
            level,
            event,
            ..Self::default()
        }
    }

    fn of(self, ids: &'a RequestIds) -> Self {
        Self {
            request_id: Some(&ids.own),
            client_request_id: ids.client.as_deref(),
            ..self
        }
    }

    fn from(self, source: Source) -> Self {
        Self {
            address: source.address.map(|address| address.to_string()),
            user_id: source.user_id,
            ..self
        }
    }

    fn security(event: &SecurityEvent<'a>) -> Self {
        let line = |event| Self::new("warn", event);
        match *event {
            SecurityEvent::LoginFailed { account } => Self {
                account: Some(account),
                ..line("login_failed")
            },
            SecurityEvent::RateLimited {
                action,
                account,
                retry_after_s,
            } => Self {
                action: Some(action),
                account: Some(account),
                retry_after_s: Some(retry_after_s),
                ..line("rate_limited")
            },
            SecurityEvent::RefreshTokenReused => line("refresh_token_reused"),
            SecurityEvent::RefreshTokenEnded => line("refresh_token_ended"),
            SecurityEvent::HostNotAllowed { host } => Self {
                host,
                ..line("host_not_allowed")
            },
            SecurityEvent::GatewayEventForged { gateway, times } => Self {
                gateway: Some(gateway),
                times: Some(times),
                ..line("gateway_event_forged")
            },
        }
    }

    fn write(&self) {
        if let Ok(mut line) = serde_json::to_vec(self) {
            line.push(b'\n');
            // A log that cannot be written has no other place to report that.
            let _ = std::io::stderr().write_all(&line);
        }
    }
}

/// Logs a request after its response was built.
pub(crate) fn request(request: &Request<'_>, ids: &RequestIds, source: Source) {
    let line = Line {
        method: Some(request.method),
        operation: Some(request.operation),
        status: Some(request.status),
        code: request.code,
        ms: Some(request.ms),
        ..Line::new("info", "request")
    };
    line.of(ids).from(source).write();
}

/// Logs what may be part of an attack.
pub(crate) fn security(event: &SecurityEvent<'_>, ids: &RequestIds, source: Source) {
    Line::security(event).of(ids).from(source).write();
}

/// Logs why a request failed.
pub(crate) fn failure(ids: &RequestIds, code: &ErrorCode, cause: &str) {
    let line = Line {
        code: Some(code),
        cause: Some(cause),
        ..Line::new("error", "failure")
    };
    line.of(ids).write();
}

/// Logs a degradation that no single request failed of.
pub(crate) fn warning(event: &str, cause: &str) {
    let cause = Some(cause);
    Line {
        cause,
        ..Line::new("warn", event)
    }
    .write();
}

/// Logs that a degradation has ended, as `cause` showed.
pub(crate) fn notice(event: &str, cause: &str) {
    let cause = Some(cause);
    Line {
        cause,
        ..Line::new("info", event)
    }
    .write();
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_throttle_lets_a_line_a_minute_through() {
        let (throttle, begin) = (Throttle::default(), Instant::now());
        let at = |seconds| throttle.admit(begin + Duration::from_secs(seconds));
        assert_eq!(
            [at(0), at(1), at(59), at(60), at(61)],
            [Some(1), None, None, Some(3), None]
        );
    }

    #[test]
    fn an_event_has_both_ids_and_its_source() {
        let ids = RequestIds::new(Some("own-1".to_owned()), Some("client-1"));
        let event = SecurityEvent::RateLimited {
            action: "login",
            account: "0123",
            retry_after_s: 7,
        };
        let source = Source {
            address: "192.0.2.7".parse().ok(),
            user_id: None,
        };
        let mut line: Value = serde_json::to_value(Line::security(&event).of(&ids).from(source)).unwrap();
        assert!(line["time"].take().as_u64().is_some_and(|time| time > 0));
        assert_eq!(
            line,
            json!({"time": null, "level": "warn", "event": "rate_limited", "action": "login", "account": "0123",
                "retry_after_s": 7, "request_id": "own-1", "client_request_id": "client-1", "address": "192.0.2.7"})
        );
    }
}
