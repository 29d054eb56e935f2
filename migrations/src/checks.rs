//! The checks of `audit/`: for the program, and as a function of the database for the API.

use include_dir::{Dir, include_dir};

use crate::kind::{ItemKind, expand_all, label};

static AUDIT: Dir = include_dir!("$CARGO_MANIFEST_DIR/audit");

/// One check, for one kind if it has placeholders.
pub(crate) struct Check {
    pub name: String,
    pub kind: Option<String>,
    pub advice: String,
    pub query: String,
}

impl Check {
    pub(crate) fn label(&self) -> String {
        label(&self.name, self.kind.as_deref())
    }
}

/// All checks in the order of their files.
pub(crate) fn checks(kinds: &[ItemKind]) -> Vec<Check> {
    let mut files: Vec<_> = AUDIT.files().collect();
    files.sort_unstable_by_key(|file| file.path());
    let texts = files.into_iter().filter_map(|file| file.contents_utf8());
    let sections = texts.flat_map(|text| text.split("-- check: ").skip(1));
    sections
        .filter_map(|section| {
            let (name, rest) = section.split_once('\n')?;
            // Behind the last semicolon may stand a comment on the next check.
            let (rest, _) = rest.rsplit_once(';')?;
            let lines = rest.lines().take_while(|line| line.starts_with("-- "));
            let advice: Vec<_> = lines.map(|line| line.trim_start_matches("-- ")).collect();
            let query: Vec<_> = rest.lines().skip(advice.len()).collect();
            let advice = advice.join(" ");
            Some((name, advice.strip_prefix("advice: ")?.to_owned(), query.join("\n")))
        })
        .flat_map(|(name, advice, query)| {
            expand_all(&query, kinds).into_iter().map(move |(kind, query)| Check {
                name: name.to_owned(),
                kind: kind.map(|kind| kind.kind.to_owned()),
                advice: kind.map_or_else(|| advice.clone(), |kind| kind.expand(&advice)),
                query,
            })
        })
        .collect()
}

/// The function with the checks as its rows, which `sugang.run_audit_check` runs.
pub(crate) fn function(kinds: &[ItemKind]) -> String {
    let rows: Vec<_> = (1..)
        .zip(checks(kinds))
        .map(|(number, check)| {
            let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
            format!(
                "({number}::bigint, {}, {},\n{},\n$query$\n{}\n$query$)",
                text(&check.name),
                check.kind.as_deref().map_or_else(|| "null::text".to_owned(), text),
                text(&check.advice),
                check.query
            )
        })
        .collect();
    format!(
        "-- The checks of migrations/audit/.\n\
         create or replace function sugang.audit_checks()\n\
         returns table (number bigint, name text, kind text, advice text, query text) language sql immutable as $$\n\
         values\n{}\n$$;\n",
        rows.join(",\n")
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::kind::KINDS;

    /// A misspelled header would leave its check out.
    #[test]
    fn every_section_is_a_check() {
        let headers = AUDIT.files().filter_map(|file| file.contents_utf8());
        let headers: usize = headers.map(|text| text.matches("-- check: ").count()).sum();
        let checks = checks(KINDS);
        let names: BTreeSet<_> = checks.iter().map(|check| check.name.as_str()).collect();
        assert_eq!((names.len(), names.len() > 30), (headers, true), "{names:?}");
        for check in &checks {
            assert!(
                check.advice.ends_with(['.', ';', ')']),
                "{}: {}",
                check.name,
                check.advice
            );
        }
    }
}
