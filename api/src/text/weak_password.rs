//! Passwords that are guessed first: the common ones, and those that resemble a name of the account.
//!
//! The rules are those of Django's `CommonPasswordValidator` and `UserAttributeSimilarityValidator`. Width, case and
//! composition of characters make no difference.

use sha2::{Digest, Sha256};

use super::nfkc;

/// Hashes of the passwords of Django 5.2's list that a sign-up could have: those with a letter and at least 8 characters.
///
/// Each has the first 32 bits of SHA-256: a byte that selects one of 256 groups, and three that are stored in the order of
/// the groups. Before them stand the ends of the groups, as numbers of hashes, each in two bytes with the lower one first.
/// One of half a million other passwords is taken for a common one.
static COMMON: &[u8] = include_bytes!("../../assets/common-passwords.bin");

const GROUPS: usize = 256;

/// Returns whether a password is on the list of common ones.
pub(crate) fn is_common(password: &str) -> bool {
    let [group, rest @ ..] = hash(fold(password).trim());
    let (ends, hashes) = COMMON.split_at(2 * GROUPS);
    let end = |group: usize| 3 * usize::from(u16::from_le_bytes([ends[2 * group], ends[2 * group + 1]]));
    let group = usize::from(group);
    let start = group.checked_sub(1).map_or(0, end);
    hashes[start..end(group)].chunks_exact(3).any(|hash| hash == rest)
}

/// Returns whether a password resembles a name, or one of the words that the name consists of.
///
/// Two texts resemble each other if they have 70 % of their characters in common, in whatever order: `minsu123` resembles
/// `minsu@example.com`, `minsu-12345` does not.
pub(crate) fn resembles(password: &str, name: &str) -> bool {
    let (password, name) = (sorted(&fold(password)), fold(name));
    let words = name.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.chain([&*name]).any(|word| {
        let word = sorted(word);
        let both = password.len() + word.len();
        let is_similar = |common: usize| common > 0 && 20 * common >= 7 * both;
        is_similar(password.len().min(word.len())) && is_similar(common_characters(&password, &word))
    })
}

/// Counts the characters that two sorted texts have in common.
fn common_characters(mut a: &[char], mut b: &[char]) -> usize {
    let mut common = 0;
    while let ([first, rest @ ..], [other, others @ ..]) = (a, b) {
        common += usize::from(first == other);
        (a, b) = (
            if first <= other { rest } else { a },
            if other <= first { others } else { b },
        );
    }
    common
}

fn sorted(text: &str) -> Vec<char> {
    let mut characters: Vec<_> = text.chars().collect();
    characters.sort_unstable();
    characters
}

/// Folds width, case and composition.
fn fold(text: &str) -> String {
    let folded: String = nfkc(text)
        .chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect();
    nfkc(&folded).into_owned()
}

fn hash(text: &str) -> [u8; 4] {
    let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(text).into();
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path};

    use super::*;

    #[test]
    fn a_common_password_is_known_however_it_is_typed() {
        for common in [
            "password1",
            "PASSWORD1",
            " Password1 ",
            "ｐａｓｓｗｏｒｄ１",
            "qwer1234",
            "1q2w3e4r",
            "asdf1234",
            "p@ssw0rd",
            // A Roman numeral is a digit.
            "pr\u{2170}ncess",
        ] {
            assert!(is_common(common), "{common}");
        }
        for rare in ["", "correct1", "password1 password1", "비밀번호1234", "xK7-wq2_LmP0"] {
            assert!(!is_common(rare), "{rare}");
        }
    }

    #[test]
    fn of_other_passwords_nearly_none_is_taken_for_a_common_one() {
        let taken = (0..100_000)
            .filter(|n| is_common(&format!("rare password {n}")))
            .count();
        assert!(taken <= 3, "{taken}");
    }

    #[test]
    fn a_password_resembles_a_name_that_makes_up_most_of_it() {
        for (password, name) in [
            ("minsu123", "minsu@example.com"),
            ("MINSU123", "Minsu"),
            ("123usnim", "minsu"),
            ("example1", "minsu@example.com"),
            ("minsu.kim@naver.com1", "minsu.kim@naver.com"),
            ("ｍｉｎｓｕ１２３", "minsu"),
            ("minsu123", "ｍｉｎｓｕ"),
            ("straße12", "STRASSE"),
            ("홍길동홍길동12", "홍길동홍길동"),
            ("\u{1112}\u{1169}\u{11bc}길동홍길동12", "홍길동홍길동"),
            ("λόγος123", "ΛΌΓΟΣ"),
            // Exactly 70 %: 7 of 10 and 7 of 10.
            ("abcdefg123", "abcdefgxyz"),
        ] {
            assert!(resembles(password, name), "{password} {name}");
        }
        for (password, name) in [
            ("minsu-12345", "minsu@example.com"),
            ("correct1", "minsu"),
            ("비밀번호1234", "민수"),
            ("a1", ""),
            ("", "minsu"),
            ("abcdefg1234", "abcdefgxyz"),
            ("example-of-a-passphrase-1", "minsu@example.com"),
        ] {
            assert!(!resembles(password, name), "{password} {name}");
        }
    }

    /// `UPDATE_COMMON_PASSWORDS=FILE cargo test -p sugang-api common_passwords` writes the list again, from a file with one
    /// password in lower case on each line, such as Django's `common-passwords.txt` (unpacked).
    #[test]
    fn the_common_passwords_are_grouped_hashes() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/common-passwords.bin");
        if let Some(list) = env::var_os("UPDATE_COMMON_PASSWORDS") {
            let list = fs::read_to_string(list).unwrap();
            let possible = list
                .lines()
                .map(fold)
                .filter(|password| password.chars().count() >= 8 && password.chars().any(char::is_alphabetic));
            let mut hashes: Vec<_> = possible.map(|password| hash(password.trim())).collect();
            hashes.sort_unstable();
            hashes.dedup();
            let end = |group: usize| hashes.partition_point(|hash| usize::from(hash[0]) <= group);
            let ends = (0..GROUPS).flat_map(|group| u16::try_from(end(group)).unwrap().to_le_bytes());
            let rest = hashes.iter().flat_map(|hash| &hash[1..]).copied();
            fs::write(&path, ends.chain(rest).collect::<Vec<_>>()).unwrap();
        }
        let written = fs::read(&path).unwrap();
        let (ends, hashes) = written.split_at(2 * GROUPS);
        let ends: Vec<_> = ends
            .chunks(2)
            .map(|end| usize::from(u16::from_le_bytes([end[0], end[1]])))
            .collect();
        assert!(ends.is_sorted());
        assert_eq!((ends[GROUPS - 1] * 3, hashes.len() % 3), (hashes.len(), 0));
        assert!((7_000..10_000).contains(&ends[GROUPS - 1]), "{}", ends[GROUPS - 1]);
    }
}
