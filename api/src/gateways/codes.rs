//! What the codes of a gateway's refusals mean.

/// What a code means for an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The money may have moved.
    LookUp,
    /// The gateway refuses, the time to pay is over, or the amount is not the one that the user has agreed to: surely no
    /// money has moved.
    Declined,
}

/// The codes of one gateway. In a code, one `*` stands for anything.
pub(super) struct Codes(pub(super) &'static [(Meaning, &'static [&'static str])]);

impl Codes {
    /// The meaning of a code: that of the first row that has it. One that is in no row, or is new, proves nothing.
    pub(super) fn meaning(&self, code: &str) -> Meaning {
        let row = self
            .0
            .iter()
            .find(|(_, codes)| codes.iter().any(|known| matches(known, code)));
        row.map_or(Meaning::LookUp, |(meaning, _)| *meaning)
    }
}

fn matches(pattern: &str, code: &str) -> bool {
    match pattern.split_once('*') {
        Some((begin, end)) => code.strip_prefix(begin).is_some_and(|rest| rest.ends_with(end)),
        None => pattern == code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_means_what_its_first_row_says() {
        let codes = Codes(&[
            (Meaning::LookUp, &["FAILED_*_PROCESSING", "REJECT_LATER"]),
            (Meaning::Declined, &["REJECT_*", "EXPIRED"]),
        ]);
        for (code, expected) in [
            ("REJECT_CARD", Meaning::Declined),
            ("REJECT_LATER", Meaning::LookUp),
            ("EXPIRED", Meaning::Declined),
            ("EXPIRED_CARD", Meaning::LookUp),
            ("FAILED_INTERNAL_PROCESSING", Meaning::LookUp),
            ("FAILED_PROCESSING", Meaning::LookUp),
            ("SOMETHING_NEW", Meaning::LookUp),
            ("", Meaning::LookUp),
        ] {
            assert_eq!(codes.meaning(code), expected, "{code}");
        }
    }
}
