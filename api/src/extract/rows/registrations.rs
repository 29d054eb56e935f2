//! CSV that lists registrations: their export, of which an operator has kept some lines.

use sugang_protocol::Language;

use super::{csv, text};
use crate::error::{ApiError, FieldProblem, RowProblem, RowProblems};

/// The column that is read. All others are passed over.
const ID: &str = "id";

/// The registrations that a file lists, and what is wrong with its other rows.
pub(crate) struct Listed {
    pub(crate) ids: Vec<i64>,
    /// Where each of them stands.
    pub(crate) lines: Vec<u64>,
    pub(crate) problems: RowProblems,
}

/// Reads a list of at most `most` registrations.
///
/// # Errors
/// None that is about rows.
pub(crate) fn registrations(file: &[u8], most: usize, language: Language) -> Result<Listed, ApiError> {
    let mut listed = Listed {
        ids: Vec::new(),
        lines: Vec::new(),
        problems: RowProblems::new(language),
    };
    let Some(text) = text(file, &mut listed.problems) else {
        return Ok(listed);
    };
    let mut column = None;
    csv::each_record(&text, |line, record| {
        let Some(column) = column else {
            column = csv::names(record).iter().position(|name| name == ID);
            if column.is_none() {
                listed.problems.push_field(line, None, ID, &FieldProblem::Required);
            }
            return Ok(column.is_some());
        };
        if listed.ids.len() == most {
            listed.problems.push(line, None, None, RowProblem::TooManyRows(most));
            return Ok(false);
        }
        match record.get(column).and_then(|cell| cell.trim().parse().ok()) {
            Some(id) => {
                listed.ids.push(id);
                listed.lines.push(line);
            }
            None => {
                let place = Some(column as u64 + 1);
                listed
                    .problems
                    .push_field(line, place, ID, &FieldProblem::InvalidInteger);
            }
        }
        Ok(true)
    })?;
    if listed.ids.is_empty() && listed.problems.is_empty() {
        listed.problems.push(1, None, None, RowProblem::NoRows);
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str) -> (Vec<(i64, u64)>, String) {
        let listed = registrations(file.as_bytes(), 3, Language::English).ok().unwrap();
        let ApiError::Rows(problems) = listed.problems.into_error() else {
            panic!("another error")
        };
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        (listed.ids.into_iter().zip(listed.lines).collect(), problems.join("; "))
    }

    #[test]
    fn the_column_id_is_read() {
        let file = "\u{feff}email;id ;note\r\n\"a\nb\";3;\r\n;;\r\n;1\r\n";
        assert_eq!(read(file), (vec![(3, 2), (1, 5)], String::new()));
    }

    #[test]
    fn wrong_rows_are_named() {
        for (file, problems) in [
            ("", "line 1, There are no rows."),
            ("id\n", "line 1, There are no rows."),
            ("user_id,email\n1,a", "line 1, id: This field is required."),
            (
                "email,id\na,x\nb\nc,1.0",
                "line 2, column 2, id: A valid integer is required.; line 3, column 2, id: A valid integer is required.; \
                 line 4, column 2, id: A valid integer is required.",
            ),
            ("id\n1\n2\n3\n4\n", "line 5, Ensure that there are no more than 3 rows."),
        ] {
            assert_eq!(read(file).1, problems, "{file:?}");
        }
    }
}
