//! The application's variables, the templates that make a component's variables of them, and `spin:variables`.

use std::{
    collections::{BTreeMap, HashMap},
    env,
};

use anyhow::{Result, ensure};
use wasmtime::component::{Accessor, HasSelf};

use crate::{
    bindings::spin::variables::variables::{self as wit, Error},
    manifest::{Manifest, Variable},
    server::StartError,
    settings::Settings,
    worker::Guest,
};

/// Refuses what Spin refuses as a variable's name: it is lower-case snake case and starts with a letter.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let valid = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .chars()
            .all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_')
        && !name.contains("__")
        && !name.ends_with('_');
    ensure!(
        valid,
        "`{name}` is no variable name: lower-case letters, digits and single `_` inside, a letter first"
    );
    Ok(())
}

/// A text with `{{ name }}` in it.
#[derive(Clone, Debug)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Variable(String),
}

impl Template {
    /// Reads a template whose names must be among the `declared` variables.
    pub(crate) fn parse(text: &str, declared: &BTreeMap<String, Variable>) -> Result<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after
                .split_once("}}")
                .ok_or_else(|| anyhow::anyhow!("`{{{{` without `}}}}` in \"{text}\""))?;
            let name = name.trim();
            ensure!(
                declared.contains_key(name),
                "\"{text}\" names the variable `{name}`, which `[variables]` has not"
            );
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Variable(name.to_owned()));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    fn resolve(&self, values: &BTreeMap<&str, String>) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Variable(name) => values[name.as_str()].clone(),
        };
        self.0.iter().map(part).collect()
    }
}

/// What a server's instances see: every value is known before the server starts.
pub(crate) struct Resolved {
    /// The component's variables.
    pub(crate) variables: HashMap<String, String>,
    /// The component's `allowed_outbound_hosts`.
    pub(crate) allowed_outbound_hosts: Vec<String>,
}

/// Gives every variable its value: from the settings, else from the environment if the settings say so, else the
/// default of the manifest.
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
            .map(|(name, template)| (name.clone(), template.resolve(&values)))
            .collect(),
        allowed_outbound_hosts: component
            .allowed_outbound_hosts
            .iter()
            .map(|host| host.resolve(&values))
            .collect(),
    })
}

fn environment_name(name: &str) -> String {
    format!("SPIN_VARIABLE_{}", name.to_ascii_uppercase())
}

impl wit::Host for Guest {}

impl<T: Send> wit::HostWithStore<T> for HasSelf<Guest> {
    async fn get(accessor: &Accessor<T, Self>, name: String) -> Result<String, Error> {
        check_name(&name).map_err(|error| Error::InvalidName(error.to_string()))?;
        accessor
            .with(|mut guest| guest.get().stores.variables.get(&name).cloned())
            .ok_or_else(|| Error::Undefined(format!("the component has no variable `{name}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> BTreeMap<String, Variable> {
        [
            ("host".to_owned(), Variable::default()),
            ("port".to_owned(), Variable::default()),
        ]
        .into()
    }

    #[test]
    fn a_template_is_filled_in() {
        let values = BTreeMap::from([("host", "db".to_owned()), ("port", "5432".to_owned())]);
        for (text, expected) in [
            ("", ""),
            ("plain {text}", "plain {text}"),
            ("{{ host }}", "db"),
            ("postgres://{{host}}:{{ port }}/x", "postgres://db:5432/x"),
            ("{{host}}{{host}}", "dbdb"),
        ] {
            assert_eq!(Template::parse(text, &declared()).unwrap().resolve(&values), expected);
        }
    }

    #[test]
    fn a_template_that_cannot_be_filled_in_is_refused() {
        for (text, expected) in [("{{ host", "without"), ("{{ nobody }}", "`nobody`"), ("{{}}", "``")] {
            let error = Template::parse(text, &declared()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn names() {
        for name in ["a", "database_url", "x1"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "1a", "_a", "a_", "a__b", "A", "a-b", "가"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
