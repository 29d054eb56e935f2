//! CSV as people and spreadsheets write it.

use std::{borrow::Cow, collections::BTreeMap};

use csv::{ReaderBuilder, StringRecord};

use super::items::{Rows, is_known, newlines};
use crate::{
    error::{ApiError, FieldProblem, RowProblem},
    extract::{body::Object, forms::item::REQUIRED},
};

/// What the first character of a cell may be that an export has defused by an apostrophe before it.
const DEFUSED: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\''];

/// Reads CSV whose first line names the columns, in any order.
///
/// # Errors
/// Those of [`super::read`].
pub(super) fn read(text: &str, rows: &mut Rows) -> Result<(), ApiError> {
    let mut columns = None;
    each_record(text, |line, record| {
        let Some(names) = &columns else {
            let names = names(record);
            check(&names, line, rows);
            columns = Some(names);
            return Ok(rows.problems.is_empty());
        };
        let may_have = rows.begin(line);
        if may_have {
            add(names, record, line, rows)?;
        }
        Ok(may_have)
    })
}

/// Visits the records with their lines, until the visitor returns false. Spreadsheets write lines of empty cells, which
/// are passed over.
pub(super) fn each_record(
    text: &str,
    mut visit: impl FnMut(u64, &StringRecord) -> Result<bool, ApiError>,
) -> Result<(), ApiError> {
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter(text))
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut lines = Lines::new(text);
    let mut record = StringRecord::new();
    let failed = |_| ApiError::internal("a file in memory could not be read");
    while reader.read_record(&mut record).map_err(failed)? {
        let line = lines.line_of(&record);
        let is_blank = record.iter().all(|cell| cell.trim().is_empty());
        if !is_blank && !visit(line, &record)? {
            break;
        }
    }
    Ok(())
}

/// The names of the columns, from the first record. Spreadsheets begin names with capital letters, and write empty
/// columns after the last one.
pub(super) fn names(record: &StringRecord) -> Vec<String> {
    let mut names: Vec<_> = record.iter().map(|name| name.trim().to_ascii_lowercase()).collect();
    names.truncate(
        names
            .iter()
            .rposition(|name| !name.is_empty())
            .map_or(0, |last| last + 1),
    );
    names
}

/// A spreadsheet writes semicolons where a comma stands in numbers, and tabs in what it calls Unicode text.
fn delimiter(text: &str) -> u8 {
    let names = text.trim_start().lines().next().unwrap_or_default();
    let other = [(';', b';'), ('\t', b'\t')]
        .into_iter()
        .find(|(char, _)| names.contains(*char));
    match other {
        Some((_, delimiter)) if !names.contains(',') => delimiter,
        _ => b',',
    }
}

/// Checks the names of the columns.
fn check(names: &[String], line: u64, rows: &mut Rows) {
    for (column, name) in (1..).zip(names) {
        let is_repeated = names.iter().take(column as usize - 1).any(|other| other == name);
        let problem = match (is_known(name), is_repeated) {
            (false, _) => RowProblem::UnknownField,
            (true, true) => RowProblem::RepeatedColumn,
            (true, false) => continue,
        };
        rows.problems.push(line, Some(column), Some(name), problem);
    }
    for name in REQUIRED {
        if !names.iter().any(|known| known == name) {
            rows.problems.push_field(line, None, name, &FieldProblem::Required);
        }
    }
}

fn add(names: &[String], record: &StringRecord, line: u64, rows: &mut Rows) -> Result<(), ApiError> {
    let has_more = record.iter().skip(names.len()).any(|cell| !cell.trim().is_empty());
    if has_more || record.len() < names.len() {
        let column = Some(names.len().min(record.len()) as u64 + 1);
        rows.problems
            .push(line, column, None, RowProblem::CellCount(names.len()));
        return Ok(());
    }
    let cells = names.iter().zip(record);
    let cells: BTreeMap<&str, Cow<'_, str>> = cells
        .filter(|(_, cell)| !cell.trim().is_empty())
        .map(|(name, cell)| (name.as_str(), read_cell(name, cell)))
        .collect();
    let json = serde_json::to_string(&cells).map_err(|_| ApiError::internal("a row cannot be written as JSON"))?;
    let object: Object<'_> =
        serde_json::from_str(&json).map_err(|_| ApiError::internal("a row cannot be read as JSON"))?;
    let column = |field: &str| {
        (1..)
            .zip(names)
            .find(|(_, name)| *name == field)
            .map(|(column, _)| column)
    };
    rows.add(line, &object, column)
}

/// Undoes what an export has done to a cell, and the capital letters in which spreadsheets write true and false.
fn read_cell<'a>(name: &str, cell: &'a str) -> Cow<'a, str> {
    match cell.strip_prefix('\'') {
        Some(defused) if defused.starts_with(DEFUSED) => defused.into(),
        _ if name == "hidden" => cell.to_ascii_lowercase().into(),
        _ => cell.into(),
    }
}

/// Counts lines up to the records, which may have line ends in their cells and blank lines before them.
struct Lines<'a> {
    text: &'a [u8],
    counted: usize,
    line: u64,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text: text.as_bytes(),
            counted: 0,
            line: 1,
        }
    }

    /// Returns the line on which a record begins. Records are asked for in their order.
    fn line_of(&mut self, record: &StringRecord) -> u64 {
        let begin = record.position().map_or(0, csv::Position::byte) as usize;
        let rest = self.text.get(begin..).unwrap_or_default();
        let blank = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let begin = begin + blank;
        self.line += newlines(self.text.get(self.counted..begin).unwrap_or_default());
        self.counted = begin;
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read, shown};
    use crate::extract::body::FileFormat;

    const NAMES: &str = "title,price,start_at,end_at";
    const PERIOD: &str = "2026-01-01T00:00:00+09:00,2026-02-01T00:00:00+09:00";

    fn csv(text: &str) -> String {
        shown(text, FileFormat::Csv)
    }

    #[test]
    fn a_file_of_a_spreadsheet_is_read() {
        let file = "\u{feff}hidden, end_at ,\"title\",start_at,description,price,capacity,id\r\n\r\n\
             TRUE,2026-02-01T00:00:00Z,\"가, \"\"나\"\"\r\n다\",2026-01-01T00:00:00Z,,30000,,7\r\n\
             ,,,,,,,\r\n\
             ,2026-02-01T00:00:00Z,'=1+1,2026-01-01T00:00:00Z,''-1,0.50,20,8";
        let rows = read(file.as_bytes(), FileFormat::Csv);
        assert!(rows.problems.is_empty(), "{}", csv(file));
        let items: Vec<_> = rows
            .items
            .iter()
            .map(|item| {
                (
                    item.title.as_str(),
                    item.description.as_deref(),
                    item.capacity,
                    item.hidden,
                )
            })
            .collect();
        assert_eq!(
            items,
            [
                ("가, \"나\"\r\n다", None, None, true),
                ("=1+1", Some("'-1"), Some(20), false)
            ]
        );
        let places: Vec<_> = rows.places.iter().map(|place| (place.line, place.end_at)).collect();
        assert_eq!(places, [(3, Some(2)), (6, Some(2))]);
        for delimiter in [";", "\t"] {
            let file = format!("{NAMES}\n가,1000,{PERIOD}\n").replace(',', delimiter);
            assert_eq!(csv(&file), "2 \"가\"");
        }
        let empty_columns = format!("Title,Price,START_AT,end_at,,\n가,1000,{PERIOD},,\n,,,,,\n나,1000,{PERIOD}\n");
        assert_eq!(csv(&empty_columns), "2 \"가\"\n4 \"나\"");
    }

    #[test]
    fn wrong_names_of_columns_are_found_before_the_rows() {
        assert_eq!(
            csv("title,preis,title,start_at,,end_at\nx\n"),
            "line 1, column 2, preis: There is no such field.\n\
             line 1, column 3, title: Another column has this name already.\n\
             line 1, column 5, : There is no such field.\n\
             line 1, price: This field is required."
        );
    }

    #[test]
    fn every_wrong_cell_has_its_line_and_column() {
        let file = format!(
            "{NAMES}\n가,-1,{PERIOD}\n\n\"나\n다\",,{PERIOD}\n라,1\n마,1,{PERIOD},x\n바,1,{PERIOD}\n\"사,1,{PERIOD}\n"
        );
        assert_eq!(
            csv(&file),
            "8 \"바\"\n\
             line 2, column 2, price: Ensure this value is greater than or equal to 0.\n\
             line 4, column 2, price: This field is required.\n\
             line 6, column 3, It must have 4 cells, as the first line has.\n\
             line 7, column 5, It must have 4 cells, as the first line has.\n\
             line 9, column 2, It must have 4 cells, as the first line has."
        );
    }

    /// What stands in a cell by hand, and what an export makes of it.
    #[test]
    fn only_a_defused_cell_loses_its_apostrophe() {
        for (cell, title) in [
            ("'=1", "=1"),
            ("''=1", "'=1"),
            ("'''", "''"),
            ("'70s", "'70s"),
            ("=1", "=1"),
            ("-", "-"),
        ] {
            let rows = read(format!("{NAMES}\n{cell},1,{PERIOD}\n").as_bytes(), FileFormat::Csv);
            assert_eq!(rows.items[0].title, title, "{cell}");
        }
    }
}
