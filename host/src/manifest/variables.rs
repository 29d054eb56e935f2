//! The values of the variables, decided once before a server starts.

use std::collections::{BTreeMap, HashMap, HashSet};

use sugang_protocol::{AllowedHosts, Cors};
use uuid::Uuid;

use super::{Manifest, PathPattern, Template};
use crate::{environment::environment, error::StartError, settings::Settings};

/// The component's configuration with all values filled in.
pub(crate) struct Resolved {
    /// The component's variables.
    pub(crate) variables: HashMap<String, String>,
    /// The component's `allowed_outbound_hosts`.
    pub(crate) allowed_outbound_hosts: Vec<String>,
    pub(crate) host: HostSettings,
}

/// What the host must know of the component, so that both agree.
pub(crate) struct HostSettings {
    /// Paths, without a slash at the end, whose requests compute for long.
    pub(crate) cpu_bound: HashSet<String>,
    /// Paths, without a slash at the end, whose requests wait for another server.
    pub(crate) outbound: Vec<PathPattern>,
    /// Paths, without a slash at the end, that are answered even when the host is full.
    pub(crate) probes: HashSet<String>,
    /// Bytes of a body that the component reads.
    pub(crate) max_body_bytes: usize,
    /// The origins whose pages may read the host's own responses.
    pub(crate) cors: Cors,
    /// Whether the component builds links from the host of a request without knowing which ones there are.
    pub(crate) hosts_are_unknown: bool,
    pub(crate) files: FileSettings,
    /// What the host requests by its clock, if it is to.
    pub(crate) sweep: Option<Sweep>,
}

/// The sweep of the component.
pub(crate) struct Sweep {
    pub(crate) path: String,
    pub(crate) secret: String,
}

/// How the host serves components of files: as the component with the stores serves itself.
pub(crate) struct FileSettings {
    /// The hosts that requests may name.
    pub(crate) allowed_hosts: AllowedHosts,
    /// Whether each request is logged.
    pub(crate) log_requests: bool,
}

/// The limit of bodies if the manifest names none.
const DEFAULT_BODY_BYTES: usize = 64 << 10;

/// Gives every variable its value: from the settings, else from the environment or a file that it names if the settings
/// allow that, else the default of the manifest.
///
/// # Errors
/// [`StartError::UnknownVariable`], [`StartError::MissingVariable`] and [`StartError::Environment`].
pub(crate) fn resolve(manifest: &Manifest, settings: &Settings) -> Result<Resolved, StartError> {
    if let Some(name) = settings
        .variables
        .keys()
        .find(|name| !manifest.variables.contains_key(*name))
    {
        return Err(StartError::UnknownVariable { name: name.clone() });
    }
    let mut values = BTreeMap::new();
    for (name, variable) in &manifest.variables {
        let value = match settings.variables.get(name) {
            None if settings.environment => environment(&environment_name(name))?,
            value => value.cloned(),
        };
        let value = value.or_else(|| variable.default.clone());
        let value = value.ok_or_else(|| StartError::MissingVariable {
            name: name.clone(),
            environment: environment_name(name),
        })?;
        values.insert(name.as_str(), value);
    }
    let component = &manifest.component;
    let sweep = settings.sweep_every.and(component.sweep.as_ref());
    let sweep = sweep.map(|(path, variable)| Sweep {
        path: path.clone(),
        secret: sweep_secret(values.entry(variable.as_str()).or_default()),
    });
    let render = |template: &Option<Template>| template.as_ref().map(|template| template.render(&values));
    let host = HostSettings {
        cpu_bound: component.cpu_bound.iter().cloned().collect(),
        outbound: component.outbound.clone(),
        probes: component.probes.iter().cloned().collect(),
        // The component reports a value that breaks its rule.
        max_body_bytes: render(&component.max_body_bytes)
            .and_then(|bytes| bytes.trim().parse().ok())
            .unwrap_or(DEFAULT_BODY_BYTES),
        cors: render(&component.cors_allowed_origins)
            .and_then(|origins| Cors::parse(&origins))
            .unwrap_or(Cors::Closed),
        files: FileSettings {
            allowed_hosts: render(&component.allowed_hosts)
                .and_then(|hosts| AllowedHosts::parse(&hosts))
                .unwrap_or(AllowedHosts::Any),
            log_requests: render(&component.log_requests).is_some_and(|word| word.trim() == "true"),
        },
        sweep,
        hosts_are_unknown: render(&component.known_hosts).is_some_and(|known| known.trim().is_empty()),
    };
    Ok(Resolved {
        host,
        variables: component
            .variables
            .iter()
            .map(|(name, template)| (name.clone(), template.render(&values)))
            .collect(),
        allowed_outbound_hosts: component
            .allowed_outbound_hosts
            .iter()
            .map(|host| host.render(&values))
            .collect(),
    })
}

/// Returns the secret of the sweep. Without a configured one, component and host share one that nothing else knows.
fn sweep_secret(configured: &mut String) -> String {
    if configured.trim().is_empty() {
        *configured = Uuid::new_v4().simple().to_string();
    }
    configured.trim().to_owned()
}

fn environment_name(name: &str) -> String {
    format!("SPIN_VARIABLE_{}", name.to_ascii_uppercase())
}
