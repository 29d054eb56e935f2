//! URLs of the stores: what they may say, checked before anything is opened.
//!
//! The component, the host and every tool read them here, so a URL that one of them takes is good for all. A message never
//! holds a part of the URL that could belong to its password.

mod keywords;
mod postgres;
mod redis;
mod split;

pub use postgres::{PostgresUrl, SslMode};
pub use redis::RedisUrl;

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Why a URL can never work. The message follows the name of the setting that holds the URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlError(String);

impl UrlError {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for UrlError {}

/// A host and the port that stands with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an address without brackets; for PostgreSQL also the folder of a Unix socket.
    pub host: String,
    /// The port, unless it is the store's usual one.
    pub port: Option<u16>,
}

impl HostPort {
    fn is_socket(&self) -> bool {
        self.host.starts_with(['/', '@'])
    }
}

/// Everything that RFC 3986 does not call unreserved.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// Sets the password that another setting holds.
fn set_password(slot: &mut Option<String>, password: &str) -> Result<(), UrlError> {
    match slot {
        _ if password.is_empty() => Ok(()),
        Some(_) => Err(UrlError::new(
            "has a password, and the setting for the password is set as well: remove one of them",
        )),
        None => {
            *slot = Some(password.to_owned());
            Ok(())
        }
    }
}

/// The files with which a TLS client identifies itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The path of the certificate chain, in PEM.
    pub certificate: String,
    /// The path of its private key, in PEM.
    pub key: String,
}

impl ClientCertificate {
    /// Two parameters that belong together.
    fn pair(
        (certificate_name, certificate): (&str, Option<String>),
        (key_name, key): (&str, Option<String>),
    ) -> Result<Option<Self>, UrlError> {
        match (certificate, key) {
            (None, None) => Ok(None),
            (Some(certificate), Some(key)) => Ok(Some(Self { certificate, key })),
            _ => Err(UrlError::new(format!(
                "must have both {certificate_name} and {key_name}, or neither"
            ))),
        }
    }
}

#[cfg(test)]
mod tests;
