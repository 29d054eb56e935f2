//! Plain prose: phrases that leave the subject unnamed, or that an engineer would not say.

/// A phrase, and what to write instead.
const PHRASES: &[(&str, &str)] = &[
    ("whoever", "name the subject: the client, the request, the caller"),
    ("whomever", "name the subject: the client, the request, the caller"),
    ("nobody", "\"no client\", \"no request\""),
    ("who finds", "name the subject"),
    ("who asks", "\"the caller\", \"authenticated as\""),
    ("who comes", "\"a request that arrives\""),
    ("that is none", "\"an invalid …\""),
    ("what is none", "\"an invalid …\""),
    ("who is none", "\"an invalid …\""),
    ("is away", "\"is unavailable\""),
    ("are away", "\"are unavailable\""),
    ("anew", "\"again\", \"newly\""),
    ("so many", "the number or \"this many\""),
    ("somebody", "name the subject"),
];

/// Where prose is plain.
const ROOTS: &[&str] = &[
    "api/src",
    "bench/src",
    "connect/src",
    "console/src",
    "docs",
    "gateway/src",
    "host/src",
    "migrations",
    "output/src",
    "protocol/src",
    "sdk",
    "tests",
    "xtask/src",
];

/// Lines that need a phrase: a file, a text of the line, the reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "xtask/src/stores/local/account.rs",
        "[\"postgres\", \"nobody\"]",
        "the name of a Unix account",
    ),
    (
        "api/src/extract/forms/signup.rs",
        "\"email\":\"nobody\"",
        "a value of a test",
    ),
    ("tests/e2e/configuration.rs", "//nobody@", "a value of a test"),
    ("tests/src/pgbouncer.rs", "-u nobody", "the name of a Unix account"),
    (
        "tests/src/standby.rs",
        "\"-u\", \"nobody\"",
        "the name of a Unix account",
    ),
    ("tests/e2e/items/register.rs", "user(\"somebody\")", "a value of a test"),
    ("tests/e2e/login.rs", "\"nobody", "a value of a test"),
    ("tests/e2e/rate_limit.rs", "\"nobody@", "a value of a test"),
];

fn complaints(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if EXCEPTIONS
            .iter()
            .any(|(file, part, _)| path == *file && line.contains(part))
        {
            continue;
        }
        for (phrase, instead) in PHRASES {
            if contains(line, phrase) {
                complaints.push(format!("{path}:{}: \"{phrase}\": write {instead}", number + 1));
            }
        }
    }
    complaints
}

/// Whether the line has the phrase as whole words, in any case.
fn contains(line: &str, phrase: &str) -> bool {
    let line = line.to_lowercase();
    let is_letter = |letter: Option<char>| letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
    line.match_indices(phrase).any(|(at, _)| {
        !is_letter(line[..at].chars().next_back()) && !is_letter(line[at + phrase.len()..].chars().next())
    })
}

#[test]
fn prose_is_plain() {
    let files = ROOTS.iter().flat_map(|root| super::files(root, &["rs", "sql", "md"]));
    let complaints: Vec<_> = files
        // This folder names the phrases.
        .filter(|(path, _)| !path.starts_with("xtask/src/tidy/"))
        .flat_map(|(path, text)| complaints(&path, &text))
        .collect();
    super::expect_none(&complaints);
}

#[test]
fn phrases_are_found_as_whole_words() {
    assert_eq!(
        complaints("a.md", "A request.\nNobody waits here."),
        ["a.md:2: \"nobody\": write \"no client\", \"no request\""]
    );
    assert!(complaints("a.rs", "// Anew: for /janew/, sanew and fn verify_nobody()").len() == 1);
    assert!(complaints("a.sql", "-- as often as needed").is_empty());
}
