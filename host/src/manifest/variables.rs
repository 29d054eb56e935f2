//! The values of the variables, decided once before a server starts.

use std::{
    collections::{BTreeMap, HashMap},
    env,
};

use super::Manifest;
use crate::{error::StartError, settings::Settings};

/// The component's configuration with all values filled in.
pub(crate) struct Resolved {
    /// The component's variables.
    pub(crate) variables: HashMap<String, String>,
    /// The component's `allowed_outbound_hosts`.
    pub(crate) allowed_outbound_hosts: Vec<String>,
}

/// Gives every variable its value: from the settings, else from the environment if the settings allow that, else the
/// default of the manifest.
///
/// # Errors
/// [`StartError::UnknownVariable`] and [`StartError::MissingVariable`].
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
        let from_environment = || env::var(environment_name(name)).ok().filter(|_| settings.environment);
        let value = settings
            .variables
            .get(name)
            .cloned()
            .or_else(from_environment)
            .or_else(|| variable.default.clone());
        let value = value.ok_or_else(|| StartError::MissingVariable {
            name: name.clone(),
            environment: environment_name(name),
        })?;
        values.insert(name.as_str(), value);
    }
    let component = &manifest.component;
    Ok(Resolved {
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

fn environment_name(name: &str) -> String {
    format!("SPIN_VARIABLE_{}", name.to_ascii_uppercase())
}
