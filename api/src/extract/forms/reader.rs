//! Reads the fields of a form, and collects everything that is wrong with them.

use serde_json::value::RawValue;

use super::text::text;
use crate::{
    error::{FieldProblem, FieldProblems},
    extract::body::Object,
    text::nfc,
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

    /// Reads a field that must be a text, and not blank. The text is in NFC.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        let raw = self.value(name)?;
        self.keep(name, text(raw).map(|text| nfc(&text).into_owned()))
    }

    /// Reads a field that may be missing, or null.
    pub(super) fn nullable<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&RawValue) -> Result<Option<T>, FieldProblem>,
    ) -> Option<Option<T>> {
        match self.object.get(name)? {
            raw if raw.get() == "null" => Some(None),
            raw => self.keep(name, read(raw)),
        }
    }

    /// Reads a password as it was typed: hashing normalizes it.
    pub(super) fn password(&mut self) -> Option<String> {
        let raw = self.value("password")?;
        self.keep("password", text(raw))
    }

    /// Applies rules to a value that was read.
    pub(super) fn check<T: ?Sized, const N: usize>(
        &mut self,
        name: &'static str,
        value: Option<&T>,
        rules: impl FnOnce(&T) -> [Option<FieldProblem>; N],
    ) {
        for problem in value.map(rules).into_iter().flatten().flatten() {
            self.problems.push(name, problem);
        }
    }

    /// Keeps a value, or the problem of the field `name`.
    pub(super) fn keep<T>(&mut self, name: &'static str, value: Result<T, FieldProblem>) -> Option<T> {
        value.map_err(|problem| self.problems.push(name, problem)).ok()
    }
}
