//! Errors as the component sees them.

use std::error::Error as _;

use tokio_postgres::error::SqlState;

use crate::{
    stores::postgres::{self, PoolError},
    wit::bindings::spin::postgres::postgres::{DbError, Error, QueryError},
};

pub(super) fn connection_failed(message: impl Into<String>) -> Error {
    Error::ConnectionFailed(message.into())
}

impl From<postgres::Error> for Error {
    fn from(error: postgres::Error) -> Self {
        let cause = match &error {
            postgres::Error::Driver(cause) => cause,
            // As PostgreSQL would say after the same wait.
            postgres::Error::Pool(PoolError::Crowded) => {
                return Self::QueryFailed(QueryError::DbError(DbError {
                    as_text: error.to_string(),
                    severity: "ERROR".to_owned(),
                    code: SqlState::LOCK_NOT_AVAILABLE.code().to_owned(),
                    message: error.to_string(),
                    detail: None,
                    extras: Vec::new(),
                }));
            }
            _ => return connection_failed(error.to_string()),
        };
        if let Some(database) = cause.as_db_error() {
            return Self::QueryFailed(QueryError::DbError(from_database(database)));
        }
        let lost = cause.is_closed() || cause.source().is_some_and(|source| source.is::<std::io::Error>());
        match lost {
            true => connection_failed(error.to_string()),
            false => Self::QueryFailed(QueryError::Text(error.to_string())),
        }
    }
}

fn from_database(error: &tokio_postgres::error::DbError) -> DbError {
    let line = error.line().map(|line| line.to_string());
    let extras = [
        ("column", error.column()),
        ("constraint", error.constraint()),
        ("routine", error.routine()),
        ("hint", error.hint()),
        ("table", error.table()),
        ("datatype", error.datatype()),
        ("schema", error.schema()),
        ("file", error.file()),
        ("line", line.as_deref()),
        ("where_", error.where_()),
    ];
    let extras = extras
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    DbError {
        as_text: error.to_string(),
        severity: error.severity().to_owned(),
        code: error.code().code().to_owned(),
        message: error.message().to_owned(),
        detail: error.detail().map(ToOwned::to_owned),
        extras: extras.collect(),
    }
}

/// Converts an error of the driver.
pub(super) fn from_driver(error: tokio_postgres::Error) -> Error {
    postgres::Error::from(error).into()
}
