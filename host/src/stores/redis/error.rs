//! Errors of a command.

use redis::RedisError;

/// Why a command has no reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The address is not a `redis://` URL.
    #[error("the address is not a redis:// URL")]
    InvalidAddress,
    /// A limit of connections is reached.
    #[error("too many connections")]
    TooManyConnections,
    /// Redis refused the command, or the connection failed.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// Anything else, as a message.
    #[error("{0}")]
    Other(String),
}

impl Error {
    pub(super) fn other(message: impl ToString) -> Self {
        Self::Other(message.to_string())
    }
}
