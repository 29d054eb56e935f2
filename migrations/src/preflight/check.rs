//! The files of `preflight/`.

use include_dir::{Dir, include_dir};

use super::level::Level;
use crate::kind::{ItemKind, expand_all, label};

static PREFLIGHT: Dir = include_dir!("$CARGO_MANIFEST_DIR/preflight");

const FOLDERS: [(&str, Level); 3] = [
    ("obstacles", Level::Obstacle),
    ("repairs", Level::Repair),
    ("notes", Level::Note),
];

/// One file, for one kind.
pub(super) struct Check {
    pub name: String,
    pub kind: Option<&'static str>,
    pub level: Level,
    pub finds: String,
    pub advice: String,
    /// Returns a text for each row that it finds, and may return SQL that removes it.
    pub query: String,
    pub remedy: String,
}

impl Check {
    pub(super) fn label(&self) -> String {
        label(&self.name, self.kind)
    }

    /// Makes the query and the remedy leave alone what inherits from a table: a row may be there once more.
    pub(super) fn leave_out_children(&mut self, parent: &str) {
        self.query = only(&self.query, parent);
        self.remedy = only(&self.remedy, parent);
    }
}

/// Puts `only` before a table wherever SQL reads or changes its rows.
fn only(sql: &str, table: &str) -> String {
    let is_part_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut changed = String::with_capacity(sql.len());
    let mut copied = 0;
    for (start, _) in sql.match_indices(table) {
        let before = sql[..start].strip_suffix([' ', '\n']).unwrap_or_default().trim_end();
        let ends_here = !sql[start + table.len()..].starts_with(is_part_of_name);
        if ends_here && ["from", "join", "update"].iter().any(|word| before.ends_with(word)) {
            changed.push_str(&sql[copied..start]);
            changed.push_str("only ");
            copied = start;
        }
    }
    changed + &sql[copied..]
}

/// All checks: obstacles, repairs and notes, each in the order of the files' names.
pub(super) fn checks(kinds: &[ItemKind]) -> Vec<Check> {
    let list = kinds.iter().map(|kind| format!("'{}'", kind.kind));
    let list = list.collect::<Vec<_>>().join(", ");
    let mut checks = Vec::new();
    for (folder, level) in FOLDERS {
        let folder = PREFLIGHT.get_dir(folder).into_iter();
        let mut files: Vec<_> = folder.flat_map(Dir::files).collect();
        files.sort_unstable_by_key(|file| file.path());
        for file in files {
            let name = file
                .path()
                .file_stem()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let text = file.contents_utf8().unwrap_or_default().replace("{kinds}", &list);
            for (kind, text) in expand_all(&text, kinds) {
                checks.push(parse(name, kind.map(|kind| kind.kind), level, &text));
            }
        }
    }
    checks
}

/// Reads the lines `-- finds:`, `-- advice:` (for a repair, `-- repair:`) and `-- query:`, which go on until the first line
/// without a comment, then the query, then `-- remedy:` and its statements. If a query is named, that file of `parts/` is
/// the query, and the one here gives its rows. A part that is named in braces stands there as well.
fn parse(name: &str, kind: Option<&'static str>, level: Level, text: &str) -> Check {
    let (head, remedy) = text.split_once("-- remedy:\n").unwrap_or((text, ""));
    let (mut finds, mut advice, mut part) = (String::new(), String::new(), String::new());
    let mut lines = head.lines();
    let mut current = &mut finds;
    for line in lines.by_ref() {
        let Some(comment) = line.strip_prefix("-- ") else { break };
        let comment = match comment.split_once(": ") {
            Some(("finds", rest)) => rest,
            Some(("advice" | "repair", rest)) => {
                current = &mut advice;
                rest
            }
            Some(("query", rest)) => {
                current = &mut part;
                rest
            }
            _ => comment,
        };
        if !current.is_empty() {
            current.push(' ');
        }
        current.push_str(comment);
    }
    let query = statement(lines);
    let query = match part.as_str() {
        "" => query,
        part => part_of_queries(part).replace("{rows}", &query),
    };
    let query = query.replace("{dependents}", &part_of_queries("dependents"));
    Check {
        name: name.strip_suffix("_of_kind").unwrap_or(name).to_owned(),
        kind,
        level,
        finds,
        advice,
        query,
        remedy: remedy.trim().to_owned(),
    }
}

/// The query that several checks share, each with its own rows for `{rows}`; empty if there is no such file.
fn part_of_queries(name: &str) -> String {
    let file = PREFLIGHT.get_file(format!("parts/{name}.sql"));
    let text = file.and_then(|file| file.contents_utf8()).unwrap_or_default();
    statement(text.lines().skip_while(|line| line.starts_with("--")))
}

/// The text of a statement without its end.
fn statement<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let text = lines.collect::<Vec<_>>().join("\n");
    text.trim().trim_end_matches(';').to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::kind::KINDS;

    #[test]
    fn each_check_says_what_it_finds_and_how_to_remove_it() {
        let checks = checks(KINDS);
        assert!(checks.len() > 50, "{}", checks.len());
        for check in &checks {
            let label = check.label();
            assert!(check.finds.ends_with('.') && !check.query.is_empty(), "{label}");
            let statement = check.query.split_whitespace().next();
            assert!(matches!(statement, Some("select" | "with")), "{label}: {}", check.query);
            assert!(!check.query.contains(";\n"), "{label} is one statement");
            assert!(check.remedy.is_empty() || check.remedy.ends_with(';'), "{label}");
            // What stands in the way comes with a way out.
            assert!(check.level != Level::Obstacle || !check.advice.is_empty(), "{label}");
            let sql = format!("{}{}", check.query, check.remedy);
            assert!(
                !["{kind", "{rows", "{dependents"].iter().any(|left| sql.contains(left)),
                "{label}"
            );
        }
    }

    #[test]
    fn children_of_a_table_are_left_out_wherever_its_rows_are_read_or_changed() {
        let sql = "with moved as (\n    delete from tests returning *\n) insert into tests_aside select * from moved;\n\
                   update tests t set title = 'from' from test_registrations r\nleft join\n    tests using (id);";
        let expected = "with moved as (\n    delete from only tests returning *\n) insert into tests_aside select * from moved;\n\
                   update only tests t set title = 'from' from test_registrations r\nleft join\n    only tests using (id);";
        assert_eq!(only(sql, "tests"), expected);
        for mut check in checks(KINDS) {
            check.leave_out_children("payments");
            let sql = format!("{}{}", check.query, check.remedy);
            for rows in ["from payments ", "join payments ", "update payments "] {
                assert!(!sql.contains(rows), "{}: {sql}", check.label());
            }
        }
    }

    #[test]
    fn a_check_is_there_once_for_each_kind() {
        let labels: Vec<_> = checks(KINDS).iter().map(Check::label).collect();
        assert_eq!(labels.iter().collect::<BTreeSet<_>>().len(), labels.len(), "{labels:?}");
        assert!(labels.contains(&"payment_twice".to_owned()));
        assert!(labels.contains(&"registration_twice (course)".to_owned()));
    }
}
