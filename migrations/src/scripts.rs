//! The SQL files of this crate, expanded for each kind, in the order in which they run.

use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};

use crate::{
    checks,
    kind::{ItemKind, expand_all, label},
};

static SCHEMA: Dir = include_dir!("$CARGO_MANIFEST_DIR/schema");
static AMENDMENTS: Dir = include_dir!("$CARGO_MANIFEST_DIR/amendments");
static FUNCTIONS: Dir = include_dir!("$CARGO_MANIFEST_DIR/functions");

/// One file as PostgreSQL gets it.
pub(crate) struct Script {
    /// The path below `schema/` or `functions/`, without the ending.
    pub name: String,
    /// The kind for which it is expanded; empty for a file without placeholders.
    pub kind: &'static str,
    pub sql: String,
}

impl Script {
    /// The name with the kind, for messages.
    pub(crate) fn label(&self) -> String {
        label(&self.name, Some(self.kind).filter(|kind| !kind.is_empty()))
    }

    /// The names of the functions that it defines.
    pub(crate) fn routines(&self) -> Vec<&str> {
        let lines = self.sql.lines();
        let definitions = lines.filter_map(|line| line.strip_prefix("create or replace function sugang."));
        definitions.filter_map(|rest| Some(rest.split_once('(')?.0)).collect()
    }

    /// Of these, the ones that the API calls: they are told the name that they are called by.
    pub(crate) fn called_routines(&self) -> Vec<&str> {
        let is_called = |name: &&str| self.sql.contains(&format!("function sugang.{name}(p_function text"));
        self.routines().into_iter().filter(is_called).collect()
    }

    /// The tables that `alter table` names. An operator's psql must not read them meanwhile.
    pub(crate) fn altered_tables(&self) -> Vec<&str> {
        let statements = self.sql.split("alter table ").skip(1);
        let name = |rest: &'_ str| -> usize {
            rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_' || letter == '.'))
                .unwrap_or(rest.len())
        };
        statements.map(|rest| &rest[..name(rest)]).collect()
    }

    /// The names of the functions that it defines, each with its body.
    pub(crate) fn bodies(&self) -> Vec<(&str, &str)> {
        let definitions = self.sql.split("create or replace function sugang.").skip(1);
        definitions
            .filter_map(|definition| {
                let (name, _) = definition.split_once('(')?;
                let (_, rest) = definition.split_once("$$")?;
                let (body, _) = rest.split_once("$$")?;
                Some((name, body))
            })
            .collect()
    }

    /// The triggers that it defines: name, table and function, separated by blanks.
    pub(crate) fn triggers(&self) -> Vec<String> {
        let definitions = self.sql.split("create or replace trigger ").skip(1);
        definitions
            .filter_map(|definition| {
                let words: Vec<_> = definition.split_once(';')?.0.split_whitespace().collect();
                let after = |word: &str| words.iter().skip_while(|found| **found != word).nth(1);
                let (_, function) = words.iter().rev().find_map(|word| word.split_once("sugang."))?;
                let (function, _) = function.split_once('(')?;
                Some(format!("{} {} {function}", words.first()?, after("on")?))
            })
            .collect()
    }
}

/// The files of `schema/`, each of which runs once.
pub(crate) fn schema(kinds: &[ItemKind]) -> Vec<Script> {
    scripts(&SCHEMA, kinds)
}

/// What runs directly after a file of `schema/`, because that file is frozen and refuses data that a later one accepts.
pub(crate) fn amendment(name: &str) -> Option<&'static str> {
    AMENDMENTS.get_file(format!("{name}.sql"))?.contents_utf8()
}

/// The amendments of files that an earlier version has applied without them, as long as the file is pending that an
/// amendment names behind `-- until:`, because that one puts it right.
pub(crate) fn amendments_before(applied: &[String], pending: &[Script]) -> Vec<&'static str> {
    let mut files: Vec<_> = AMENDMENTS.files().collect();
    files.sort_unstable_by_key(|file| file.path());
    let amendment = |file: &&'static include_dir::File<'static>| {
        let name = file.path().file_stem()?.to_str()?;
        let sql = file.contents_utf8()?;
        let until = sql.lines().find_map(|line| line.strip_prefix("-- until: "))?;
        let is_missing =
            applied.iter().any(|applied| applied == name) && pending.iter().any(|script| script.name == until);
        is_missing.then_some(sql)
    };
    files.iter().filter_map(amendment).collect()
}

/// The files of `functions/` and the function with the checks of the audit. All of them run whenever one has changed.
pub(crate) fn functions(kinds: &[ItemKind]) -> Vec<Script> {
    let checks = Script {
        name: "audit_checks".to_owned(),
        kind: "",
        sql: checks::function(kinds),
    };
    scripts(&FUNCTIONS, kinds).into_iter().chain([checks]).collect()
}

/// The hash by which a change of scripts is recognized.
pub(crate) fn hash<'a>(scripts: impl IntoIterator<Item = &'a Script>) -> String {
    let mut hasher = Sha256::new();
    for script in scripts {
        hasher.update(script.name.as_bytes());
        hasher.update([0]);
        hasher.update(script.sql.as_bytes());
        hasher.update([0]);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn scripts(folder: &Dir<'_>, kinds: &[ItemKind]) -> Vec<Script> {
    let mut files = Vec::new();
    collect(folder, &mut files);
    files.sort_unstable();
    let scripts = files.into_iter().flat_map(|(name, sql)| {
        expand_all(sql, kinds).into_iter().map(move |(kind, sql)| Script {
            name: name.to_owned(),
            kind: kind.map_or("", |kind| kind.kind),
            sql,
        })
    });
    scripts.collect()
}

fn collect<'a>(folder: &'a Dir<'_>, files: &mut Vec<(&'a str, &'a str)>) {
    for file in folder.files() {
        let name = file.path().to_str().and_then(|path| path.strip_suffix(".sql"));
        if let (Some(name), Some(sql)) = (name, file.contents_utf8()) {
            files.push((name, sql));
        }
    }
    folder.dirs().for_each(|folder| collect(folder, files));
}

/// What PostgreSQL gets, as one text for each folder: `(schema, functions)`.
#[cfg(test)]
fn expanded(kinds: &[ItemKind]) -> (String, String) {
    let text = |scripts: Vec<Script>| {
        let part = |script: &Script| format!("-- ===== {}\n\n{}", script.label(), script.sql);
        scripts.iter().map(part).collect::<Vec<_>>().join("\n")
    };
    (text(schema(kinds)), text(functions(kinds)))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, env, fs, path::Path};

    use super::*;
    use crate::kind::KINDS;

    /// `UPDATE_EXPANDED=1 cargo test -p sugang-migrations` writes the files again.
    #[test]
    fn the_expanded_sql_is_up_to_date() {
        let (schema, functions) = expanded(KINDS);
        for (file, text) in [("schema.sql", schema), ("functions.sql", functions)] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("expanded").join(file);
            if env::var_os("UPDATE_EXPANDED").is_some() {
                fs::write(&path, &text).unwrap();
            }
            assert!(
                fs::read_to_string(&path).unwrap_or_default() == text,
                "expanded/{file} is outdated: UPDATE_EXPANDED=1 cargo test -p sugang-migrations"
            );
        }
    }

    /// A misspelled placeholder would reach PostgreSQL.
    #[test]
    fn no_placeholder_is_left() {
        for script in schema(KINDS).iter().chain(&functions(KINDS)) {
            for (position, _) in script.sql.match_indices('{') {
                let inside = script.sql[position + 1..].split('}').next().unwrap_or_default();
                let placeholder =
                    !inside.is_empty() && inside.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase());
                assert!(!placeholder, "{}: {{{inside}}}", script.label());
            }
        }
    }

    #[test]
    fn schema_files_are_numbered_without_a_gap() {
        let mut files: Vec<_> = schema(KINDS).into_iter().map(|script| script.name).collect();
        files.dedup();
        for (number, name) in (1..).zip(files) {
            assert!(
                name.starts_with(&format!("V{number:02}__")),
                "{name} is not number {number}"
            );
        }
    }

    /// A schema file is frozen and a function is not, so the file must not depend on it.
    #[test]
    fn schema_files_define_and_call_no_function() {
        let functions = functions(KINDS);
        let names: Vec<_> = functions.iter().flat_map(Script::routines).collect();
        assert!(names.len() > 50, "{names:?}");
        for script in schema(KINDS) {
            for name in &names {
                assert!(
                    !script.sql.contains(&format!("sugang.{name}(")),
                    "{}: {name}",
                    script.label()
                );
            }
            // A temporary function ends with the migration's session, and the file alone calls it.
            let mut definitions = script
                .sql
                .lines()
                .filter(|line| line.contains("create ") && line.contains(" function "));
            assert!(
                definitions.all(|line| line.contains(" function pg_temp.")),
                "{}",
                script.label()
            );
        }
    }

    /// What the audit compares.
    #[test]
    fn every_function_has_a_body_and_every_trigger_a_table() {
        for script in functions(KINDS) {
            let bodies: Vec<_> = script.bodies().into_iter().map(|(name, _)| name).collect();
            assert_eq!(bodies, script.routines(), "{}", script.label());
            let triggers = script.sql.matches("create or replace trigger ").count();
            assert_eq!(script.triggers().len(), triggers, "{}", script.label());
        }
    }

    /// An overload could not be told from a changed signature.
    #[test]
    fn each_function_stands_once() {
        let mut files = BTreeMap::new();
        for script in functions(KINDS) {
            for name in script.routines() {
                let other = files.insert(name.to_owned(), script.label());
                assert_eq!(other, None, "{name} stands in {} too", script.label());
            }
        }
    }

    /// What `functions/` holds can run any number of times.
    #[test]
    fn function_files_only_replace() {
        for script in functions(KINDS) {
            let statements = script
                .sql
                .lines()
                .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()));
            let other: Vec<_> = statements
                .filter(|line| {
                    ["create ", "alter ", "drop ", "insert ", "update ", "delete "]
                        .iter()
                        .any(|verb| line.starts_with(verb))
                })
                .filter(|line| {
                    !line.starts_with("create or replace ") && !line.starts_with("alter domain sugang.outcome ")
                })
                .collect();
            assert!(other.is_empty(), "{}: {other:?}", script.label());
        }
    }

    /// Behind a misspelled name, the amendment would never run for a database of an earlier version.
    #[test]
    fn each_amendment_ends_with_a_later_file() {
        let schema = schema(KINDS);
        let position = |name: &str| schema.iter().position(|script| script.name == name);
        for file in AMENDMENTS.files() {
            let name = file.path().file_stem().and_then(|name| name.to_str()).unwrap();
            let sql = file.contents_utf8().unwrap();
            let until = sql.lines().find_map(|line| line.strip_prefix("-- until: ")).unwrap();
            assert!(position(name).unwrap() < position(until).unwrap(), "{name}: {until}");
            let applied = [name.to_owned()];
            assert_eq!(amendments_before(&applied, &schema), [sql]);
            assert_eq!(amendments_before(&applied, &[]), [] as [&str; 0]);
            assert_eq!(amendments_before(&[], &schema), [] as [&str; 0]);
        }
    }

    /// The literals with a backslash that are not `E'…'`. A literal that goes on in the next line is one.
    fn ambiguous_literals(sql: &str) -> Vec<&str> {
        let (mut found, mut position, mut continued) = (Vec::new(), 0, None);
        while let Some(next) = sql[position..].find(['\'', '-']) {
            let start = position + next;
            if sql[start..].starts_with("--") {
                position = sql[start..].find('\n').map_or(sql.len(), |end| start + end);
                continue;
            }
            if sql[start..].starts_with('-') {
                position = start + 1;
                continue;
            }
            let goes_on =
                continued.filter(|_| sql[position..start].trim().is_empty() && sql[position..start].contains('\n'));
            let is_escaped = goes_on.unwrap_or_else(|| sql[..start].ends_with(" E") || sql[..start].ends_with("(E"));
            let mut letters = sql[start + 1..].char_indices().peekable();
            let mut end = sql.len();
            let mut has_backslash = false;
            while let Some((at, letter)) = letters.next() {
                match letter {
                    '\\' => {
                        has_backslash = true;
                        letters.next_if(|_| is_escaped);
                    }
                    '\'' if letters.next_if(|(_, next)| *next == '\'').is_none() => {
                        end = start + 1 + at;
                        break;
                    }
                    _ => {}
                }
            }
            if has_backslash && !is_escaped {
                found.push(&sql[start..end]);
            }
            (position, continued) = ((end + 1).min(sql.len()), Some(is_escaped));
        }
        found
    }

    /// A trigger works in the session of another program, which may have `standard_conforming_strings` off.
    #[test]
    fn a_backslash_means_the_same_in_every_session() {
        for (sql, found) in [
            (r"select '\x00' -- it's '\d'", &[r"'\x00"][..]),
            (r"select U&'\00AD', E'\\d''\'', 'a''b'", &[r"'\00AD"][..]),
            ("select E'\\\\d'\n '\\\\s', coalesce(E'\\\\w')", &[][..]),
        ] {
            assert_eq!(ambiguous_literals(sql), found, "{sql}");
        }
        for script in functions(KINDS) {
            if script.name != "audit_checks" {
                assert_eq!(ambiguous_literals(&script.sql), [] as [&str; 0], "{}", script.label());
            }
        }
    }

    /// An outcome without a use is a leftover, and the API would still have to know it.
    #[test]
    fn every_outcome_is_returned_by_a_function() {
        let functions = functions(KINDS);
        let (outcomes, others): (Vec<_>, Vec<_>) = functions.iter().partition(|script| script.name == "outcomes");
        let words: Vec<_> = outcomes[0].sql.split('\'').skip(1).step_by(2).collect();
        assert!(words.contains(&"ok"), "{words:?}");
        for word in words {
            let quoted = format!("'{word}'");
            assert!(others.iter().any(|script| script.sql.contains(&quoted)), "{word}");
        }
    }
}
