//! Errors of a command.

use redis::RedisError;

/// Why a command has no reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The address is not one that the component may open here. The message follows the name of its setting.
    #[error("the address {0}")]
    Address(String),
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
    /// What is wrong with an address, without its name.
    pub(in crate::stores) fn fault(self) -> String {
        match self {
            Self::Address(fault) => fault,
            other => other.to_string(),
        }
    }

    pub(super) fn other(message: impl ToString) -> Self {
        Self::Other(message.to_string())
    }
}
