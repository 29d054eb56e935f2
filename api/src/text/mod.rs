//! Text as people type it: its normal forms, what may name an account, and which passwords are guessed first.

mod address;
mod name;
mod weak_password;

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::{CodePointMapData, CodePointSetData, props};

pub(crate) use address::{Address, AddressKeys};
pub(crate) use name::{NameError, check_name};
pub(crate) use weak_password::{is_common, resembles};

/// Returns the text in NFC: an accent or a Hangul syllable is one character, however it was typed.
pub(crate) fn nfc(text: &str) -> Cow<'_, str> {
    ComposingNormalizerBorrowed::new_nfc().normalize(text)
}

/// Returns the text in NFKC: like NFC, and characters that only look different, such as full-width letters, become equal.
pub(crate) fn nfkc(text: &str) -> Cow<'_, str> {
    ComposingNormalizerBorrowed::new_nfkc().normalize(text)
}

/// Writes bytes as lower-case hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns whether a character has no meaning yet, so that its normal form may change in a later version of Unicode.
pub(crate) fn is_unassigned(c: char) -> bool {
    category(c) == props::GeneralCategory::Unassigned
}

/// Returns whether a character is shown as nothing: joiners, fillers, variation selectors, tags, marks of direction.
fn is_ignorable(c: char) -> bool {
    CodePointSetData::new::<props::DefaultIgnorableCodePoint>().contains(c)
}

fn category(c: char) -> props::GeneralCategory {
    CodePointMapData::<props::GeneralCategory>::new().get(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_normal_form() {
        assert_eq!(nfc("\u{1106}\u{1175}\u{11ab}\u{1109}\u{116e}"), "민수");
        assert_eq!(nfc("ｍｉｎ\u{fb01}"), "ｍｉｎ\u{fb01}");
        assert_eq!(nfkc("ｍｉｎ\u{fb01}\u{212a}\u{17f}"), "minfiKs");
        assert!(is_unassigned('\u{378}') && !is_unassigned('가') && !is_unassigned('😀'));
    }
}
