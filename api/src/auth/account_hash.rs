//! What the log calls an account that failed to log in.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::text::hexadecimal;

/// Keeps these hashes apart from the signatures of tokens, whose text never has a space.
const PURPOSE: &[u8] = b"account in the log ";

/// Returns a keyed hash of an account's e-mail address, given by its key ([`Address::keys`](crate::text::Address)): attempts
/// at one account can be told from attempts at others, and without `secret` no list of addresses tells which it is.
///
/// It changes with the secret that signs tokens.
pub(crate) fn account_hash(secret: &str, account: &str) -> String {
    // HMAC takes keys of every length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(PURPOSE);
    mac.update(account.as_bytes());
    let hash = mac.finalize().into_bytes();
    hexadecimal(&hash[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_depends_on_account_and_secret_and_shows_neither() {
        let hash = account_hash("secret", "minsu@example.com");
        assert_eq!(hash, account_hash("secret", "minsu@example.com"));
        assert_ne!(hash, account_hash("secret", "jisu@example.com"));
        assert_ne!(hash, account_hash("another", "minsu@example.com"));
        assert!(hash.len() == 24 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
