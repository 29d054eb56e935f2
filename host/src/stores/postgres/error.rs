//! Errors of a statement.

use std::error::Error as _;

use crate::stores::pool::PoolError;

/// Why a statement has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The address is not one that the component may open here.
    #[error("{0}")]
    Address(String),
    /// There is no connection.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// PostgreSQL refused the statement, or the connection failed.
    #[error("{}", describe(.0))]
    Driver(#[from] tokio_postgres::Error),
}

/// Joins the driver's message with that of its cause.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
