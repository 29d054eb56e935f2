//! Stores that answer.

use serde::{Deserialize, Serialize};

use super::choice::Source;

/// Where running stores are; the supervisor prints it as one line of JSON.
#[derive(Clone, Serialize, Deserialize)]
pub struct RunningStores {
    /// `postgres://…`; its user may create databases.
    pub database_url: String,
    /// `redis://…`
    pub redis_url: String,
    pub from: Source,
    /// `from` for people, with versions.
    pub description: String,
    #[serde(flatten)]
    pub processes: Processes,
}

/// What the supervisor started, where it started anything.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Processes {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres_pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres_container: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_container: Option<String>,
}
