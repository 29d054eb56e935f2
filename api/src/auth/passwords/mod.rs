//! Passwords: new hashes are Argon2id in PHC form; those that Django's hashers wrote are verified too.
//!
//! A password is hashed in NFKC, as NIST SP 800-63B has it, so that it is the same from every keyboard. NFKC rather than NFKD,
//! because it leaves what nearly all keyboards send as it is: a hash from before normalization matches at the first attempt.

mod stored;
#[cfg(test)]
mod tests;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};

use crate::text::nfkc;
pub(crate) use stored::MAX_COST;
use stored::StoredHash;

/// The result of comparing a password with a stored hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Wrong,
    Right,
    /// The password is right, but its hash is not what [`hash`] makes of it with the configured cost.
    NeedsRehash,
}

/// Returns the PHC string of a password with a random salt; `None` if the host has no randomness.
pub(crate) fn hash(password: &str, params: &Params) -> Option<String> {
    hasher(params)
        .hash_password(nfkc(password).as_bytes())
        .ok()
        .map(|hash| hash.to_string())
}

/// Compares a password with a stored hash.
///
/// Every refusal takes at least the time of [`dummy_verify`]: neither a hash that is unreadable, too expensive or cheap, nor
/// an account without a password, can be told from an account that does not exist.
pub(crate) fn verify(password: &str, stored: &str, params: &Params) -> Verdict {
    let stored = StoredHash::parse(stored);
    let normalized = nfkc(password);
    match verify_form(&normalized, stored.as_ref(), params) {
        // Hashes from before normalization, and Django's, are of the password as it was typed.
        Verdict::Wrong if normalized != password => match verify_form(password, stored.as_ref(), params) {
            Verdict::Wrong => Verdict::Wrong,
            Verdict::Right | Verdict::NeedsRehash => Verdict::NeedsRehash,
        },
        verdict => verdict,
    }
}

/// Takes the time of [`verify`], so that the time of a response does not tell that an account does not exist.
pub(crate) fn dummy_verify(password: &str, params: &Params) {
    verify(password, "", params);
}

/// Compares one form of a password.
fn verify_form(password: &str, stored: Option<&StoredHash<'_>>, params: &Params) -> Verdict {
    let current = stored.is_some_and(|stored| stored.is_current(params));
    if stored.is_some_and(|stored| stored.matches(password)) {
        return if current { Verdict::Right } else { Verdict::NeedsRehash };
    }
    if !current {
        let mut hash = [0; Params::DEFAULT_OUTPUT_LEN];
        // `black_box` keeps the optimizer from removing the computation.
        let _ = hasher(params).hash_password_into(password.as_bytes(), b"salt of no account", &mut hash);
        std::hint::black_box(hash);
    }
    Verdict::Wrong
}

fn hasher(params: &Params) -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
}
