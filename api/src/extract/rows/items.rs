//! The rows of a file, as they are read.

use sugang_protocol::Language;
use sugang_sdk::types::NewItem;

use crate::{
    error::{ApiError, RowProblem, RowProblems},
    extract::{
        body::Object,
        forms::{item::FIELDS, new_item},
    },
};

/// The most rows of a file. PostgreSQL writes them in a few seconds.
pub(crate) const MAX_ROWS: usize = 20_000;
/// Fields that an export has beside those of a new item. An import passes over them.
const READ_ONLY: [&str; 2] = ["id", "registration_count"];

/// The items of a file, and what is wrong with its other rows.
pub(crate) struct Rows {
    pub(crate) items: Vec<NewItem>,
    /// Where each of the items stands.
    pub(super) places: Vec<Place>,
    pub(crate) problems: RowProblems,
    rows: usize,
}

/// Where a row stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) line: u64,
    /// The column of `end_at`, which may be wrong together with `start_at`.
    pub(crate) end_at: Option<u64>,
}

impl Rows {
    /// Begins a file.
    pub(super) fn new(language: Language) -> Self {
        Self {
            items: Vec::new(),
            places: Vec::new(),
            problems: RowProblems::new(language),
            rows: 0,
        }
    }

    /// Whether the file has neither a row nor a problem.
    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0 && self.problems.is_empty()
    }

    /// Returns where an item stands, by its place among the items.
    pub(crate) fn place(&self, item: usize) -> Option<Place> {
        self.places.get(item).copied()
    }

    /// Counts a row. Returns whether the file may have it.
    pub(super) fn begin(&mut self, line: u64) -> bool {
        self.rows += 1;
        if self.rows == MAX_ROWS + 1 {
            self.problems.push(line, None, None, RowProblem::TooManyRows(MAX_ROWS));
        }
        self.rows <= MAX_ROWS
    }

    /// Adds a row. `column` finds the column of a field.
    pub(super) fn add(
        &mut self,
        line: u64,
        object: &Object<'_>,
        column: impl Fn(&str) -> Option<u64>,
    ) -> Result<(), ApiError> {
        match new_item(object) {
            Ok(item) => {
                self.items.push(item);
                let end_at = column("end_at");
                self.places.push(Place { line, end_at });
            }
            Err(ApiError::Fields(problems)) => self.problems.push_fields(line, &problems, column),
            Err(other) => return Err(other),
        }
        Ok(())
    }
}

/// Whether a file may have this field.
pub(super) fn is_known(name: &str) -> bool {
    FIELDS.contains(&name) || READ_ONLY.contains(&name)
}

pub(super) fn newlines(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}
