//! Patterns of paths, whose segment `*` stands for any segment.

use serde::Deserialize;

/// A path, without a slash at the end, in which `*` stands for one segment.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct PathPattern(String);

impl PathPattern {
    /// Returns whether a canonical path is one of these.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let (mut own, mut other) = (self.0.split('/'), path.split('/'));
        loop {
            match (own.next(), other.next()) {
                (None, None) => return true,
                (Some("*"), Some(segment)) if !segment.is_empty() => {}
                (Some(own), Some(other)) if own == other => {}
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_segment() {
        for (pattern, path, expected) in [
            ("/orders/*/approve", "/orders/12/approve", true),
            ("/orders/*/approve", "/orders//approve", false),
            ("/orders/*/approve", "/orders/1/2/approve", false),
            ("/orders/*/approve", "/orders/1", false),
            ("/orders/*/approve", "/orders/1/approve/x", false),
            ("/orders/*", "/orders/1", true),
            ("/orders", "/orders", true),
        ] {
            assert_eq!(
                PathPattern(pattern.to_owned()).matches(path),
                expected,
                "{pattern} {path}"
            );
        }
    }
}
