//! E-mail addresses.

use email_address::{EmailAddress, Options};

use crate::text::Address;

/// Returns whether the address has a plain ASCII local part and a domain of two labels or more, as Django's validator
/// requires. The domain may have letters of any script.
pub(super) fn is_email(address: &Address) -> bool {
    let options = Options::default()
        .with_required_tld()
        .without_domain_literal()
        .without_display_text();
    // The library follows the standard, which also allows blanks within quotes and more characters in a domain.
    let text = address.as_ascii();
    let domain = text.rsplit('@').next().unwrap_or_default();
    let top_level = domain.rsplit('.').next().unwrap_or_default();
    text.bytes().all(|byte| byte.is_ascii_graphic())
        && domain
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        && top_level.len() > 1
        && EmailAddress::parse_with_options(text, options).is_ok()
        && address.has_distinct_domain()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::extract::forms::signup::MAX_EMAIL_CHARS;

    /// Texts that are e-mail addresses, or nearly.
    pub(in crate::extract::forms) const LIKE_AN_EMAIL: &str =
        "[a-z\"]{1,3}[ -~\t]{0,4}\"?@[a-z0-9.!_-]{1,6}\\.[a-z]{1,2}";

    #[test]
    fn an_email_address_is_plain() {
        for email in [
            "a@example.com",
            "a.b+c@mail.example.co.kr",
            "A_B-c%d@example.com",
            "\"a@b\"@example.com",
            "hong@한국.kr",
            "hong@xn--3e0b707e.kr",
            "a@пример.рф",
        ] {
            assert!(is_email(&Address::new(email)), "{email}");
        }
        let too_long = format!("{}@example.com", "a".repeat(65));
        for email in [
            "a",
            "@",
            "a@",
            "@example.com",
            "a@b",
            "a@@example.com",
            "a b@example.com",
            "\"a\tb\"@example.com",
            "\"a b\"@example.com",
            "a@exa mple.com",
            "a@exam_ple.com",
            "a@example.c",
            "a@.com",
            "a@example..com",
            "a@[127.0.0.1]",
            "Min <a@example.com>",
            "<a@example.com>",
            "가@example.com",
            "İiii@example.com",
            "minsu\u{200b}@example.com",
            "minsu@exam\u{ad}ple.com",
            "minsu@ex\u{430}mple.com",
            "hong@한 국.kr",
            "hong@한국",
            "hong@-한국.kr",
            "a@-.com\n",
            "a@example.com\0",
            &too_long,
        ] {
            assert!(!is_email(&Address::new(email)), "{email:?}");
        }
    }

    proptest! {
        #[test]
        fn an_email_address_has_no_blank_and_a_host_name(
            email in prop_oneof![any::<String>(), LIKE_AN_EMAIL],
        ) {
            let address = Address::new(&email);
            if is_email(&address) {
                let email = address.as_ascii();
                prop_assert!(email.bytes().all(|byte| byte.is_ascii_graphic()) && email.len() < MAX_EMAIL_CHARS + 65);
                let labels: Vec<_> = email.rsplit('@').next().unwrap().split('.').collect();
                prop_assert!(labels.len() >= 2 && labels.last().unwrap().len() >= 2, "{}", email);
                for label in labels {
                    prop_assert!(label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{}", email);
                    prop_assert!(!label.is_empty() && !label.starts_with('-') && !label.ends_with('-'), "{}", email);
                }
            }
        }
    }
}
