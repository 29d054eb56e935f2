//! Authentication: tokens, passwords, and the rate limits of logins and sign-ups.

pub(crate) mod passwords;
pub(crate) mod rate_limit;
pub(crate) mod tokens;
