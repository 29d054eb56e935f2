//! Wrong rows of a file, collected so that a client sees many of them at once.

use std::borrow::Cow;

use sugang_protocol::{Language, Text};
use sugang_sdk::types::RowError;

use super::{ApiError, FieldProblem, FieldProblems};

/// The most wrong places that a response lists.
const MAX_LISTED: usize = 100;
/// The most characters of a name that a response repeats.
const MAX_NAME_CHARS: usize = 64;

/// What is wrong with a file beside its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowProblem {
    /// The bytes are not UTF-8 from this line on.
    NotUtf8,
    /// No field has the name of the column.
    UnknownField,
    /// Another column has the same name.
    RepeatedColumn,
    /// The row has not as many cells as the first one.
    CellCount(usize),
    /// The line is not a JSON object.
    NotAnObject,
    /// The file has no row.
    NoRows,
    /// The file has more than this many rows.
    TooManyRows(usize),
    /// This many more places are wrong than the response lists.
    More(usize),
}

impl RowProblem {
    fn text(self, language: Language) -> Cow<'static, str> {
        let text = |korean, english| Cow::from(Text::new(korean, english).in_language(language));
        match self {
            Self::NotUtf8 => text(
                "UTF-8이 아닙니다. 엑셀에서는 'CSV UTF-8'로 저장하십시오.",
                "This is not UTF-8. A spreadsheet saves it as \"CSV UTF-8\".",
            ),
            Self::UnknownField => text("알 수 없는 필드입니다.", "There is no such field."),
            Self::RepeatedColumn => text(
                "같은 이름의 열이 이미 있습니다.",
                "Another column has this name already.",
            ),
            Self::CellCount(cells) => match language {
                Language::Korean => format!("첫 줄과 같이 {cells}개의 칸이 있어야 합니다.").into(),
                Language::English => format!("It must have {cells} cells, as the first line has.").into(),
            },
            Self::NotAnObject => text("JSON 객체가 아닙니다.", "This is not a JSON object."),
            Self::NoRows => text("행이 없습니다.", "There are no rows."),
            Self::TooManyRows(most) => match language {
                Language::Korean => format!("행은 {most}개를 넘을 수 없습니다.").into(),
                Language::English => format!("Ensure that there are no more than {most} rows.").into(),
            },
            Self::More(more) => match language {
                Language::Korean => format!("이 밖에 {more}곳이 더 잘못되었습니다.").into(),
                Language::English => format!("{more} more places are wrong.").into(),
            },
        }
    }
}

/// The wrong rows of a file.
pub(crate) struct RowProblems {
    language: Language,
    /// The first ones that were found.
    listed: Vec<RowError>,
    /// How many were found.
    found: usize,
}

impl RowProblems {
    pub(crate) fn new(language: Language) -> Self {
        Self {
            language,
            listed: Vec::new(),
            found: 0,
        }
    }

    /// Adds a problem of a line, or of a column in it.
    pub(crate) fn push(&mut self, line: u64, column: Option<u64>, field: Option<&str>, problem: RowProblem) {
        let field = field.map(|name| name.chars().take(MAX_NAME_CHARS).collect::<String>().into());
        self.list(line, column, field, |language| problem.text(language));
    }

    /// Adds the problem of one field.
    pub(crate) fn push_field(&mut self, line: u64, column: Option<u64>, field: &'static str, problem: &FieldProblem) {
        self.list(line, column, Some(field.into()), |language| problem.text(language));
    }

    /// Adds the wrong fields of a line. `column` finds the column of a field.
    pub(crate) fn push_fields(&mut self, line: u64, problems: &FieldProblems, column: impl Fn(&str) -> Option<u64>) {
        for (field, problem) in &problems.0 {
            self.push_field(line, column(field), field, problem);
        }
    }

    fn list(
        &mut self,
        line: u64,
        column: Option<u64>,
        field: Option<Cow<'static, str>>,
        text: impl FnOnce(Language) -> Cow<'static, str>,
    ) {
        self.found += 1;
        if self.listed.len() < MAX_LISTED {
            self.listed.push(RowError {
                index: None,
                line: Some(line),
                column,
                field,
                error: text(self.language),
            });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found == 0
    }

    /// Adds what was found elsewhere in the same file. Both have their problems in the order of the lines.
    pub(crate) fn merge(&mut self, other: Self) {
        self.found += other.found;
        self.listed.extend(other.listed);
        self.listed.sort_by_key(|problem| problem.line);
        self.listed.truncate(MAX_LISTED);
    }

    /// Returns the error, with the first problems and the number of the others.
    pub(crate) fn into_error(mut self) -> ApiError {
        let more = self.found - self.listed.len();
        if more > 0 {
            self.listed.push(RowError {
                error: RowProblem::More(more).text(self.language),
                ..RowError::default()
            });
        }
        ApiError::Rows(self.listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_problems_are_listed_and_the_others_counted() {
        let mut problems = RowProblems::new(Language::English);
        for line in 1..=MAX_LISTED as u64 {
            problems.push(2 * line, None, None, RowProblem::NotAnObject);
        }
        let mut others = RowProblems::new(Language::English);
        others.push_field(3, Some(7), "end_at", &FieldProblem::BeforeStart);
        others.push(1_000, None, Some(&"x".repeat(100)), RowProblem::UnknownField);
        problems.merge(others);
        let ApiError::Rows(rows) = problems.into_error() else {
            panic!("another error")
        };
        assert_eq!(rows.len(), MAX_LISTED + 1);
        assert_eq!(
            rows[1].to_string(),
            "line 3, column 7, end_at: It may not be before the start."
        );
        assert_eq!(rows[MAX_LISTED].to_string(), "2 more places are wrong.");
    }
}
