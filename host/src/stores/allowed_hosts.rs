//! `allowed_outbound_hosts`: the addresses that a component may open.
//!
//! The syntax is Spin's, `<scheme>://<host>[:<port>]`: the scheme is a name or `*`; the host is a name, an address,
//! `*.domain`, a network like `10.0.0.0/8`, or `*`; the port is a number, `first..end` (without its end), `*`, or the
//! default port of the scheme.

use std::{net::IpAddr, ops::Range};

use anyhow::{Context as _, Result, bail, ensure};
use url::Host;

/// The addresses that a component may open. An empty list allows none.
#[derive(Debug, Default)]
pub(crate) struct AllowedHosts(Vec<AllowedHost>);

/// An address that the component may not open.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not in the component's allowed_outbound_hosts")]
pub(crate) struct NotAllowed(String);

#[derive(Debug)]
struct AllowedHost {
    scheme: Option<String>,
    host: HostPattern,
    port: Option<Range<u32>>,
}

#[derive(Debug)]
enum HostPattern {
    Any,
    Subdomains(String),
    Exactly(Host),
    Network(IpAddr, u32),
}

impl AllowedHosts {
    /// Parses the entries. An entry that is empty after its template was filled in allows nothing.
    ///
    /// # Errors
    /// An entry does not follow the syntax; the message names it.
    pub(crate) fn parse(entries: &[String]) -> Result<Self> {
        let entries = entries.iter().filter(|entry| !entry.is_empty());
        entries
            .map(|entry| AllowedHost::parse(entry).with_context(|| format!("`{entry}` in allowed_outbound_hosts")))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Checks an address before it is opened.
    ///
    /// # Errors
    /// No entry allows it.
    pub(super) fn check(&self, scheme: &str, host: &str, port: u16) -> Result<(), NotAllowed> {
        let not_allowed = || NotAllowed(format!("{scheme}://{host}:{port}"));
        let host = parse_host(host).ok_or_else(not_allowed)?;
        match self.allows(scheme, &host, port) {
            true => Ok(()),
            false => Err(not_allowed()),
        }
    }

    /// Returns whether an entry allows a host.
    pub(crate) fn allows(&self, scheme: &str, host: &Host, port: u16) -> bool {
        self.0.iter().any(|allowed| allowed.allows(scheme, host, port))
    }

    /// Returns whether an entry names a host, or the network address that its name has led to. `*` and `*.domain` name
    /// neither.
    pub(crate) fn names(&self, scheme: &str, host: &Host, port: u16, address: IpAddr) -> bool {
        let address = match address.to_canonical() {
            IpAddr::V4(address) => Host::Ipv4(address),
            IpAddr::V6(address) => Host::Ipv6(address),
        };
        self.0.iter().any(|allowed| match allowed.host {
            HostPattern::Any | HostPattern::Subdomains(_) => false,
            HostPattern::Exactly(_) | HostPattern::Network(..) => {
                allowed.allows(scheme, host, port) || allowed.allows(scheme, &address, port)
            }
        })
    }

    /// Returns whether an entry is for this scheme.
    pub(crate) fn has_scheme(&self, scheme: &str) -> bool {
        let mut schemes = self.0.iter().map(|allowed| allowed.scheme.as_deref());
        schemes.any(|allowed| allowed.is_none_or(|allowed| allowed == scheme))
    }
}

/// Parses a host, also an IPv6 address without brackets.
pub(crate) fn parse_host(host: &str) -> Option<Host> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    match bare.parse() {
        Ok(IpAddr::V4(ip)) => Some(Host::Ipv4(ip)),
        Ok(IpAddr::V6(ip)) => Some(Host::Ipv6(ip)),
        Err(_) => Host::parse(bare).ok(),
    }
}

fn default_port(scheme: &str) -> Option<u32> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        "mqtt" => Some(1883),
        "mysql" => Some(3306),
        "postgres" => Some(5432),
        "redis" => Some(6379),
        _ => None,
    }
}

impl AllowedHost {
    fn parse(entry: &str) -> Result<Self> {
        let (scheme, rest) = entry
            .split_once("://")
            .context("has no `<scheme>://`; to allow everything: `*://*:*`")?;
        ensure!(
            scheme == "*" || (!scheme.is_empty() && scheme.chars().all(|char| char.is_ascii_alphabetic())),
            "has a wrong scheme"
        );
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (rest, ""),
        };
        Ok(Self {
            scheme: (scheme != "*").then(|| scheme.to_owned()),
            host: HostPattern::parse(host)?,
            port: Self::parse_port(scheme, port)?,
        })
    }

    fn parse_port(scheme: &str, port: &str) -> Result<Option<Range<u32>>> {
        let number = |port: &str| port.parse::<u16>().map(u32::from).context("has a wrong port");
        Ok(match (port, port.split_once("..")) {
            ("*", _) => None,
            ("", _) => {
                let port = default_port(scheme).context("has no port, and its scheme has no default port")?;
                Some(port..port + 1)
            }
            (_, Some((first, end))) => Some(number(first)?..number(end)?),
            (port, None) => {
                let port = number(port)?;
                Some(port..port + 1)
            }
        })
    }

    fn allows(&self, scheme: &str, host: &Host, port: u16) -> bool {
        self.scheme.as_deref().is_none_or(|allowed| allowed == scheme)
            && self.host.allows(host)
            && self.port.as_ref().is_none_or(|ports| ports.contains(&u32::from(port)))
    }
}

impl HostPattern {
    fn parse(host: &str) -> Result<Self> {
        if host == "*" {
            return Ok(Self::Any);
        }
        if let Some((address, length)) = host.split_once('/') {
            let address: IpAddr = address.parse().context("has a wrong network address, or a path")?;
            let length = length
                .parse()
                .ok()
                .filter(|length| *length <= if address.is_ipv4() { 32 } else { 128 });
            return Ok(Self::Network(
                address,
                length.context("has a wrong network length, or a path")?,
            ));
        }
        let (host, subdomains) = match host.strip_prefix("*.") {
            Some(domain) => (domain, true),
            None => (host, false),
        };
        ensure!(
            !host.contains('*'),
            "may have `*` only as its whole host or as its first label"
        );
        match Host::parse(host).context("has a wrong host")? {
            Host::Domain(domain) if subdomains => Ok(Self::Subdomains(format!(".{domain}"))),
            _ if subdomains => bail!("has `*.` before something other than a domain"),
            host => Ok(Self::Exactly(host)),
        }
    }

    fn allows(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Any, _) => true,
            (Self::Subdomains(suffix), Host::Domain(domain)) => domain.ends_with(suffix.as_str()),
            (Self::Exactly(allowed), host) => allowed == host,
            (Self::Network(IpAddr::V4(network), length), Host::Ipv4(address)) => {
                let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (Self::Network(IpAddr::V6(network), length), Host::Ipv6(address)) => {
                let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_allows_what_it_says() {
        let cases: &[(&str, &str, &str, u16, bool)] = &[
            ("*://*:*", "postgres", "anything.example", 1, true),
            ("postgres://*:*", "postgres", "10.1.2.3", 5432, true),
            ("postgres://*:*", "redis", "10.1.2.3", 5432, false),
            ("postgres://db", "postgres", "db", 5432, true),
            ("postgres://db/", "postgres", "db", 5432, true),
            ("postgres://db", "postgres", "db", 5433, false),
            ("postgres://db", "postgres", "DB", 5432, true),
            ("postgres://db:6000", "postgres", "db", 6000, true),
            ("postgres://db:6000..6002", "postgres", "db", 6001, true),
            ("postgres://db:6000..6002", "postgres", "db", 6002, false),
            ("redis://*.example.com:*", "redis", "a.example.com", 1, true),
            ("redis://*.example.com:*", "redis", "example.com", 1, false),
            ("redis://*.example.com:*", "redis", "evilexample.com", 1, false),
            ("redis://127.0.0.1:*", "redis", "127.0.0.1", 1, true),
            ("redis://127.0.0.1:*", "redis", "localhost", 1, false),
            ("redis://10.0.0.0/8:*", "redis", "10.255.0.1", 1, true),
            ("redis://10.0.0.0/8:*", "redis", "11.0.0.1", 1, false),
            ("redis://10.0.0.0/8:*", "redis", "10.example.com", 1, false),
            ("redis://0.0.0.0/0:*", "redis", "11.0.0.1", 1, true),
            ("redis://0.0.0.0/0:*", "redis", "::1", 1, false),
            ("redis://[::1]", "redis", "::1", 6379, true),
            ("redis://[::1]:1", "redis", "[::1]", 1, true),
            ("redis://fe80::/10:*", "redis", "fe80::1", 1, true),
            ("https://api.example", "https", "api.example", 443, true),
            ("https://api.example", "https", "api.example", 8443, false),
            ("http://api.example", "http", "api.example", 80, true),
            ("", "redis", "db", 6379, false),
            ("redis://*:*", "redis", "not a host", 6379, false),
        ];
        for (entry, scheme, host, port, expected) in cases {
            let allowed = AllowedHosts::parse(&[(*entry).to_owned()]).unwrap();
            assert_eq!(
                allowed.check(scheme, host, *port).is_ok(),
                *expected,
                "{entry}: {scheme}://{host}:{port}"
            );
        }
    }

    #[test]
    fn a_wildcard_names_no_host() {
        let cases: &[(&str, &str, &str, bool)] = &[
            ("*://*:*", "a.example", "127.0.0.1", false),
            ("https://*", "127.0.0.1", "127.0.0.1", false),
            ("https://*.example", "a.example", "10.0.0.1", false),
            ("https://a.example", "a.example", "10.0.0.1", true),
            ("https://b.example", "a.example", "10.0.0.1", false),
            ("https://10.0.0.0/8", "a.example", "10.0.0.1", true),
            ("https://10.0.0.0/8", "a.example", "::ffff:10.0.0.1", true),
            ("https://10.0.0.0/8", "a.example", "11.0.0.1", false),
            ("https://127.0.0.1", "127.0.0.1", "127.0.0.1", true),
            ("http://127.0.0.1:443", "127.0.0.1", "127.0.0.1", false),
            ("https://127.0.0.1:444", "127.0.0.1", "127.0.0.1", false),
        ];
        for (entry, host, address, expected) in cases {
            let allowed = AllowedHosts::parse(&[(*entry).to_owned()]).unwrap();
            let named = allowed.names("https", &parse_host(host).unwrap(), 443, address.parse().unwrap());
            assert_eq!(named, *expected, "{entry}: {host} at {address}");
        }
    }

    #[test]
    fn one_entry_is_enough_and_an_empty_list_allows_nothing() {
        let allowed = AllowedHosts::parse(&["redis://a:*".to_owned(), "redis://b:*".to_owned()]).unwrap();
        assert!(allowed.check("redis", "b", 1).is_ok());
        let error = AllowedHosts::default().check("redis", "b", 1).unwrap_err().to_string();
        assert_eq!(error, "redis://b:1 is not in the component's allowed_outbound_hosts");
    }

    #[test]
    fn an_entry_against_the_syntax_is_refused() {
        for (entry, expected) in [
            ("*", "no `<scheme>://`"),
            ("db:5432", "no `<scheme>://`"),
            ("a-b://db:1", "wrong scheme"),
            ("://db:1", "wrong scheme"),
            ("amqp://db", "no port"),
            ("*://db", "no port"),
            ("redis://db:x", "wrong port"),
            ("redis://db:70000", "wrong port"),
            ("redis://db/path:1", "or a path"),
            ("redis://10.0.0.0/33:1", "or a path"),
            ("redis://a*b:1", "`*` only"),
            ("redis://*.10.0.0.1:1", "other than a domain"),
            ("redis://a b:1", "wrong host"),
        ] {
            let error = AllowedHosts::parse(&[entry.to_owned()]).expect_err(entry);
            assert!(format!("{error:#}").contains(expected), "{entry}: {error:#}");
        }
    }
}
