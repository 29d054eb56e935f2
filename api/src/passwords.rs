//! Passwords: Argon2id in PHC form for all that is written, and the Django service's PBKDF2 for what it wrote before.

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version, password_hash::phc::PasswordHash};
use base64::{Engine, prelude::BASE64_STANDARD};
use pbkdf2::pbkdf2_hmac;
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// The most that a hash may cost, configured or stored: a hostile row must neither hang nor starve an instance.
pub const MAX_MEMORY_KIB: u64 = 128 * 1024;
/// See [`MAX_MEMORY_KIB`].
pub const MAX_ITERATIONS: u64 = 32;
/// See [`MAX_MEMORY_KIB`].
pub const MAX_PARALLELISM: u64 = 16;
/// The most that a hash of the Django service may cost: twice what Django 5.2 takes (`PBKDF2PasswordHasher.iterations`).
const MAX_PBKDF2_ITERATIONS: u32 = 2_000_000;

/// What a stored hash says of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Another one.
    Wrong,
    /// The right one.
    Right,
    /// The right one, but hashed in another way than is configured: hash it again.
    Outdated,
}

/// The PHC string of a password, with a random salt; none when the host has no randomness.
pub fn hash(password: &str, params: &Params) -> Option<String> {
    hasher(params)
        .hash_password(password.as_bytes())
        .ok()
        .map(|hash| hash.to_string())
}

/// Compares a password with a stored hash. A hash that cannot be read, or that costs too much, is nobody's.
pub fn verify(password: &str, stored: &str, params: &Params) -> Verdict {
    if let Some(django) = stored.strip_prefix("pbkdf2_sha256$") {
        return match verify_django(password, django) {
            true => Verdict::Outdated,
            false => Verdict::Wrong,
        };
    }
    let Ok(hash) = PasswordHash::new(stored) else {
        return Verdict::Wrong;
    };
    let Ok(cost) = Params::try_from(&hash) else {
        return Verdict::Wrong;
    };
    let affordable = u64::from(cost.m_cost()) <= MAX_MEMORY_KIB
        && u64::from(cost.t_cost()) <= MAX_ITERATIONS
        && u64::from(cost.p_cost()) <= MAX_PARALLELISM;
    if !affordable || Argon2::default().verify_password(password.as_bytes(), &hash).is_err() {
        return Verdict::Wrong;
    }
    let as_configured = hash.algorithm == Algorithm::Argon2id.ident()
        && (cost.m_cost(), cost.t_cost(), cost.p_cost()) == (params.m_cost(), params.t_cost(), params.p_cost());
    if as_configured {
        Verdict::Right
    } else {
        Verdict::Outdated
    }
}

/// Takes the time of [`verify`] for an account that does not exist, so that the answer does not tell that by its time.
pub fn verify_nobody(password: &str, params: &Params) {
    let mut hash = [0; Params::DEFAULT_OUTPUT_LEN];
    // Only the time matters; the optimiser must not find that out.
    let _ = hasher(params).hash_password_into(password.as_bytes(), b"nobody's account", &mut hash);
    std::hint::black_box(hash);
}

fn hasher(params: &Params) -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
}

/// `<iterations>$<salt>$<hash in Base64>`, what `PBKDF2PasswordHasher` writes after its name.
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
            Verdict::Outdated
        );
    }

    #[test]
    fn a_hash_that_django_wrote_verifies_and_is_outdated() {
        // As Django's PBKDF2PasswordHasher encodes "correct1" with this salt and 1,000 iterations.
        let stored = "pbkdf2_sha256$1000$saltsalt$/38zqboTUeuCxbuxuHKdAkJo8XppccrkAiPOL48N9Xg=";
        assert_eq!(verify("correct1", stored, &cheap()), Verdict::Outdated);
        assert_eq!(verify("correct2", stored, &cheap()), Verdict::Wrong);
    }

    #[test]
    fn what_is_no_hash_is_nobody_s() {
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
    fn a_stored_hash_that_costs_too_much_is_not_computed() {
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
        fn no_stored_text_breaks_anything_or_costs_minutes(
            password in any::<String>(),
            stored in prop_oneof![
                any::<String>(),
                "pbkdf2_sha256\\$\\PC{0,40}",
                "pbkdf2_sha256\\$[0-9]{1,3}\\$\\PC{0,20}\\$[A-Za-z0-9+/]{0,44}=?",
                "\\$argon2(id?|d)?\\$(v=[0-9]{1,2}\\$)?(m=[0-9]{1,2})?,?(t=[0-9])?,?(p=[0-9])?\\$[A-Za-z0-9+/$]{0,60}",
            ],
            iterations in u64::from(MAX_PBKDF2_ITERATIONS) + 1..,
            costs in (MAX_MEMORY_KIB + 1.., MAX_ITERATIONS + 1.., MAX_PARALLELISM + 1..),
        ) {
            let hash = "aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";
            let (memory, time, lanes) = costs;
            let begun = std::time::Instant::now();
            for stored in [
                stored,
                format!("pbkdf2_sha256${iterations}$salt${hash}="),
                format!("$argon2id$v=19$m={memory},t=1,p=1$c2FsdHNhbHQ${hash}"),
                format!("$argon2id$v=19$m=64,t={time},p=1$c2FsdHNhbHQ${hash}"),
                format!("$argon2id$v=19$m={MAX_MEMORY_KIB},t=1,p={lanes}$c2FsdHNhbHQ${hash}"),
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
            prop_assert_eq!(verify(&password, &django, &cheap()), Verdict::Outdated);
            prop_assert_eq!(verify(&password, &hash(&password, &cheap()).unwrap(), &cheap()), Verdict::Right);
            prop_assume!(other != password);
            prop_assert_eq!(verify(&other, &django, &cheap()), Verdict::Wrong);
        }
    }
}
