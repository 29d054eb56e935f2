//! When a statement may be sent again.

/// Whether a statement may be sent again after its connection was lost.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// It only reads, or its idempotency key lets it take effect once.
    Idempotent,
    /// It may have taken effect.
    Never,
}

impl Retry {
    /// The policy of a change: with an idempotency key it takes effect once, however often it is sent.
    pub(super) fn with_key(key: Option<&str>) -> Self {
        match key {
            Some(_) => Self::Idempotent,
            None => Self::Never,
        }
    }
}
