//! The functions of the schema `sugang` that the component calls, each declared once: its name, its parameters, the
//! columns that its operation reads, and whether a call may be sent again.
//!
//! A statement sets its own `lock_timeout`, since the session may be the next request's, and ends with a comment that names
//! that parameter and the rows for which it may wait. The embedded host reads it: it lets only a part of the connections
//! wait for one row, and passes null for a `lock_timeout` that its session keeps.
//!
//! A call proves what it means, since a connection pooler may let a session execute another prepared statement: the
//! function is told the name that it is called by, and refuses any other; and the row names the statement that made it.
//!
//! A private operation passes on the `epoch` of its token, since the tokens of a user may have ended before they expire.
//!
//! A call is a struct with named fields. `functions.json` beside the sources lists the declarations and the outcomes; a
//! unit test keeps it up to date, and an end-to-end test compares it with the database.

use std::sync::LazyLock;

use spin_sdk::pg::ParameterValue;

pub(crate) use super::call::{FunctionCall, Statement};
use super::{
    call::{Columns, Declaration, SqlType, functions},
    operator_functions::OperatorFunctions,
    order_functions::OrderFunctions,
    refund_functions::RefundFunctions,
    retry::Retry,
    webhook_functions::WebhookFunctions,
};

functions! {
    /// The functions that exist once.
    SharedFunctions {
        /// Creates an account.
        signup Signup = "signup" Change {
            email: String,
            ascii_key: Option<String>,
            username: String,
            password: String,
        } retry(self) Retry::Never;

        /// Reads the stored hash of an account, by the keys of its e-mail address.
        credentials Credentials = "credentials" One {
            key: String,
            typed_key: String,
            ascii_key: Option<String>,
        } retry(self) Retry::Idempotent;

        /// Counts an attempt to log in or to sign up while Redis cannot. A window is in milliseconds.
        count_attempt CountAttempt = "count_attempt" One {
            address: Option<String>,
            address_limit: i64,
            account: Option<String>,
            account_limit: i64,
            window: i64,
        } retry(self) Retry::Idempotent;

        /// Records a login, replaces the stored hash if there is a new one, and resets the account's attempts.
        logged_in LoggedIn = "logged_in" Change {
            user: i64,
            old_password: String,
            new_password: Option<String>,
            attempts: Option<String>,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Uses a refresh token. Sent again, a rotation names the same successor, by which it is recognized.
        refresh Refresh = "refresh" Change {
            user: i64,
            jti: String,
            family: String,
            expires: i64,
            keep_seconds: i64,
            rotate: bool,
            grace_seconds: i64,
            successor: String,
            issued_at: i64,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Revokes the family of a refresh token.
        logout Logout = "logout" Change {
            user: i64,
            family: String,
            expires: i64,
            keep_seconds: i64,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Ends all logins of a user. Sent again, it finds that the token has ended.
        logout_all LogoutAll = "logout_all" Change {
            user: i64,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Lists one page of the payments of a user.
        list_payments ListPayments = "list_payments" List {
            user: i64,
            page: i64,
            status: Option<String>,
            type_: Option<String>,
            from: Option<String>,
            to: Option<String>,
            search: Option<String>,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Gets one payment of a user.
        get_payment GetPayment = "get_payment" One {
            user: i64,
            id: i64,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Cancels a payment with its registration, or begins to: then it says what is sent to the gateway.
        cancel_payment CancelPayment = "cancel_payment" Change {
            user: i64,
            id: i64,
            reason: Option<String>,
            request_id: String,
            key: Option<String>,
            fingerprint: Option<String>,
            epoch: i64,
            account: Option<String>,
            lease_ms: i64,
        } retry(self) Retry::with_key(self.key.as_deref());

        /// Gets one payment of any user for an operator.
        get_payment_for_operator GetPaymentForOperator = "get_payment_for_operator" One {
            user: i64,
            id: i64,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Gives a payment back, in whole or in part.
        refund_payment RefundPayment = "refund_payment" Change {
            user: i64,
            id: i64,
            amount: Option<String>,
            reason: String,
            keep_registration: bool,
            request_id: String,
            key: Option<String>,
            fingerprint: Option<String>,
            epoch: i64,
            account: Option<String>,
            lease_ms: i64,
        } retry(self) Retry::with_key(self.key.as_deref());

        /// Makes a user an operator, or takes that right.
        set_operator SetOperator = "set_operator" Change {
            user: i64,
            target: i64,
            operator: bool,
            request_id: String,
            key: Option<String>,
            fingerprint: Option<String>,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Proves that a user is an active operator.
        prove_operator ProveOperator = "prove_operator" One {
            user: i64,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Moves each sequence on to the highest id of its table.
        advance_sequences AdvanceSequences = "advance_sequences" One {
        } retry(self) Retry::Idempotent;

        /// Proves that every function and right that requests need is there.
        ready Ready = "ready" One {
            functions: String,
            schema: i64,
        } retry(self) Retry::Idempotent;
    }
}

functions! {
    /// The functions that each kind has.
    KindFunctions {
        /// Lists one page of the items.
        list ListItems = "list_{kind}" List {
            user: i64,
            page: i64,
            available: bool,
            search: Option<String>,
            popular: bool,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Makes and keeps the bitmaps by which searches for frequent words are counted, for about a second.
        count_ahead CountAhead = "count_{kind}_ahead" One {
        } retry(self) Retry::Never;

        /// Gets one item.
        get GetItem = "get_{kind}" One {
            user: i64,
            id: i64,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Registers a user for an item and pays. Amounts are decimals in won.
        register Register = "register_{kind}" Change {
            user: i64,
            id: i64,
            amount: Option<String>,
            method: Option<String>,
            min: String,
            max: String,
            external_id: String,
            request_id: String,
            key: Option<String>,
            fingerprint: Option<String>,
            epoch: i64,
            one_step: bool,
        } retry(self) Retry::with_key(self.key.as_deref());

        /// Holds a seat of an item for a user, who pays it afterwards.
        preorder PreorderItem = "preorder_{kind}" Change {
            user: i64,
            id: i64,
            amount: String,
            method: String,
            gateway: Option<String>,
            min: String,
            max: String,
            hold_seconds: i64,
            window_keys: String,
            needs_opening: bool,
            request_id: String,
            key: Option<String>,
            fingerprint: Option<String>,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Completes the registration of a user.
        complete Complete = "complete_{kind}" Change {
            user: i64,
            id: i64,
            request_id: String,
            epoch: i64,
        } retry(self) Retry::Never;

        /// Lists one page of the items for an operator.
        list_for_operator ListItemsForOperator = "list_{kind}_for_operator" List {
            user: i64,
            page: i64,
            available: bool,
            search: Option<String>,
            popular: bool,
            hidden: bool,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Lists one page of the registrations for an item.
        list_registrations ListRegistrations = "list_{kind}_registrations" List {
            user: i64,
            id: i64,
            page: i64,
            status: Option<String>,
            from: Option<String>,
            to: Option<String>,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Gets the figures of one item.
        get_figures GetFigures = "get_{kind}_figures" One {
            user: i64,
            id: i64,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Exports a page of the registrations for an item as CSV.
        export_registrations ExportRegistrations = "export_{kind}_registrations" One {
            user: i64,
            id: i64,
            status: Option<String>,
            from: Option<String>,
            to: Option<String>,
            after: Option<String>,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Exports a page of the items: `csv`, or `json`, one object a line.
        export ExportItems = "export_{kind}" One {
            user: i64,
            format: String,
            after: Option<String>,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Registers a user for an item by the form of an operator, a JSON object.
        register_for_operator RegisterForOperator = "register_{kind}_for_operator" Change {
            user: i64,
            id: i64,
            form: String,
            request_id: String,
            key: Option<String>,
            fingerprint: Option<String>,
            epoch: i64,
        } retry(self) Retry::with_key(self.key.as_deref());

        /// Completes all of these registrations, whose ids are separated by commas, or none.
        complete_for_operator CompleteForOperator = "complete_{kind}_for_operator" Change {
            user: i64,
            id: i64,
            registrations: String,
            request_id: String,
            key: Option<String>,
            fingerprint: Option<String>,
            epoch: i64,
        } retry(self) Retry::with_key(self.key.as_deref());

        /// Cancels a registration, and gives its payment back if that is asked for.
        cancel_for_operator CancelForOperator = "cancel_{kind}_for_operator" Change {
            user: i64,
            id: i64,
            registration: i64,
            refund: bool,
            reason: String,
            request_id: String,
            key: Option<String>,
            fingerprint: Option<String>,
            epoch: i64,
            account: Option<String>,
            lease_ms: i64,
        } retry(self) Retry::with_key(self.key.as_deref());

        /// Gets one item for an operator.
        get_for_operator GetItemForOperator = "get_{kind}_for_operator" One {
            user: i64,
            id: i64,
            epoch: i64,
        } retry(self) Retry::Idempotent;

        /// Creates all of these items, a JSON array of objects, or none; or only checks them.
        import ImportItems = "import_{kind}" Change {
            user: i64,
            items: String,
            only_check: bool,
            request_id: String,
            key: Option<String>,
            fingerprint: Option<String>,
            epoch: i64,
        } retry(self) Retry::with_key(self.key.as_deref());

        /// Creates copies of an item by the form of an operator, a JSON object.
        repeat RepeatItem = "repeat_{kind}" Change {
            user: i64,
            id: i64,
            form: String,
            request_id: String,
            key: Option<String>,
            fingerprint: Option<String>,
            epoch: i64,
        } retry(self) Retry::with_key(self.key.as_deref());

        /// Creates an item of these fields, a JSON object.
        create CreateItem = "create_{kind}" Change {
            user: i64,
            fields: String,
            request_id: String,
            key: Option<String>,
            fingerprint: Option<String>,
            epoch: i64,
        } retry(self) Retry::with_key(self.key.as_deref());

        /// Edits these fields of an item that has one of these versions.
        edit EditItem = "edit_{kind}" Change {
            user: i64,
            id: i64,
            versions: String,
            fields: String,
            request_id: String,
            key: Option<String>,
            fingerprint: Option<String>,
            epoch: i64,
        } retry(self) Retry::with_key(self.key.as_deref());

        /// Deletes an item that has one of these versions.
        delete DeleteItem = "delete_{kind}" Change {
            user: i64,
            id: i64,
            versions: String,
            request_id: String,
            key: Option<String>,
            fingerprint: Option<String>,
            epoch: i64,
        } retry(self) Retry::with_key(self.key.as_deref());
    }
}

/// Returns the statements of the functions that exist once.
pub(crate) fn shared() -> &'static SharedFunctions {
    static SHARED: LazyLock<SharedFunctions> = LazyLock::new(|| SharedFunctions::new(""));
    &SHARED
}

/// The number of the newest file of `migrations/schema/`. The component and the schema are released together.
pub(crate) const SCHEMA: i64 = 46;

/// Returns the signatures of all functions that the component calls, for these kinds, separated by semicolons.
pub(crate) fn signatures<'a>(kinds: impl IntoIterator<Item = &'a str>) -> String {
    let shared = SharedFunctions::DECLARATIONS
        .iter()
        .chain(OperatorFunctions::DECLARATIONS)
        .chain(OrderFunctions::DECLARATIONS)
        .chain(WebhookFunctions::DECLARATIONS)
        .chain(RefundFunctions::DECLARATIONS)
        .map(|function| function.signature(""));
    let of_kind = kinds.into_iter().flat_map(|kind| {
        let functions = KindFunctions::DECLARATIONS.iter();
        functions.map(move |function| function.signature(kind))
    });
    shared.chain(of_kind).collect::<Vec<_>>().join(";")
}

impl KindFunctions {
    /// Makes the statements of the kind that the database calls `kind`.
    pub(crate) fn of_kind(kind: &str) -> Self {
        Self::new(kind)
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use serde_json::{Value, json};

    use super::{
        super::{constraints, outcome::Outcome},
        *,
    };

    #[test]
    fn a_statement_selects_the_columns_that_its_operation_reads() {
        assert_eq!(
            Signup::statement(shared()).text,
            "select 'signup' as function, outcome, body, replayed from sugang.signup(\
             case when $6::text is null or set_config('lock_timeout', $6, true) <> '' then $1::text end, $2, $3, $4, $5) \
             /* sugang-host: lock_timeout=$6 */"
        );
        let ready = Ready::statement(shared());
        assert_eq!(
            ready.text,
            "select 'ready' as function, outcome, body from sugang.ready(\
             case when $4::text is null or set_config('lock_timeout', $4, true) <> '' then $1::text end, $2, $3) \
             /* sugang-host: lock_timeout=$4 */"
        );
        assert_eq!(ready.function, "ready");
        static WORKSHOP: LazyLock<KindFunctions> = LazyLock::new(|| KindFunctions::of_kind("workshop"));
        assert_eq!(
            ListItems::statement(&WORKSHOP).text,
            "select 'list_workshop' as function, outcome, body, count, page, pages from sugang.list_workshop(\
             case when $8::text is null or set_config('lock_timeout', $8, true) <> '' then $1::text end, $2, $3, $4, $5, $6, $7) \
             /* sugang-host: lock_timeout=$8 */"
        );
        let rows = |statement: &Statement| statement.text.split_once(" /* ").map(|(_, rows)| rows.to_owned());
        assert_eq!(
            rows(Register::statement(&WORKSHOP)).unwrap(),
            "sugang-host: lock_timeout=$14 user=$2/8 workshop=$3/4 */"
        );
        assert_eq!(
            rows(CancelPayment::statement(shared())).unwrap(),
            "sugang-host: lock_timeout=$11 user=$2/8 payment=$3/4 */"
        );
    }

    #[test]
    fn a_signature_has_the_types_of_the_parameters() {
        let signatures = signatures(["workshop"]);
        let all: Vec<_> = signatures.split(';').collect();
        assert!(all.contains(&"credentials(text,text,text,text)"), "{all:?}");
        assert!(
            all.contains(&"list_workshop(text,bigint,bigint,boolean,text,boolean,bigint)"),
            "{all:?}"
        );
    }

    #[test]
    fn the_component_needs_the_newest_schema() {
        let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/schema");
        let names = fs::read_dir(schema).unwrap().map(|file| file.unwrap().file_name());
        let numbers = names.filter_map(|name| name.to_str()?.strip_prefix('V')?.get(..2)?.parse().ok());
        assert_eq!(numbers.max(), Some(SCHEMA), "SCHEMA is the number of the newest file");
    }

    #[test]
    fn a_change_is_sent_again_only_where_it_takes_effect_once() {
        let cancel = |key: Option<&str>| CancelPayment {
            user: 1,
            id: 1,
            reason: None,
            request_id: String::new(),
            key: key.map(str::to_owned),
            fingerprint: None,
            epoch: 0,
            account: None,
            lease_ms: 0,
        };
        assert!(cancel(None).retry() == Retry::Never);
        assert!(cancel(Some("key")).retry() == Retry::Idempotent);
    }

    fn declared(declaration: &Declaration) -> Value {
        let parameters = [("function", "text")]
            .iter()
            .chain(declaration.parameters)
            .map(|(name, sql_type)| format!("p_{} {sql_type}", name.trim_end_matches('_')));
        json!({
            "name": declaration.name,
            "parameters": parameters.collect::<Vec<_>>(),
            "columns": declaration.columns.names(),
        })
    }

    /// `UPDATE_FUNCTIONS=1 cargo test -p sugang-api functions` writes the list.
    #[test]
    fn the_list_of_functions_is_up_to_date() {
        let functions = SharedFunctions::DECLARATIONS
            .iter()
            .chain(OperatorFunctions::DECLARATIONS)
            .chain(OrderFunctions::DECLARATIONS)
            .chain(WebhookFunctions::DECLARATIONS)
            .chain(RefundFunctions::DECLARATIONS)
            .chain(KindFunctions::DECLARATIONS);
        let outcomes: Vec<_> = Outcome::ALL.iter().map(|outcome| outcome.word()).collect();
        let list = json!({ "functions": functions.map(declared).collect::<Vec<_>>(), "outcomes": outcomes,
            "constraints": constraints::names() });
        let list = serde_json::to_string_pretty(&list).unwrap() + "\n";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("functions.json");
        if env::var_os("UPDATE_FUNCTIONS").is_some() {
            fs::write(&path, &list).unwrap();
        }
        assert!(
            fs::read_to_string(&path).unwrap_or_default() == list,
            "api/functions.json is outdated: UPDATE_FUNCTIONS=1 cargo test -p sugang-api functions"
        );
    }
}
