//! `allowed_outbound_hosts`: which addresses a component may open. The syntax is Spin's,
//! `<scheme>://<host>[:<port>]`: the scheme is a name or `*`; the host is a name, an address, `*.domain`, a network like
//! `10.0.0.0/8`, or `*`; the port is a number, `first..end` (without its end), `*`, or the scheme's usual one.

use std::{net::IpAddr, ops::Range};

use anyhow::{Context as _, Result, bail, ensure};
use url::Host;

/// The rules of one component. Without a rule everything is refused.
#[derive(Debug, Default)]
pub(crate) struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    scheme: Option<String>,
    host: HostRule,
    port: Option<Range<u32>>,
}

#[derive(Debug)]
enum HostRule {
    Any,
    Subdomains(String),
    Exactly(Host),
    Network(IpAddr, u32),
}

fn host_of(ip: IpAddr) -> Host {
    match ip {
        IpAddr::V4(ip) => Host::Ipv4(ip),
        IpAddr::V6(ip) => Host::Ipv6(ip),
    }
}

impl Rules {
    /// Reads the rules; one that is empty (after its template was filled in) allows nothing.
    pub(crate) fn parse(rules: &[String]) -> Result<Self> {
        let rules = rules.iter().filter(|rule| !rule.is_empty());
        rules
            .map(|rule| Rule::parse(rule).with_context(|| format!("`{rule}` in allowed_outbound_hosts")))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Whether an address may be opened.
    pub(crate) fn allow(&self, scheme: &str, host: &str, port: u16) -> bool {
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let Ok(host) = bare.parse::<IpAddr>().map(host_of).or_else(|_| Host::parse(bare)) else {
            return false;
        };
        self.0.iter().any(|rule| rule.allows(scheme, &host, port))
    }
}

impl Rule {
    fn parse(rule: &str) -> Result<Self> {
        let (scheme, rest) = rule
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
            host: HostRule::parse(host)?,
            port: Self::parse_port(scheme, port)?,
        })
    }

    fn parse_port(scheme: &str, port: &str) -> Result<Option<Range<u32>>> {
        let number = |port: &str| port.parse::<u16>().map(u32::from).context("has a wrong port");
        Ok(match (port, port.split_once("..")) {
            ("*", _) => None,
            ("", _) => {
                let port = match scheme {
                    "postgres" => 5432,
                    "redis" => 6379,
                    _ => bail!("has no port, and its scheme no usual one"),
                };
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

impl HostRule {
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
            _ if subdomains => bail!("has `*.` before something that is no domain"),
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
    fn what_a_rule_allows() {
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
            ("", "redis", "db", 6379, false),
            ("redis://*:*", "redis", "not a host", 6379, false),
        ];
        for (rule, scheme, host, port, expected) in cases {
            let rules = Rules::parse(&[(*rule).to_owned()]).unwrap();
            assert_eq!(
                rules.allow(scheme, host, *port),
                *expected,
                "{rule}: {scheme}://{host}:{port}"
            );
        }
    }

    #[test]
    fn one_rule_that_allows_is_enough_and_none_is_nothing() {
        let rules = Rules::parse(&["redis://a:*".to_owned(), "redis://b:*".to_owned()]).unwrap();
        assert!(rules.allow("redis", "b", 1));
        assert!(!Rules::default().allow("redis", "b", 1));
    }

    #[test]
    fn what_is_no_rule() {
        for (rule, expected) in [
            ("*", "no `<scheme>://`"),
            ("db:5432", "no `<scheme>://`"),
            ("a-b://db:1", "wrong scheme"),
            ("://db:1", "wrong scheme"),
            ("mqtt://db", "no port"),
            ("redis://db:x", "wrong port"),
            ("redis://db:70000", "wrong port"),
            ("redis://db/path:1", "or a path"),
            ("redis://10.0.0.0/33:1", "or a path"),
            ("redis://a*b:1", "`*` only"),
            ("redis://*.10.0.0.1:1", "no domain"),
            ("redis://a b:1", "wrong host"),
        ] {
            let error = Rules::parse(&[rule.to_owned()]).expect_err(rule);
            assert!(format!("{error:#}").contains(expected), "{rule}: {error:#}");
        }
    }
}
