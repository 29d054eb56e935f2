//! The hashes that the column `users.password` may hold: ours, and those of all hashers of Django 5.2
//! (`django.contrib.auth.hashers`).

use argon2::{Algorithm, Argon2, Params, PasswordVerifier, Version, password_hash::phc::PasswordHash};
use base64::{Engine, prelude::BASE64_STANDARD};
use md5::Md5;
use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{config::MaxHashCost, text::hexadecimal};

/// The most that a hash may cost, configured or stored: a malicious row must neither block nor starve an instance.
pub(crate) const MAX_COST: MaxHashCost = MaxHashCost {
    memory_kib: 128 * 1024,
    iterations: 32,
    parallelism: 16,
};
/// The most iterations of PBKDF2: twice those of Django 5.2 (`PBKDF2PasswordHasher.iterations`).
pub(super) const MAX_PBKDF2_ITERATIONS: u32 = 2_000_000;
/// The most rounds of bcrypt, as their logarithm: eight times Django's (`BCryptSHA256PasswordHasher.rounds`).
pub(super) const MAX_BCRYPT_COST: u32 = 15;
/// The most blocks that scrypt mixes, N·r·p: more than six times Django's (`ScryptPasswordHasher`).
pub(super) const MAX_SCRYPT_BLOCKS: u64 = 1 << 22;

/// A stored hash that can be computed within the bounds.
pub(super) enum StoredHash<'a> {
    Argon2 {
        hash: Box<PasswordHash>,
        cost: Params,
        /// Whether it stands as Django writes it, after the name of its hasher.
        is_djangos: bool,
    },
    Pbkdf2 {
        digest: Pbkdf2Digest,
        iterations: u32,
        salt: &'a str,
        hash: Vec<u8>,
    },
    Bcrypt {
        /// `$2b$<cost>$<salt and hash>`.
        hash: &'a str,
        /// Whether the hash is of the SHA-256 of the password, in hexadecimal digits.
        of_sha256: bool,
    },
    Scrypt {
        cost: scrypt::Params,
        salt: &'a str,
        hash: Vec<u8>,
    },
    Md5 {
        salt: &'a str,
        hash: &'a str,
    },
}

#[derive(Clone, Copy)]
pub(super) enum Pbkdf2Digest {
    Sha1,
    Sha256,
}

impl<'a> StoredHash<'a> {
    /// Reads a stored text; `None` if it is no hash, of an unknown algorithm, or too expensive.
    pub(super) fn parse(stored: &'a str) -> Option<Self> {
        let (algorithm, rest) = stored.split_once('$')?;
        match algorithm {
            "" => Self::argon2(stored, false),
            "argon2" => Self::argon2(stored.strip_prefix(algorithm)?, true),
            "pbkdf2_sha256" => Self::pbkdf2(rest, Pbkdf2Digest::Sha256),
            "pbkdf2_sha1" => Self::pbkdf2(rest, Pbkdf2Digest::Sha1),
            "bcrypt_sha256" => Self::bcrypt(rest, true),
            "bcrypt" => Self::bcrypt(rest, false),
            "scrypt" => Self::scrypt(rest),
            "md5" => {
                let (salt, hash) = rest.split_once('$')?;
                Some(Self::Md5 { salt, hash })
            }
            _ => None,
        }
    }

    /// Reads a PHC string, `$argon2id$v=19$m=102400,t=2,p=8$<salt>$<hash>`.
    fn argon2(phc: &str, is_djangos: bool) -> Option<Self> {
        let mut hash = Box::new(PasswordHash::new(phc).ok()?);
        // Hashes from before versions existed do not name theirs.
        hash.version.get_or_insert(Version::V0x10.into());
        Algorithm::try_from(hash.algorithm.as_str()).ok()?;
        hash.hash.as_ref()?;
        hash.salt.as_ref().filter(|salt| salt.len() >= argon2::MIN_SALT_LEN)?;
        let cost = Params::try_from(&*hash).ok()?;
        let affordable = cost.m_cost() <= MAX_COST.memory_kib
            && cost.t_cost() <= MAX_COST.iterations
            && cost.p_cost() <= MAX_COST.parallelism;
        affordable.then_some(Self::Argon2 { hash, cost, is_djangos })
    }

    /// Reads `<iterations>$<salt>$<hash in Base64>`.
    fn pbkdf2(text: &'a str, digest: Pbkdf2Digest) -> Option<Self> {
        let [iterations, salt, hash] = parts(text)?;
        let iterations = number(iterations, MAX_PBKDF2_ITERATIONS)?;
        let hash = BASE64_STANDARD.decode(hash).ok()?;
        Some(Self::Pbkdf2 {
            digest,
            iterations,
            salt,
            hash,
        })
    }

    /// Reads `$2b$<cost>$<salt and hash>`.
    fn bcrypt(hash: &'a str, of_sha256: bool) -> Option<Self> {
        let ["", _version, cost, _salt_and_hash] = parts(hash)? else {
            return None;
        };
        number(cost, MAX_BCRYPT_COST)?;
        Some(Self::Bcrypt { hash, of_sha256 })
    }

    /// Reads `<N>$<salt>$<r>$<p>$<hash in Base64>`.
    fn scrypt(text: &'a str) -> Option<Self> {
        let [n, salt, r, p, hash] = parts(text)?;
        let [n, r, p] = [n, r, p].map(|text| number(text, 1 << 24));
        let (n, r, p) = (n?, r?, p?);
        let blocks = u64::from(n).checked_mul(u64::from(r))?.checked_mul(u64::from(p))?;
        let bytes = 128 * u64::from(r) * (u64::from(n) + u64::from(p));
        if blocks > MAX_SCRYPT_BLOCKS || bytes > u64::from(MAX_COST.memory_kib) * 1024 || !n.is_power_of_two() {
            return None;
        }
        let cost = scrypt::Params::new(n.trailing_zeros().try_into().ok()?, r, p).ok()?;
        let hash = BASE64_STANDARD.decode(hash).ok()?;
        Some(Self::Scrypt { cost, salt, hash })
    }

    /// Returns whether the hash is what this service makes of a password with the configured cost.
    pub(super) fn is_current(&self, params: &Params) -> bool {
        match self {
            Self::Argon2 { hash, cost, is_djangos } => {
                !is_djangos
                    && hash.algorithm == Algorithm::Argon2id.ident()
                    && hash.version == Some(Version::V0x13.into())
                    && (cost.m_cost(), cost.t_cost(), cost.p_cost())
                        == (params.m_cost(), params.t_cost(), params.p_cost())
            }
            _ => false,
        }
    }

    /// Computes the hash of a password and compares it.
    pub(super) fn matches(&self, password: &str) -> bool {
        let password = password.as_bytes();
        match self {
            Self::Argon2 { hash, .. } => Argon2::default().verify_password(password, &**hash).is_ok(),
            Self::Pbkdf2 {
                digest: Pbkdf2Digest::Sha1,
                iterations,
                salt,
                hash,
            } => {
                let mut computed = [0; 20];
                pbkdf2_hmac::<Sha1>(password, salt.as_bytes(), *iterations, &mut computed);
                equal(&computed, hash)
            }
            Self::Pbkdf2 {
                digest: Pbkdf2Digest::Sha256,
                iterations,
                salt,
                hash,
            } => {
                let mut computed = [0; 32];
                pbkdf2_hmac::<Sha256>(password, salt.as_bytes(), *iterations, &mut computed);
                equal(&computed, hash)
            }
            Self::Bcrypt { hash, of_sha256 } => {
                let matches = match of_sha256 {
                    true => bcrypt::verify(hexadecimal(&Sha256::digest(password)), hash),
                    false => bcrypt::verify(password, hash),
                };
                matches.unwrap_or(false)
            }
            Self::Scrypt { cost, salt, hash } => {
                let mut computed = [0; 64];
                scrypt::scrypt(password, salt.as_bytes(), cost, &mut computed).is_ok() && equal(&computed, hash)
            }
            Self::Md5 { salt, hash } => {
                let computed = Md5::new_with_prefix(salt).chain_update(password).finalize();
                equal(hexadecimal(&computed).as_bytes(), hash.as_bytes())
            }
        }
    }
}

/// Splits a text at every `$` into exactly `N` parts.
fn parts<const N: usize>(text: &str) -> Option<[&str; N]> {
    let mut parts = text.split('$');
    let mut array = [""; N];
    for part in &mut array {
        *part = parts.next()?;
    }
    parts.next().is_none().then_some(array)
}

/// Reads a number from 1 to `most`.
fn number(text: &str, most: u32) -> Option<u32> {
    text.parse().ok().filter(|number| (1..=most).contains(number))
}

fn equal(computed: &[u8], stored: &[u8]) -> bool {
    computed.ct_eq(stored).into()
}
