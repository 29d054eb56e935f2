//! The shape of a manifest file: every key of Spin's manifest version 2.
//!
//! A key that only informs or builds (`description`, `build`, `targets`, `profile`, …) is read and ignored. A key for
//! something that this host does not have is kept as an [`Option<Value>`], so that a manifest which uses it is refused by
//! name. A key that Spin does not have either is refused by serde.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};
use toml::{Table, Value};

use super::{path_pattern::PathPattern, variable::Variable};

/// The version alone, which is read before the rest: other versions have other keys.
#[derive(Deserialize)]
pub(super) struct Version {
    pub(super) spin_manifest_version: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(rename = "spin_manifest_version")]
    _version: IgnoredAny,
    pub(super) application: Application,
    #[serde(default)]
    pub(super) variables: BTreeMap<String, Variable>,
    /// By type; what a trigger may say depends on it.
    #[serde(default)]
    pub(super) trigger: BTreeMap<String, Vec<Table>>,
    #[serde(default)]
    pub(super) component: BTreeMap<String, Component>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Application {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "version")]
    _version: Option<String>,
    #[serde(rename = "description")]
    _description: Option<String>,
    #[serde(rename = "authors")]
    _authors: Option<Vec<String>>,
    #[serde(rename = "targets")]
    _targets: Option<IgnoredAny>,
    #[serde(rename = "tool")]
    _tool: Option<IgnoredAny>,
    /// Settings of all triggers of a type.
    #[serde(default)]
    pub(super) trigger: BTreeMap<String, Table>,
}

/// A `[[trigger.http]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trigger {
    pub(super) route: Value,
    pub(super) component: Option<ComponentSpec>,
    pub(super) executor: Option<Table>,
    #[serde(rename = "id")]
    _id: Option<String>,
    components: Option<Value>,
    dependencies: Option<Value>,
    static_response: Option<Value>,
}

/// A component that a trigger names, or has inline.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum ComponentSpec {
    Id(String),
    // Read as a component only then, for the sake of the messages.
    Inline(Table),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Component {
    pub(super) source: Value,
    #[serde(default)]
    pub(super) allowed_outbound_hosts: Vec<String>,
    #[serde(default)]
    pub(super) variables: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) tool: Tools,
    #[serde(rename = "description")]
    _description: Option<String>,
    #[serde(rename = "build")]
    _build: Option<IgnoredAny>,
    #[serde(rename = "targets")]
    _targets: Option<IgnoredAny>,
    /// Overrides that apply only when a profile is asked for.
    #[serde(rename = "profile")]
    _profile: Option<IgnoredAny>,
    /// Exceptions from `files`.
    #[serde(rename = "exclude_files")]
    _exclude_files: Option<IgnoredAny>,
    /// A setting of `dependencies`.
    #[serde(rename = "dependencies_inherit_configuration")]
    _dependencies_inherit_configuration: Option<bool>,
    ai_models: Option<Value>,
    allowed_http_hosts: Option<Value>,
    dependencies: Option<Value>,
    files: Option<Value>,
    key_value_stores: Option<Value>,
    sqlite_databases: Option<Value>,
}

/// Where a manifest has settings for programs other than Spin: those of this host.
#[derive(Default, Deserialize)]
pub(super) struct Tools {
    #[serde(default, rename = "sugang-host")]
    pub(super) host: HostSettings,
}

#[derive(Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HostSettings {
    /// Paths whose requests compute for long. Its former name still works.
    #[serde(default, alias = "computing")]
    pub(super) cpu_bound: Vec<String>,
    /// Paths whose requests wait for another server.
    #[serde(default)]
    pub(super) outbound: Vec<PathPattern>,
    /// Paths that are answered even when the host is full.
    #[serde(default)]
    pub(super) probes: Vec<String>,
    /// Bytes of a body that the component reads.
    pub(super) max_body_bytes: Option<String>,
    /// The origins whose pages may read the host's own responses.
    pub(super) cors_allowed_origins: Option<String>,
    /// What tells which hosts requests may name; empty if nothing does.
    pub(super) known_hosts: Option<String>,
    /// The hosts that requests for files may name.
    pub(super) allowed_hosts: Option<String>,
    /// Whether requests for files are logged.
    pub(super) log_requests: Option<String>,
    /// The path that the host requests by its clock.
    pub(super) sweep: Option<String>,
    /// The variable with the secret of the sweep.
    pub(super) sweep_secret: Option<String>,
}

impl Trigger {
    /// The first key in use that this host does not support.
    pub(super) fn unsupported(&self) -> Option<&'static str> {
        in_use([
            ("components", &self.components),
            ("dependencies", &self.dependencies),
            ("static_response", &self.static_response),
        ])
    }
}

impl Component {
    /// The first key in use that this host does not support.
    pub(super) fn unsupported(&self) -> Option<&'static str> {
        in_use([
            ("ai_models", &self.ai_models),
            ("allowed_http_hosts", &self.allowed_http_hosts),
            ("dependencies", &self.dependencies),
            ("files", &self.files),
            ("key_value_stores", &self.key_value_stores),
            ("sqlite_databases", &self.sqlite_databases),
        ])
    }

    /// The first key in use that a component of files does without.
    pub(super) fn beyond_files(&self) -> Option<&'static str> {
        [
            ("allowed_outbound_hosts", !self.allowed_outbound_hosts.is_empty()),
            ("variables", !self.variables.is_empty()),
            ("tool.sugang-host", self.tool.host != HostSettings::default()),
        ]
        .into_iter()
        .find_map(|(key, is_used)| is_used.then_some(key))
    }
}

/// The first key whose value requests something. Templates of Spin write empty lists, which request nothing.
fn in_use<const N: usize>(keys: [(&'static str, &Option<Value>); N]) -> Option<&'static str> {
    let requests = |value: &Value| match value {
        Value::Array(items) => !items.is_empty(),
        Value::Table(items) => !items.is_empty(),
        _ => true,
    };
    keys.into_iter()
        .find(|(_, value)| value.as_ref().is_some_and(requests))
        .map(|(key, _)| key)
}
