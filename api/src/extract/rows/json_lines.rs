//! JSON Lines.

use super::items::{Rows, is_known};
use crate::{
    error::{ApiError, RowProblem},
    extract::body::Object,
};

/// Reads one JSON object a line.
///
/// # Errors
/// Those of [`super::read`].
pub(super) fn read(text: &str, rows: &mut Rows) -> Result<(), ApiError> {
    for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        if !rows.begin(line) {
            break;
        }
        match serde_json::from_str::<Object<'_>>(text) {
            Ok(object) => {
                for name in object.keys().filter(|name| !is_known(name)) {
                    rows.problems.push(line, None, Some(name), RowProblem::UnknownField);
                }
                rows.add(line, &object, |_| None)?;
            }
            Err(error) => {
                let column = Some(error.column() as u64).filter(|column| *column > 0);
                rows.problems.push(line, column, None, RowProblem::NotAnObject);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::shown;
    use crate::extract::body::FileFormat;

    #[test]
    fn each_line_is_an_object() {
        let good = r#""price":"0.00","start_at":"2026-01-01T00:00:00Z","end_at":"2026-01-01T00:00:00Z","id":7"#;
        let file = format!(
            "\u{feff}{{\"title\":\"가\",{good}}}\r\n \n{{\"title\":\"\",\"prize\":1,{good}}}\n[]\n{{\"a\":}}\n{{\"title\":\"나\",{good}}}"
        );
        assert_eq!(
            shown(&file, FileFormat::JsonLines),
            "1 \"가\"\n6 \"나\"\nline 3, prize: There is no such field.\nline 3, title: This field may not be blank.\n\
             line 4, This is not a JSON object.\nline 5, column 6, This is not a JSON object."
        );
    }
}
