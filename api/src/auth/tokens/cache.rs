//! The access tokens that an instance has verified.

use std::{cell::RefCell, collections::HashMap};

use super::claims::Caller;

/// The most tokens that an instance remembers.
const MAX_TOKENS: usize = 256;

/// Remembers verified access tokens until they expire.
///
/// A client sends the same token with every request, and to verify it takes longer than all the other work of the
/// component for a short response.
#[derive(Default)]
pub(super) struct TokenCache(RefCell<HashMap<String, (Caller, u64)>>);

impl TokenCache {
    /// Returns the caller, if the token was verified and is valid in the second `now`.
    pub(super) fn get(&self, token: &str, now: u64) -> Option<Caller> {
        let tokens = self.0.borrow();
        let (caller, expires) = tokens.get(token)?;
        (now < *expires).then_some(*caller)
    }

    /// Remembers a verified token until the second `expires`.
    pub(super) fn put(&self, token: &str, caller: Caller, expires: u64) {
        let mut tokens = self.0.borrow_mut();
        // Tokens in use come back with their next request.
        if tokens.len() >= MAX_TOKENS {
            tokens.clear();
        }
        tokens.insert(token.to_owned(), (caller, expires));
    }
}

#[cfg(test)]
mod tests {
    use sugang_sdk::types::UserId;

    use super::*;

    impl TokenCache {
        pub(in crate::auth::tokens) fn len(&self) -> usize {
            self.0.borrow().len()
        }
    }

    #[test]
    fn a_token_is_remembered_until_it_expires() {
        let cache = TokenCache::default();
        let caller = Caller::new(UserId(7), 5);
        cache.put("a.b.c", caller, 100);
        assert_eq!(cache.get("a.b.c", 99), Some(caller));
        assert_eq!(cache.get("a.b.c", 100), None);
        for other in ["a.b.", "a.b.d", "a.b.c ", "A.B.C", ""] {
            assert_eq!(cache.get(other, 0), None, "{other}");
        }
        for number in 0..MAX_TOKENS * 3 {
            cache.put(&number.to_string(), caller, 100);
        }
        assert!(cache.len() <= MAX_TOKENS);
    }
}
