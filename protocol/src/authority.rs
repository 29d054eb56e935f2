//! The authority of a request: the host, and the port if it is not the usual one.

/// Returns whether an authority, which the client chose, names a host that links can be built with.
///
/// It is a name of letters, digits, dots, hyphens and underscores, or an address, of IPv6 in brackets. What else RFC 3986
/// admits (user names, percent-encoding, quotes) names no host on a network.
pub fn is_authority(authority: &str) -> bool {
    let (host, port) = match authority.rsplit_once(':') {
        // A colon within the brackets of an IPv6 address.
        Some((_, after)) if after.ends_with(']') => (authority, ""),
        Some((host, port)) => (host, port),
        None => (authority, ""),
    };
    let is_host = match host.strip_prefix('[') {
        Some(address) => address
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        None => {
            let is_part_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            !host.is_empty() && host.bytes().all(is_part_of_name)
        }
    };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && (port.is_empty() || port.parse::<u16>().is_ok());
    is_host && is_port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_with_and_without_a_port() {
        for authority in [
            "a",
            "a.example",
            "my_host-1:8000",
            "192.0.2.1:80",
            "[::1]",
            "[2001:db8::1]:8000",
            "a:",
        ] {
            assert!(is_authority(authority), "{authority}");
        }
        for authority in [
            "",
            ":80",
            "a b",
            "a/b",
            "http://a",
            "u@a",
            "a:b",
            "a:80:80",
            "a:65536",
            "a:+80",
            "[::1",
            "::1",
            "[a]",
            "[]:80",
            "a\"b",
            "a,b",
            "%61",
            "한국",
            "a?b",
            "[::1]x:80",
        ] {
            assert!(!is_authority(authority), "{authority}");
        }
    }
}
