//! `spin.toml`, manifest version 2, as far as this host goes: one component behind one HTTP trigger.
//!
//! A manifest that needs more is refused with a message that names the key, so that no setting is silently without
//! effect.

mod file;
#[cfg(test)]
mod spin_tests;
mod template;
mod variable;
mod variables;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use toml::Value;

use file::{ComponentSpec, File, Trigger};
pub(crate) use template::{Template, check_name};
use variable::Variable;
pub(crate) use variables::{HostSettings, resolve};

/// An application: its variables and its one component.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// The variables that can be set from outside, by name.
    pub(crate) variables: BTreeMap<String, Variable>,
    /// The component that handles the HTTP trigger.
    pub(crate) component: Component,
}

#[derive(Debug)]
pub(crate) struct Component {
    /// The path of the `.wasm` file.
    pub(crate) source: PathBuf,
    /// The addresses that the component may open.
    pub(crate) allowed_outbound_hosts: Vec<Template>,
    /// The variables that the component sees.
    pub(crate) variables: BTreeMap<String, Template>,
    /// Its environment variables.
    pub(crate) environment: BTreeMap<String, String>,
    /// Paths, without a slash at the end, whose requests compute for long.
    pub(crate) cpu_bound: Vec<String>,
    /// Paths, without a slash at the end, that are answered even when the host is full.
    pub(crate) probes: Vec<String>,
    /// Bytes of a body that the component reads.
    pub(crate) max_body_bytes: Option<Template>,
    /// The origins whose pages may read the host's own responses.
    pub(crate) cors_allowed_origins: Option<Template>,
    /// What tells which hosts requests may name.
    pub(crate) known_hosts: Option<Template>,
}

impl Manifest {
    /// Reads the manifest at `path`.
    ///
    /// # Errors
    /// The file cannot be read, is not a manifest, or needs something that this host does not have.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder).with_context(|| format!("{} cannot be served", path.display()))
    }

    /// Parses a manifest; a relative `source` is relative to `folder`.
    fn parse(text: &str, folder: &Path) -> Result<Self> {
        let version: file::Version = toml::from_str(text)?;
        ensure!(
            version.spin_manifest_version == Some(Value::Integer(2)),
            "`spin_manifest_version` must be 2"
        );
        let mut file: File = toml::from_str(text)?;
        check_variables(&file.variables)?;
        check_trigger_settings(&file.application)?;
        let trigger = the_trigger(std::mem::take(&mut file.trigger))?;
        let (name, component) = the_component(trigger, std::mem::take(&mut file.component))?;
        let component = Component::new(&name, component, &file.variables, folder)?;
        Ok(Self {
            component,
            variables: file.variables,
        })
    }
}

fn check_variables(variables: &BTreeMap<String, Variable>) -> Result<()> {
    for (name, variable) in variables {
        check_name(name)?;
        ensure!(
            variable.required != variable.default.is_some(),
            "variable `{name}` must have either `default` or `required = true`"
        );
    }
    Ok(())
}

/// Accepts of `[application.trigger.*]` what changes nothing: `base = "/"` of `http`, which Spin once wrote.
fn check_trigger_settings(application: &file::Application) -> Result<()> {
    for (kind, settings) in &application.trigger {
        let unsupported = settings
            .iter()
            .find(|(key, value)| (kind.as_str(), key.as_str(), value.as_str()) != ("http", "base", Some("/")));
        if let Some((key, _)) = unsupported {
            bail!("`{key}` of `[application.trigger.{kind}]` is not supported by this host");
        }
    }
    Ok(())
}

/// The one trigger.
fn the_trigger(triggers: BTreeMap<String, Vec<toml::Table>>) -> Result<Trigger> {
    if let Some(kind) = triggers.keys().find(|kind| *kind != "http") {
        bail!("`[[trigger.{kind}]]` is not supported by this host: only `[[trigger.http]]` is");
    }
    let triggers: Vec<_> = triggers.into_values().flatten().collect();
    let [trigger] = <[toml::Table; 1]>::try_from(triggers).map_err(|triggers| {
        anyhow::anyhow!(
            "this host serves exactly one `[[trigger.http]]`, and the manifest has {}",
            triggers.len()
        )
    })?;
    let trigger: Trigger = trigger.try_into().context("`[[trigger.http]]`")?;
    ensure!(
        trigger.route.as_str() == Some("/..."),
        "`route` of `[[trigger.http]]` must be \"/...\": the component does its own routing"
    );
    if let Some(executor) = &trigger.executor {
        // Spin's own default, also by its former name.
        let kind = executor.get("type").and_then(Value::as_str).unwrap_or_default();
        ensure!(
            ["http", "spin"].contains(&kind),
            "`executor` of `[[trigger.http]]` must have the type \"http\", not \"{kind}\""
        );
    }
    if let Some(key) = trigger.unsupported() {
        bail!("`{key}` of `[[trigger.http]]` is not supported by this host");
    }
    Ok(trigger)
}

/// The component of the trigger, and what messages call it.
fn the_component(
    trigger: Trigger,
    mut components: BTreeMap<String, file::Component>,
) -> Result<(String, file::Component)> {
    let (name, component) = match trigger.component {
        None => bail!("`[[trigger.http]]` must name its `component`, as in `component = \"api\"`"),
        Some(ComponentSpec::Id(id)) => {
            let component = components
                .remove(&id)
                .with_context(|| format!("`component` of `[[trigger.http]]`: there is no `[component.{id}]`"))?;
            (format!("[component.{id}]"), component)
        }
        Some(ComponentSpec::Inline(table)) => {
            let name = "component of [[trigger.http]]".to_owned();
            (name, table.try_into().context("`component` of `[[trigger.http]]`")?)
        }
    };
    if let Some(other) = components.keys().next() {
        bail!("this host serves exactly one component: `[component.{other}]` is another one");
    }
    Ok((name, component))
}

impl Component {
    fn new(
        name: &str,
        component: file::Component,
        declared: &BTreeMap<String, Variable>,
        folder: &Path,
    ) -> Result<Self> {
        if let Some(key) = component.unsupported() {
            bail!("`{key}` of `{name}` is not supported by this host");
        }
        let Value::String(source) = component.source else {
            bail!("`source` of `{name}` must be the path of a file: this host downloads no component");
        };
        let template = |text: &String| Template::parse(text, declared);
        let variable = |(name, text): (&String, &String)| {
            check_name(name)?;
            Ok((name.clone(), template(text)?))
        };
        Ok(Self {
            source: folder.join(source),
            allowed_outbound_hosts: component
                .allowed_outbound_hosts
                .iter()
                .map(template)
                .collect::<Result<_>>()?,
            variables: component.variables.iter().map(variable).collect::<Result<_>>()?,
            environment: component.environment,
            cpu_bound: component.tool.host.cpu_bound,
            probes: component.tool.host.probes,
            max_body_bytes: component.tool.host.max_body_bytes.as_ref().map(template).transpose()?,
            cors_allowed_origins: component
                .tool
                .host
                .cors_allowed_origins
                .as_ref()
                .map(template)
                .transpose()?,
            known_hosts: component.tool.host.known_hosts.as_ref().map(template).transpose()?,
        })
    }
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
        cpu_bound = ["/login"]
        [component.api.tool.other]
        anything = true
    "#;

    fn parse(manifest: &str) -> Result<Manifest> {
        Manifest::parse(manifest, Path::new("/somewhere"))
    }

    #[test]
    fn reads_a_manifest() {
        let manifest = parse(MANIFEST).unwrap();
        assert_eq!(manifest.component.source, Path::new("/somewhere/target/api.wasm"));
        assert_eq!(manifest.component.allowed_outbound_hosts.len(), 2);
        assert!(manifest.variables["database_url"].required);
        assert_eq!(manifest.variables["lifetime"].default.as_deref(), Some("60"));
        assert_eq!(manifest.component.cpu_bound, ["/login"]);
    }

    #[test]
    fn reads_the_former_name_of_cpu_bound() {
        let former = parse(&MANIFEST.replace("cpu_bound", "computing")).unwrap();
        assert_eq!(former.component.cpu_bound, ["/login"]);
        let both = MANIFEST.replace("cpu_bound = ", "computing = [\"/x\"]\ncpu_bound = ");
        let error = parse(&both).unwrap_err();
        assert!(format!("{error:#}").contains("`cpu_bound`"), "{error:#}");
    }

    /// Spin keeps a secret out of what it shows of an application. A URL may have a password in it.
    #[test]
    fn every_variable_that_may_hold_a_secret_is_one() {
        let manifest = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../spin.toml")).unwrap();
        let manifest: toml::Table = toml::from_str(&manifest).unwrap();
        let variables = manifest["variables"].as_table().unwrap();
        let secrets: Vec<_> = variables
            .iter()
            .filter(|(_, variable)| variable.get("secret") == Some(&Value::Boolean(true)))
            .map(|(name, _)| name.as_str())
            .collect();
        let endings = ["_url", "_password", "_secret", "_verify_keys"];
        let expected = variables.keys().map(String::as_str);
        let expected: Vec<_> = expected
            .filter(|name| *name != "public_url" && endings.iter().any(|ending| name.ends_with(ending)))
            .collect();
        assert_eq!(secrets, expected);
        assert!(secrets.len() >= 6, "{secrets:?}");
    }

    #[test]
    fn the_manifest_of_this_project_is_served() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spin.toml");
        let component = Manifest::read(&manifest).unwrap().component;
        assert!(!component.cpu_bound.is_empty() && component.probes == ["/healthz", "/readyz"]);
    }
}
