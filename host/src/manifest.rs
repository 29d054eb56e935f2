//! `spin.toml`, manifest version 2, as far as this host goes: one component behind one HTTP trigger. What it does not
//! know it refuses by name, so that no setting is silently without effect.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use toml::Value;

use crate::variables::{Template, check_name};

/// An application: its variables and its one component.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// The variables that can be set from outside, by name.
    pub(crate) variables: BTreeMap<String, Variable>,
    /// The component that answers the HTTP trigger.
    pub(crate) component: Component,
}

/// A variable of the application.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Variable {
    /// Its value when nobody sets it.
    pub(crate) default: Option<String>,
    /// Whether somebody must set it.
    #[serde(default)]
    pub(crate) required: bool,
    #[serde(default, rename = "secret")]
    _secret: bool,
    #[serde(rename = "description")]
    _description: Option<String>,
}

/// The component.
#[derive(Debug)]
pub(crate) struct Component {
    /// The `.wasm` file; relative to the manifest's folder as given, resolved here.
    pub(crate) source: PathBuf,
    /// The addresses that it may open.
    pub(crate) allowed_outbound_hosts: Vec<Template>,
    /// What it sees as its variables.
    pub(crate) variables: BTreeMap<String, Template>,
    /// Its environment variables.
    pub(crate) environment: BTreeMap<String, String>,
    /// Paths, without a slash at the end, whose requests compute for long.
    pub(crate) computing: Vec<String>,
}

impl Manifest {
    /// Reads the manifest at `path`.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder).with_context(|| format!("{} cannot be served", path.display()))
    }

    fn parse(text: &str, folder: &Path) -> Result<Self> {
        let file: File = toml::from_str(text)?;
        ensure!(file.spin_manifest_version == 2, "spin_manifest_version must be 2");

        for (name, variable) in &file.variables {
            check_name(name)?;
            ensure!(
                variable.required != variable.default.is_some(),
                "variable `{name}` must have either `default` or `required = true`"
            );
        }

        let (kind, triggers) = match file.trigger.len() {
            1 => file.trigger.into_iter().next().context("no trigger")?,
            _ => bail!("exactly one kind of trigger is supported, `[[trigger.http]]`"),
        };
        ensure!(
            kind == "http",
            "the trigger `{kind}` is not supported: only `[[trigger.http]]` is"
        );
        let [trigger] = <[Trigger; 1]>::try_from(triggers)
            .map_err(|triggers| anyhow::anyhow!("one `[[trigger.http]]` is supported, not {}", triggers.len()))?;
        ensure!(
            trigger.route.as_str() == Some("/..."),
            "the trigger's route must be \"/...\": the component does its own routing"
        );
        ensure!(trigger.executor.is_none(), "`executor` is not supported");
        let Value::String(id) = trigger.component else {
            bail!("the trigger must name its component, as in `component = \"api\"`");
        };

        let mut components = file.component;
        let component = components
            .remove(&id)
            .with_context(|| format!("there is no `[component.{id}]`"))?;
        if let Some(other) = components.keys().next() {
            bail!("one component is supported, but there is `[component.{other}]` besides `[component.{id}]`");
        }
        if let Some((key, _)) = component.unsupported.iter().find(|(_, value)| !is_empty(value)) {
            bail!("`{key}` of `[component.{id}]` is not supported by this host");
        }
        let Value::String(source) = component.source else {
            bail!("`source` of `[component.{id}]` must be a path: other sources are not supported");
        };
        for name in component.variables.keys() {
            check_name(name)?;
        }
        let template = |text: &String| Template::parse(text, &file.variables);
        Ok(Self {
            component: Component {
                source: folder.join(source),
                allowed_outbound_hosts: component
                    .allowed_outbound_hosts
                    .iter()
                    .map(template)
                    .collect::<Result<_>>()?,
                variables: component
                    .variables
                    .iter()
                    .map(|(name, text)| Ok((name.clone(), template(text)?)))
                    .collect::<Result<_>>()?,
                environment: component.environment,
                computing: component.tool.host.computing,
            },
            variables: file.variables,
        })
    }
}

/// A key that Spin's own templates write although it asks for nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Table(items) => items.is_empty(),
        _ => false,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    spin_manifest_version: u32,
    #[serde(rename = "application")]
    _application: Description,
    #[serde(default)]
    variables: BTreeMap<String, Variable>,
    #[serde(default)]
    trigger: BTreeMap<String, Vec<Trigger>>,
    #[serde(default)]
    component: BTreeMap<String, RawComponent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "version")]
    _version: Option<String>,
    #[serde(rename = "description")]
    _description: Option<String>,
    #[serde(default, rename = "authors")]
    _authors: Vec<String>,
    #[serde(rename = "tool")]
    _tool: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trigger {
    route: Value,
    component: Value,
    executor: Option<Value>,
    #[serde(rename = "id")]
    _id: Option<String>,
}

#[derive(Deserialize)]
struct RawComponent {
    source: Value,
    #[serde(default)]
    allowed_outbound_hosts: Vec<String>,
    #[serde(default)]
    variables: BTreeMap<String, String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(rename = "description")]
    _description: Option<String>,
    #[serde(rename = "build")]
    _build: Option<Value>,
    #[serde(default)]
    tool: Tools,
    #[serde(flatten)]
    unsupported: BTreeMap<String, Value>,
}

/// Where a manifest has settings for others than Spin: those of this host.
#[derive(Default, Deserialize)]
struct Tools {
    #[serde(default, rename = "sugang-host")]
    host: HostSettings,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HostSettings {
    #[serde(default)]
    computing: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
        spin_manifest_version = 2

        [application]
        name = "sugang"
        version = "0.1.0"

        [variables]
        database_url = { required = true }
        lifetime = { default = "60" }

        [[trigger.http]]
        route = "/..."
        component = "api"

        [component.api]
        source = "target/api.wasm"
        allowed_outbound_hosts = ["postgres://{{ database_url }}:*", "redis://*:*"]
        [component.api.variables]
        database_url = "{{ database_url }}"
        [component.api.build]
        command = "cargo build"
        [component.api.tool.sugang-host]
        computing = ["/login"]
        [component.api.tool.other]
        anything = true
    "#;

    fn parse(manifest: &str) -> Result<Manifest> {
        Manifest::parse(manifest, Path::new("/somewhere"))
    }

    #[test]
    fn reads_what_it_supports() {
        let manifest = parse(MANIFEST).unwrap();
        assert_eq!(manifest.component.source, Path::new("/somewhere/target/api.wasm"));
        assert_eq!(manifest.component.allowed_outbound_hosts.len(), 2);
        assert!(manifest.variables["database_url"].required);
        assert_eq!(manifest.variables["lifetime"].default.as_deref(), Some("60"));
        assert_eq!(manifest.component.computing, ["/login"]);
    }

    #[test]
    fn refuses_the_rest_by_name() {
        let cases = [
            (
                "spin_manifest_version = 2",
                "spin_manifest_version = 1",
                "spin_manifest_version must be 2",
            ),
            ("route = \"/...\"", "route = \"/api/...\"", "route must be \"/...\""),
            (
                "route = \"/...\"",
                "route = { private = true }",
                "route must be \"/...\"",
            ),
            (
                "[[trigger.http]]",
                "[[trigger.redis]]",
                "the trigger `redis` is not supported",
            ),
            ("component = \"api\"", "component = \"web\"", "no `[component.web]`"),
            (
                "component = \"api\"",
                "component = \"api\"\nexecutor = { type = \"wagi\" }",
                "`executor` is not supported",
            ),
            (
                "source = \"target/api.wasm\"",
                "source = { url = \"https://x\" }",
                "`source` of `[component.api]`",
            ),
            (
                "allowed_outbound",
                "key_value_stores = [\"default\"]\nallowed_outbound",
                "`key_value_stores`",
            ),
            (
                "{ required = true }",
                "{ required = true, default = \"\" }",
                "either `default` or `required",
            ),
            ("{ required = true }", "{}", "either `default` or `required"),
            ("lifetime =", "Lifetime =", "`Lifetime`"),
            ("\"{{ database_url }}\"", "\"{{ databse_url }}\"", "`databse_url`"),
            ("name = \"sugang\"", "name = \"sugang\"\ntrigger = 1", "trigger"),
            ("computing =", "computes =", "`computes`"),
        ];
        for (from, to, expected) in cases {
            let manifest = MANIFEST.replacen(from, to, 1);
            assert_ne!(manifest, MANIFEST, "{from}");
            let error = parse(&manifest).expect_err(to);
            assert!(format!("{error:#}").contains(expected), "{to}: {error:#}");
        }
    }

    #[test]
    fn an_unsupported_key_that_asks_for_nothing_is_fine() {
        assert!(parse(&MANIFEST.replacen("allowed_outbound", "key_value_stores = []\nallowed_outbound", 1)).is_ok());
    }
}
