//! The network address that a request comes from.

use std::net::{IpAddr, SocketAddr};

use super::request::RequestHead;

/// The host appends this header after the client's own headers, so only its last value is trustworthy.
const CONNECTION_ADDRESS: &str = "spin-client-addr";

impl RequestHead {
    /// Returns the address of the client: from the trusted proxy's header if there is one, else of the connection.
    ///
    /// A proxy appends the address that it sees, so of `trusted_header` the last value counts.
    pub(crate) fn client_address(&self, trusted_header: Option<&str>) -> Option<IpAddr> {
        trusted_header
            .and_then(|name| self.last_address(name))
            .or_else(|| self.last_address(CONNECTION_ADDRESS))
            .map(|address| address.to_canonical())
    }

    fn last_address(&self, name: &str) -> Option<IpAddr> {
        let (_, value) = self
            .headers
            .iter()
            .rfind(|(known, _)| known.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value)
            .ok()?
            .rsplit(',')
            .next()
            .and_then(|last| parse(last.trim()))
    }
}

/// Parses an address with or without a port.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn address(headers: &[(&str, &str)], trusted: Option<&str>) -> String {
        let head = RequestHead::with_headers(Method::POST, headers);
        head.client_address(trusted)
            .map_or_else(String::new, |address| address.to_string())
    }

    #[test]
    fn the_address_is_the_connections() {
        assert_eq!(address(&[("spin-client-addr", "192.0.2.7:4711")], None), "192.0.2.7");
        assert_eq!(
            address(&[("spin-client-addr", "[::ffff:192.0.2.7]:4711")], None),
            "192.0.2.7"
        );
        assert_eq!(
            address(&[("spin-client-addr", "[2001:db8:1:2:3:4:5:6]:4711")], None),
            "2001:db8:1:2:3:4:5:6"
        );
        assert_eq!(address(&[], None), "");
    }

    #[test]
    fn a_header_that_the_client_forged_is_ignored() {
        let forged = [
            ("spin-client-addr", "198.51.100.1:1"),
            ("x-forwarded-for", "198.51.100.2"),
            ("Spin-Client-Addr", "192.0.2.7:4711"),
        ];
        assert_eq!(address(&forged, None), "192.0.2.7");
        let behind_a_proxy = [
            ("X-Forwarded-For", "198.51.100.1"),
            ("X-Forwarded-For", "198.51.100.2, 203.0.113.9"),
            ("spin-client-addr", "192.0.2.7:4711"),
        ];
        assert_eq!(address(&behind_a_proxy, Some("x-forwarded-for")), "203.0.113.9");
    }

    #[test]
    fn a_proxys_header_without_an_address_falls_back_to_the_connection() {
        for written in ["", "unknown", "1.2.3", "203.0.113.9, _hidden"] {
            let headers = [("x-forwarded-for", written), ("spin-client-addr", "192.0.2.7:4711")];
            assert_eq!(address(&headers, Some("x-forwarded-for")), "192.0.2.7", "{written}");
        }
    }
}
