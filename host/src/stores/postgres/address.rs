//! Addresses of PostgreSQL, as far as the component may open them.

use std::time::Duration;

use sugang_connect::postgres::Connector;
use sugang_protocol::store_url::PostgresUrl;

use super::Error;
use crate::stores::{allowed_hosts::AllowedHosts, origin::Origin};

/// The time after which the kernel asks for a sign of life on an idle connection.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Parses an address and checks every host that it names. Only what passes here is ever connected to.
///
/// # Errors
/// [`Error::Address`] with the reason.
pub(super) fn parse(
    address: &str,
    origin: Origin,
    allowed: &AllowedHosts,
    connect_timeout: Duration,
) -> Result<Connector, Error> {
    let url = PostgresUrl::parse(address, "").map_err(|error| Error::Address(error.to_string()))?;
    check_hosts(&url, allowed)?;
    if url.names_files() {
        origin.check_files().map_err(Error::Address)?;
    }
    let keeps_alive = url.settings.iter().any(|(name, _)| *name == "keepalives_idle");
    let mut connector = Connector::new(url).map_err(|error| Error::Address(error.to_string()))?;
    let config = &mut connector.config;
    // More than the pool waits for one server would leave nothing to the next one.
    let limit = config.get_connect_timeout().copied().unwrap_or(connect_timeout);
    config.connect_timeout(limit.min(connect_timeout));
    // Data that the network does not deliver end a connection early enough to use another one within a request.
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(connect_timeout);
    }
    // The driver's default is two hours; a firewall forgets an idle connection within minutes.
    if !keeps_alive {
        config.keepalives_idle(KEEPALIVE);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(KEEPALIVE / 3);
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(3);
    }
    if config.get_application_name().is_none() {
        config.application_name("sugang-host");
    }
    Ok(connector)
}

fn check_hosts(url: &PostgresUrl, allowed: &AllowedHosts) -> Result<(), Error> {
    if url.has_socket() {
        return Err(Error::Address(
            "names a Unix socket, which the host does not open: name a host, as postgres://user:password@host/database"
                .to_owned(),
        ));
    }
    for (index, host) in url.hosts.iter().enumerate() {
        // The connection goes to the address, whatever the host is.
        let address = url.addresses.get(index).map(ToString::to_string);
        let port = host.port.unwrap_or(PostgresUrl::PORT);
        for host in address.iter().chain([&host.host]) {
            allowed
                .check("postgres", host, port)
                .map_err(|error| Error::Address(format!("is refused: {error}")))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked() {
        let allowed = AllowedHosts::parse(&["postgres://allowed:*".to_owned()]).unwrap();
        for (address, expected) in [
            ("postgres://u@allowed/db", None),
            ("host=allowed port=6000 user=u", None),
            ("postgres://u@other/db", Some("postgres://other:5432 is not in")),
            ("host=allowed,other user=u", Some("postgres://other:5432 is not in")),
            (
                "host=allowed hostaddr=10.0.0.1 user=u",
                Some("postgres://10.0.0.1:5432 is not in"),
            ),
            ("hostaddr=10.0.0.1 user=u", Some("postgres://10.0.0.1:5432 is not in")),
            ("host=/var/run/postgresql user=u", Some("Unix socket")),
            ("postgres://u@allowed/db?sslmode=require", None),
            (
                "postgres://u@allowed/db?sslmode=verify-ca&sslrootcert=/etc/passwd",
                Some("names a file"),
            ),
            ("mysql://u@allowed/db", Some("begins with mysql://")),
        ] {
            let parsed = parse(address, Origin::Component, &allowed, Duration::from_secs(1));
            let error = parsed.err().map(|error| error.to_string());
            match expected {
                None => assert_eq!(error, None, "{address}"),
                Some(expected) => assert!(
                    error.as_ref().is_some_and(|error| error.contains(expected)),
                    "{error:?}"
                ),
            }
        }
    }

    #[test]
    fn only_the_operator_names_files() {
        let allowed = AllowedHosts::parse(&["postgres://*:*".to_owned()]).unwrap();
        let address = "postgres://u@h/db?sslmode=verify-ca&sslrootcert=/nowhere";
        let parsed = |origin| parse(address, origin, &allowed, Duration::from_secs(1));
        let error = |origin| parsed(origin).err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(
            error(Origin::Operator),
            "the address has a wrong sslrootcert: cannot read /nowhere: No such file or directory (os error 2)"
        );
        assert!(error(Origin::Component).contains("names a file"));
    }
}
