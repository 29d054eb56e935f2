//! E-mail addresses: one spelling, and one key, for all spellings of the same mailbox.

use std::borrow::Cow;

use idna::{
    AsciiDenyList,
    uts46::{DnsLength, Hyphens, Uts46},
};

use super::{is_ignorable, name, nfc};

/// An e-mail address, or what a client sent as one.
///
/// Case matters for no ASCII letter; other letters are compared as they are in NFC. A domain of other letters is the same as
/// its form in ASCII: `한국.kr` and `xn--3e0b707e.kr`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// What the client sent, in NFC.
    typed: String,
    /// The one spelling, in which new accounts are stored.
    text: String,
    /// That spelling with its domain in ASCII, if it has another.
    ascii: Option<String>,
}

/// The keys under which an account may be stored: what `sugang.email_key` makes of the address in its row.
pub(crate) struct AddressKeys {
    /// The key of the one spelling. The limits of an account are counted under it as well.
    pub(crate) key: String,
    /// The key of what the client sent, for rows that other programs wrote in another spelling.
    pub(crate) typed: String,
    /// The key with the domain in ASCII, if that is another.
    pub(crate) ascii: Option<String>,
}

impl Address {
    /// Reads any text. What is no address is kept, so that it can be looked up.
    pub(crate) fn new(text: &str) -> Self {
        let typed = nfc(text).into_owned();
        let Some((local, domain)) = typed.rsplit_once('@').filter(|(_, domain)| is_international(domain)) else {
            return Self {
                text: typed.clone(),
                ascii: None,
                typed,
            };
        };
        let (unicode, valid) = Uts46::new().to_unicode(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast);
        let unicode = if valid.is_ok() { unicode } else { domain.into() };
        let ascii = to_ascii(&unicode).filter(|ascii| *ascii != unicode);
        Self {
            text: format!("{local}@{unicode}"),
            ascii: ascii.map(|ascii| format!("{local}@{ascii}")),
            typed,
        }
    }

    /// Returns the one spelling, for people.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the spelling in ASCII, as mail programs know it.
    pub(crate) fn as_ascii(&self) -> &str {
        self.ascii.as_deref().unwrap_or(&self.text)
    }

    /// Returns whether the domain can be seen, and told apart from others, in the spelling of the client.
    pub(crate) fn has_distinct_domain(&self) -> bool {
        fn domain(address: &str) -> &str {
            address.rsplit('@').next().unwrap_or_default()
        }
        !domain(&self.typed).contains(is_ignorable)
            && domain(&self.text)
                .split('.')
                .all(|label| name::check(label, "-").is_ok())
    }

    /// Returns the keys.
    pub(crate) fn keys(&self) -> AddressKeys {
        AddressKeys {
            key: self.text.to_ascii_lowercase(),
            typed: self.typed.to_ascii_lowercase(),
            ascii: self.ascii.as_deref().map(str::to_ascii_lowercase),
        }
    }
}

fn is_international(domain: &str) -> bool {
    let is_encoded = |label: &str| label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--"));
    !domain.is_ascii() || domain.split('.').any(is_encoded)
}

fn to_ascii(domain: &str) -> Option<Cow<'_, str>> {
    let uts46 = Uts46::new();
    uts46
        .to_ascii(
            domain.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::CheckFirstLast,
            DnsLength::Verify,
        )
        .ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> String {
        Address::new(text).keys().key
    }

    #[test]
    fn spellings_of_one_mailbox_have_one_key() {
        for (text, spellings) in [
            ("Minsu@Example.com", &["minsu@example.com", "MINSU@EXAMPLE.COM"][..]),
            (
                "hong@한국.kr",
                &[
                    "hong@xn--3e0b707e.kr",
                    "HONG@XN--3E0B707E.KR",
                    "hong@한국.KR",
                    "hong@한국。kr",
                    "hong@한국.ｋｒ",
                    "hong@\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}.kr",
                ],
            ),
            (
                "a@bücher.example",
                &["a@BÜCHER.example", "a@bu\u{308}cher.example", "a@xn--bcher-kva.example"],
            ),
            ("a@example.com", &["a@ｅxample.com"]),
            // U+212A is the letter K in every normal form.
            ("kim@example.com", &["\u{212a}im@example.com"]),
        ] {
            for spelling in spellings {
                assert_eq!(key(spelling), key(text), "{spelling}");
            }
        }
        let address = Address::new("Hong@XN--3E0B707E.kr");
        assert_eq!(
            (address.as_str(), address.as_ascii()),
            ("Hong@한국.kr", "Hong@xn--3e0b707e.kr")
        );
        let keys = address.keys();
        assert_eq!(
            (&*keys.key, &*keys.typed, keys.ascii.as_deref()),
            ("hong@한국.kr", "hong@xn--3e0b707e.kr", Some("hong@xn--3e0b707e.kr"))
        );
    }

    #[test]
    fn other_letters_are_other_mailboxes() {
        let keys: Vec<_> = [
            "iiii@example.com",
            "İiii@example.com",
            "ıiii@example.com",
            "i\u{307}iii@example.com",
            "ss@example.com",
            "ß@example.com",
            "ſs@example.com",
            "ẞ@example.com",
            "ς@example.com",
            "σ@example.com",
            "Σ@example.com",
            "é@example.com",
            "É@example.com",
            "ｉiii@example.com",
            "\u{fb01}@example.com",
            "fi@example.com",
            "Ꭺ@example.com",
            "ꭺ@example.com",
            "a@ß.example",
            "a@ss.example",
        ]
        .map(key)
        .into();
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len(), "{keys:?}");
    }

    /// `spellings::the_database_folds_every_character_as_the_component_does` shows the same in the database.
    #[test]
    fn a_key_is_the_normal_form_but_for_27_letters() {
        let changed: (String, String) = ('\0'..=char::MAX)
            .map(String::from)
            .filter(|letter| key(letter) != nfc(letter))
            .map(|letter| (letter.clone(), key(&letter)))
            .collect();
        assert_eq!(changed.0, "ABCDEFGHIJKLMNOPQRSTUVWXYZ\u{212a}");
        assert_eq!(changed.1, "abcdefghijklmnopqrstuvwxyzk");
    }

    #[test]
    fn a_domain_can_be_seen_and_told_apart() {
        for (text, expected) in [
            ("a@example.com", true),
            ("a@한국.kr", true),
            ("a@xn--3e0b707e.kr", true),
            ("a@пример.рф", true),
            ("a@ex\u{430}mple.com", false),
            ("a@xn--exmple-4nf.com", false),
            ("a@exa\u{ad}mple.com", false),
            ("a@한\u{200b}국.kr", false),
            ("a@한\u{3164}국.kr", false),
            ("a@exam😀ple.com", false),
            ("a@ca\u{b7}fe.com", false),
        ] {
            assert_eq!(Address::new(text).has_distinct_domain(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_one_spelling_is_its_own(text in prop_oneof![any::<String>(), "[a-zA-Z가-힣İıſ]{1,4}@[a-z가-힣Ａ-ｚа-яß]{1,5}\\.[a-zA-Z]{2}", "a@xn--[a-z0-9]{1,8}\\.kr"]) {
            let address = Address::new(&text);
            let again = Address::new(address.as_str());
            prop_assert_eq!(again.as_str(), address.as_str());
            prop_assert_eq!(again.keys().key, address.keys().key);
            // Every spelling under which a row may be stored has the same key, so it has one count of attempts.
            for key in [Some(address.keys().typed), address.keys().ascii].into_iter().flatten() {
                prop_assert_eq!(Address::new(&key).keys().key, address.keys().key);
            }
        }
    }
}
