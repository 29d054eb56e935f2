//! `spin.toml`, manifest version 2, as far as this host goes: one component behind the HTTP trigger `/...`, and components of
//! files, which have neither variables nor stores, behind routes with a prefix.
//!
//! A manifest that needs more is refused with a message that names the key, so that no setting is silently without
//! effect.

mod file;
mod path_pattern;
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
pub(crate) use path_pattern::PathPattern;
pub(crate) use template::{Template, check_name};
use variable::Variable;
pub(crate) use variables::{FileSettings, HostSettings, Sweep, resolve};

/// An application: its variables and its components.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// The variables that can be set from outside, by name.
    pub(crate) variables: BTreeMap<String, Variable>,
    /// The component that handles every path without another one.
    pub(crate) component: Component,
    /// The components that handle the paths below a prefix.
    pub(crate) mounts: Vec<Mount>,
}

/// A component of files, which needs nothing but its requests.
#[derive(Debug)]
pub(crate) struct Mount {
    /// The first segments of its paths, without a slash at the end: `/console`.
    pub(crate) prefix: String,
    /// The path of the `.wasm` file.
    pub(crate) source: PathBuf,
    /// Its environment variables.
    pub(crate) environment: BTreeMap<String, String>,
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
    /// Paths, without a slash at the end, whose requests wait for another server.
    pub(crate) outbound: Vec<PathPattern>,
    /// Paths, without a slash at the end, that are answered even when the host is full.
    pub(crate) probes: Vec<String>,
    /// Bytes of a body that the component reads.
    pub(crate) max_body_bytes: Option<Template>,
    /// The origins whose pages may read the host's own responses.
    pub(crate) cors_allowed_origins: Option<Template>,
    /// What tells which hosts requests may name.
    pub(crate) known_hosts: Option<Template>,
    /// The hosts that requests for files may name.
    pub(crate) allowed_hosts: Option<Template>,
    /// Whether requests for files are logged.
    pub(crate) log_requests: Option<Template>,
    /// What the host requests by its clock: the path, and the name of the variable with its secret.
    pub(crate) sweep: Option<(String, String)>,
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
        let triggers = http_triggers(std::mem::take(&mut file.trigger))?;
        let mut components = std::mem::take(&mut file.component);
        let (mut main, mut mounts) = (None, Vec::new());
        for trigger in triggers {
            let route = Route::of(&trigger)?;
            let (name, component) = component_of(trigger, &mut components)?;
            match route {
                Route::Any if main.is_none() => main = Some((name, component)),
                Route::Any => bail!("`route` of `[[trigger.http]]` is \"/...\" twice"),
                Route::Below(prefix) => mounts.push(Mount::new(prefix, &name, component, folder)?),
            }
        }
        let (name, component) = main.context("one `[[trigger.http]]` must have the `route` \"/...\"")?;
        check_mounts(&mounts)?;
        if let Some(other) = components.keys().next() {
            bail!("no `[[trigger.http]]` names the component `[component.{other}]`");
        }
        Ok(Self {
            component: Component::new(&name, component, &file.variables, folder)?,
            mounts,
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

/// The HTTP triggers.
fn http_triggers(triggers: BTreeMap<String, Vec<toml::Table>>) -> Result<Vec<Trigger>> {
    if let Some(kind) = triggers.keys().find(|kind| *kind != "http") {
        bail!("`[[trigger.{kind}]]` is not supported by this host: only `[[trigger.http]]` is");
    }
    triggers.into_values().flatten().map(http_trigger).collect()
}

fn http_trigger(trigger: toml::Table) -> Result<Trigger> {
    let trigger: Trigger = trigger.try_into().context("`[[trigger.http]]`")?;
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

/// The paths of a trigger.
enum Route {
    /// `/...`: every path that no other trigger has.
    Any,
    /// `/prefix/...`: the prefix, and all paths below it.
    Below(String),
}

impl Route {
    fn of(trigger: &Trigger) -> Result<Self> {
        let prefix = trigger.route.as_str().and_then(|route| route.strip_suffix("/..."));
        let is_word = |segment: &str| {
            let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            !segment.is_empty() && segment.bytes().all(is_safe)
        };
        match prefix {
            Some("") => Ok(Self::Any),
            Some(prefix)
                if prefix
                    .strip_prefix('/')
                    .is_some_and(|path| path.split('/').all(is_word)) =>
            {
                Ok(Self::Below(prefix.to_owned()))
            }
            _ => bail!(
                "`route` of `[[trigger.http]]` must be \"/...\" or \"/prefix/...\": components do their own routing"
            ),
        }
    }
}

/// Takes the component of a trigger, with what messages call it.
fn component_of(
    trigger: Trigger,
    components: &mut BTreeMap<String, file::Component>,
) -> Result<(String, file::Component)> {
    match trigger.component {
        None => bail!("`[[trigger.http]]` must name its `component`, as in `component = \"api\"`"),
        Some(ComponentSpec::Id(id)) => {
            let component = components.remove(&id).with_context(|| {
                format!("`component` of `[[trigger.http]]`: there is no `[component.{id}]`, or another trigger has it")
            })?;
            Ok((format!("[component.{id}]"), component))
        }
        Some(ComponentSpec::Inline(table)) => {
            let name = "component of [[trigger.http]]".to_owned();
            Ok((name, table.try_into().context("`component` of `[[trigger.http]]`")?))
        }
    }
}

/// Checks that no two components have the same paths.
fn check_mounts(mounts: &[Mount]) -> Result<()> {
    let mut prefixes: Vec<_> = mounts.iter().map(|mount| &*mount.prefix).collect();
    prefixes.sort_unstable();
    match prefixes.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => bail!("`route` of `[[trigger.http]]` is \"{}/...\" twice", pair[0]),
        None => Ok(()),
    }
}

impl Mount {
    fn new(prefix: String, name: &str, component: file::Component, folder: &Path) -> Result<Self> {
        if let Some(key) = component.unsupported().or_else(|| component.beyond_files()) {
            bail!("`{key}` of `{name}` is not supported by this host for a route other than \"/...\"");
        }
        Ok(Self {
            prefix,
            source: source(name, component.source, folder)?,
            environment: component.environment,
        })
    }
}

/// The file of a component.
fn source(name: &str, source: Value, folder: &Path) -> Result<PathBuf> {
    match source {
        Value::String(source) => Ok(folder.join(source)),
        _ => bail!("`source` of `{name}` must be the path of a file: this host downloads no component"),
    }
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
        let template = |text: &String| Template::parse(text, declared);
        let variable = |(name, text): (&String, &String)| {
            check_name(name)?;
            Ok((name.clone(), template(text)?))
        };
        let setting = |text: &Option<String>| text.as_ref().map(template).transpose();
        let host = &component.tool.host;
        let sweep = host.sweep.clone().zip(host.sweep_secret.clone());
        let is_whole = host.sweep.is_some() == host.sweep_secret.is_some();
        ensure!(
            is_whole && sweep.as_ref().is_none_or(|(_, secret)| declared.contains_key(secret)),
            "`sweep` of `{name}` needs `sweep_secret` with the name of a variable"
        );
        Ok(Self {
            source: source(name, component.source, folder)?,
            sweep,
            allowed_outbound_hosts: component
                .allowed_outbound_hosts
                .iter()
                .map(template)
                .collect::<Result<_>>()?,
            variables: component.variables.iter().map(variable).collect::<Result<_>>()?,
            environment: component.environment,
            cpu_bound: component.tool.host.cpu_bound,
            outbound: component.tool.host.outbound,
            probes: component.tool.host.probes,
            max_body_bytes: setting(&component.tool.host.max_body_bytes)?,
            cors_allowed_origins: setting(&component.tool.host.cors_allowed_origins)?,
            known_hosts: setting(&component.tool.host.known_hosts)?,
            allowed_hosts: setting(&component.tool.host.allowed_hosts)?,
            log_requests: setting(&component.tool.host.log_requests)?,
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
        outbound = ["/orders/*/approve"]
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
        assert!(manifest.component.outbound[0].matches("/orders/1/approve"));
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
        let public = ["public_url", "kakaopay_return_url"];
        let expected = variables.keys().map(String::as_str);
        let expected: Vec<_> = expected
            .filter(|name| !public.contains(name) && endings.iter().any(|ending| name.ends_with(ending)))
            .collect();
        assert_eq!(secrets, expected);
        assert!(secrets.len() >= 6, "{secrets:?}");
    }

    #[test]
    fn the_manifest_of_this_project_is_served() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../spin.toml");
        let Manifest { component, mounts, .. } = Manifest::read(&manifest).unwrap();
        assert!(!component.cpu_bound.is_empty() && component.probes == ["/healthz", "/readyz"]);
        let prefixes: Vec<_> = mounts.iter().map(|mount| &*mount.prefix).collect();
        assert_eq!(prefixes, ["/console"]);
    }
}
