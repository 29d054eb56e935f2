//! Values of the configuration that consist of several parts.

/// The keys of tokens.
pub(crate) struct JwtKeys {
    /// Signs tokens, and verifies them.
    pub(crate) signing: JwtKey,
    /// Only verify: keys that signed before the last rotation, or will after the next.
    pub(crate) verifying: Vec<JwtKey>,
}

/// A secret of HS256, and the name by which tokens refer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JwtKey {
    /// The `kid` of its tokens. The key without an id is that of tokens without a `kid`, like the Django service's.
    pub(crate) id: Option<String>,
    pub(crate) secret: String,
}

/// The attempts that a window admits; 0 for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateLimits {
    /// For one e-mail address, whether it has an account or not.
    pub(crate) per_account: u32,
    /// For one network address.
    pub(crate) per_address: u32,
}

/// An upper bound for the cost of an Argon2 hash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MaxHashCost {
    pub(crate) memory_kib: u32,
    pub(crate) iterations: u32,
    pub(crate) parallelism: u32,
}
