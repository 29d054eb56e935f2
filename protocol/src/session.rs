//! Errors of PostgreSQL that are the session's fault, not the statement's.

/// The SQLSTATE by which a function of the schema `sugang` refuses a call that was meant for another one.
pub const MISROUTED: &str = "SG001";

/// The SQLSTATE of a change that a session refuses because it is read-only.
pub const READ_ONLY: &str = "25006";

/// Whether an error with this SQLSTATE, raised by this function of PostgreSQL's sources, is the fault of the session: it
/// has another statement by the name that was used, or none, or an outdated plan. Nothing was written, and on another
/// session the statement may succeed.
#[must_use]
pub fn is_fault_of_session(sqlstate: &str, routine: Option<&str>) -> bool {
    match sqlstate {
        // Another statement was reached: its function refuses the call, or the parameters do not fit it, in format or in
        // encoding. Or the name is unknown, or taken.
        MISROUTED | "22P03" | "22021" | "26000" | "42P05" => true,
        // The parameters do not fit, in number or in length. A pooler reports its own failures with the same SQLSTATE, a
        // lost connection for one, but names no routine.
        "08P01" => routine.is_some(),
        // A row that a plan expects has other types by now.
        "42804" => true,
        "0A000" => routine == Some("RevalidateCachedQuery"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_the_session_is_told_from_others() {
        for (sqlstate, routine, expected) in [
            ("SG001", None, true),
            ("26000", Some("FetchPreparedStatement"), true),
            ("08P01", Some("exec_bind_message"), true),
            ("08P01", None, false),
            ("0A000", Some("RevalidateCachedQuery"), true),
            ("0A000", Some("transformStmt"), false),
            ("0A000", None, false),
            ("23505", None, false),
            ("25006", None, false),
        ] {
            assert_eq!(
                is_fault_of_session(sqlstate, routine),
                expected,
                "{sqlstate} {routine:?}"
            );
        }
    }
}
