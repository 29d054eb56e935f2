//! Files: of exams or courses, as CSV or JSON Lines, which is one JSON object a line, and lists of registrations.
//!
//! A row of an item is read as the form of a new item, so that a file and a single request have the same rules and messages.

mod csv;
mod items;
mod json_lines;
mod registrations;

use std::borrow::Cow;

use sugang_protocol::Language;

use super::body::FileFormat;
use crate::error::{ApiError, RowProblem, RowProblems};

#[cfg(test)]
pub(crate) use items::MAX_ROWS;
pub(crate) use items::Rows;
use items::newlines;
pub(crate) use registrations::{Listed, registrations};

/// Reads a file. A byte order mark is passed over, and so are blank lines.
///
/// # Errors
/// Those of a new item that are not about fields: none.
pub(crate) fn read(file: &[u8], format: FileFormat, language: Language) -> Result<Rows, ApiError> {
    let mut rows = Rows::new(language);
    let Some(text) = text(file, &mut rows.problems) else {
        return Ok(rows);
    };
    match format {
        FileFormat::Csv => csv::read(&text, &mut rows)?,
        FileFormat::JsonLines => json_lines::read(&text, &mut rows)?,
    }
    if rows.is_empty() {
        rows.problems.push(1, None, None, RowProblem::NoRows);
    }
    Ok(rows)
}

/// The text of a file without its byte order mark, or `None` and the line that cannot be read. Spreadsheets write what
/// they call Unicode text in UTF-16, with a byte order mark.
fn text<'a>(file: &'a [u8], problems: &mut RowProblems) -> Option<Cow<'a, str>> {
    let utf_16: Option<fn([u8; 2]) -> u16> = match file {
        [0xff, 0xfe, ..] => Some(u16::from_le_bytes),
        [0xfe, 0xff, ..] => Some(u16::from_be_bytes),
        _ => None,
    };
    let Some(unit) = utf_16 else {
        return match std::str::from_utf8(file) {
            Ok(text) => Some(text.strip_prefix('\u{feff}').unwrap_or(text).into()),
            Err(error) => {
                let line = 1 + newlines(&file[..error.valid_up_to()]);
                problems.push(line, None, None, RowProblem::NotUtf8);
                None
            }
        };
    };
    let (units, rest) = file[2..].as_chunks();
    let text: Result<String, _> = char::decode_utf16(units.iter().copied().map(unit)).collect();
    match text {
        Ok(text) if rest.is_empty() => Some(text.into()),
        _ => {
            problems.push(1, None, None, RowProblem::NotUtf8);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ApiError, FileFormat, Language, MAX_ROWS, Rows};

    pub(super) fn read(file: &[u8], format: FileFormat) -> Rows {
        super::read(file, format, Language::English).ok().unwrap()
    }

    /// The titles with their lines, and then the problems.
    pub(super) fn shown(file: &str, format: FileFormat) -> String {
        let rows = read(file.as_bytes(), format);
        let items = rows.items.iter().zip(&rows.places);
        let mut shown: Vec<_> = items
            .map(|(item, place)| format!("{} {:?}", place.line, item.title))
            .collect();
        let ApiError::Rows(problems) = rows.problems.into_error() else {
            panic!("another error")
        };
        shown.extend(problems.iter().map(ToString::to_string));
        shown.join("\n")
    }

    #[test]
    fn a_file_is_utf_8_and_has_rows() {
        for format in [FileFormat::Csv, FileFormat::JsonLines] {
            for empty in ["", "\u{feff}", "\r\n\n"] {
                assert_eq!(shown(empty, format), "line 1, There are no rows.", "{empty:?}");
            }
            let problems = read(b"\xef\xbb\xbftitle\n\xb0\xa1\n", format).problems;
            let ApiError::Rows(problems) = problems.into_error() else {
                panic!("another error")
            };
            assert_eq!(
                problems[0].to_string(),
                "line 2, This is not UTF-8. A spreadsheet saves it as \"CSV UTF-8\"."
            );
        }
    }

    #[test]
    fn a_file_in_utf_16_has_a_byte_order_mark() {
        let text = "\u{feff}title\tprice\tstart_at\tend_at\r\n가\t1\t2026-01-01T00:00:00Z\t2026-02-01T00:00:00Z\r\n";
        for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
            let file: Vec<u8> = text.encode_utf16().flat_map(bytes).collect();
            assert_eq!(read(&file, FileFormat::Csv).items[0].title, "가");
            let cut = &file[..file.len() - 1];
            assert!(!read(cut, FileFormat::Csv).problems.is_empty());
        }
    }

    #[test]
    fn a_file_has_a_bounded_number_of_rows() {
        let line = r#"{"title":"가","price":0,"start_at":"2026-01-01T00:00:00Z","end_at":"2026-01-01T00:00:00Z"}"#;
        let file = format!("{line}\n").repeat(MAX_ROWS);
        assert!(read(file.as_bytes(), FileFormat::JsonLines).problems.is_empty());
        let file = file + "{}\n{}\n";
        let rows = read(file.as_bytes(), FileFormat::JsonLines);
        let ApiError::Rows(problems) = rows.problems.into_error() else {
            panic!("another error")
        };
        assert_eq!(problems.len(), 1);
        assert_eq!(
            problems[0].to_string(),
            "line 20001, Ensure that there are no more than 20000 rows."
        );
    }
}
