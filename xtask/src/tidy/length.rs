//! Short files: a newcomer reads one at a sitting.

/// Lines of a file without its tests.
const LIMIT: usize = 500;

/// Crates whose files are short.
const FOLDERS: &[&str] = &[
    "api/src",
    "bench/src",
    "connect/src",
    "console/src",
    "gateway/src",
    "host/src",
    "migrations/src",
    "output/src",
    "protocol/src",
    "sdk/src",
    "tests/src",
    "xtask/src",
];

/// The lines before the module of tests.
fn length(text: &str) -> usize {
    let lines: Vec<_> = text.lines().collect();
    let tests = lines
        .windows(2)
        .position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{'));
    tests.unwrap_or(lines.len())
}

#[test]
fn files_are_short() {
    let files = FOLDERS.iter().flat_map(|folder| super::files(folder, &["rs"]));
    let complaints: Vec<_> = files
        // A file of tests is read one test at a time.
        .filter(|(path, _)| !path.ends_with("tests.rs"))
        .map(|(path, text)| (path, length(&text)))
        .filter(|(_, length)| *length > LIMIT)
        .map(|(path, length)| format!("{path} has {length} lines, more than {LIMIT}: split it by topic"))
        .collect();
    super::expect_none(&complaints);
}

#[test]
fn tests_do_not_count() {
    assert_eq!(length(&"code\n".repeat(501)), 501);
    assert_eq!(length("code\n#[cfg(test)]\nmod tests {\ncode\n}\n"), 1);
    assert_eq!(length("code\n#[cfg(test)]\nmod tests;\ncode\n"), 4);
}
