//! Addresses of PostgreSQL: URLs and connection strings.

use std::time::Duration;

use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};

use super::Error;
use crate::stores::AllowedHosts;

/// The time after which the kernel asks for a sign of life on an idle connection.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Parses an address and checks every host that it names. Only what passes here is ever connected to.
///
/// # Errors
/// [`Error::Address`] with the reason.
pub(super) fn parse(address: &str, allowed: &AllowedHosts, connect_timeout: Duration) -> Result<Config, Error> {
    let mut config: Config = address.parse().map_err(|error| {
        Error::Address(format!(
            "the address is not a PostgreSQL URL or connection string: {error}"
        ))
    })?;
    check_hosts(&config, allowed)?;
    if !matches!(config.get_ssl_mode(), SslMode::Disable | SslMode::Prefer) {
        return Err(Error::Address(
            "the address requires TLS, which this host does not support; use sslmode=prefer".to_owned(),
        ));
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(connect_timeout);
    }
    // Data that the network does not deliver end a connection early enough to use another one within a request.
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(connect_timeout);
    }
    // The driver's default is two hours; a firewall forgets an idle connection within minutes.
    if !address.contains("keepalives_idle") {
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
    Ok(config)
}

fn check_hosts(config: &Config, allowed: &AllowedHosts) -> Result<(), Error> {
    let ports = config.get_ports();
    let port = |index: usize| match ports {
        [] => 5432,
        [port] => *port,
        ports => ports.get(index).copied().unwrap_or(5432),
    };
    let check = |host: &str, port| {
        allowed
            .check("postgres", host, port)
            .map_err(|error| Error::Address(error.to_string()))
    };
    for (index, host) in config.get_hosts().iter().enumerate() {
        match host {
            Host::Tcp(host) => check(host, port(index))?,
            Host::Unix(_) => return Err(Error::Address("Unix sockets are not supported".to_owned())),
        }
    }
    // The connection goes to `hostaddr`, whatever `host` says.
    for (index, address) in config.get_hostaddrs().iter().enumerate() {
        check(&address.to_string(), port(index))?;
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
            ("host=/var/run/postgresql user=u", Some("Unix sockets")),
            ("postgres://u@allowed/db?sslmode=require", Some("TLS")),
            ("mysql://u@allowed/db", Some("not a PostgreSQL URL")),
        ] {
            let error = parse(address, &allowed, Duration::from_secs(1)).err();
            let error = error.map(|error| error.to_string());
            match expected {
                None => assert_eq!(error, None, "{address}"),
                Some(expected) => assert!(
                    error.as_ref().is_some_and(|error| error.contains(expected)),
                    "{error:?}"
                ),
            }
        }
    }
}
