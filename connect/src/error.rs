//! Why there is no connection.

use std::{error::Error as _, io};

use sugang_protocol::store_url::UrlError;

/// Why a URL can never work here. The message follows the name of the setting that holds the URL.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The URL itself is wrong.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// A file of certificates or keys that it names cannot be used.
    #[error("has a wrong {parameter}: {reason}")]
    Certificates {
        /// The parameter of the URL.
        parameter: &'static str,
        /// What is wrong with the file.
        reason: String,
    },
}

/// Why a connection was not opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL can never work.
    #[error("the URL {0}")]
    Address(#[from] AddressError),
    /// PostgreSQL refuses the connection, or its port does.
    #[error("{}", describe(.0))]
    Postgres(tokio_postgres::Error),
    /// The host of a PostgreSQL cannot be looked up, or no server answers there in time.
    #[error("error connecting to server: {0}")]
    Unreachable(io::Error),
    /// Redis does not answer, or refuses the connection.
    #[error("{0}")]
    Redis(redis::RedisError),
}

/// Joins the driver's message with that of its cause.
pub fn describe(error: &tokio_postgres::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// The TLS handshake failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct HandshakeError(pub(crate) io::Error);
