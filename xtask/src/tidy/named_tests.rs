//! Documents name tests that exist.

use std::collections::{BTreeMap, BTreeSet};

/// Documents whose tables name tests in their last column: `file::test` below `tests/e2e/`, or the name of any test.
const DOCUMENTS: &[&str] = &["docs/guarantees.md", "docs/security.md"];

/// Crates whose unit tests may be named.
const UNIT_TESTS: &[&str] = &[
    "api/src",
    "connect/src",
    "console/src",
    "gateway/src",
    "host/src",
    "migrations/src",
    "output/src",
    "protocol/src",
    "sdk/src",
    "xtask/src",
];

/// The functions of each file of end-to-end tests, by its name, and those of all other files.
struct Tests {
    files: BTreeMap<String, BTreeSet<String>>,
    unit: BTreeSet<String>,
}

impl Tests {
    fn read() -> Self {
        let e2e = super::files("tests/e2e", &["rs"]).into_iter();
        let files = e2e.map(|(path, text)| {
            let name = path.trim_start_matches("tests/e2e/").trim_end_matches(".rs");
            (name.to_owned(), functions(&text))
        });
        let unit = UNIT_TESTS.iter().flat_map(|folder| super::files(folder, &["rs"]));
        Self {
            files: files.collect(),
            unit: unit.flat_map(|(_, text)| functions(&text)).collect(),
        }
    }

    fn has(&self, name: &str) -> bool {
        match name.split_once("::") {
            Some((file, test)) => self.files.get(file).is_some_and(|tests| tests.contains(test)),
            None => {
                let e2e = self.files.values().any(|tests| tests.contains(name));
                e2e || self.files.contains_key(name) || self.unit.contains(name)
            }
        }
    }
}

fn functions(text: &str) -> BTreeSet<String> {
    let names = text.split("fn ").skip(1);
    let names = names.map(|rest| {
        rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .next()
    });
    names.flatten().map(str::to_owned).collect()
}

/// The names of tests in the last column of a document's tables. Other code there, such as a command, has another form.
fn named(text: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| line.starts_with("| ")) {
        let row = line.trim_end().trim_end_matches('|');
        let last = row.rsplit(" | ").next().unwrap_or_default();
        let code = last.split('`').skip(1).step_by(2);
        let is_name = |code: &&str| {
            code.contains('_')
                && code
                    .chars()
                    .all(|letter| letter.is_ascii_lowercase() || "_/:0123456789".contains(letter))
        };
        names.extend(code.filter(is_name).map(|name| (number + 1, name.to_owned())));
    }
    names
}

#[test]
fn named_tests_exist() {
    let tests = Tests::read();
    let mut complaints = Vec::new();
    for document in DOCUMENTS {
        let text = std::fs::read_to_string(super::root().join(document)).expect("the document is there");
        let names = named(&text);
        assert!(names.len() > 50, "{document} names {} tests", names.len());
        let missing = names.into_iter().filter(|(_, name)| !tests.has(name));
        complaints.extend(missing.map(|(line, name)| format!("{document}:{line}: there is no test {name}")));
    }
    super::expect_none(&complaints);
}

#[test]
fn names_are_found_in_the_last_column() {
    let table =
        "| `a_b` | how `c_d` | `file::e_f`, `items/file::g_h` (`i_j`); `cargo xtask bench` |\n`k_l`\n|---|---|---|\n";
    let names: Vec<_> = named(table).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["file::e_f", "items/file::g_h", "i_j"]);
    let tests = Tests {
        files: [("file".to_owned(), functions("async fn e_f() {}\nfn x<T>() {}"))].into(),
        unit: functions("fn unit_test() {}"),
    };
    assert!(tests.has("file::e_f") && tests.has("file::x") && tests.has("e_f") && tests.has("unit_test"));
    assert!(!tests.has("file::g") && !tests.has("other::e_f") && !tests.has("g_h"));
}
