//! The hosts that a request may name: what a client writes into `Host` becomes part of the links in responses.

use std::net::{IpAddr, Ipv6Addr};

use crate::authority::is_authority;

/// The hosts that a request may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedHosts {
    /// Every host.
    Any,
    /// These hosts.
    Only(Vec<Pattern>),
}

/// An entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    host: Host,
    /// Names below this one count as well.
    subdomains: bool,
    /// `None`: any port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// In lower case, without a dot at its end.
    Name(String),
    Address(IpAddr),
}

impl AllowedHosts {
    /// Parses the setting: hosts with commas between them; empty or `*` for any.
    ///
    /// A host is a name or an address, of IPv6 in brackets, with or without a port. `.example.com` is `example.com` and
    /// every name below it.
    pub fn parse(setting: &str) -> Option<Self> {
        if ["", "*"].contains(&setting.trim()) {
            return Some(Self::Any);
        }
        let patterns = setting.split(',').map(|entry| {
            let entry = entry.trim();
            let (subdomains, authority) = match entry.strip_prefix('.') {
                Some(name) => (true, name),
                None => (false, entry),
            };
            let (host, port) = split(authority)?;
            let is_valid = match &host {
                Host::Name(name) => is_name(name),
                Host::Address(_) => !subdomains,
            };
            is_valid.then_some(Pattern { host, subdomains, port })
        });
        patterns.collect::<Option<_>>().map(Self::Only)
    }

    /// Whether a request may name this authority: a host, with or without a port.
    ///
    /// Neither the case nor a dot at the end of a name matters, and an address is the same in every notation.
    pub fn allows(&self, authority: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(patterns) => {
                split(authority).is_some_and(|(host, port)| patterns.iter().any(|pattern| pattern.matches(&host, port)))
            }
        }
    }
}

impl Pattern {
    fn matches(&self, host: &Host, port: Option<u16>) -> bool {
        let is_below = || match (&self.host, host) {
            (Host::Name(own), Host::Name(name)) => {
                name.strip_suffix(own.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
            _ => false,
        };
        (self.port.is_none() || self.port == port) && (self.host == *host || (self.subdomains && is_below()))
    }
}

/// Whether an authority names the machine itself: an address of its own, `localhost`, or a name below it.
pub fn is_loopback(authority: &str) -> bool {
    match split(authority) {
        Some((Host::Address(address), _)) => address.is_loopback(),
        Some((Host::Name(name), _)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// The host of an authority as a log may show it: `None` if it is no name that a host can have, so that no text of a client
/// gets into the log under its cover.
pub fn host_for_log(authority: &str) -> Option<String> {
    match split(authority)?.0 {
        Host::Name(name) => is_name(&name).then_some(name),
        Host::Address(address) => Some(address.to_string()),
    }
}

fn split(authority: &str) -> Option<(Host, Option<u16>)> {
    if !is_authority(authority) {
        return None;
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (authority, ""),
    };
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => Host::Address(address.parse::<Ipv6Addr>().ok().map(IpAddr::from)?.to_canonical()),
        None => {
            let name = host.strip_suffix('.').unwrap_or(host);
            match name.parse::<IpAddr>() {
                Ok(address) => Host::Address(address),
                Err(_) => Host::Name(name.to_ascii_lowercase()),
            }
        }
    };
    Some((host, port.parse().ok()))
}

/// Whether a name is as DNS has them: labels of 1 to 63 bytes, and 253 in all.
fn is_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(|label| (1..=63).contains(&label.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(setting: &str, authority: &str) -> bool {
        AllowedHosts::parse(setting).unwrap().allows(authority)
    }

    #[test]
    fn a_host_is_allowed_however_it_is_written() {
        let setting = "api.example.com, .example.org,192.0.2.1,[2001:db8::1],10.0.0.1:8443";
        for authority in [
            "api.example.com",
            "API.Example.COM.",
            "api.example.com:8443",
            "example.org",
            "a.b.example.org:80",
            "192.0.2.1:8000",
            "[2001:DB8:0::1]",
            "[2001:db8::1]:80",
            "[::ffff:192.0.2.1]",
            "10.0.0.1:8443",
        ] {
            assert!(allows(setting, authority), "{authority}");
        }
        for authority in [
            "evil.example",
            "example.com",
            "a.api.example.com",
            "api.example.com.evil.example",
            "evil-example.org",
            "evilexample.org",
            "api.example.com..",
            "api.example.com@evil.example",
            "api.example.com:80@evil.example",
            "evil.example#api.example.com",
            "192.0.2.2",
            "192.0.2.1.evil.example",
            "2001:db8::1",
            "[2001:db8::2]",
            "10.0.0.1",
            "10.0.0.1:80",
            "",
            ":80",
            "3221225985",
        ] {
            assert!(!allows(setting, authority), "{authority}");
        }
    }

    #[test]
    fn a_list_that_is_not_set_admits_every_host() {
        for setting in ["", " ", "*"] {
            assert!(allows(setting, "evil.example"));
        }
        for setting in [
            ",",
            "a,",
            "a b",
            "https://a",
            "a/b",
            "*.a",
            "a,*",
            "..a",
            ".",
            ".192.0.2.1",
            "[::1",
            "a:b",
            "a@b",
        ] {
            assert_eq!(AllowedHosts::parse(setting), None, "{setting}");
        }
    }

    #[test]
    fn the_machine_itself_is_recognized() {
        for authority in [
            "localhost",
            "LOCALHOST.:8000",
            "a.localhost",
            "127.0.0.1:80",
            "127.9.9.9",
            "[::1]:8000",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(is_loopback(authority), "{authority}");
        }
        for authority in [
            "evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "127.0.0.1.evil.example",
            "127.1",
            "0.0.0.0",
            "192.0.2.1",
            "[::2]",
            "",
        ] {
            assert!(!is_loopback(authority), "{authority}");
        }
    }

    #[test]
    fn a_log_shows_names_of_hosts_alone() {
        assert_eq!(host_for_log("Evil.example:80").as_deref(), Some("evil.example"));
        assert_eq!(host_for_log("[::1]:80").as_deref(), Some("::1"));
        let token = format!("eyJhbGciOiJIUzI1NiJ9.{}.c2ln", "a".repeat(64));
        for authority in [token.as_str(), &"a.".repeat(130), "a..b", "\u{1b}[2J", "a\nb"] {
            assert_eq!(host_for_log(authority), None, "{authority}");
        }
    }
}
