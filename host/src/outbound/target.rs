//! Where a request goes.

use std::{fmt, io, net::SocketAddr};

use http::{Uri, uri::Scheme};
use tokio::net::lookup_host;
use url::Host;

use super::public::is_public;
use crate::stores::{AllowedHosts, parse_host};

/// The server of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Target {
    pub(super) encrypted: bool,
    pub(super) host: Host,
    pub(super) port: u16,
}

impl Target {
    /// Reads the server of a URL; `None` if it names none that this host speaks with.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let encrypted = match uri.scheme()? {
            scheme if *scheme == Scheme::HTTPS => true,
            scheme if *scheme == Scheme::HTTP => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        // A user's name before the host belongs to no request that this host sends.
        if authority.as_str().contains('@') {
            return None;
        }
        Some(Self {
            encrypted,
            host: parse_host(authority.host())?,
            port: authority.port_u16().unwrap_or(if encrypted { 443 } else { 80 }),
        })
    }

    fn scheme(&self) -> &'static str {
        if self.encrypted { "https" } else { "http" }
    }

    /// Returns whether the component may send requests there, as far as its name tells.
    pub(super) fn is_allowed(&self, allowed: &AllowedHosts) -> bool {
        allowed.allows(self.scheme(), &self.host, self.port)
    }

    /// Finds the addresses of the server.
    ///
    /// # Errors
    /// There are none.
    pub(super) async fn look_up(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(match &self.host {
            Host::Ipv4(address) => vec![(*address, self.port).into()],
            Host::Ipv6(address) => vec![(*address, self.port).into()],
            Host::Domain(name) => lookup_host((name.as_str(), self.port)).await?.collect(),
        })
    }

    /// Returns whether the component may open an address that the server's name has led to. An address that is not public
    /// must be meant: the owner of a domain can have its names lead into this network, and a name may lead elsewhere a
    /// moment later.
    pub(super) fn may_open(&self, address: SocketAddr, allowed: &AllowedHosts) -> bool {
        is_public(address.ip()) || allowed.names(self.scheme(), &self.host, self.port, address.ip())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}:{}", self.scheme(), self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(url: &str) -> Option<String> {
        Target::of(&url.parse().unwrap()).map(|target| target.to_string())
    }

    #[test]
    fn a_url_names_a_server() {
        for (url, expected) in [
            ("https://api.example/v1?a=b", Some("https://api.example:443")),
            ("http://API.example:8080/", Some("http://api.example:8080")),
            ("http://[::1]/", Some("http://[::1]:80")),
            ("http://0x7f000001/", Some("http://127.0.0.1:80")),
            ("http://2130706433/", Some("http://127.0.0.1:80")),
            ("http://user@api.example/", None),
            ("ftp://api.example/", None),
            ("/v1", None),
        ] {
            assert_eq!(target(url).as_deref(), expected, "{url}");
        }
    }

    fn may_open(entry: &str, url: &str, address: &str) -> bool {
        let allowed = AllowedHosts::parse(&[entry.to_owned()]).unwrap();
        let target = Target::of(&url.parse().unwrap()).unwrap();
        target.is_allowed(&allowed) && target.may_open(SocketAddr::new(address.parse().unwrap(), target.port), &allowed)
    }

    #[test]
    fn an_address_that_is_not_public_must_be_meant() {
        for (entry, url, address, expected) in [
            ("https://*", "https://api.example/", "8.8.8.8", true),
            ("https://*", "https://api.example/", "127.0.0.1", false),
            ("https://*.example", "https://api.example/", "10.0.0.1", false),
            ("https://*.example", "https://api.example/", "169.254.169.254", false),
            ("https://*.example", "https://api.example/", "::ffff:10.0.0.1", false),
            ("https://api.example", "https://api.example/", "10.0.0.1", true),
            ("http://*:*", "http://127.0.0.1/", "127.0.0.1", false),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/", "127.0.0.1", true),
            ("http://localhost:8080", "http://localhost:8080/", "127.0.0.1", true),
            ("http://localhost:8080", "http://localhost:8080/", "::1", true),
            ("http://localhost:8080", "http://localhost:8081/", "127.0.0.1", false),
        ] {
            assert_eq!(may_open(entry, url, address), expected, "{entry}: {url} at {address}");
        }
    }

    proptest! {
        #[test]
        fn no_wildcard_opens_what_is_not_public(bits: u128, four: bool) {
            let address = match four {
                true => std::net::Ipv4Addr::from_bits(bits as u32).into(),
                false => std::net::IpAddr::from(std::net::Ipv6Addr::from_bits(bits)),
            };
            for entry in ["*://*:*", "https://*", "https://*.example"] {
                prop_assert_eq!(may_open(entry, "https://api.example/", &address.to_string()), is_public(address));
            }
        }
    }
}
