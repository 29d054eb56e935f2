//! Names of variables, and the templates in which a manifest uses them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

use super::variable::Variable;

/// Accepts the names of variables that Spin accepts: lower-case snake case with a letter first.
///
/// # Errors
/// The name is not one; the message names it.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let valid = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .chars()
            .all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_')
        && !name.contains("__")
        && !name.ends_with('_');
    ensure!(
        valid,
        "`{name}` is not a variable name: use lower-case letters, digits and single `_` inside, with a letter first"
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
    /// Parses a template; its names must be among the `declared` variables.
    pub(super) fn parse(text: &str, declared: &BTreeMap<String, Variable>) -> Result<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after
                .split_once("}}")
                .with_context(|| format!("`{{{{` without `}}}}` in \"{text}\""))?;
            let name = name.trim();
            ensure!(
                declared.contains_key(name),
                "\"{text}\" uses the variable `{name}`, which `[variables]` does not declare"
            );
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Variable(name.to_owned()));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    /// Fills the values in. Every declared variable must have one.
    pub(super) fn render(&self, values: &BTreeMap<&str, String>) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Variable(name) => values[name.as_str()].clone(),
        };
        self.0.iter().map(part).collect()
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
    fn renders_values() {
        let values = BTreeMap::from([("host", "db".to_owned()), ("port", "5432".to_owned())]);
        for (text, expected) in [
            ("", ""),
            ("plain {text}", "plain {text}"),
            ("{{ host }}", "db"),
            ("postgres://{{host}}:{{ port }}/x", "postgres://db:5432/x"),
            ("{{host}}{{host}}", "dbdb"),
        ] {
            assert_eq!(Template::parse(text, &declared()).unwrap().render(&values), expected);
        }
    }

    #[test]
    fn refuses_unclosed_braces_and_undeclared_names() {
        for (text, expected) in [("{{ host", "without"), ("{{ other }}", "`other`"), ("{{}}", "``")] {
            let error = Template::parse(text, &declared()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn names_are_lower_snake_case() {
        for name in ["a", "database_url", "x1"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "1a", "_a", "a_", "a__b", "A", "a-b", "가"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
