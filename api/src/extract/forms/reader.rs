//! Reads the fields of a form, and collects everything that is wrong with them.

use serde_json::value::RawValue;

use super::text::text;
use crate::{
    error::{FieldProblem, FieldProblems},
    extract::body::Object,
};

/// A form that is being read, with the problems found so far.
pub(super) struct FormReader<'a> {
    object: &'a Object<'a>,
    pub(super) problems: FieldProblems,
}

impl<'a> FormReader<'a> {
    pub(super) fn new(object: &'a Object<'a>) -> Self {
        Self {
            object,
            problems: FieldProblems::default(),
        }
    }

    /// Reads a field that must be there.
    pub(super) fn value(&mut self, name: &'static str) -> Option<&'a RawValue> {
        let value = match self.object.get(name) {
            None => Err(FieldProblem::Required),
            Some(raw) if raw.get() == "null" => Err(FieldProblem::Null),
            Some(raw) => Ok(*raw),
        };
        self.keep(name, value)
    }

    /// Reads a field that must be a text, and not blank.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        let raw = self.value(name)?;
        self.keep(name, text(raw))
    }

    /// Applies rules to a text that was read.
    pub(super) fn check<const N: usize>(
        &mut self,
        name: &'static str,
        text: &Option<String>,
        rules: impl FnOnce(&str) -> [Option<FieldProblem>; N],
    ) {
        for problem in text.as_deref().map(rules).into_iter().flatten().flatten() {
            self.problems.push(name, problem);
        }
    }

    /// Keeps a value, or the problem of the field `name`.
    pub(super) fn keep<T>(&mut self, name: &'static str, value: Result<T, FieldProblem>) -> Option<T> {
        value.map_err(|problem| self.problems.push(name, problem)).ok()
    }
}
