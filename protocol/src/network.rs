//! The part of a client's address that counts against a limit.

use std::net::{IpAddr, Ipv6Addr};

/// The bits of an IPv6 address that count: the smallest network that a provider gives to a household.
const IPV6_PREFIX: u32 = 64;

/// Returns the part of an address that counts: all of IPv4, and the network of IPv6.
///
/// An IPv4 client of a server that listens on IPv6 has an address of its own as well.
pub fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
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
        let network = |address: &str| client_network(address.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
    }
}
