//! What a new session tells about itself.

use std::sync::Mutex;

use tokio_postgres::Client;

use super::cancel_request::CancelRequest;
use crate::{stores::pool::ConnectError, sync::lock};

/// What the host must know of a session before it uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// Whether statements are executed by another process than the one that the connection names: a pooler is between.
    pub(super) is_pooled: bool,
    pub(super) is_read_only: bool,
    /// What must be set on it; see [`NEEDED`].
    pub(super) to_set: Vec<&'static str>,
}

/// What the SQL functions need of a session, and how it is recognized. The role or the database may have set it otherwise.
const NEEDED: &[(&str, &str)] = &[
    // Each statement of a function sees what was committed before it.
    (
        "default_transaction_isolation = 'read committed'",
        "current_setting('default_transaction_isolation') = 'read committed'",
    ),
    // The text of a function is read as it was written.
    (
        "standard_conforming_strings = on",
        "current_setting('standard_conforming_strings') = 'on'",
    ),
    // The tables are in the schema public, and no other one is searched before.
    ("search_path = public", "(current_schemas(false))[1] = 'public'"),
    // What the catalog names is compared with what was written down.
    (
        "quote_all_identifiers = off",
        "current_setting('quote_all_identifiers') = 'off'",
    ),
    // A refused statement ends itself alone.
    ("exit_on_error = off", "current_setting('exit_on_error') = 'off'"),
    // A search finds every match.
    (
        "gin_fuzzy_search_limit = 0",
        "current_setting('gin_fuzzy_search_limit') = '0'",
    ),
    // The triggers fire: they keep the counts and the history.
    (
        "session_replication_role = origin",
        "current_setting('session_replication_role') <> 'replica'",
    ),
];

/// What was found at an address.
#[derive(Default)]
pub(super) struct Recognition {
    facts: Mutex<Option<Facts>>,
    refusal: Mutex<Option<String>>,
}

impl Facts {
    /// Asks a session. The question has no name: a pooler might mix it up.
    pub(super) async fn learn(client: &Client) -> Result<Self, tokio_postgres::Error> {
        let needed: Vec<_> = NEEDED
            .iter()
            .map(|(_, test)| format!("coalesce({test}, false)"))
            .collect();
        let query = format!(
            "select pg_backend_pid(), current_setting('transaction_read_only') = 'on', array[{}]",
            needed.join(", ")
        );
        let row = client.query_typed_one(&query, &[]).await?;
        let process: i32 = row.try_get(0)?;
        let are_set: Vec<bool> = row.try_get(2)?;
        let unset = NEEDED.iter().zip(are_set).filter(|(_, is_set)| !is_set);
        Ok(Self {
            is_pooled: process_of(client).await != Some(process),
            is_read_only: row.try_get(1)?,
            to_set: unset.map(|((setting, _), _)| *setting).collect(),
        })
    }
}

impl Recognition {
    /// Notes what was found, and returns whether it differs from what was found before.
    pub(super) fn is_new(&self, facts: &Facts) -> bool {
        lock(&self.facts).replace(facts.clone()).as_ref() != Some(facts)
    }

    /// Notes whether the last connection was refused for a reason that only an operator can mend.
    pub(super) fn note_refusal(&self, error: Option<&ConnectError>) {
        *lock(&self.refusal) = match error {
            Some(ConnectError::Refused(cause)) => Some(cause.clone()),
            _ => None,
        };
    }

    /// The reason for which the last connection was refused, if only an operator can mend it.
    pub(super) fn refusal(&self) -> Option<String> {
        lock(&self.refusal).clone()
    }
}

/// The process that the connection named when it was opened; `None` if the driver does not tell.
async fn process_of(client: &Client) -> Option<i32> {
    CancelRequest::of(client).await.ok()?.process()
}
