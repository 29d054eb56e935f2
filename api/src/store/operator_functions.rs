//! The functions of operators: lists of payments and users, changes of users, the audit, and figures.

use std::sync::LazyLock;

use spin_sdk::pg::ParameterValue;

use super::{
    call::{Columns, Declaration, FunctionCall, SqlType, Statement, functions},
    retry::Retry,
};

functions! {
    /// The functions of operators that exist once.
    OperatorFunctions {
        /// Lists one page of the payments of all users. The keys are those of an e-mail address.
        list_payments_for_operator ListPaymentsForOperator = "list_payments_for_operator" List {
            user: i64,
            page: i64,
            owner: Option<String>,
            key: Option<String>,
            typed_key: Option<String>,
            ascii_key: Option<String>,
            external_id: Option<String>,
            amount: Option<String>,
            status: Option<String>,
            from: Option<String>,
            to: Option<String>,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Exports the payments of all users by pages. `after` is what the page before says.
        export_payments ExportPayments = "export_payments" One {
            user: i64,
            owner: Option<String>,
            key: Option<String>,
            typed_key: Option<String>,
            ascii_key: Option<String>,
            external_id: Option<String>,
            amount: Option<String>,
            status: Option<String>,
            from: Option<String>,
            to: Option<String>,
            after: Option<String>,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Lists one page of the users. The keys are those of the beginning of an e-mail address.
        list_users ListUsers = "list_users" List {
            user: i64,
            page: i64,
            key: Option<String>,
            typed_key: Option<String>,
            ascii_key: Option<String>,
            username: Option<String>,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Exports the users by pages.
        export_users ExportUsers = "export_users" One {
            user: i64,
            key: Option<String>,
            typed_key: Option<String>,
            ascii_key: Option<String>,
            username: Option<String>,
            after: Option<String>,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Gets one user with counts.
        get_user GetUser = "get_user" One {
            user: i64,
            id: i64,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Lists one page of the registrations of a user for exams and courses.
        list_user_registrations ListUserRegistrations = "list_user_registrations" List {
            user: i64,
            id: i64,
            page: i64,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Deactivates or activates a user, or ends their logins.
        change_user ChangeUser = "change_user" Change {
            user: i64,
            target: i64,
            change: String,
            request_id: String,
            key: Option<String>,
            fingerprint: Option<String>,
            epoch: i64,
        } retry(self) Retry::with_key(self.key.as_deref());

        /// Begins an audit (number 0), or runs one of its checks. The row names the number of the next one.
        run_audit_check RunAuditCheck = "run_audit_check" One {
            user: i64,
            number: i64,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Sums registrations and money by day, for a kind or an item if one is given.
        figures Figures = "figures" One {
            user: i64,
            from: String,
            to: String,
            kind: Option<String>,
            item: Option<String>,
            epoch: i64,
        } retry(self) Retry::Idempotent;
    }
}

/// Returns the statements of these functions.
pub(crate) fn operators() -> &'static OperatorFunctions {
    static OPERATORS: LazyLock<OperatorFunctions> = LazyLock::new(|| OperatorFunctions::new(""));
    &OPERATORS
}
