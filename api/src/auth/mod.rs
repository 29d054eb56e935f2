//! Authentication: tokens, passwords, and the rate limits of logins and sign-ups.

mod account_hash;
pub(crate) mod passwords;
pub(crate) mod rate_limit;
pub(crate) mod return_state;
pub(crate) mod tokens;

pub(crate) use account_hash::account_hash;
