//! Errors of a statement.

use crate::stores::pool::PoolError;

/// Why a statement has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The address is not one that the component may open here. The message follows the name of its setting.
    #[error("the address {0}")]
    Address(String),
    /// There is no connection.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// PostgreSQL refused the statement, or the connection failed.
    #[error("{}", sugang_connect::postgres::describe(.0))]
    Driver(#[from] tokio_postgres::Error),
}

impl Error {
    /// What is wrong with an address, without its name.
    pub(in crate::stores) fn fault(self) -> String {
        match self {
            Self::Address(fault) => fault,
            other => other.to_string(),
        }
    }
}
