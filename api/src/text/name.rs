//! Usernames: letters and digits of any script that can be seen and told apart.

use icu_properties::{
    props::{GeneralCategory, Script},
    script::{ScriptWithExtensions, ScriptWithExtensionsBorrowed},
};

use super::{category, is_ignorable};

/// The most marks on one letter: more of them are decoration that covers the lines around.
const MAX_MARKS: usize = 3;

/// The scripts of East Asia, and Latin, which is written among them. No letter of one looks like that of another, unlike
/// Latin, Greek, Cyrillic and many more (UTS 39).
const TOGETHER: &[Script] = &[
    Script::Latin,
    Script::Han,
    Script::Hangul,
    Script::Hiragana,
    Script::Katakana,
    Script::Bopomofo,
];

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameError {
    /// It has a character that is neither a letter nor a digit nor one of `@.+-_`, or that cannot be seen.
    Character,
    /// It mixes scripts or digits that look alike.
    Mixed,
}

/// Checks a name in NFC.
///
/// # Errors
/// The first rule that the name breaks.
pub(crate) fn check_name(name: &str) -> Result<(), NameError> {
    check(name, "@.+-_")
}

/// Checks a name in NFC that may have these signs besides letters and digits.
pub(super) fn check(name: &str, signs: &str) -> Result<(), NameError> {
    check_characters(name, signs)?;
    if is_one_script(name) && is_one_kind_of_digits(name) {
        Ok(())
    } else {
        Err(NameError::Mixed)
    }
}

fn check_characters(name: &str, signs: &str) -> Result<(), NameError> {
    let scripts = ScriptWithExtensions::new();
    // The marks since the last letter; `None` where no letter precedes.
    let mut marks = None;
    for c in name.chars() {
        let allowed = !is_ignorable(c)
            && match category(c) {
                GeneralCategory::UppercaseLetter
                | GeneralCategory::LowercaseLetter
                | GeneralCategory::TitlecaseLetter
                | GeneralCategory::OtherLetter => {
                    marks = Some(0);
                    true
                }
                GeneralCategory::DecimalNumber | GeneralCategory::LetterNumber | GeneralCategory::OtherNumber => {
                    marks = None;
                    true
                }
                // Those of no script look like punctuation, such as U+02BC for an apostrophe, except for the long vowel of
                // Japanese.
                GeneralCategory::ModifierLetter => {
                    let script = scripts.get_script_val(c);
                    script != Script::Common && script != Script::Inherited || scripts.has_script(c, Script::Katakana)
                }
                // The vowels and tones of some scripts. The accents of all scripts are part of a letter in NFC, or decoration.
                GeneralCategory::NonspacingMark | GeneralCategory::SpacingMark => {
                    marks = marks.map(|marks| marks + 1);
                    scripts.get_script_val(c) != Script::Inherited && marks.is_some_and(|marks| marks <= MAX_MARKS)
                }
                _ => {
                    marks = None;
                    signs.contains(c)
                }
            };
        if !allowed {
            return Err(NameError::Character);
        }
    }
    Ok(())
}

/// Returns whether a character belongs to every script.
fn is_common(scripts: ScriptWithExtensionsBorrowed<'_>, c: char) -> bool {
    let extensions = scripts.get_script_extensions_val(c);
    extensions.contains(&Script::Common) || extensions.contains(&Script::Inherited)
}

/// Returns whether all characters are of one script, or of scripts that are written together.
fn is_one_script(text: &str) -> bool {
    let scripts = ScriptWithExtensions::new();
    let of_a_script = || text.chars().filter(|c| !is_common(scripts, *c));
    let all_in =
        |allowed: &[Script]| of_a_script().all(|c| allowed.iter().any(|script| scripts.has_script(c, *script)));
    let Some(first) = of_a_script().next() else {
        return true;
    };
    scripts
        .get_script_extensions_val(first)
        .iter()
        .any(|script| all_in(&[script]))
        || all_in(TOGETHER)
}

/// Returns whether all decimal digits are of one row of ten.
fn is_one_kind_of_digits(text: &str) -> bool {
    let digits = || {
        text.chars()
            .filter(|c| category(*c) == GeneralCategory::DecimalNumber)
            .map(u32::from)
    };
    match (digits().min(), digits().max()) {
        // A row begins at its zero, and no two rows adjoin except for the mathematical ones, which are equal in NFKC.
        (Some(least), Some(most)) => most - least < 10,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_of_any_script() {
        for name in [
            "minsu",
            "Minsu.Kim+1@home-2_x",
            "민수",
            "민수kim2",
            "金민수",
            "ㅋㅋㅋ",
            "日本語",
            "가ぁ",
            "カラオケー",
            "ひらがなkanji",
            "Ünïcödé",
            "Ελλάδα",
            "Привет",
            "हिन्दी",
            "ไทยแลนด์",
            "עברית",
            "العربية",
            "٣٤",
            "İstanbul",
            "ıspartalı",
            "straße",
            "ΣΑΣς",
            "ᎣᏏᏲ",
            "0",
            "...",
            "x²",
            "½",
        ] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_seen_names_no_account() {
        for c in [
            '\u{a0}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{1160}',
            '\u{1680}',
            '\u{17b4}',
            '\u{180b}',
            '\u{180e}',
            '\u{2000}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{2028}',
            '\u{202e}',
            '\u{202f}',
            '\u{205f}',
            '\u{2060}',
            '\u{2066}',
            '\u{2800}',
            '\u{3000}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{fffc}',
            '\u{fffd}',
            '\u{ffff}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e0100}',
            '\u{e000}',
            '\u{f0000}',
            '\u{378}',
            '\u{7}',
            '\u{7f}',
            '\u{85}',
            ' ',
            '\t',
            '\n',
            '\u{338}',
            '\u{20dd}',
            '\u{20e3}',
            '😀',
            'Ⓐ',
            '\u{2bc}',
            '\u{2d0}',
            '／',
            '＠',
            '<',
            '\'',
            '"',
        ] {
            for name in [
                format!("min{c}su"),
                format!("민{c}수"),
                format!("{c}"),
                format!("minsu{c}"),
                format!("{c}minsu"),
            ] {
                assert_eq!(
                    check_name(&super::super::nfc(&name)),
                    Err(NameError::Character),
                    "{}",
                    name.escape_unicode()
                );
            }
        }
        for name in [
            "\u{93f}",
            "1\u{93f}",
            "क\u{947}\u{947}\u{947}\u{947}",
            "\u{301}",
            "q\u{301}",
            "가\u{301}",
            "ー\u{301}",
        ] {
            assert_eq!(check_name(name), Err(NameError::Character), "{}", name.escape_unicode());
        }
    }

    #[test]
    fn what_looks_alike_is_not_mixed() {
        for name in [
            "аdmin",
            "аdmіn",
            "ραypal",
            "pаypаl",
            "민수а",
            "Ꭺdmin",
            "minsu١",
            "1٣",
            "०0",
            "אabc",
            "ｍｉn\u{430}",
            "日本語а",
        ] {
            assert_eq!(check_name(name), Err(NameError::Mixed), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_checked(name in any::<String>()) {
            if check_name(&name).is_ok() {
                prop_assert!(!name.contains(|c: char| c.is_whitespace() || c.is_control() || is_ignorable(c)));
            }
        }
    }
}
