//! Errors of PostgreSQL, by what they mean for the request.

use spin_sdk::pg::{DbError as PostgresError, Error, PgError, QueryError};
use sugang_protocol::{ErrorSpec, session};

use super::constraints::{Violation, violation};
use crate::{
    error::{
        ApiError,
        catalog::{BUSY, LOCKED, READ_ONLY},
    },
    log,
};

/// An error of a statement.
#[derive(Debug)]
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
    /// Another transaction keeps locked what the statement needs. Nothing was written.
    Locked(String),
    /// Another transaction was first. Nothing was written.
    Overtaken {
        /// The answer if the statement is overtaken once more.
        answer: &'static ErrorSpec,
        cause: String,
    },
    /// A sequence lags behind the ids of its table. Nothing was written.
    SequenceBehind(String),
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
                // The detail may hold a user's data, and so may the message about a value; other messages do not.
                let cause = match error.code.starts_with("22") {
                    true => format!("SQLSTATE {}: a value is refused", error.code),
                    false => format!("SQLSTATE {}: {}", error.code, error.message),
                };
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
                    // Not again: the statement, or the host before it, has waited already.
                    (_, "55P03") => Self::Locked(cause),
                    // Serialization failures and deadlocks.
                    ("40", _) => Self::Overtaken { answer: &BUSY, cause },
                    ("23", _) => Self::violated(&error, cause),
                    _ => Self::Defect(cause),
                }
            }
        }
    }

    fn violated(error: &PostgresError, cause: String) -> Self {
        let constraint = error.extras.iter().find(|(name, _)| name == "constraint");
        match constraint.map_or(Violation::Defect, |(_, constraint)| violation(constraint)) {
            Violation::Overtaken(answer) => Self::Overtaken { answer, cause },
            Violation::SequenceBehind => Self::SequenceBehind(cause),
            Violation::Defect => Self::Defect(cause),
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
            Self::Overtaken { answer, cause } => logged(answer, &cause),
            Self::Locked(cause) => logged(&LOCKED, &cause),
            Self::ReadOnly(cause) => logged(&READ_ONLY, &cause),
            Self::SequenceBehind(cause) | Self::Defect(cause) => ApiError::internal(cause),
        }
    }
}

/// An answer whose cause is in the log.
fn logged(answer: &'static ErrorSpec, cause: &str) -> ApiError {
    log::warning(answer.code.as_str(), cause);
    answer.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(code: &str, constraint: Option<&str>) -> String {
        let extra = constraint.map(|name| ("constraint".to_owned(), name.to_owned()));
        let error = PostgresError {
            as_text: String::new(),
            severity: "ERROR".into(),
            code: code.into(),
            message: match code.starts_with("22") {
                true => "invalid input syntax for type bigint: \"minsu@example.com\"".into(),
                false => "m".into(),
            },
            detail: Some("Key (email)=(minsu@example.com)".into()),
            extras: extra.into_iter().collect(),
        };
        let error = DbError::new(Error::PgError(PgError::QueryFailed(QueryError::DbError(error))), true);
        let kind = match &error {
            DbError::ConnectionLost { sent: true, .. } => "lost",
            DbError::ConnectionLost { sent: false, .. } => "not sent",
            DbError::Session(_) => "session",
            DbError::ReadOnly(_) => "read-only",
            DbError::Overloaded(_) => "overloaded",
            DbError::Locked(_) => "locked",
            DbError::Overtaken { answer, .. } => answer.code.as_str(),
            DbError::SequenceBehind(_) => "sequence behind",
            DbError::Defect(_) => "defect",
        };
        assert!(!format!("{error:?}").contains("minsu"));
        kind.to_owned()
    }

    #[test]
    fn an_error_is_classified_by_its_sqlstate() {
        for (codes, expected) in [
            (&["57P01", "57P02", "57P03", "08006", "08P01"][..], "lost"),
            (&["SG001", "26000"], "session"),
            (&["25006"], "read-only"),
            (&["53300", "53200", "57014"], "overloaded"),
            (&["40001", "40P01"], "busy"),
            (&["55P03"], "locked"),
            (&["23502", "23505", "23514", "42883", "22P02", "", "é"], "defect"),
        ] {
            for code in codes {
                assert_eq!(classified(code, None), expected, "{code}");
            }
        }
    }

    #[test]
    fn a_violation_is_classified_by_its_constraint() {
        for (code, constraint, expected) in [
            ("23505", "payments_one_active", "busy"),
            ("23505", "users_pkey", "sequence behind"),
            ("23514", "tests_capacity_kept", "sold_out"),
            ("23514", "payments_status_known", "defect"),
            ("23503", "payments_user_id_189b9948_fk_users_id", "user_not_found"),
            ("23503", "test_registrations_test_id_fkey", "not_found"),
            ("23505", "of_tomorrow", "defect"),
            ("42883", "payments_one_active", "defect"),
        ] {
            assert_eq!(classified(code, Some(constraint)), expected, "{constraint}");
        }
    }
}
