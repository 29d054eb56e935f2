//! What passwords match which stored hashes, and what a refusal takes.

use base64::{Engine, prelude::BASE64_STANDARD};
use pbkdf2::pbkdf2_hmac;
use proptest::prelude::*;
use sha2::Sha256;

use super::{
    stored::{MAX_BCRYPT_COST, MAX_PBKDF2_ITERATIONS},
    *,
};

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

/// What Django 5.2 made of `비밀번호1`, with each of its hashers.
const OF_DJANGO: &[&str] = &[
    "pbkdf2_sha1$1000$seasalt$ApSOQeck+5uxfnGZAvLEA5aKpoU=",
    "argon2$argon2id$v=19$m=64,t=1,p=2$c2FsdHNhbHRzYWx0c2FsdA$opob4W1iJ5pDZh+HQfdI0c/SaNLcps3f2K7u9vDBqlc",
    "argon2$argon2i$v=19$m=64,t=1,p=2$c2FsdHNhbHRzYWx0c2FsdA$4mR45e/EzJj3byqXhgvFQAEZodneRHCoxcrZ0LMs2o4",
    "argon2$argon2d$v=19$m=64,t=1,p=2$c2FsdHNhbHRzYWx0c2FsdA$sULZ27uPDfetPUflNckiUOtzRGOvmMB7MEH8Al6kiOw",
    "argon2$argon2i$v=16$m=64,t=1,p=2$c2FsdHNhbHRzYWx0c2FsdA$2ztBWTQrX5ZnRwXNiLcC3rNpTplZr+WEzuPScUTbD0s",
    // As older versions wrote it.
    "argon2$argon2i$m=64,t=1,p=2$c2FsdHNhbHRzYWx0c2FsdA$2ztBWTQrX5ZnRwXNiLcC3rNpTplZr+WEzuPScUTbD0s",
    "bcrypt_sha256$$2b$04$z3RYpR3HSaRF44jZGZG1d.JWsZkxeoBPrIn/EEbNZpu/UIMln231u",
    "bcrypt$$2b$04$oNK2l1PWSdQWnXf4NSdrxu2rbxEVyQjBmZK/nA8YGUlD/K8kTWaFi",
    "bcrypt$$2a$04$ZOK1etrCHgItenWry80FwOzYTjPCmyD/2G/a2gXDdKPPrYlFoGXxy",
    "scrypt$16$seasalt$8$1$v0wn7sy5epDkAw29tc/03JvLh+dlqOsMdUgK5R9K+FS58HbWPgf5W0EjMNh4t3nmrqg7HaqPvtbH0m6dTgz4nA==",
    "md5$seasalt$1d9e5200c2eb28cf5e772ab38588d83d",
];

#[test]
fn a_hash_of_django_verifies_and_needs_a_rehash() {
    for stored in OF_DJANGO {
        assert_eq!(verify("비밀번호1", stored, &cheap()), Verdict::NeedsRehash, "{stored}");
        assert_eq!(verify("비밀번호2", stored, &cheap()), Verdict::Wrong, "{stored}");
        // The same with a cost that this service has: Django's form is replaced.
        let params = Params::new(64, 1, 2, None).unwrap();
        assert_eq!(verify("비밀번호1", stored, &params), Verdict::NeedsRehash, "{stored}");
    }
    // As Django's PBKDF2PasswordHasher encodes "correct1" with this salt and 1,000 iterations.
    let stored = "pbkdf2_sha256$1000$saltsalt$/38zqboTUeuCxbuxuHKdAkJo8XppccrkAiPOL48N9Xg=";
    assert_eq!(verify("correct1", stored, &cheap()), Verdict::NeedsRehash);
    assert_eq!(verify("correct2", stored, &cheap()), Verdict::Wrong);
}

/// Django's bcrypt, like every other, reads the first 72 bytes.
#[test]
fn a_long_password_of_bcrypt_is_cut_off() {
    let stored = "bcrypt$$2b$04$eomTPwZpS6QgetEci.QOGe.5Qd/JRfp1pSmEW19dI45zisM7CLBwS";
    assert_eq!(verify(&"a1".repeat(36), stored, &cheap()), Verdict::NeedsRehash);
    assert_eq!(verify(&"a1".repeat(40), stored, &cheap()), Verdict::NeedsRehash);
    assert_eq!(verify(&"a1".repeat(35), stored, &cheap()), Verdict::Wrong);
}

#[test]
fn a_password_is_the_same_from_every_keyboard() {
    let composed = "비밀번호\u{e9}1";
    let decomposed = "\u{1107}\u{1175}\u{1106}\u{1175}\u{11af}\u{1107}\u{1165}\u{11ab}\u{1112}\u{1169}e\u{301}1";
    let wide = "비밀번호\u{e9}１";
    let ours = hash(decomposed, &cheap()).unwrap();
    for password in [composed, decomposed, wide] {
        assert_eq!(verify(password, &ours, &cheap()), Verdict::Right, "{password}");
    }
    assert_eq!(verify("비밀번호e1", &ours, &cheap()), Verdict::Wrong);
    // Hashes from before normalization are of what was typed then.
    for typed in [composed, decomposed, wide] {
        let before = hasher(&cheap()).hash_password(typed.as_bytes()).unwrap().to_string();
        let expected = if typed == composed {
            Verdict::Right
        } else {
            Verdict::NeedsRehash
        };
        assert_eq!(verify(typed, &before, &cheap()), expected, "{typed}");
        assert_eq!(verify("another1", &before, &cheap()), Verdict::Wrong);
    }
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
        "argon2",
        "argon2$",
        "argon2$argon2id$v=19$m=102400,t=2,p=8$dFV5RDhNbHZIVEtndVdm",
        "argon2$argon2x$v=19$m=64,t=1,p=2$c2FsdHNhbHRzYWx0c2FsdA$opob4W1iJ5pDZh+HQfdI0c/SaNLcps3f2K7u9vDBqlc",
        "argon2$argon2id$v=18$m=64,t=1,p=2$c2FsdHNhbHRzYWx0c2FsdA$opob4W1iJ5pDZh+HQfdI0c/SaNLcps3f2K7u9vDBqlc",
        "pbkdf2_sha1$1000$seasalt$",
        "pbkdf2_sha512$1000$seasalt$ApSOQeck+5uxfnGZAvLEA5aKpoU=",
        "bcrypt$",
        "bcrypt$$2b$04$",
        "bcrypt$$2b$04$oNK2l1PWSdQWnXf4NSdrxu2rbxEVyQjBmZK/nA8YGUlD/K8kTWaF",
        "bcrypt$$2b$x$oNK2l1PWSdQWnXf4NSdrxu2rbxEVyQjBmZK/nA8YGUlD/K8kTWaFi",
        "bcrypt$$2b$03$oNK2l1PWSdQWnXf4NSdrxu2rbxEVyQjBmZK/nA8YGUlD/K8kTWaFi",
        "bcrypt$$9z$04$oNK2l1PWSdQWnXf4NSdrxu2rbxEVyQjBmZK/nA8YGUlD/K8kTWaFi",
        "bcrypt$$2b$04$한글l1PWSdQWnXf4NSdrxu2rbxEVyQjBmZK/nA8YGUlD/K8kTWaFi",
        "scrypt$",
        "scrypt$16$seasalt$8$1$",
        "scrypt$16$seasalt$8$1$AAAA",
        "scrypt$15$seasalt$8$1$v0wn7sy5epDkAw29tc/03JvLh+dlqOsMdUgK5R9K+FS58HbWPgf5W0EjMNh4t3nmrqg7HaqPvtbH0m6dTgz4nA==",
        "scrypt$1$seasalt$8$1$v0wn7sy5epDkAw29tc/03JvLh+dlqOsMdUgK5R9K+FS58HbWPgf5W0EjMNh4t3nmrqg7HaqPvtbH0m6dTgz4nA==",
        "scrypt$0$seasalt$0$0$v0wn7sy5epDkAw29tc/03JvLh+dlqOsMdUgK5R9K+FS58HbWPgf5W0EjMNh4t3nmrqg7HaqPvtbH0m6dTgz4nA==",
        "md5",
        "md5$",
        "md5$$",
        "sha1$seasalt$f5e3c1a0",
        "$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
        "$argon2id$v=19$m=64,t=4294967295,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
    ] {
        assert_eq!(verify("correct1", stored, &cheap()), Verdict::Wrong, "{stored}");
    }
}

#[test]
fn a_too_expensive_hash_is_not_computed() {
    let begun = std::time::Instant::now();
    for stored in [
        "pbkdf2_sha256$2000001$salt$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g=",
        "pbkdf2_sha1$2000001$seasalt$ApSOQeck+5uxfnGZAvLEA5aKpoU=",
        "$argon2id$v=19$m=262145,t=32,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
        "argon2$argon2id$v=19$m=262145,t=32,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
        "bcrypt$$2b$16$oNK2l1PWSdQWnXf4NSdrxu2rbxEVyQjBmZK/nA8YGUlD/K8kTWaFi",
        "bcrypt_sha256$$2b$31$z3RYpR3HSaRF44jZGZG1d.JWsZkxeoBPrIn/EEbNZpu/UIMln231u",
        // Too long, and too large, be it by N, by r or by p.
        "scrypt$65536$seasalt$8$9$v0wn7sy5epDkAw29tc/03JvLh+dlqOsMdUgK5R9K+FS58HbWPgf5W0EjMNh4t3nmrqg7HaqPvtbH0m6dTgz4nA==",
        "scrypt$131072$seasalt$8$1$v0wn7sy5epDkAw29tc/03JvLh+dlqOsMdUgK5R9K+FS58HbWPgf5W0EjMNh4t3nmrqg7HaqPvtbH0m6dTgz4nA==",
        "scrypt$2$seasalt$1048576$1$v0wn7sy5epDkAw29tc/03JvLh+dlqOsMdUgK5R9K+FS58HbWPgf5W0EjMNh4t3nmrqg7HaqPvtbH0m6dTgz4nA==",
        "scrypt$2$seasalt$1$1048576$v0wn7sy5epDkAw29tc/03JvLh+dlqOsMdUgK5R9K+FS58HbWPgf5W0EjMNh4t3nmrqg7HaqPvtbH0m6dTgz4nA==",
        "scrypt$1073741824$seasalt$1073741824$1$v0wn7sy5epDkAw29tc/03JvLh+dlqOsMdUgK5R9K+FS58HbWPgf5W0EjMNh4t3nmrqg7HaqPvtbH0m6dTgz4nA==",
    ] {
        assert_eq!(verify("x", stored, &cheap()), Verdict::Wrong, "{stored}");
    }
    assert!(begun.elapsed().as_millis() < 50);
}

proptest! {
    #[test]
    fn any_stored_text_is_handled_in_short_time(
        password in any::<String>(),
        stored in prop_oneof![
            any::<String>(),
            "(pbkdf2_sha256|pbkdf2_sha1|argon2|bcrypt|bcrypt_sha256|scrypt|md5)\\$\\PC{0,40}",
            "bcrypt(_sha256)?\\$\\$2[abxyz]\\$0[0-9]\\$[A-Za-z0-9./]{50,54}",
            "scrypt\\$(2|4|16|64)\\$[a-z]{0,5}\\$[0-9]\\$[0-9]\\$[A-Za-z0-9+/]{86}==",
            "pbkdf2_sha256\\$[0-9]{1,3}\\$\\PC{0,20}\\$[A-Za-z0-9+/]{0,44}=?",
            "(argon2)?\\$argon2(id?|d)?\\$(v=[0-9]{1,2}\\$)?(m=[0-9]{1,2})?,?(t=[0-9])?,?(p=[0-9])?\\$[A-Za-z0-9+/$]{0,60}",
        ],
        iterations in u64::from(MAX_PBKDF2_ITERATIONS) + 1..,
        costs in (
            u64::from(MAX_COST.memory_kib) + 1..,
            u64::from(MAX_COST.iterations) + 1..,
            u64::from(MAX_COST.parallelism) + 1..,
        ),
        rounds in u64::from(MAX_BCRYPT_COST) + 1..,
    ) {
        let hash = "aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";
        let (memory, time, lanes) = costs;
        let max_memory = MAX_COST.memory_kib;
        let begun = std::time::Instant::now();
        for stored in [
            stored,
            format!("pbkdf2_sha256${iterations}$salt${hash}="),
            format!("bcrypt$$2b${rounds}$oNK2l1PWSdQWnXf4NSdrxu2rbxEVyQjBmZK/nA8YGUlD/K8kTWaFi"),
            format!("argon2$argon2id$v=19$m={memory},t=1,p=1$c2FsdHNhbHQ${hash}"),
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
        prop_assume!(nfkc(&other) != nfkc(&password) && other != password);
        prop_assert_eq!(verify(&other, &django, &cheap()), Verdict::Wrong);
    }
}
