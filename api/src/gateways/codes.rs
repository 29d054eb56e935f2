//! What the codes of a gateway's refusals mean.

use super::{
    adapter::{Reading, RefundReading, is_refusal},
    attempt::Outcome,
};

/// What a code means for an approval, or for a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The money may have moved.
    LookUp,
    /// The gateway refuses, the time to pay is over, or the amount is not the one that the user has agreed to: surely no
    /// money has moved.
    Declined,
    /// The code is in no row: it proves nothing, unless a look-up confirms it.
    Unlisted,
}

/// The codes of one gateway. In a code, one `*` stands for anything.
pub(super) struct Codes(pub(super) &'static [(Meaning, &'static [&'static str])]);

impl Codes {
    /// The meaning of a code: that of the first row that has it.
    pub(super) fn meaning(&self, code: &str) -> Meaning {
        let row = self
            .0
            .iter()
            .find(|(_, codes)| codes.iter().any(|known| matches(known, code)));
        row.map_or(Meaning::Unlisted, |(meaning, _)| *meaning)
    }

    /// Reads a refusal of an approval. A code that is in no row, such as that of a payment which the gateway does not know,
    /// counts once look-ups show that the gateway has done nothing, so that no invented key holds a seat for ever.
    pub(super) fn reading(&self, status: u16, code: String) -> Reading {
        match self.meaning(&code) {
            Meaning::Declined => Reading::Settled(Outcome::Declined { code }),
            Meaning::Unlisted if is_refusal(status) => Reading::Doubtful(code),
            Meaning::LookUp | Meaning::Unlisted => Reading::LookUp,
        }
    }

    /// Reads a refusal of a refund. A code that is in no row, such as that of an account which does not exist, counts once
    /// the gateway refuses again what a look-up has not shown, so that a person learns of it.
    pub(super) fn refund_reading(&self, status: u16, code: String) -> RefundReading {
        match self.meaning(&code) {
            Meaning::Declined => RefundReading::Refused(code),
            Meaning::Unlisted if is_refusal(status) => RefundReading::Doubtful(code),
            Meaning::LookUp | Meaning::Unlisted => RefundReading::LookUp,
        }
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
            ("EXPIRED_CARD", Meaning::Unlisted),
            ("FAILED_INTERNAL_PROCESSING", Meaning::LookUp),
            ("FAILED_PROCESSING", Meaning::Unlisted),
            ("SOMETHING_NEW", Meaning::Unlisted),
            ("", Meaning::Unlisted),
        ] {
            assert_eq!(codes.meaning(code), expected, "{code}");
        }
    }
}
