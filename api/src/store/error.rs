//! Errors of PostgreSQL, by what they mean for the request.

use spin_sdk::pg::{Error, PgError, QueryError};
use sugang_protocol::session;
use sugang_sdk::types::ErrorCode;

use crate::{
    error::{
        ApiError,
        catalog::{BUSY, READ_ONLY},
    },
    log,
};

/// An error of a statement.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DbError {
    /// The connection is lost.
    ConnectionLost {
        /// Whether the statement was sent over it, and so may have taken effect.
        sent: bool,
        cause: String,
    },
    /// The session is at fault: it has another statement than the one that was sent, or an outdated plan. Nothing was
    /// written.
    Session(String),
    /// The session is read-only. Nothing was written.
    ReadOnly(String),
    /// PostgreSQL works, but lacks connections, memory, disk or time.
    Overloaded(String),
    /// Another transaction was first.
    Conflict(String),
    /// The statement, the parameters or the schema are wrong.
    Defect(String),
}

impl DbError {
    /// Classifies an error. `sent` tells whether it came after the connection was open.
    pub(super) fn new(error: Error, sent: bool) -> Self {
        let lost = |cause| Self::ConnectionLost { sent, cause };
        let error = match error {
            Error::PgError(error) => error,
            Error::Decode(cause) => return Self::Defect(cause),
        };
        match error {
            PgError::ConnectionFailed(cause) | PgError::Other(cause) => lost(cause),
            // Without an SQLSTATE the error is not PostgreSQL's: the connection closed under the statement.
            PgError::QueryFailed(QueryError::Text(cause)) => lost(cause),
            PgError::BadParameter(cause) | PgError::ValueConversionFailed(cause) => Self::Defect(cause),
            PgError::QueryFailed(QueryError::DbError(error)) => {
                // The detail may hold a user's data; code and message do not.
                let cause = format!("SQLSTATE {}: {}", error.code, error.message);
                let routine = error.extras.iter().find(|(name, _)| name == "routine");
                if session::is_fault_of_session(&error.code, routine.map(|(_, routine)| routine.as_str())) {
                    return Self::Session(cause);
                }
                if error.code == session::READ_ONLY {
                    return Self::ReadOnly(cause);
                }
                match (error.code.get(..2).unwrap_or_default(), error.code.as_str()) {
                    // Connection exceptions; shutdowns and crashes.
                    ("08", _) | (_, "57P01" | "57P02" | "57P03" | "57P04" | "57P05") => lost(cause),
                    // Out of connections, memory or disk; cancelled by PostgreSQL's own timeout.
                    ("53", _) | (_, "57014") => Self::Overloaded(cause),
                    // Serialization failures and deadlocks; a lock that was not available; a row that another writer,
                    // the Django service for one, inserted after this statement had looked.
                    ("40", _) | (_, "55P03" | "23505" | "23514") => Self::Conflict(cause),
                    _ => Self::Defect(cause),
                }
            }
        }
    }

    /// The answer of `function` is that of another statement, so it is unknown what has happened to the one that was sent.
    pub(super) fn foreign_answer(function: &str) -> Self {
        Self::ConnectionLost {
            sent: true,
            cause: format!("the answer to {function} is that of another statement"),
        }
    }

    /// Converts the error, and hides `url` from its cause: a host may name the address, with its password.
    pub(super) fn into_api_error(self, url: &str) -> ApiError {
        match self {
            Self::ConnectionLost { cause, .. } | Self::Session(cause) | Self::Overloaded(cause) => {
                ApiError::unavailable(cause.replace(url, "database_url"))
            }
            Self::Conflict(cause) => {
                log::warning(ErrorCode::Busy.as_str(), &cause);
                (&BUSY).into()
            }
            Self::ReadOnly(cause) => {
                log::warning(ErrorCode::ReadOnly.as_str(), &cause);
                (&READ_ONLY).into()
            }
            Self::Defect(cause) => ApiError::internal(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use spin_sdk::pg::DbError as PostgresError;

    use super::*;

    #[test]
    fn an_error_is_classified_by_its_sqlstate() {
        let classified = |code: &str| {
            let error = PostgresError {
                as_text: String::new(),
                severity: "ERROR".into(),
                code: code.into(),
                message: "m".into(),
                detail: Some("Key (email)=(minsu@example.com)".into()),
                extras: Vec::new(),
            };
            DbError::new(Error::PgError(PgError::QueryFailed(QueryError::DbError(error))), true)
        };
        let cause = |code: &str| format!("SQLSTATE {code}: m");
        for code in ["57P01", "57P02", "57P03", "08006", "08P01"] {
            let cause = cause(code);
            assert_eq!(classified(code), DbError::ConnectionLost { sent: true, cause });
        }
        for code in ["SG001", "26000"] {
            assert_eq!(classified(code), DbError::Session(cause(code)));
        }
        assert_eq!(classified("25006"), DbError::ReadOnly(cause("25006")));
        for code in ["53300", "53200", "57014"] {
            assert_eq!(classified(code), DbError::Overloaded(cause(code)));
        }
        for code in ["40001", "40P01", "55P03", "23505", "23514"] {
            assert_eq!(classified(code), DbError::Conflict(cause(code)));
        }
        for code in ["23502", "42883", "22P02", "", "é"] {
            assert_eq!(classified(code), DbError::Defect(cause(code)));
        }
    }
}
