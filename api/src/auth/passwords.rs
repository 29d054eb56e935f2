//! Passwords: new hashes are Argon2id in PHC form; the PBKDF2 hashes of the Django service are verified too.

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version, password_hash::phc::PasswordHash};
use base64::{Engine, prelude::BASE64_STANDARD};
use pbkdf2::pbkdf2_hmac;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::config::MaxHashCost;

/// The most that a hash may cost, configured or stored: a malicious row must neither block nor starve an instance.
pub(crate) const MAX_COST: MaxHashCost = MaxHashCost {
    memory_kib: 128 * 1024,
    iterations: 32,
    parallelism: 16,
};
/// The most iterations of a hash of the Django service: twice those of Django 5.2 (`PBKDF2PasswordHasher.iterations`).
const MAX_PBKDF2_ITERATIONS: u32 = 2_000_000;

/// The result of comparing a password with a stored hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Wrong,
    Right,
    /// The password is right, but its hash has another algorithm or cost than is configured.
    NeedsRehash,
}

/// Returns the PHC string of a password with a random salt; `None` if the host has no randomness.
pub(crate) fn hash(password: &str, params: &Params) -> Option<String> {
    hasher(params)
        .hash_password(password.as_bytes())
        .ok()
        .map(|hash| hash.to_string())
}

/// Compares a password with a stored hash. An unreadable or too expensive hash matches no password.
pub(crate) fn verify(password: &str, stored: &str, params: &Params) -> Verdict {
    if let Some(django) = stored.strip_prefix("pbkdf2_sha256$") {
        return match verify_django(password, django) {
            true => Verdict::NeedsRehash,
            false => Verdict::Wrong,
        };
    }
    let Ok(hash) = PasswordHash::new(stored) else {
        return Verdict::Wrong;
    };
    let Ok(cost) = Params::try_from(&hash) else {
        return Verdict::Wrong;
    };
    let affordable = cost.m_cost() <= MAX_COST.memory_kib
        && cost.t_cost() <= MAX_COST.iterations
        && cost.p_cost() <= MAX_COST.parallelism;
    if !affordable || Argon2::default().verify_password(password.as_bytes(), &hash).is_err() {
        return Verdict::Wrong;
    }
    let as_configured = hash.algorithm == Algorithm::Argon2id.ident()
        && (cost.m_cost(), cost.t_cost(), cost.p_cost()) == (params.m_cost(), params.t_cost(), params.p_cost());
    if as_configured {
        Verdict::Right
    } else {
        Verdict::NeedsRehash
    }
}

/// Takes the time of [`verify`], so that the time of a response does not tell that an account does not exist.
pub(crate) fn dummy_verify(password: &str, params: &Params) {
    let mut hash = [0; Params::DEFAULT_OUTPUT_LEN];
    // `black_box` keeps the optimizer from removing the computation.
    let _ = hasher(params).hash_password_into(password.as_bytes(), b"salt of no account", &mut hash);
    std::hint::black_box(hash);
}

fn hasher(params: &Params) -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
}

/// Verifies `<iterations>$<salt>$<hash in Base64>`, the part that `PBKDF2PasswordHasher` writes after its name.
fn verify_django(password: &str, stored: &str) -> bool {
    let mut parts = stored.split('$');
    let (Some(iterations), Some(salt), Some(hash), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let iterations = iterations
        .parse()
        .ok()
        .filter(|n| (1..=MAX_PBKDF2_ITERATIONS).contains(n));
    let (Some(iterations), Ok(hash)) = (iterations, BASE64_STANDARD.decode(hash)) else {
        return false;
    };
    let mut computed = [0; 32];
    pbkdf2_hmac::<Sha256>(password.as_bytes(), salt.as_bytes(), iterations, &mut computed);
    computed.as_slice().ct_eq(&hash).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cheap() -> Params {
        Params::new(64, 1, 1, None).unwrap()
    }

    #[test]
    fn a_hash_is_argon2id_and_verifies() {
        let hash = hash("pässwörd 1", &cheap()).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        assert_eq!(verify("pässwörd 1", &hash, &cheap()), Verdict::Right);
        assert_eq!(verify("pässwörd 2", &hash, &cheap()), Verdict::Wrong);
        assert_eq!(
            verify("pässwörd 1", &hash, &Params::new(128, 1, 1, None).unwrap()),
            Verdict::NeedsRehash
        );
    }

    #[test]
    fn a_hash_of_django_verifies_and_needs_a_rehash() {
        // As Django's PBKDF2PasswordHasher encodes "correct1" with this salt and 1,000 iterations.
        let stored = "pbkdf2_sha256$1000$saltsalt$/38zqboTUeuCxbuxuHKdAkJo8XppccrkAiPOL48N9Xg=";
        assert_eq!(verify("correct1", stored, &cheap()), Verdict::NeedsRehash);
        assert_eq!(verify("correct2", stored, &cheap()), Verdict::Wrong);
    }

    #[test]
    fn a_text_that_is_not_a_hash_matches_no_password() {
        for stored in [
            "",
            "!unusable",
            "correct1",
            "pbkdf2_sha256$",
            "pbkdf2_sha256$x$salt$aGFzaA==",
            "pbkdf2_sha256$0$salt$aGFzaA==",
            "pbkdf2_sha256$-1$salt$aGFzaA==",
            "pbkdf2_sha256$4294967296$salt$aGFzaA==",
            "pbkdf2_sha256$1$salt$",
            "pbkdf2_sha256$1$salt$aGFzaA==",
            "pbkdf2_sha256$1$salt$*",
            "pbkdf2_sha256$1$salt$aGFzaA==$more",
            "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ",
            "$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
            "$argon2id$v=19$m=64,t=4294967295,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
        ] {
            assert_eq!(verify("correct1", stored, &cheap()), Verdict::Wrong, "{stored}");
        }
    }

    #[test]
    fn a_too_expensive_hash_is_not_computed() {
        let begun = std::time::Instant::now();
        verify(
            "x",
            "pbkdf2_sha256$2000001$salt$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g=",
            &cheap(),
        );
        verify(
            "x",
            "$argon2id$v=19$m=262145,t=32,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
            &cheap(),
        );
        assert!(begun.elapsed().as_millis() < 50);
    }

    proptest! {
        #[test]
        fn any_stored_text_is_handled_in_short_time(
            password in any::<String>(),
            stored in prop_oneof![
                any::<String>(),
                "pbkdf2_sha256\\$\\PC{0,40}",
                "pbkdf2_sha256\\$[0-9]{1,3}\\$\\PC{0,20}\\$[A-Za-z0-9+/]{0,44}=?",
                "\\$argon2(id?|d)?\\$(v=[0-9]{1,2}\\$)?(m=[0-9]{1,2})?,?(t=[0-9])?,?(p=[0-9])?\\$[A-Za-z0-9+/$]{0,60}",
            ],
            iterations in u64::from(MAX_PBKDF2_ITERATIONS) + 1..,
            costs in (
                u64::from(MAX_COST.memory_kib) + 1..,
                u64::from(MAX_COST.iterations) + 1..,
                u64::from(MAX_COST.parallelism) + 1..,
            ),
        ) {
            let hash = "aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";
            let (memory, time, lanes) = costs;
            let max_memory = MAX_COST.memory_kib;
            let begun = std::time::Instant::now();
            for stored in [
                stored,
                format!("pbkdf2_sha256${iterations}$salt${hash}="),
                format!("$argon2id$v=19$m={memory},t=1,p=1$c2FsdHNhbHQ${hash}"),
                format!("$argon2id$v=19$m=64,t={time},p=1$c2FsdHNhbHQ${hash}"),
                format!("$argon2id$v=19$m={max_memory},t=1,p={lanes}$c2FsdHNhbHQ${hash}"),
            ] {
                prop_assert_eq!(verify(&password, &stored, &cheap()), Verdict::Wrong, "{}", stored);
            }
            prop_assert!(begun.elapsed().as_secs() < 1, "{:?}", begun.elapsed());
        }

        #[test]
        fn only_the_password_itself_verifies(
            password in any::<String>(),
            other in any::<String>(),
            salt in "[A-Za-z0-9]{1,22}",
            iterations in 1_u32..100,
        ) {
            let mut computed = [0; 32];
            pbkdf2_hmac::<Sha256>(password.as_bytes(), salt.as_bytes(), iterations, &mut computed);
            let django = format!("pbkdf2_sha256${iterations}${salt}${}", BASE64_STANDARD.encode(computed));
            prop_assert_eq!(verify(&password, &django, &cheap()), Verdict::NeedsRehash);
            prop_assert_eq!(verify(&password, &hash(&password, &cheap()).unwrap(), &cheap()), Verdict::Right);
            prop_assume!(other != password);
            prop_assert_eq!(verify(&other, &django, &cheap()), Verdict::Wrong);
        }
    }
}
